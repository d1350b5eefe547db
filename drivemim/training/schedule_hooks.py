"""Checks of hooks that count iterations or epochs, against the length of the training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.config import Config

from drivemim.config.loading import short_type
from drivemim.training.training_length import Length

_STAGE_TWO = 15  # MMDetection switches pipelines for the last 1/15 of the training


def check_hooks(config: Config, length: Length, faults: list[str], cures: dict[str, Any]) -> None:
    """Find hooks that never act, or save nothing, in a training of this length.

    Args:
        config: config with ``default_hooks`` and ``custom_hooks``.
        length: length of the training.
        faults: list to which faults are added.
        cures: dict to which the keys to set are added, with their values.
    """
    _check_checkpoints(config, length, faults, cures)
    for place, each in enumerate(config.get("custom_hooks") or ()):
        if isinstance(each, Mapping):
            _check_hook(f"custom_hooks.{place}", each, length, faults, cures)


def _check_checkpoints(
    config: Config, length: Length, faults: list[str], cures: dict[str, Any]
) -> None:
    key = "default_hooks.checkpoint"
    hook = (config.get("default_hooks") or {}).get("checkpoint") or {}
    interval, by_epoch = hook.get("interval", -1), hook.get("by_epoch", True)
    if interval > 0 and by_epoch and not length.by_epoch:
        faults.append(
            f"{key} has by_epoch=True, and there are no epochs: it would save at the end alone"
        )
        cures[f"{key}.by_epoch"] = False
        if interval < 100:  # meant as epochs
            cures[f"{key}.interval"] = max(1, length.units // 10)
        return
    total = length.of(by_epoch)
    if interval > 0 and not hook.get("save_last", True) and total and interval > total:
        faults.append(f"{key} has save_last=False and interval={interval}: it would save nothing")
        cures[f"{key}.save_last"] = True


def _check_hook(
    key: str, hook: Mapping[str, Any], length: Length, faults: list[str], cures: dict[str, Any]
) -> None:
    kind = short_type(hook)
    epochs = length.units if length.by_epoch else 0
    iterations = length.of(by_epoch=False)
    if kind == "EMAHook":
        if hook.get("begin_epoch", 0) and hook["begin_epoch"] >= epochs:
            faults.append(f"{key} (EMAHook) begins after begin_epoch={hook['begin_epoch']}")
            cures[f"{key}.begin_epoch"] = 0
        elif iterations and hook.get("begin_iter", 0) >= iterations:
            faults.append(f"{key} (EMAHook) begins after begin_iter={hook['begin_iter']}")
            cures[f"{key}.begin_iter"] = 0
    elif kind == "PipelineSwitchHook" and hook.get("switch_epoch", 0) >= max(1, epochs):
        faults.append(
            f"{key} (PipelineSwitchHook) has switch_epoch={hook['switch_epoch']}: it never acts"
            + ("" if epochs else ", take it out")
        )
        if epochs:
            cures[f"{key}.switch_epoch"] = max(0, epochs - -(-epochs // _STAGE_TWO))
    # It switches one epoch before its last epochs begin.
    elif kind == "YOLOXModeSwitchHook" and hook.get("num_last_epochs", 15) >= max(1, epochs - 1):
        faults.append(
            f"{key} (YOLOXModeSwitchHook) has num_last_epochs={hook.get('num_last_epochs', 15)}: "
            "it ends Mosaic and MixUp before the first iteration"
        )
        if epochs:
            cures[f"{key}.num_last_epochs"] = max(0, min(-(-epochs // _STAGE_TWO), epochs - 2))
