"""Facts about a backbone's pretraining, from a run's config, checkpoint and logs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from drivemim.config.loading import dicts_in, short_type
from drivemim.transfer.data_record import frames_per_clip, plain

_PROCESSES = re.compile(r"^\s*GPU number: (\d+)\s*$", re.MULTILINE)


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
        values are None: the number of processes without a log, and the counts that need it.
    """
    model, optim = plain(cfg.model.to_dict()), plain(cfg.get("optim_wrapper") or {})
    batch = (cfg.get("train_dataloader") or {}).get("batch_size")
    processes, iterations = _processes(cfg, Path(checkpoint)), meta.get("iter")
    clips = None
    if None not in (batch, processes, iterations):
        clips = batch * processes * iterations  # type: ignore[operator]  # none of them is None
    per_clip = frames_per_clip(pretraining["data"])
    hooks = [plain(hook) for hook in cfg.get("custom_hooks") or ()]
    return {
        "masking": model.get("masking"),
        **pretraining["recipe"],
        "mask_schedule": [hook for hook in hooks if short_type(hook) == "MaskSchedule"],
        "target": model.get("target"),
        "decoder": model.get("decoder"),
        "guide": model.get("teacher"),
        "iterations": iterations,
        "batch_size": batch,
        "processes": processes,
        "clips": clips,
        "frames_per_clip": per_clip,
        "frames_seen": None if clips is None or per_clip is None else clips * per_clip,
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


def _processes(cfg: Config, checkpoint: Path) -> int | None:
    """Return the number of training processes; None if it changed or is unknown."""
    found = {
        int(number)
        for log in checkpoint.parent.glob("*/*.log")
        for number in _PROCESSES.findall(log.read_text(errors="replace"))
    }
    if not found and cfg.get("launcher") == "none":
        return 1
    return found.pop() if len(found) == 1 else None


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
