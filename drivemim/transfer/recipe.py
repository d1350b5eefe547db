"""Facts about a backbone's pretraining, from a run's config, checkpoint and logs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from drivemim.config.loading import dicts_in, short_type
from drivemim.transfer.data_record import frames_per_clip, plain


def describe_recipe(
    cfg: Config, meta: Mapping[str, Any], checkpoint: str | Path, pretraining: Mapping[str, Any]
) -> dict[str, Any]:
    """Describe how a run trained.

    Args:
        cfg: config of the run.
        meta: ``meta`` of its checkpoint.
        checkpoint: path of the checkpoint; logs are searched beside it.
        pretraining: from ``pretraining_of``.

    Returns:
        Parts of the config, numbers of clips and frames seen, and the last losses logged. Unknown
        values are None, such as the counts of a checkpoint that does not record them.
    """
    model, optim = plain(cfg.model.to_dict()), plain(cfg.get("optim_wrapper") or {})
    iterations, counts = meta.get("iter"), pretraining.get("counts") or {}
    clips, frames = count_until(counts, iterations)
    hooks = [plain(hook) for hook in cfg.get("custom_hooks") or ()]
    return {
        "masking": model.get("masking"),
        **pretraining["recipe"],
        "mask_schedule": [hook for hook in hooks if short_type(hook) == "MaskSchedule"],
        "target": model.get("target"),
        "decoder": model.get("decoder"),
        "teacher": model.get("teacher"),
        "iterations": iterations,
        "batch_size": (cfg.get("train_dataloader") or {}).get("batch_size"),
        "processes": counts.get("processes"),
        "clips": clips,
        "frames_per_clip": frames_per_clip(pretraining["data"]),
        "frames_seen": frames,
        "optimizer": optim.get("optimizer"),
        "optimizer_settings": {
            key: value for key, value in optim.items() if key not in ("type", "optimizer")
        },
        "precision": optim.get("type"),
        "schedule": plain(cfg.get("param_scheduler")),
        "averaged": next((hook for hook in hooks if short_type(hook) == "EMAHook"), None),
        "seed": meta.get("seed"),
        "last_log": _last_log(Path(checkpoint), iterations),
    }


def initial_weights_of(cfg: Config) -> list[str]:
    """Return the weights files that a run began with, without duplicates.

    The ``load_from`` of a resumed run is its own checkpoint, which is not included.

    Args:
        cfg: config as it was written, or as the run left it, with hooks that load what other keys
            named.
    """
    found = [] if cfg.get("resume") else [cfg.get("load_from")]
    for hook in cfg.get("custom_hooks") or ():
        if short_type(hook) == "LoadBackbone":
            found.append(hook.get("checkpoint"))
    for each in dicts_in(cfg.get("model")):
        if short_type(each) == "Pretrained" or (each.get("pretrained") and "type" in each):
            found.append(each.get("checkpoint") or each.get("pretrained"))
    return list(dict.fromkeys(str(path) for path in found if path))


def begin_counts(cfg: Config, data: list[dict[str, Any]], processes: int) -> dict[str, Any]:
    """Return what a run that begins needs for counting the clips and frames that it has seen.

    Args:
        cfg: config of the run.
        data: from ``describe_data``.
        processes: number of training processes.
    """
    batch = (cfg.get("train_dataloader") or {}).get("batch_size")
    return {
        "processes": processes,
        "clips_per_iteration": None if batch is None else batch * processes,
        "frames_per_clip": frames_per_clip(data),
        "since": 0,
        "before": [0, 0],
    }


def continue_counts(
    now: Mapping[str, Any], before: Mapping[str, Any] | None, iteration: int | None
) -> dict[str, Any]:
    """Return the counts of a run that is resumed, perhaps with other batches or clips.

    Args:
        now: from :func:`begin_counts`.
        before: counts of the checkpoint; None if it records none.
        iteration: iteration of the checkpoint.
    """
    alike = ("processes", "clips_per_iteration", "frames_per_clip")
    if before and all(now[key] == before.get(key) for key in alike):
        return dict(before)
    return {**now, "since": iteration, "before": list(count_until(before or {}, iteration))}


def count_until(counts: Mapping[str, Any], iteration: int | None) -> tuple[int | None, int | None]:
    """Return the numbers of clips and frames seen until an iteration; None for unknown ones.

    Frames that a clip lacks count as seen: a camera that is absent, or a time after the last frame.
    """
    since, per_iteration = counts.get("since"), counts.get("clips_per_iteration")
    if iteration is None or since is None or per_iteration is None:
        return None, None
    clips_before, frames_before = counts["before"]
    clips, per_clip = (iteration - since) * per_iteration, counts["frames_per_clip"]
    return (
        None if clips_before is None else clips_before + clips,
        None if frames_before is None or per_clip is None else frames_before + clips * per_clip,
    )


def _last_log(checkpoint: Path, iterations: int | None) -> dict[str, Any] | None:
    """Return the run's newest logged losses up to the checkpoint, with iteration and file."""
    best: dict[str, Any] | None = None
    for path in sorted(checkpoint.parent.glob("*/vis_data/scalars.json")):
        for record in _records(path):
            step = record.get("iter", record.get("step"))
            if step is None or (iterations is not None and step > iterations):
                continue
            losses = {
                key: value
                for key, value in record.items()
                if "loss" in key and isinstance(value, (int, float))
            }
            # For a resumed run, the later folder holds the log that led to the checkpoint.
            if losses and (best is None or step >= best["iteration"]):
                best = {"iteration": step, "losses": losses, "file": str(path)}
    return best


def _records(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_text().splitlines():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:  # the last line of a run that was killed
            continue
        if isinstance(record, dict):
            yield record
