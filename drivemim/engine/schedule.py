"""Whether the schedules of a config fit the length of the training."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mmengine.config import Config

from drivemim.engine.config import short_type
from drivemim.errors import ConfigError

# Schedulers that leave the rate as it was given when they end; others leave it lowered.
_WARM_UPS = ("ConstantLR", "LinearLR", "QuadraticWarmupLR")
_LONGEST_PERIOD = 1.1  # of a cosine; MMDetection's YOLOX stops 2 % before the end of one
_WARM_UP_SHARE = 12  # a warm-up that is proposed takes one part in so many


@dataclass(frozen=True, kw_only=True)
class Length:
    """How long a run trains.

    Attributes:
        key: of the config that says so.
        units: iterations, or epochs where ``by_epoch``.
        by_epoch: whether the loop counts epochs.
        iterations: in all; None where the number of iterations of an epoch is not known yet.
    """

    key: str
    units: int
    by_epoch: bool
    iterations: int | None

    def of(self, by_epoch: bool) -> int | None:
        """Length in the units of a scheduler; None where it cannot be told."""
        return self.units if by_epoch == self.by_epoch else self.iterations


def check_schedule(config: Config, epoch_length: int | None = None) -> None:
    """Refuse schedules that do not end where training ends, or that count what the loop does not.

    Checked are the schedulers of the learning rate and of the momentum, the checkpoints' interval,
    and averaging of weights. A warm-up may end earlier: the rate is then what the config says.

    Args:
        config: with ``train_cfg``; one whose loop has no length that is known is not checked.
        epoch_length: iterations of an epoch, once it is known.

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
    _check_hooks(config, length, faults, cures)
    if not faults:
        return
    settings = " ".join(f"{key}={value}" for key, value in cures.items())
    raise ConfigError(
        f"{length.key}={length.units}, but {'; '.join(faults)}. Set what belongs together: "
        f"--cfg-options {length.key}={length.units} {settings}"
    )


def training_length(config: Config, epoch_length: int | None = None) -> Length | None:
    """How long a config trains; None if its loop does not say.

    Args:
        config: with ``train_cfg``.
        epoch_length: iterations of an epoch, once it is known.
    """
    loop = config.get("train_cfg") or {}
    kind = short_type(loop)
    by_epoch = loop.get("by_epoch", kind == "EpochBasedTrainLoop")
    name = "max_epochs" if by_epoch else "max_iters"
    units = loop.get(name)
    if not isinstance(units, int) or units < 1:
        return None
    iterations = units if not by_epoch else units * epoch_length if epoch_length else None
    return Length(
        key=f"train_cfg.{name}", units=units, by_epoch=bool(by_epoch), iterations=iterations
    )


def _lists(schedulers: Any, key: str) -> Iterator[dict[str, Mapping[str, Any]]]:
    """Schedulers of each optimizer by their keys: ``param_scheduler.1``."""
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
    """Compare the schedulers of one optimizer; all their keys are cures if one does not fit."""
    decays = [each for each in schedulers.values() if not _is_warm_up(each)]
    last = max((_end(each, length) for each in decays), default=0.0)
    found = [
        fault for key, each in schedulers.items() for fault in _faults(key, each, length, last)
    ]
    if not found:
        return
    faults += found
    for key, each in schedulers.items():
        by_epoch = _by_epoch(each) and length.by_epoch
        if by_epoch != _by_epoch(each):
            cures[f"{key}.by_epoch"] = by_epoch
        if (total := length.of(by_epoch)) is not None:
            same = [other for other in schedulers.values() if _by_epoch(other) == _by_epoch(each)]
            cures.update({f"{key}.{name}": value for name, value in _moved(each, same, total)})


def _moved(
    scheduler: Mapping[str, Any], same: list[Mapping[str, Any]], total: int
) -> Iterator[tuple[str, Any]]:
    """Numbers of a scheduler for another length: warm-ups that fit stay, the rest is scaled.

    Args:
        scheduler: to move.
        same: all that count the same units, itself included.
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

    if scheduler.get("begin"):
        yield "begin", move(scheduler["begin"])
    end = _units(scheduler.get("end"))
    if end is not None:
        yield "end", move(end)
    if "T_max" in scheduler:
        yield "T_max", (total if end is None else move(end)) - move(scheduler.get("begin", 0))
    if milestones := scheduler.get("milestones"):
        scaled = sorted({max(1, int(place * total / whole)) for place in milestones})
        chosen = milestones if max(milestones) < total else scaled
        yield "milestones", f"[{','.join(map(str, chosen))}]"


def _by_epoch(scheduler: Mapping[str, Any]) -> bool:
    return bool(scheduler.get("by_epoch", True))  # MMEngine's default


def _units(value: Any) -> float | None:
    """A finite number of iterations or epochs; MMEngine's default end is a huge one."""
    return float(value) if isinstance(value, (int, float)) and 0 < value < 1e9 else None


def _is_warm_up(scheduler: Mapping[str, Any]) -> bool:
    kind = short_type(scheduler).replace("Momentum", "LR").replace("ParamScheduler", "LR")
    lowers = kind == "LinearLR" and scheduler.get("end_factor", 1.0) != 1.0
    return kind in _WARM_UPS and not lowers and not scheduler.get("begin")


def _end(scheduler: Mapping[str, Any], length: Length) -> float:
    """Where a scheduler ends, as a share of the training; infinity if it never does."""
    total = length.of(_by_epoch(scheduler))
    end = _units(scheduler.get("end"))
    if end is None or total is None:
        return math.inf
    return end / total


def _faults(key: str, each: Mapping[str, Any], length: Length, last: float) -> list[str]:
    """What does not fit in one scheduler."""
    kind, by_epoch = each.get("type"), _by_epoch(each)
    if by_epoch and not length.by_epoch:
        return [f"{key} ({kind}) has by_epoch=True, and there are no epochs: it never acts"]
    total = length.of(by_epoch)
    if total is None:
        return []
    unit = "epochs" if by_epoch else "iterations"
    begin, end = float(each.get("begin", 0)), _units(each.get("end"))
    if end is not None and end > total:
        what = "warms up for" if _is_warm_up(each) else "ends after"
        return [f"{key} ({kind}) {what} {end:g} {unit} of {total}"]
    if begin >= total:
        return [f"{key} ({kind}) begins after {begin:g} {unit} of {total}"]
    if end is not None and not _is_warm_up(each) and end < total and last < 1:
        return [f"{key} ({kind}) ends after {end:g} {unit} of {total}"]
    period = (end or total) - begin
    if "T_max" in each and not period <= each["T_max"] <= _LONGEST_PERIOD * period:
        return [f"{key} ({kind}) has T_max={each['T_max']} for {period:g} {unit}"]
    late = [place for place in each.get("milestones", ()) if place >= total]
    return [f"{key} ({kind}) has milestones {late}, after {total} {unit}"] if late else []


def _check_hooks(config: Config, length: Length, faults: list[str], cures: dict[str, Any]) -> None:
    """Checkpoints that are counted in epochs where there are none; averaging that never begins."""
    hook = (config.get("default_hooks") or {}).get("checkpoint") or {}
    saves = hook.get("interval", -1) > 0
    if saves and hook.get("by_epoch", True) and not length.by_epoch:
        faults.append(
            "default_hooks.checkpoint has by_epoch=True, and there are no epochs: it would save at "
            "the end alone"
        )
        cures["default_hooks.checkpoint.by_epoch"] = False
        if hook["interval"] < 100:  # meant as epochs
            cures["default_hooks.checkpoint.interval"] = max(1, length.units // 10)
    for place, each in enumerate(config.get("custom_hooks") or ()):
        for name, by_epoch in (("begin_iter", False), ("begin_epoch", True)):
            total = length.of(by_epoch)
            if short_type(each) == "EMAHook" and total and each.get(name, 0) >= total:
                faults.append(f"custom_hooks.{place} (EMAHook) begins after {name}={each[name]}")
                cures[f"custom_hooks.{place}.{name}"] = 0
