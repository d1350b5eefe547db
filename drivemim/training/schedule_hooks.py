"""Checks of hooks that count iterations or epochs, against the length of the training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.config import Config

from drivemim.config.nested import short_type
from drivemim.training.training_length import Length

_STAGE_TWO = 15  # a proposed switch of pipelines is 1/15 before the end, as in RTMDet
# Default intervals of MMDetection's hooks that count iterations of the whole training.
_INTERVALS = {"CheckInvalidLossHook": 50, "MeanTeacherHook": 1}


def check_hooks(config: Config, length: Length, faults: list[str], fixes: dict[str, Any]) -> None:
    """Find hooks that never act, or save nothing, in a training of this length.

    Args:
        config: config with ``default_hooks`` and ``custom_hooks``.
        length: length of the training.
        faults: list to which the function adds faults.
        fixes: dict to which the function adds config keys, with the values to set.
    """
    _check_validation(config, length, faults, fixes)
    _check_checkpoints(config, length, faults, fixes)
    for place, each in enumerate(config.get("custom_hooks") or ()):
        if isinstance(each, Mapping):
            _check_hook(f"custom_hooks.{place}", each, length, faults, fixes)


def describe_validation(config: Config, length: Length | None) -> str | None:
    """Return a line for the log if the config has validation data that it never validates on."""
    if length is None or not _is_without_validation(config, length):
        return None
    begin = config.train_cfg.val_begin
    return f"No validation: train_cfg.val_begin={begin} is after {length.key}={length.units}"


def _is_without_validation(config: Config, length: Length) -> bool:
    """Return whether the first validation is after the end of the training."""
    begin: int = config.train_cfg.get("val_begin", 1)
    return config.get("val_dataloader") is not None and begin > length.units


def _check_validation(
    config: Config, length: Length, faults: list[str], fixes: dict[str, Any]
) -> None:
    """Find validations that never happen, and settings that need one.

    The loop always validates after its last iteration or epoch, unless ``val_begin`` is later. A
    ``val_begin`` of exactly one more than the length is how a run disables validation on purpose.
    """
    without = _is_without_validation(config, length)
    begin = config.train_cfg.get("val_begin", 1)
    if without and begin > length.units + 1:
        faults.append(
            f"train_cfg.val_begin={begin}: it would never validate (to disable validation, set "
            f"{length.units + 1})"
        )
        fixes["train_cfg.val_begin"] = 1
        return
    if not without and config.get("val_dataloader") is not None:
        return
    why = (
        f"train_cfg.val_begin={begin} disables validation"
        if without
        else "there is no val_dataloader"
    )
    checkpoint = (config.get("default_hooks") or {}).get("checkpoint") or {}
    needing = [
        f"custom_hooks.{place} (EarlyStoppingHook)"
        for place, each in enumerate(config.get("custom_hooks") or ())
        if isinstance(each, Mapping) and short_type(each) == "EarlyStoppingHook"
    ]
    if checkpoint.get("save_best"):
        needing.append(f"default_hooks.checkpoint.save_best={checkpoint['save_best']}")
    faults += [f"{each} needs validation, and {why}: take it out" for each in needing]


def _check_checkpoints(
    config: Config, length: Length, faults: list[str], fixes: dict[str, Any]
) -> None:
    """Find a checkpoint hook that counts epochs where there are none, or saves nothing."""
    key = "default_hooks.checkpoint"
    hook = (config.get("default_hooks") or {}).get("checkpoint") or {}
    interval, by_epoch = hook.get("interval", -1), hook.get("by_epoch", True)
    if interval > 0 and by_epoch and not length.by_epoch:
        faults.append(
            f"{key} has by_epoch=True, and there are no epochs: it would save at the end alone"
        )
        fixes[f"{key}.by_epoch"] = False
        if interval < 100:  # so small that it means epochs
            fixes[f"{key}.interval"] = max(1, length.units // 10)
        return
    total, begin = length.of(by_epoch), hook.get("save_begin", 0)
    first = begin or interval  # MMEngine saves at save_begin, and counts from there
    if interval > 0 and not hook.get("save_last", True) and total and first > total:
        cause = f"save_begin={begin}" if begin else f"interval={interval}"
        faults.append(f"{key} has save_last=False and {cause}: it would save nothing")
        fixes[f"{key}.save_last"] = True


def _check_hook(
    key: str, hook: Mapping[str, Any], length: Length, faults: list[str], fixes: dict[str, Any]
) -> None:
    """Find a hook of MMEngine or MMDetection that begins too late or never acts."""
    kind = short_type(hook)
    epochs = length.units if length.by_epoch else 0
    iterations = length.of(by_epoch=False)
    if kind == "EMAHook":
        if hook.get("begin_epoch", 0) and hook["begin_epoch"] >= epochs:
            faults.append(f"{key} (EMAHook) begins after begin_epoch={hook['begin_epoch']}")
            fixes[f"{key}.begin_epoch"] = 0
        elif iterations and hook.get("begin_iter", 0) >= iterations:
            faults.append(f"{key} (EMAHook) begins after begin_iter={hook['begin_iter']}")
            fixes[f"{key}.begin_iter"] = 0
        elif iterations and not hook.get("begin_epoch", 0):
            _check_average(key, hook, iterations, faults, fixes)
    elif kind in _INTERVALS:
        interval = hook.get("interval", _INTERVALS[kind])
        if iterations and interval > iterations:
            faults.append(f"{key} ({kind}) has interval={interval}: it never acts")
            fixes[f"{key}.interval"] = 1
    elif kind == "PipelineSwitchHook" and hook.get("switch_epoch", 0) >= max(1, epochs):
        faults.append(
            f"{key} (PipelineSwitchHook) has switch_epoch={hook['switch_epoch']}: it never acts"
            + ("" if epochs else ", take it out")
        )
        if epochs:
            fixes[f"{key}.switch_epoch"] = max(0, epochs - -(-epochs // _STAGE_TWO))
    # The hook acts one epoch before the last ``num_last_epochs``.
    elif kind == "YOLOXModeSwitchHook" and hook.get("num_last_epochs", 15) >= max(1, epochs - 1):
        faults.append(
            f"{key} (YOLOXModeSwitchHook) has num_last_epochs={hook.get('num_last_epochs', 15)}: "
            "it ends Mosaic and MixUp before the first iteration"
        )
        if epochs:
            fixes[f"{key}.num_last_epochs"] = max(0, min(-(-epochs // _STAGE_TWO), epochs - 2))


def _check_average(
    key: str, hook: Mapping[str, Any], iterations: int, faults: list[str], fixes: dict[str, Any]
) -> None:
    """Find an average that never changes: its first step only copies the weights."""
    interval = hook.get("interval", 1)
    steps = iterations - max(0, hook.get("begin_iter", 0) - 1)
    if 1 < steps <= interval:
        faults.append(
            f"{key} (EMAHook) has interval={interval}: the averaged weights would be those of its "
            "first iteration"
        )
        fixes[f"{key}.interval"] = 1
