"""Classify the schedulers of a config by their type and settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from drivemim.config.nested import short_type

# Schedulers that end at the config's learning rate; most others end below it.
WARM_UPS = ("ConstantLR", "LinearLR", "QuadraticWarmupLR")


def counts_epochs(scheduler: Mapping[str, Any]) -> bool:
    """Return whether a scheduler is given in epochs."""
    return bool(scheduler.get("by_epoch", True))  # MMEngine's default


def is_converted(scheduler: Mapping[str, Any]) -> bool:
    """Return whether a scheduler is given in epochs but acts every iteration, in any loop."""
    return bool(scheduler.get("convert_to_iter_based")) and counts_epochs(scheduler)


def scheduled_parameter(scheduler: Mapping[str, Any]) -> str:
    """Return what a scheduler changes: ``lr``, ``momentum``, or its ``param_name``."""
    is_momentum = short_type(scheduler).endswith("Momentum")
    return str(scheduler.get("param_name") or ("momentum" if is_momentum else "lr"))


def scheduler_kind(scheduler: Mapping[str, Any]) -> str:
    """Return a scheduler's type, such as ``LinearLR``, also for ``LinearMomentum`` and the like."""
    return short_type(scheduler).replace("Momentum", "LR").replace("ParamScheduler", "LR")


def ends_at_rate(scheduler: Mapping[str, Any]) -> bool:
    """Return whether a scheduler ends at the config's own rate, like a warm-up."""
    kind = scheduler_kind(scheduler)
    lowers = kind == "LinearLR" and scheduler.get("end_factor", 1.0) != 1.0
    return kind in WARM_UPS and not lowers
