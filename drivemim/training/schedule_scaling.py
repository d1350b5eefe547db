"""Training for another number of iterations than a config says, with its schedules scaled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.config import Config

from drivemim.errors import ConfigError
from drivemim.training.schedule import scheduler_lists
from drivemim.training.scheduler_kinds import counts_epochs, ends_at_rate
from drivemim.training.training_length import training_length

_PLACES = ("begin", "end", "T_max", "step_size", "total_steps")
_LISTS = ("milestones", "periods")
_ENDLESS = 1e9  # MMEngine's default end


def scale_training(config: Config, iterations: int) -> None:
    """Set the number of iterations, and scale warm-up and schedules to it, in place.

    Schedules that count epochs stay; ``check_schedule`` compares them with the new length.

    Args:
        config: config of a loop that counts iterations.
        iterations: new length, at least 2: one for the warm-up and one for what follows.

    Raises:
        ConfigError: if the number is below 2, or the loop counts epochs.
    """
    if iterations < 2:
        raise ConfigError(f"--iterations {iterations}: train for at least 2")
    length = training_length(config)
    if length is None or length.by_epoch:
        raise ConfigError(
            f"--iterations {iterations}, but the config's loop counts no iterations; set "
            "--cfg-options train_cfg.max_epochs=N"
        )
    factor = iterations / length.units
    for schedulers in scheduler_lists(config.get("param_scheduler"), "param_scheduler"):
        counted = [each for each in schedulers.values() if not counts_epochs(each)]
        # A warm-up of one iteration would never raise the rate (see schedule.py).
        least = 2 if iterations > 2 else 1
        warm = {float(each.get("end", 0)): least for each in counted if ends_at_rate(each)}
        for scheduler in counted:
            _scale(scheduler, factor, warm)
    if config.train_cfg.get("val_begin", 1) > length.units:  # no validation
        config.train_cfg.val_begin = iterations + 1
    config.train_cfg.max_iters = iterations


def _scale(scheduler: Mapping[str, Any], factor: float, least: Mapping[float, int]) -> None:
    """Scale a scheduler's numbers of iterations, in place; equal numbers stay equal.

    Args:
        scheduler: the scheduler.
        factor: new length of the training, relative to the old one.
        least: smallest new values of some old ones; 1 for others.
    """

    def move(place: float) -> float:
        return (
            place if not 0 < place < _ENDLESS else max(least.get(place, 1), round(place * factor))
        )

    changed: dict[str, Any] = {
        name: move(scheduler[name]) for name in _PLACES if scheduler.get(name) is not None
    }
    for name in _LISTS:
        if isinstance(scheduler.get(name), (list, tuple)):
            changed[name] = [move(place) for place in scheduler[name]]
    scheduler.update(changed)  # type: ignore[attr-defined]  # a ConfigDict
