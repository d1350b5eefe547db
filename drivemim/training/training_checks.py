"""Checks of a run's length, schedule and precision, before anything is built."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from drivemim.errors import ConfigError
from drivemim.training.agreement import check_scaled_rate
from drivemim.training.autocast import mixed_precision
from drivemim.training.schedule import check_schedule
from drivemim.training.schedule_scaling import scale_training
from drivemim.training.training_length import training_length
from drivemim.training.value_errors import errors_of_values
from drivemim.training.work_dir import MarkBegin


@errors_of_values(MarkBegin())
def check_training(
    cfg: Config,
    config: str | Path,
    amp: bool,
    iterations: int | None,
    options: Mapping[str, Any],
) -> None:
    """Set length and precision in a config; refuse settings that contradict each other.

    Args:
        cfg: config of a run, with ``options``; it is changed in place.
        config: its name, for errors.
        amp: see :func:`drivemim.training.run.train`.
        iterations: likewise.
        options: options that the user gave.

    Raises:
        ConfigError: if the config cannot be trained, or settings contradict each other; the message
            names the keys.
    """
    for key in ("train_dataloader", "train_cfg", "optim_wrapper"):
        if cfg.get(key) is None:
            raise ConfigError(f"{config} has no {key}: it cannot be trained")
    is_set = "train_cfg.max_iters" in options
    if iterations is not None:
        if is_set:
            raise ConfigError("--iterations and --cfg-options train_cfg.max_iters=N: give one")
        scale_training(cfg, iterations)
    if amp:
        cfg.optim_wrapper = _with_amp(cfg.optim_wrapper)
    _check_accumulation(cfg, is_scaled=iterations is not None)
    check_scaled_rate(cfg)
    check_schedule(
        cfg,
        scale_hint=is_set and cfg.train_cfg.get("max_epochs") is None,
        is_scaled=iterations is not None,
    )


def _with_amp(optim_wrapper: dict[str, Any]) -> dict[str, Any]:
    """Return the config of an optimizer wrapper, changed to mixed precision if it has none yet.

    Raises:
        ConfigError: for another wrapper than MMEngine's or DriveMIM's.
    """
    kind = optim_wrapper.get("type", "OptimWrapper")
    if kind == "OptimWrapper":
        return mixed_precision(optim_wrapper)
    if kind in ("AmpOptimWrapper", "drivemim.AutocastOptimWrapper"):
        return optim_wrapper
    raise ConfigError(f"--amp replaces OptimWrapper, but the config has optim_wrapper.type={kind}")


def _check_accumulation(cfg: Config, is_scaled: bool) -> None:
    """Refuse checkpoints between two updates of the weights: they would lack gradients.

    Raises:
        ConfigError: with the key of the interval, and the next multiple.
    """
    counts = cfg.optim_wrapper.get("accumulative_counts", 1)
    checkpoint = (cfg.get("default_hooks") or {}).get("checkpoint") or {}
    intervals = {}
    if not checkpoint.get("by_epoch", True):
        interval = checkpoint.get("interval", -1)
        intervals["default_hooks.checkpoint.interval"] = interval
        intervals["default_hooks.checkpoint.save_begin"] = (
            checkpoint.get("save_begin", 0) if interval > 0 else 0
        )
        whole = training_length(cfg)
        if checkpoint.get("save_best") and not (whole and whole.by_epoch):
            intervals["train_cfg.val_interval"] = cfg.train_cfg.get("val_interval", 1000)
            for number, (_, interval) in enumerate(cfg.train_cfg.get("dynamic_intervals") or ()):
                intervals[f"train_cfg.dynamic_intervals.{number}.1"] = interval
    # The last checkpoint is always written.
    length = "--iterations" if is_scaled else "train_cfg.max_iters"
    intervals[length] = cfg.train_cfg.get("max_iters") or 0
    for key, interval in intervals.items():
        if interval > 0 and interval % counts:
            raise ConfigError(
                f"{key}={interval} is not a multiple of optim_wrapper.accumulative_counts="
                f"{counts}: a resumed run would lose gradients; use "
                f"{-(-interval // counts) * counts}"
            )
