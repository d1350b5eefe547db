"""Facts about a backbone's pretraining, from a run's config, checkpoint and logs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from drivemim.config.loading import dicts_in
from drivemim.config.nested import short_type
from drivemim.transfer.data_record import frames_per_clip, plain

SETTINGS = {
    "mask_schedule": "MaskSchedule",
    "target": "model.target",
    "auxiliary": "model.auxiliary",
    "patch_weights": "model.patch_weights",
    "decoder": "model.decoder",
    "teacher": "model.teacher",
    "batch_size": "train_dataloader.batch_size",
    "precision": "optim_wrapper.type",
    "optimizer": "optim_wrapper.optimizer",
    "optimizer_settings": "optim_wrapper",
    "schedule": "param_scheduler",
    "averaged": "EMAHook",
}
"""Settings of a run that ``describe_settings`` returns, and the key or hook of the config that has
each, for messages."""


def describe_settings(cfg: Config) -> dict[str, Any]:
    """Describe how a run trains, besides its data and masks: a value for each of ``SETTINGS``.

    Args:
        cfg: config of the run.
    """
    model, optim = cfg.get("model") or {}, cfg.get("optim_wrapper") or {}
    hooks = cfg.get("custom_hooks") or ()
    found = {
        "mask_schedule": [hook for hook in hooks if short_type(hook) == "MaskSchedule"],
        "target": model.get("target"),
        "auxiliary": model.get("auxiliary") or None,
        "patch_weights": model.get("patch_weights"),
        "decoder": model.get("decoder"),
        "teacher": model.get("teacher"),
        "batch_size": (cfg.get("train_dataloader") or {}).get("batch_size"),
        "precision": optim.get("type"),
        "optimizer": optim.get("optimizer"),
        "optimizer_settings": {
            key: value for key, value in optim.items() if key not in ("type", "optimizer")
        },
        "schedule": cfg.get("param_scheduler"),
        "averaged": next((hook for hook in hooks if short_type(hook) == "EMAHook"), None),
    }
    return {key: _recorded(value) for key, value in found.items()}


def _recorded(value: Any) -> Any:
    """Convert a part of a config to JSON types, with sorted keys."""
    if isinstance(value, Mapping):
        return {str(key): _recorded(value[key]) for key in sorted(value, key=str)}
    if isinstance(value, (list, tuple)):
        return [_recorded(each) for each in value]
    if isinstance(value, type):
        return f"{value.__module__}.{value.__qualname__}"
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def changed_settings(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Yield the settings that a resumed run changes: ``KEY=VALUE before, VALUE now``.

    Args:
        then: recipe of the run that wrote the checkpoint; that of an older version of DriveMIM may
            lack settings, which are not compared.
        now: recipe of the run that resumes from it.
    """
    for setting, key in SETTINGS.items():
        if setting in then and setting in now:
            yield from _changes(key, then[setting], now[setting])


def _changes(key: str, then: Any, now: Any) -> Iterator[str]:
    """Yield the smallest parts of two values that differ.

    Args:
        key: dotted key of the values, for the text.
        then: earlier value.
        now: later value.
    """
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        if then.get("type") == now.get("type"):
            for name in dict.fromkeys((*then, *now)):
                yield from _changes(f"{key}.{name}", then.get(name), now.get(name))
            return
    elif isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        for number, pair in enumerate(zip(then, now, strict=True)):
            yield from _changes(f"{key}.{number}", *pair)
        return
    if then != now:
        yield f"{key}={then} before, {now} now"


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
    iterations, counts = meta.get("iter"), pretraining.get("counts") or {}
    clips, frames = count_until(counts, iterations)
    return {
        "masking": plain(cfg.model.get("masking")),
        **describe_settings(cfg),
        **pretraining["recipe"],
        "iterations": iterations,
        "processes": counts.get("processes"),
        "clips": clips,
        "frames_per_clip": frames_per_clip(pretraining["data"]),
        "frames_seen": frames,
        "seed": meta.get("seed"),
        "last_log": _last_log(Path(checkpoint), iterations),
    }


def initial_weights_of(cfg: Config) -> list[str]:
    """Return the weights files that a run began with, those of teachers too, without duplicates.

    The ``load_from`` of a resumed run is its own checkpoint, which is not included.

    Args:
        cfg: config of the run. It may be the one that a run saved, in which a ``LoadBackbone`` hook
            has taken the place of ``load_from`` and ``init_cfg``.
    """
    weights = [] if cfg.get("resume") else [cfg.get("load_from")]
    for hook in cfg.get("custom_hooks") or ():
        if short_type(hook) == "LoadBackbone":
            weights.append(hook.get("checkpoint"))
    for each in dicts_in(cfg.get("model")):
        kinds = ("Pretrained", "FeatureTarget")
        if short_type(each) in kinds or (each.get("pretrained") and "type" in each):
            weights.append(each.get("checkpoint") or each.get("pretrained"))
    return list(dict.fromkeys(str(path) for path in weights if path))


def begin_counts(cfg: Config, data: list[dict[str, Any]], processes: int) -> dict[str, Any]:
    """Return the numbers from which :func:`count_until` counts the clips and frames of a new run.

    Args:
        cfg: config of the run.
        data: from ``describe_data``.
        processes: number of training processes.

    Returns:
        ``processes``, ``clips_per_iteration`` and ``frames_per_clip``, the latter two None if
        unknown; ``since``, the iteration from which these hold; and ``before``, the clips and
        frames seen until then.
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
    """Return the counts of a run that is resumed.

    If its batches or clips have another size, the new numbers hold from the checkpoint on.

    Args:
        now: from :func:`begin_counts`.
        before: counts of the checkpoint; None if it records none.
        iteration: iteration of the checkpoint.
    """
    sizes = ("processes", "clips_per_iteration", "frames_per_clip")
    if before and all(now[key] == before.get(key) for key in sizes):
        return dict(before)
    return {**now, "since": iteration, "before": list(count_until(before or {}, iteration))}


def count_until(counts: Mapping[str, Any], iteration: int | None) -> tuple[int | None, int | None]:
    """Return the numbers of clips and frames seen until an iteration; None for unknown ones.

    Every clip counts with its full number of frames, even if frames are missing: a camera that is
    absent, or a time after the last frame of the scene.

    Args:
        counts: from :func:`begin_counts` or :func:`continue_counts`.
        iteration: the iteration; None if unknown.
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
    """Yield the records of a log file of MMEngine, which has a JSON object per line."""
    for line in path.read_text().splitlines():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:  # the last line of a run that was killed
            continue
        if isinstance(record, dict):
            yield record
