"""Checks that the schedules of a config fit the length of the training."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.config import Config

from drivemim.engine.config import short_type
from drivemim.engine.schedule_hooks import check_hooks
from drivemim.engine.training_length import Length, training_length
from drivemim.errors import ConfigError

# Schedulers that end with the config's learning rate; others end with a lower one.
_WARM_UPS = ("ConstantLR", "LinearLR", "QuadraticWarmupLR")
_LONGEST_PERIOD = 1.1  # of a cosine; MMDetection's YOLOX stops 2 % before its end
_WARM_UP_SHARE = 12  # a proposed warm-up takes 1/12 of the training


def check_schedule(config: Config, epoch_length: int | None = None) -> None:
    """Refuse schedules that do not end with the training, or count other units than the loop.

    The check covers the schedulers of learning rate and momentum, the interval of checkpoints, and
    weight averaging. A warm-up may end earlier: the learning rate is then the config's.

    Args:
        config: config with ``train_cfg``; it is not checked if the length of its loop is unknown.
        epoch_length: iterations per epoch, if known.

    Raises:
        ConfigError: with every key to set.
    """
    length = training_length(config, epoch_length)
    if length is None:
        return
    faults: list[str] = []
    cures: dict[str, Any] = {}
    for schedulers in _lists(config.get("param_scheduler"), "param_scheduler"):
        _compare(schedulers, length, faults, cures)
        _check_lowest(config, schedulers, faults, cures)
    check_hooks(config, length, faults, cures)
    if not faults:
        return
    settings = " ".join(f"{key}={value}" for key, value in cures.items())
    raise ConfigError(
        f"{length.key}={length.units}, but {'; '.join(faults)}. Set what belongs together: "
        f"--cfg-options {length.key}={length.units} {settings}"
    )


def _lists(schedulers: Any, key: str) -> Iterator[dict[str, Mapping[str, Any]]]:
    """Yield the schedulers of each optimizer by their keys, such as ``param_scheduler.1``."""
    if isinstance(schedulers, Mapping) and "type" not in schedulers:
        for name, own in schedulers.items():
            yield from _lists(own, f"{key}.{name}")
    elif isinstance(schedulers, Mapping):
        yield {key: schedulers}
    elif isinstance(schedulers, (list, tuple)):
        yield {f"{key}.{place}": each for place, each in enumerate(schedulers)
               if isinstance(each, Mapping)}  # fmt: skip


def _compare(
    schedulers: dict[str, Mapping[str, Any]],
    length: Length,
    faults: list[str],
    cures: dict[str, Any],
) -> None:
    """Compare the schedulers of one optimizer; if one does not fit, all their keys are cures."""
    last: dict[str, float] = {}  # momentum and learning rate end independently
    for each in schedulers.values():
        if not _is_warm_up(each):
            last[_parameter(each)] = max(last.get(_parameter(each), 0.0), _end(each, length))
    found = [
        fault
        for key, each in schedulers.items()
        for fault in _faults(key, each, length, last.get(_parameter(each), 0.0))
    ]
    if not found:
        return
    faults += found
    for key, each in schedulers.items():
        by_epoch = _by_epoch(each) and (length.by_epoch or _is_converted(each))
        if by_epoch != _by_epoch(each):
            cures[f"{key}.by_epoch"] = by_epoch
        if (total := length.of(by_epoch)) is not None:
            same = [other for other in schedulers.values() if _by_epoch(other) == _by_epoch(each)]
            cures.update({f"{key}.{name}": value for name, value in _moved(each, same, total)})
            if by_epoch and not length.by_epoch:  # MMEngine's default end is the first epoch's
                cures.setdefault(f"{key}.end", total)


def _moved(
    scheduler: Mapping[str, Any], same: list[Mapping[str, Any]], total: int
) -> Iterator[tuple[str, Any]]:
    """Yield a scheduler's numbers for another length: warm-ups that fit stay, others are scaled.

    Args:
        scheduler: scheduler to scale.
        same: all schedulers that count the same units, including this one.
        total: length of the training.
    """
    ends = [(_units(each.get("end")), _is_warm_up(each)) for each in same]
    places = [end for end, is_warm_up in ends if end is not None and not is_warm_up]
    late = [float(place) for each in same for place in each.get("milestones", ())]
    whole = max(places, default=0.0) or max(late, default=0.0) * 12 / 11 or float(total)
    warm_ups = {
        end: int(end) if end < total else max(1, total // _WARM_UP_SHARE)
        for end, is_warm_up in ends
        if end is not None and is_warm_up
    }

    def move(place: float) -> int:
        return warm_ups.get(place, round(place * total / whole))

    begin = move(scheduler.get("begin", 0))
    if scheduler.get("begin"):
        yield "begin", begin
    end = _units(scheduler.get("end"))
    if end is not None:
        yield "end", move(end)
    if "T_max" in scheduler:
        yield "T_max", (total if end is None else move(end)) - begin
    yield from _moved_steps(scheduler, (total if end is None else move(end)) - begin, whole)


def _moved_steps(
    scheduler: Mapping[str, Any], period: int, whole: float
) -> Iterator[tuple[str, Any]]:
    """Yield the numbers of a scheduler that count from its own beginning.

    Args:
        scheduler: scheduler to scale.
        period: its new duration.
        whole: previous end of the schedule.
    """
    scale = period / max(1.0, whole - scheduler.get("begin", 0))
    if "total_steps" in scheduler:
        yield "total_steps", period
    if scheduler.get("step_size", 0) >= period:
        yield "step_size", max(1, period * 2 // 3)
    if periods := scheduler.get("periods"):
        scaled = [max(1, round(each * period / sum(periods))) for each in periods]
        scaled[-1] += period - sum(scaled)
        yield "periods", f"[{','.join(map(str, scaled))}]"
    if milestones := scheduler.get("milestones"):
        scaled = sorted({max(1, int(place * scale)) for place in milestones})
        chosen = milestones if max(milestones) < period else scaled
        if chosen[-1] >= period:
            chosen = [place for place in chosen if place < period] or [max(1, period * 2 // 3)]
        yield "milestones", f"[{','.join(map(str, chosen))}]"


def _by_epoch(scheduler: Mapping[str, Any]) -> bool:
    return bool(scheduler.get("by_epoch", True))  # MMEngine's default


def _is_converted(scheduler: Mapping[str, Any]) -> bool:
    """Return whether a scheduler is given in epochs but acts every iteration, in any loop."""
    return bool(scheduler.get("convert_to_iter_based")) and _by_epoch(scheduler)


def _parameter(scheduler: Mapping[str, Any]) -> str:
    """Return what a scheduler changes: ``lr``, ``momentum``, or its ``param_name``."""
    is_momentum = short_type(scheduler).endswith("Momentum")
    return str(scheduler.get("param_name") or ("momentum" if is_momentum else "lr"))


def _units(value: Any) -> float | None:
    """Return a finite number of iterations or epochs; None for MMEngine's huge default end."""
    return float(value) if isinstance(value, (int, float)) and 0 < value < 1e9 else None


def _is_warm_up(scheduler: Mapping[str, Any]) -> bool:
    kind = short_type(scheduler).replace("Momentum", "LR").replace("ParamScheduler", "LR")
    lowers = kind == "LinearLR" and scheduler.get("end_factor", 1.0) != 1.0
    return kind in _WARM_UPS and not lowers and not scheduler.get("begin")


def _end(scheduler: Mapping[str, Any], length: Length) -> float:
    """Return where a scheduler ends, as a fraction of the training; infinity if it never does."""
    total = length.of(_by_epoch(scheduler))
    end = _own_end(scheduler, length)
    if end is None or total is None:
        return math.inf
    return end / total


def _own_end(scheduler: Mapping[str, Any], length: Length) -> float | None:
    """Return the end that a scheduler names.

    The default is one epoch for a scheduler that is converted to iterations in a loop without
    epochs.
    """
    default = 1 if _is_converted(scheduler) and not length.by_epoch else None
    return _units(scheduler.get("end", default))


def _faults(key: str, each: Mapping[str, Any], length: Length, last: float) -> list[str]:
    """List the faults of one scheduler."""
    named, by_epoch = f"{key} ({short_type(each)})", _by_epoch(each)
    if by_epoch and not length.by_epoch and not _is_converted(each):
        return [f"{named} has by_epoch=True, and there are no epochs: it never acts"]
    total = length.of(by_epoch)
    if total is None:
        return []
    unit = "epochs" if by_epoch else "iterations"
    begin, end = float(each.get("begin", 0)), _own_end(each, length)
    if end is not None and end > total:
        what = "warms up for" if _is_warm_up(each) else "ends after"
        return [f"{named} {what} {end:g} {unit} of {total}"]
    if begin >= total:
        return [f"{named} begins after {begin:g} {unit} of {total}"]
    if end is not None and not _is_warm_up(each) and end < total and last < 1:
        return [f"{named} ends after {end:g} {unit} of {total}"]
    return _period_faults(named, each, (end or total) - begin, unit)


def _period_faults(named: str, each: Mapping[str, Any], period: float, unit: str) -> list[str]:
    """List the faults in the time from a scheduler's beginning to its end.

    MMEngine counts milestones and steps from the scheduler's beginning.
    """
    if "T_max" in each and not period <= each["T_max"] <= _LONGEST_PERIOD * period:
        return [f"{named} has T_max={each['T_max']} for {period:g} {unit}"]
    if "total_steps" in each and each["total_steps"] != period:
        return [f"{named} has total_steps={each['total_steps']} for {period:g} {unit}"]
    periods = each.get("periods")
    if periods and not period <= sum(periods) <= _LONGEST_PERIOD * period:
        return [f"{named} has periods of {sum(periods)} in all for {period:g} {unit}"]
    if each.get("step_size", 0) >= period:
        return [f"{named} has step_size={each['step_size']} for {period:g} {unit}: it never steps"]
    late = [place for place in each.get("milestones", ()) if place >= period]
    return [f"{named} has milestones {late}, after {period:g} {unit}"] if late else []


def _check_lowest(
    config: Config,
    schedulers: Mapping[str, Mapping[str, Any]],
    faults: list[str],
    cures: dict[str, Any],
) -> None:
    """Find an ``eta_min`` above the learning rate, as if only the learning rate was lowered."""
    optimizer = (config.get("optim_wrapper") or {}).get("optimizer") or {}
    rate = optimizer.get("lr")
    scaled = (config.get("auto_scale_lr") or {}).get("enable")
    if scaled or not isinstance(rate, (int, float)) or rate <= 0:
        return
    for key, each in schedulers.items():
        lowest = each.get("eta_min", 0)
        if _parameter(each) == "lr" and isinstance(lowest, (int, float)) and lowest > rate:
            faults.append(
                f"{key} ({short_type(each)}) has eta_min={lowest:g}, above "
                f"optim_wrapper.optimizer.lr={rate:g}: the rate would rise"
            )
            cures[f"{key}.eta_min"] = f"{rate / 20:g}"
