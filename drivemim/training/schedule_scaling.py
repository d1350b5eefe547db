"""Scale a config to another number of training iterations, with its schedules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

from mmengine.config import Config

from drivemim.config.nested import short_type
from drivemim.errors import ConfigError
from drivemim.training.schedule import LONGEST_PERIOD, SHORTEST_WARM_UP, scheduler_lists
from drivemim.training.scheduler_kinds import counts_epochs, ends_at_rate, scheduler_kind
from drivemim.training.training_length import training_length

_ENDLESS = 1e9  # MMEngine's default end

Schedulers = Sequence[Mapping[str, Any]]


def scale_training(config: Config, iterations: int) -> None:
    """Set the number of training iterations, and scale other settings in iterations, in place.

    Warm-ups, schedules, the first validation, changes of the validation interval, the first
    checkpoint and the beginning of weight averaging are scaled. Schedules that count epochs stay;
    ``check_schedule`` compares them with the new length.

    Args:
        config: config of a loop that counts iterations.
        iterations: new length, at least 2: one for the warm-up and one for the schedule after it.

    Raises:
        ConfigError: if the number is below 2 or too small for the parts of a schedule, or if the
            loop counts epochs.
    """
    if iterations < 2:
        raise ConfigError(f"--iterations {iterations}: train for at least 2")
    length = training_length(config)
    if length is None or length.by_epoch:
        raise ConfigError(
            f"--iterations {iterations}, but the config's loop counts no iterations; set "
            "--cfg-options train_cfg.max_epochs=N"
        )
    for schedulers in scheduler_lists(config.get("param_scheduler"), "param_scheduler"):
        counted = [each for each in schedulers.values() if not counts_epochs(each)]
        scale = _Scale.of(counted, length.units, iterations)
        for scheduler in counted:
            _scale(scheduler, scale)
    loop, factor = config.train_cfg, iterations / length.units
    if loop.get("val_begin", 1) > length.units:  # no validation
        loop.val_begin = iterations + 1
    else:
        _move_begin(loop, "val_begin", factor, iterations)
    if changes := loop.get("dynamic_intervals"):
        loop.dynamic_intervals = [
            (max(1, round(begin * factor)), interval) for begin, interval in changes
        ]
    for hook in config.get("custom_hooks") or ():
        if isinstance(hook, Mapping) and short_type(hook) == "EMAHook":
            _move_begin(hook, "begin_iter", factor, iterations - 1)
    checkpoint = (config.get("default_hooks") or {}).get("checkpoint") or {}
    if not checkpoint.get("by_epoch", True):
        _move_begin(checkpoint, "save_begin", factor, iterations)
    loop.max_iters = iterations


def _move_begin(settings: Mapping[str, Any], key: str, scale: float, latest: int) -> None:
    """Scale the iteration at which a hook or validation begins, in place.

    Args:
        settings: config with the iteration; nothing happens if it has none.
        key: key of the iteration.
        scale: new length of the training, relative to the old one.
        latest: largest iteration that makes sense; rounding does not exceed it.
    """
    if begin := settings.get(key):
        moved = max(1, round(begin * scale))
        is_late = begin * scale > latest + 1  # check_schedule refuses such a config
        settings[key] = moved if is_late else min(moved, latest)  # type: ignore[index]  # ConfigDict


@dataclass(frozen=True, kw_only=True)
class _Scale:
    """New beginnings and ends of an optimizer's schedulers, in iterations.

    Attributes:
        old: previous length of the training.
        new: new length.
        places: new beginnings and ends by previous ones. A scheduler that begins where another ends
            still does.
    """

    old: int
    new: int
    places: Mapping[float, int]

    @classmethod
    def of(cls, schedulers: Schedulers, old: int, new: int) -> _Scale:
        """Move beginnings and ends in proportion; keep the iterations that each scheduler needs.

        A warm-up that changes the rate needs ``SHORTEST_WARM_UP`` iterations, another scheduler
        one.

        Args:
            schedulers: schedulers of one optimizer that count iterations.
            old: previous length of the training.
            new: new length.

        Raises:
            ConfigError: if the new length is too short for them.
        """
        warm_up = SHORTEST_WARM_UP if new > SHORTEST_WARM_UP else 1
        spans = [span for each in schedulers if (span := _span(each, old)) is not None]
        needs = [(begin, end, warm_up if changes else 1) for begin, end, changes in spans]
        # From the last to the first: the latest place that leaves room for what follows.
        points = sorted({point for begin, end, _ in needs for point in (begin, end)})
        latest: dict[float, int] = {}
        for point in reversed(points):
            after = [latest[end] - need for begin, end, need in needs if begin == point]
            latest[point] = min([new, *after])
        # From the first to the last: in proportion, after what comes before, not after the latest.
        places: dict[float, int] = {}
        for point in points:
            before = [places[begin] + need for begin, end, need in needs if end == point]
            moved = min(max([round(point * new / old), *before]), latest[point])
            if moved < max(before, default=0):
                raise ConfigError(
                    f"--iterations {new} is too short for the {len(spans)} parts of the config's "
                    f"schedule; give {_fewest(spans)} or more"
                )
            places[point] = moved
        return cls(old=old, new=new, places=places)

    def move(self, place: float) -> float:
        """Return the new value of a beginning or end; MMEngine's infinite end stays."""
        if place in self.places or not 0 < place < _ENDLESS:
            return self.places.get(place, place)
        return self.length(place)

    def length(self, length: float) -> int:
        """Return a number of iterations scaled in proportion, at least 1."""
        return max(1, round(length * self.new / self.old))


def _span(scheduler: Mapping[str, Any], total: int) -> tuple[float, float, bool] | None:
    """Return a scheduler's beginning, its end, and whether it is a warm-up that changes the rate.

    None for a scheduler that is empty or exceeds the training; ``check_schedule`` refuses it.
    """
    begin, end = scheduler.get("begin", 0), scheduler.get("end")
    end = total if end is None or end >= _ENDLESS else end
    if not 0 <= begin < end <= total:
        return None
    factor = scheduler.get("start_factor", scheduler.get("factor", 0))
    return begin, end, ends_at_rate(scheduler) and factor != 1


def _fewest(spans: Sequence[tuple[float, float, bool]]) -> int:
    """Return the smallest number of iterations, above 2, that has room for all schedulers."""
    fewest: dict[float, int] = {}
    for place in sorted({place for begin, end, _ in spans for place in (begin, end)}):
        fewest[place] = max(
            [fewest[begin] + (SHORTEST_WARM_UP if changes else 1)
             for begin, end, changes in spans if end == place] or [0]
        )  # fmt: skip
    return max(SHORTEST_WARM_UP + 1, *fewest.values())


def _scale(scheduler: Mapping[str, Any], scale: _Scale) -> None:
    """Scale a scheduler's numbers of iterations, in place.

    A period that spans the time from the scheduler's beginning to its end still does. Milestones
    before the end stay before it.
    """
    begin, end = scheduler.get("begin", 0), scheduler.get("end")
    endless = end is None or end >= _ENDLESS
    old = (scale.old if endless else end) - begin
    changed: dict[str, Any] = {
        name: scale.move(scheduler[name])
        for name in ("begin", "end")
        if scheduler.get(name) is not None
    }
    start = changed.get("begin", 0)
    new = int((scale.new if endless else changed["end"]) - start)
    for name in ("T_max", "total_steps"):
        if scheduler.get(name) is not None:
            # YOLOX counts a cosine's T_max from the beginning of the training.
            from_zero = name == "T_max" and scheduler[name] == end
            span = (start + new) if from_zero else _period(scheduler[name], old, new, scale)
            changed[name] = span
    if scheduler.get("step_size") is not None:
        changed["step_size"], power = _regular_steps(scheduler["step_size"], old, new, scale)
        if power != 1:
            changed["gamma"] = scheduler.get("gamma", 0.1) ** power
    if scheduler_kind(scheduler) == "ExponentialLR" and "gamma" in scheduler:
        changed["gamma"] = scheduler["gamma"] ** (scale.old / scale.new)
    if isinstance(milestones := scheduler.get("milestones"), (list, tuple)):
        changed["milestones"] = _moved_milestones(milestones, old, new, scale)
    if isinstance(periods := scheduler.get("periods"), (list, tuple)) and periods:
        total = _period(sum(periods), old, new, scale)
        ends = _distinct([place * total / sum(periods) for place in accumulate(periods)], total)
        changed["periods"] = [last - first for first, last in pairwise([0, *ends])]
        weights = scheduler.get("restart_weights")
        if isinstance(weights, (list, tuple)) and len(weights) > len(ends):
            changed["restart_weights"] = list(weights[: len(ends)])
    scheduler.update(changed)  # type: ignore[attr-defined]  # a ConfigDict


def _period(length: float, old: float, new: int, scale: _Scale) -> int:
    """Scale a period, such as a cosine's; one that fits the scheduler's duration still fits it.

    Args:
        length: the period, iterations.
        old: previous duration of the scheduler.
        new: its new duration.
        scale: how other lengths move.
    """
    if length == old or new < 1:
        return new
    moved = scale.length(length)
    if old < length <= LONGEST_PERIOD * old:
        return min(max(moved, new), int(LONGEST_PERIOD * new))
    return moved


def _regular_steps(step_size: int, old: float, new: int, scale: _Scale) -> tuple[int, float]:
    """Scale the distance of regular steps, and keep their number if possible.

    The number changes if the distance cannot be rounded to fit, or if the training is too short for
    all steps.

    Returns:
        The new distance, and the power of ``gamma`` with which the new number of steps lowers the
        rate as much as before.
    """
    moved = scale.length(step_size)
    count = int((old - 1) // step_size) if step_size > 0 else 0
    if not count:  # no step at all, which check_schedule refuses
        return moved, 1.0
    shortest, longest = (new - 1) // (count + 1) + 1, (new - 1) // count
    if shortest <= longest:
        return min(max(moved, shortest), longest), 1.0
    if longest:
        return longest, count / ((new - 1) // longest)
    return 1, scale.old / (step_size * scale.new)


def _moved_milestones(
    milestones: Sequence[float], old: float, new: int, scale: _Scale
) -> list[int]:
    """Scale milestones; those before the end stay before it and distinct, if there is room."""
    inside = sorted({place for place in milestones if 0 < place < old})
    factor = scale.new / scale.old
    scaled = _distinct([place * factor for place in inside], new - 1)
    moved = dict(zip(inside, scaled, strict=False))
    return [
        moved[place] if place in moved else round(place * factor)
        for place in milestones
        if place in moved or place not in inside
    ]


def _distinct(places: Sequence[float], last: int) -> list[int]:
    """Round numbers to different integers from 1 to ``last``; leave out the last ones if too many.

    Args:
        places: numbers of iterations, in increasing order.
        last: largest integer.
    """
    rounded: list[int] = []
    count = min(len(places), max(0, last))
    for number, place in enumerate(places[:count]):
        latest = last - (count - 1 - number)
        rounded.append(max(rounded[-1] + 1 if rounded else 1, min(round(place), latest)))
    return rounded
