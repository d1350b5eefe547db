"""Checks that the schedules of a config fit the length of the training."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.config import Config

from drivemim.config.nested import short_type
from drivemim.errors import ConfigError
from drivemim.training.schedule_hooks import check_hooks
from drivemim.training.schedule_rates import check_lowest, check_rates
from drivemim.training.scheduler_kinds import (
    WARM_UPS,
    counts_epochs,
    ends_at_rate,
    is_converted,
    scheduled_parameter,
    scheduler_kind,
)
from drivemim.training.training_length import Length, training_length

# Schedulers that compute the rate from the distance to their end.
_SHAPED = (*WARM_UPS, "PolyLR", "CosineAnnealingLR", "OneCycleLR")
_EARLIEST = 0.1  # fraction of the training after which the last milestone must lie
# Longest period of a cosine, relative to the duration of its scheduler. MMDetection's YOLOX ends
# the scheduler after 98 % of the period.
LONGEST_PERIOD = 1.1
_MIN_FACTOR = 1e-6  # proposed steps do not lower the rate below this fraction
_WARM_UP_PART = 12  # a proposed warm-up takes 1/12 of the training
# Iterations or epochs. A shorter warm-up of MMEngine never raises the rate from its first value.
SHORTEST_WARM_UP = 2


def check_schedule(
    config: Config,
    epoch_length: int | None = None,
    *,
    scale_hint: bool = False,
    is_scaled: bool = False,
) -> None:
    """Refuse schedules that do not end with the training, or count other units than the loop.

    The check covers the schedulers of learning rate and momentum, the course of the learning rate,
    the intervals of checkpoints, validation and log, and weight averaging. A warm-up may end
    earlier: the learning rate is then the config's.

    Args:
        config: config with ``train_cfg``; nothing is checked if the length of the loop is unknown.
        epoch_length: iterations per epoch, if known.
        scale_hint: whether ``--iterations`` would scale the schedule to this length.
        is_scaled: whether ``--iterations`` set the length, for the message.

    Raises:
        ConfigError: with every key to set.
    """
    length = training_length(config, epoch_length)
    if length is None:
        return
    faults: list[str] = []
    fixes: dict[str, Any] = {}
    for schedulers in scheduler_lists(config.get("param_scheduler"), "param_scheduler"):
        known = len(faults)
        _compare(schedulers, length, faults, fixes)
        check_lowest(config, schedulers, faults, fixes)
        if len(faults) == known:
            faults += check_rates(config, schedulers, length)
    check_hooks(config, length, faults, fixes)
    if not faults:
        return
    length_words = f"--iterations {length.units}" if is_scaled else f"{length.key}={length.units}"
    message = f"{length_words}, but {'; '.join(faults)}"
    if scale_hint:
        message += f". Give --iterations {length.units} instead, which scales the schedule"
    if fixes:
        what = "Set what belongs together"
        if is_scaled:  # --iterations would scale these settings, too
            what = "In place of --iterations, set what belongs together"
        settings = " ".join(f"{key}={value}" for key, value in fixes.items())
        message += f". {what}: --cfg-options {length.key}={length.units} {settings}"
    raise ConfigError(message)


def scheduler_lists(schedulers: Any, key: str) -> Iterator[dict[str, Mapping[str, Any]]]:
    """Yield the schedulers of each optimizer by their keys, such as ``param_scheduler.1``.

    Args:
        schedulers: value of ``param_scheduler``.
        key: its key.
    """
    if isinstance(schedulers, Mapping) and "type" not in schedulers:
        for name, own in schedulers.items():
            yield from scheduler_lists(own, f"{key}.{name}")
    elif isinstance(schedulers, Mapping):
        yield {key: schedulers}
    elif isinstance(schedulers, (list, tuple)):
        yield {f"{key}.{place}": each for place, each in enumerate(schedulers)
               if isinstance(each, Mapping)}  # fmt: skip


def _compare(
    schedulers: dict[str, Mapping[str, Any]],
    length: Length,
    faults: list[str],
    fixes: dict[str, Any],
) -> None:
    """Find faults of the schedulers of one optimizer; if one is unfit, propose fixes for all."""
    siblings = list(schedulers.values())
    # The latest end by parameter, since momentum and learning rate end independently.
    last: dict[str, float] = {}
    for each in siblings:
        if not _warms_up(each, siblings):
            last[scheduled_parameter(each)] = max(
                last.get(scheduled_parameter(each), 0.0), _end(each, length)
            )
    unfit, empty = [], []
    for key, each in schedulers.items():
        if _units(each.get("end")) is not None and each["end"] <= each.get("begin", 0):
            empty.append(
                f"{key} ({short_type(each)}) is empty, begin={each.get('begin', 0)} and "
                f"end={each['end']}: take it out, or set a later end"
            )
        else:
            unfit += _faults(key, each, siblings, length, last.get(scheduled_parameter(each), 0.0))
    faults += unfit + empty
    if not unfit:
        return
    for key, each in schedulers.items():
        by_epoch = counts_epochs(each) and (length.by_epoch or is_converted(each))
        if by_epoch != counts_epochs(each):
            fixes[f"{key}.by_epoch"] = by_epoch
        if (total := length.of(by_epoch)) is not None:
            unit = 1 if by_epoch == counts_epochs(each) else length.epoch_length
            same = [other for other in siblings if counts_epochs(other) == counts_epochs(each)]
            moved = _moved(each, same, total, unit)
            fixes.update({f"{key}.{name}": value for name, value in moved})
            if by_epoch and not length.by_epoch:  # MMEngine's default end is the first epoch's
                fixes.setdefault(f"{key}.end", total)


def _moved(
    scheduler: Mapping[str, Any], same: list[Mapping[str, Any]], total: int, unit: int | None
) -> Iterator[tuple[str, Any]]:
    """Yield the settings of a scheduler that change for another length of the training.

    Only warm-ups that fit keep their length.

    Args:
        scheduler: scheduler to scale.
        same: all schedulers that count the same units, including this one.
        total: new length of the training, in the new unit.
        unit: length of one previous unit in new units: 1 if both are the same, the iterations per
            epoch if epochs become iterations; None if that is unknown.
    """
    ends = [(_units(each.get("end")), _warms_up(each, same)) for each in same]
    places = [end for end, is_warm_up in ends if end is not None and not is_warm_up]
    late = [float(place) for each in same for place in _milestones(each)]
    # The previous length: the last end, or else 12/11 of the last milestone, as in MMDetection's
    # schedules of 12 epochs, whose last milestone is epoch 11.
    whole = max(places, default=0.0) or max(late, default=0.0) * 12 / 11
    shortest = SHORTEST_WARM_UP if total > SHORTEST_WARM_UP else 1
    proposed = max(shortest, total // _WARM_UP_PART)
    warm_ups = {}
    for end, is_warm_up in ends:
        if end is not None and is_warm_up:
            # If the length of an epoch is unknown, the warm-up keeps its fraction of the training.
            moved = end * (unit or (total / whole if whole else math.inf))
            warm_ups[end] = max(int(moved), shortest) if moved < total else proposed
    whole = whole or float(total)

    def move(place: float) -> int:
        return warm_ups.get(place, round(place * total / whole))

    begin = move(scheduler.get("begin", 0))
    if scheduler.get("begin"):
        yield "begin", begin
    end = _units(scheduler.get("end"))
    if end is not None:
        yield "end", move(end)
    elif _needs_end(scheduler):
        yield "end", proposed if _warms_up(scheduler, same) else total
    period = (total if end is None else move(end)) - begin
    if period < 1:
        return
    if "T_max" in scheduler:
        yield "T_max", period
    yield from _moved_steps(scheduler, period, whole, unit)


def _moved_steps(
    scheduler: Mapping[str, Any], period: int, whole: float, unit: int | None
) -> Iterator[tuple[str, Any]]:
    """Yield the changed settings of a scheduler that count from its own beginning.

    Args:
        scheduler: scheduler to scale.
        period: its new duration.
        whole: previous length of the training.
        unit: length of one previous unit in new units; None if unknown.
    """
    scale = period / max(1.0, whole - scheduler.get("begin", 0))
    if "total_steps" in scheduler:
        yield "total_steps", period
    if "step_size" in scheduler:
        step = scheduler["step_size"] * (unit or period)
        factor = scheduler.get("gamma", 0.1) ** (period / step)
        if step >= period or factor < _MIN_FACTOR:
            step = max(1, period * 2 // 3)
        if step != scheduler["step_size"]:
            yield "step_size", step
    if periods := scheduler.get("periods"):
        scaled = [max(1, round(each * period / sum(periods))) for each in periods]
        scaled[-1] += period - sum(scaled)
        yield "periods", f"[{','.join(map(str, scaled))}]"
    if milestones := _milestones(scheduler):
        unscaled = [place * unit for place in milestones] if unit else []
        if max(milestones) * scale < period * _EARLIEST:
            scale = period * 11 / 12 / max(milestones)
        scaled = sorted({max(1, int(place * scale)) for place in milestones})
        chosen = unscaled if unscaled and period * _EARLIEST <= max(unscaled) < period else scaled
        if chosen[-1] >= period:
            chosen = [place for place in chosen if place < period] or [max(1, period * 2 // 3)]
        yield "milestones", f"[{','.join(map(str, chosen))}]"


def _units(value: Any) -> float | None:
    """Return a finite number of iterations or epochs; None for MMEngine's huge default end."""
    return float(value) if isinstance(value, (int, float)) and 0 < value < 1e9 else None


def _warms_up(scheduler: Mapping[str, Any], others: list[Mapping[str, Any]]) -> bool:
    """Return whether a scheduler warms up before any other scheduler has lowered the rate."""
    lowered = [
        end
        for other in others
        if not ends_at_rate(other)
        and (scheduled_parameter(other), counts_epochs(other))
        == (scheduled_parameter(scheduler), counts_epochs(scheduler))
        and (end := _units(other.get("end"))) is not None
    ]
    return ends_at_rate(scheduler) and scheduler.get("begin", 0) < min(lowered, default=math.inf)


def _needs_end(scheduler: Mapping[str, Any]) -> bool:
    """Return whether a scheduler without an end of its own needs one.

    MMEngine's Runner gives such a scheduler the end of the training. This is right for schedulers
    that lower the rate, but a warm-up would take the whole training. An end of 1e9 or more is
    MMEngine's infinity; a schedule of that length never changes the rate.
    """
    if "end" in scheduler:
        has_length = "T_max" in scheduler or "total_steps" in scheduler
        return (
            scheduler_kind(scheduler) in _SHAPED
            and not has_length
            and _units(scheduler["end"]) is None
        )
    changes = scheduler_kind(scheduler) != "ConstantLR" or scheduler.get("factor", 1 / 3) != 1
    return ends_at_rate(scheduler) and changes


def _milestones(scheduler: Mapping[str, Any]) -> list[Any]:
    """Return the milestones of a scheduler; a single number, which MMEngine refuses, as a list."""
    milestones = scheduler.get("milestones") or ()
    return list(milestones) if isinstance(milestones, (list, tuple)) else [milestones]


def _end(scheduler: Mapping[str, Any], length: Length) -> float:
    """Return where a scheduler ends, as a fraction of the training; infinity if it never does."""
    total = length.of(counts_epochs(scheduler))
    end = _own_end(scheduler, length)
    if end is None or total is None or _is_flat_after(scheduler, end):
        return math.inf
    return end / total


def _own_end(scheduler: Mapping[str, Any], length: Length) -> float | None:
    """Return the end in a scheduler's config; None if it names none.

    A scheduler in epochs that is converted to iterations ends after one epoch by default, if the
    loop counts no epochs.
    """
    default = 1 if is_converted(scheduler) and not length.by_epoch else None
    return _units(scheduler.get("end", default))


def _is_flat_after(scheduler: Mapping[str, Any], end: float) -> bool:
    """Return whether the last milestone comes before the end, so that the end changes no rate."""
    milestones = _milestones(scheduler)
    return bool(milestones) and max(milestones) + scheduler.get("begin", 0) < end


def _faults(
    key: str,
    each: Mapping[str, Any],
    siblings: list[Mapping[str, Any]],
    length: Length,
    last: float,
) -> list[str]:
    """List the faults of one scheduler.

    Args:
        key: its config key.
        each: its config.
        siblings: configs of all schedulers of the same optimizer.
        length: length of the training.
        last: latest end of the siblings that change the same parameter, except warm-ups, as a
            fraction of the training.
    """
    named, by_epoch = f"{key} ({short_type(each)})", counts_epochs(each)
    if by_epoch and not length.by_epoch and not is_converted(each):
        return [f"{named} has by_epoch=True, and there are no epochs: it never acts"]
    if _needs_end(each) and (length.by_epoch or not is_converted(each) or "end" in each):
        what = "warm up during the whole training" if "end" not in each else "never proceed"
        return [f"{named} has no end: it would {what}"]
    total = length.of(by_epoch)
    if total is None:
        return []
    unit = "epochs" if by_epoch else "iterations"
    begin, end = float(each.get("begin", 0)), _own_end(each, length)
    is_warm_up = _warms_up(each, siblings)
    if end is not None and end > total:
        what = "warms up for" if is_warm_up else "ends after"
        return [f"{named} {what} {end:g} {unit} of {total}"]
    if begin >= total:
        return [f"{named} begins after {begin:g} {unit} of {total}"]
    if is_warm_up and end is not None and end - begin < SHORTEST_WARM_UP < total:
        changes = each.get("start_factor", each.get("factor", 0)) != 1
        if changes and not is_converted(each):
            return [
                f"{named} ends after one {unit.removesuffix('s')}, and MMEngine then leaves the "
                "rate where the warm-up began"
            ]
    if end is not None and not is_warm_up and end < total and last < 1:
        return [f"{named} ends after {end:g} {unit} of {total}"]
    follows_warm_up = any(
        ends_at_rate(other) and counts_epochs(other) == by_epoch and other.get("end") == begin
        for other in siblings
    )
    # YOLOX counts the period of its cosine from the beginning of the training.
    if follows_warm_up and each.get("T_max") == end:
        return []
    return _period_faults(named, each, (end or total) - begin, unit) or _early(
        named, each, total, unit
    )


def _early(named: str, each: Mapping[str, Any], total: int, unit: str) -> list[str]:
    """Find milestones that all lie in the first tenth, such as epochs where iterations count."""
    milestones = _milestones(each)
    if not milestones or max(milestones) + each.get("begin", 0) >= _EARLIEST * total:
        return []
    return [f"{named} has milestones {milestones}, all in the first tenth of {total} {unit}"]


def _period_faults(named: str, each: Mapping[str, Any], period: float, unit: str) -> list[str]:
    """List the faults in the time from a scheduler's beginning to its end.

    MMEngine counts milestones and steps from the scheduler's beginning.
    """
    if "milestones" in each and not isinstance(each["milestones"], (list, tuple)):
        return [f"{named} has milestones={each['milestones']}, which is not a list"]
    if "T_max" in each and not period <= each["T_max"] <= LONGEST_PERIOD * period:
        return [f"{named} has T_max={each['T_max']} for {period:g} {unit}"]
    if "total_steps" in each and each["total_steps"] != period:
        return [f"{named} has total_steps={each['total_steps']} for {period:g} {unit}"]
    periods = each.get("periods")
    if periods and not period <= sum(periods) <= LONGEST_PERIOD * period:
        return [f"{named} has periods of {sum(periods)} in all for {period:g} {unit}"]
    # In the shortest trainings, a scheduler of one iteration has no room for a step.
    if "step_size" in each and each["step_size"] >= max(period, 2):
        return [f"{named} has step_size={each['step_size']} for {period:g} {unit}: it never steps"]
    late = [place for place in _milestones(each) if place >= period]
    return [f"{named} has milestones {late}, after {period:g} {unit}"] if late else []
