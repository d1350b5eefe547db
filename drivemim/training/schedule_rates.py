"""Checks of the learning rate that the schedulers of a config give together."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import PARAM_SCHEDULERS

from drivemim.compat import ParamScheduler, set_scheduler_step
from drivemim.config.nested import short_type
from drivemim.registry import registered_class
from drivemim.training.scheduler_kinds import (
    counts_epochs,
    ends_at_rate,
    is_converted,
    scheduled_parameter,
    scheduler_kind,
)
from drivemim.training.training_length import Length

# Pairs of a fraction of the highest rate and a fraction of the training. A run is refused if its
# rate is below the first for longer than the second. At 1e-6, weights hardly change in float32.
# 5e-4 finds cosines that end much too early: they stay at 2e-4.
_NEARLY_ZERO = ((1e-6, 1 / 3), (5e-4, 2 / 3))
# A warm-up whose first rate is below this fraction of the rate before it begins too late.
_DROP = 0.5
_STEPS = ("StepLR", "MultiStepLR", "ExponentialLR")
# Schedulers that lower the rate over their whole period; two at once multiply.
_LOWERING = ("CosineAnnealingLR", "CosineRestartLR", "PolyLR", "OneCycleLR")


def check_lowest(
    config: Config,
    schedulers: Mapping[str, Mapping[str, Any]],
    faults: list[str],
    fixes: dict[str, Any],
) -> None:
    """Find schedulers whose lowest rate is above the config's learning rate.

    This happens if only the learning rate was lowered. A scheduler may end at a higher rate if the
    next one lowers it again.

    Args:
        config: config with ``optim_wrapper``.
        schedulers: schedulers of one optimizer by their keys.
        faults: list to which the function adds faults.
        fixes: dict to which the function adds config keys, with the values to set.
    """
    optimizer = (config.get("optim_wrapper") or {}).get("optimizer") or {}
    rate: Any = optimizer.get("lr")
    if (config.get("auto_scale_lr") or {}).get("enable"):
        rate = None
    for key, each in schedulers.items():
        if scheduled_parameter(each) != "lr" or _is_lowered_later(each, schedulers):
            continue
        ratio, lowest = each.get("eta_min_ratio"), each.get("eta_min", 0)
        if isinstance(ratio, (int, float)) and ratio > 1:
            faults.append(
                f"{key} ({short_type(each)}) has eta_min_ratio={ratio:g}, above 1: "
                "the rate would rise"
            )
            fixes[f"{key}.eta_min_ratio"] = "0.05"
        is_known = isinstance(rate, (int, float)) and isinstance(lowest, (int, float))
        if is_known and 0 < rate < lowest:
            faults.append(
                f"{key} ({short_type(each)}) has eta_min={lowest:g}, above "
                f"optim_wrapper.optimizer.lr={rate:g}: the rate would rise"
            )
            fixes[f"{key}.eta_min"] = f"{rate / 20:g}"


def _is_lowered_later(
    scheduler: Mapping[str, Any], schedulers: Mapping[str, Mapping[str, Any]]
) -> bool:
    """Return whether a scheduler that lowers the rate, such as a cosine, begins where this ends."""
    end = scheduler.get("end")
    return end is not None and any(
        each.get("begin", 0) == end
        and scheduler_kind(each) in _LOWERING
        and scheduled_parameter(each) == "lr"
        and counts_epochs(each) == counts_epochs(scheduler)
        for each in schedulers.values()
    )


def check_rates(
    config: Config, schedulers: Mapping[str, Mapping[str, Any]], length: Length
) -> list[str]:
    """List faults of the learning rate that the schedulers give together.

    Each scheduler must already fit the training by itself. MMEngine's schedulers are stepped
    through the training, without a model. If the number of iterations per epoch is unknown, or a
    scheduler is not MMEngine's, the rates are not checked.

    Args:
        config: config with ``optim_wrapper``.
        schedulers: schedulers of one optimizer by their keys.
        length: length of the training.
    """
    of_rate = {key: each for key, each in schedulers.items() if scheduled_parameter(each) == "lr"}
    if faults := [*_rising_steps(of_rate), *_doubled(of_rate, length)]:
        return faults
    built = _build(config, of_rate, length)
    with warnings.catch_warnings():
        # MMEngine warns of steps of a scheduler without steps of the optimizer.
        warnings.simplefilter("ignore")
        return _course_faults(built, length) if built else []


def _rising_steps(schedulers: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Find schedulers whose steps raise the rate."""
    for key, each in schedulers.items():
        gamma = each.get("gamma", 0.1)
        if scheduler_kind(each) in _STEPS and isinstance(gamma, (int, float)) and gamma > 1:
            yield f"{key} ({short_type(each)}) has gamma={gamma:g}, above 1: the rate would rise"


def _doubled(schedulers: Mapping[str, Mapping[str, Any]], length: Length) -> Iterator[str]:
    """Find two schedulers that lower the rate over their periods at the same time."""
    lowering = {
        key: each
        for key, each in schedulers.items()
        if scheduler_kind(each) in _LOWERING
        or (scheduler_kind(each) == "LinearLR" and not ends_at_rate(each))
    }
    for (key, each), (other_key, other) in combinations(lowering.items(), 2):
        span, other_span = _span(each, length), _span(other, length)
        if span is None or other_span is None:
            continue
        (begin, end), (other_begin, other_end) = span, other_span
        if max(begin, other_begin) < min(end, other_end):
            yield (
                f"{key} ({short_type(each)}) and {other_key} ({short_type(other)}) lower the rate "
                "at the same time, and their factors multiply: take one out"
            )


def _span(scheduler: Mapping[str, Any], length: Length) -> tuple[float, float] | None:
    """Return where a scheduler begins and ends, as fractions of the training; None if unknown."""
    if (total := length.of(counts_epochs(scheduler))) is None:
        return None
    return scheduler.get("begin", 0) / total, scheduler.get("end", total) / total


def _build(
    config: Config, schedulers: Mapping[str, Mapping[str, Any]], length: Length
) -> dict[str, Any]:
    """Build the schedulers for an optimizer of one value; return {} if one cannot be built."""
    settings = (config.get("optim_wrapper") or {}).get("optimizer") or {}
    rate: Any = settings.get("lr")
    rate = float(rate) if isinstance(rate, (int, float)) and rate > 0 else 1.0
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=rate)
    built: dict[str, Any] = {}
    for key, each in schedulers.items():
        kind = _class_of(each, config)
        by_epoch = counts_epochs(each)
        # In a loop without epochs, MMEngine's default end of a scheduler by epoch is one epoch.
        end = length.of(by_epoch) if by_epoch == length.by_epoch or not by_epoch else 1
        if kind is None or end is None:
            return {}
        if (is_converted(each) or not by_epoch) and not length.epoch_length and length.by_epoch:
            return {}
        if is_converted(each) and not length.epoch_length:
            return {}
        settings = {"end": end, **each, "type": kind, "verbose": False}
        default = {"optimizer": optimizer, "epoch_length": length.epoch_length}
        try:
            built[key] = PARAM_SCHEDULERS.build(settings, default_args=default)
        except (TypeError, ValueError, AssertionError):
            return {}  # The Runner builds the scheduler later, and reports its error.
    return built


def _class_of(scheduler: Mapping[str, Any], config: Config) -> Any:
    """Return the class of a scheduler; None if no registered scheduler has its name."""
    kind = scheduler.get("type")
    if not isinstance(kind, str):
        return kind
    known = registered_class(PARAM_SCHEDULERS, kind)
    if known is None and (scope := config.get("default_scope")):
        known = registered_class(PARAM_SCHEDULERS, f"{scope}.{kind}")
    return known if isinstance(known, type) and issubclass(known, ParamScheduler) else None


def _course_faults(built: dict[str, Any], length: Length) -> list[str]:
    """Step the schedulers through the training; find late warm-ups and rates near zero."""
    epoch_length = length.epoch_length or 1
    total = length.units * epoch_length if length.by_epoch else length.units
    begins = {
        each.begin * (epoch_length if each.by_epoch else 1): key
        for key, each in built.items()
        if each.begin and _is_warm_up(each)
    }
    groups = next(iter(built.values())).optimizer.param_groups
    rates = [(0, groups[0]["lr"])]
    faults = []
    for iteration in _changing_iterations(
        list(built.values()), total, epoch_length if length.by_epoch else None
    ):
        last = rates[-1][1]
        for each in built.values():
            step = iteration // epoch_length if each.by_epoch else iteration
            if each.by_epoch and (not length.by_epoch or iteration % epoch_length):
                continue
            set_scheduler_step(each, step - 1)
            if each.begin <= step < each.end:
                each.step()
        before = _rate_before(rates, iteration)
        if groups[0]["lr"] != last:
            rates.append((iteration, groups[0]["lr"]))
        if iteration in begins and rates[-1][1] < _DROP * before:
            key = begins[iteration]
            faults.append(
                f"{key} ({type(built[key]).__name__}) begins to warm up at iteration {iteration} "
                f"of {total}, where the rate falls from {before:.3g} to {rates[-1][1]:.3g}: set "
                "begin=0, or take it out"
            )
    return faults or _nearly_zero(rates, total, epoch_length if length.by_epoch else 1, list(built))


def _rate_before(rates: list[tuple[int, float]], iteration: int) -> float:
    """Return the rate before an iteration.

    MMEngine's ConstantLR ends one iteration early. A rate that was set only one iteration before is
    therefore replaced by the one before, if that is lower.
    """
    if len(rates) > 1 and rates[-1][0] == iteration - 1:
        return min(rates[-1][1], rates[-2][1])
    return rates[-1][1]


def _is_warm_up(scheduler: Any) -> bool:
    """Return whether a scheduler begins below the config's rate and ends with it."""
    start = getattr(scheduler, "start_factor", getattr(scheduler, "factor", None))
    is_quadratic = type(scheduler).__name__.startswith("QuadraticWarmup")
    return is_quadratic or (
        start is not None
        and not getattr(scheduler, "need_val_args", False)
        and start < getattr(scheduler, "end_factor", 1.0)
    )


def _changing_iterations(
    schedulers: list[Any], total: int, epoch_length: int | None
) -> Iterator[int]:
    """Yield the iterations from 1 on before which a scheduler may change the rate."""
    iteration = 1
    while iteration < total:
        yield iteration
        acts = any(
            not each.by_epoch and each.begin <= iteration + 1 < each.end for each in schedulers
        )
        if acts:
            iteration += 1
            continue
        nexts = [each.begin for each in schedulers if not each.by_epoch and each.begin > iteration]
        if epoch_length:
            nexts.append((iteration // epoch_length + 1) * epoch_length)
        iteration = min(nexts, default=total)


def _nearly_zero(
    rates: list[tuple[int, float]], total: int, epoch_length: int, keys: list[str]
) -> list[str]:
    """Return the fault of a rate that is nearly zero during much of the training, if it is."""
    highest = max(rate for _, rate in rates)
    ends = [begin for begin, _ in rates[1:]] + [total]
    for level, longest in _NEARLY_ZERO:
        spans = [
            (begin, end - begin)
            for (begin, rate), end in zip(rates, ends, strict=True)
            if rate < level * highest
        ]
        fraction = sum(span for _, span in spans) / total
        if fraction > longest:
            unit = "epoch" if epoch_length > 1 else "step"
            return [
                f"{', '.join(keys)} keep the learning rate below {level:g} of its highest value "
                f"for {fraction:.0%} of the training, first after {unit} "
                f"{spans[0][0] // epoch_length}: the model hardly learns then. Lower it less "
                "often, or later"
            ]
    return []
