"""Hook that changes numbers of the mask strategy during training, such as the mask ratio."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from mmengine.hooks import Hook

from drivemim.errors import ConfigError, did_you_mean
from drivemim.masking.strategy import MaskStrategy
from drivemim.registry import HOOKS
from drivemim.training.bare_model import bare_model

_SHAPES = ("linear", "cosine")
# Number of points of a run at which the values are checked before it starts: every 5 % of the run.
_TRIALS = 21


@dataclass(frozen=True, kw_only=True)
class Move:
    """Schedule of one number, as a function of the completed fraction of the run's iterations.

    Attributes:
        name: dotted path of the number, relative to the model's mask strategy.
        start: value until ``begin``.
        end: value from ``until`` on.
        begin: fraction of the run after which the number starts to change, in [0, until).
        until: fraction of the run after which the number stays constant, in (0, 1].
        shape: ``linear``, or ``cosine`` for half a cosine wave, slow at both ends.

    Raises:
        ConfigError: if an argument is outside its range.
    """

    name: str
    start: float
    end: float
    begin: float = 0.0
    until: float = 1.0
    shape: str = "linear"

    def __post_init__(self) -> None:
        if not 0 <= self.begin < self.until <= 1:
            raise ConfigError(
                f"MaskSchedule moves {self.name} from begin={self.begin} to until={self.until}, "
                "fractions of the run that must be in order and in [0, 1]"
            )
        if self.shape not in _SHAPES:
            raise ConfigError(
                f"MaskSchedule moves {self.name} with shape={self.shape!r}, which must be one of "
                f"{', '.join(_SHAPES)}"
            )

    def value(self, progress: float) -> float:
        """Return the value after the fraction ``progress`` of the run."""
        weight = min(max((progress - self.begin) / (self.until - self.begin), 0.0), 1.0)
        if self.shape == "cosine":
            weight = (1 - math.cos(math.pi * weight)) / 2
        return self.start * (1 - weight) + self.end * weight


@HOOKS.register_module()
class MaskSchedule(Hook):
    """Set numbers of ``model.masking`` before every iteration of a training run.

    For example, ``moves=[dict(name='budget_fraction', start=0.0, end=0.5, until=0.8)]`` makes the
    masks of a ``GuidedMask`` gradually harder. A name is an argument of the strategy.
    ``background.budget_fraction`` and ``strategies.1.budget_fraction`` are arguments of nested
    strategies; ``weights.0`` and ``budget_fraction.pedestrian`` are numbers in lists and dicts.
    Numbers that the strategy takes as integers are rounded.

    Values depend only on the iteration and on the length of the run. A resumed run therefore has
    the same values as an uninterrupted one, and validation has those of the iterations done so far.
    Values are logged as ``mask/NAME``. Outside training, the config's own numbers apply.

    Args:
        moves: one dict per number, with arguments of :class:`Move`.

    Raises:
        ConfigError: if a move is invalid; at the start of a run, if a strategy has no such number
            or its constructor refuses a value.
    """

    def __init__(self, *, moves: Sequence[Mapping[str, Any]]) -> None:
        self.moves = [_move(move) for move in moves]
        names = [move.name for move in self.moves]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ConfigError(f"MaskSchedule moves {twice[0]} more than once")
        self._numbers: dict[str, _Number] = {}
        self._is_training = False

    def before_run(self, runner: Any) -> None:
        """Find the numbers, and check the values that they will take."""
        model = bare_model(runner.model)
        masking = getattr(model, "masking", None)
        if not isinstance(masking, MaskStrategy):
            raise ConfigError(
                f"MaskSchedule moves numbers of a mask strategy, but {type(model).__name__} has no "
                "masking"
            )
        numbers = dict(_numbers_of(masking))
        for move in self.moves:
            if move.name not in numbers:
                raise ConfigError(
                    f"MaskSchedule finds no number '{move.name}' in {type(masking).__name__}"
                    f"; there are {', '.join(sorted(numbers))}"
                    f"{did_you_mean(move.name, set(numbers))}"
                )
        self._numbers = {move.name: numbers[move.name] for move in self.moves}
        for trial in range(_TRIALS):
            self._try(trial / (_TRIALS - 1))

    def before_train(self, runner: Any) -> None:
        """Set the values of the first iteration, or of the iteration where a run resumes."""
        self._is_training = True
        self._set(runner)

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Set and log the values of the iteration."""
        for name, value in self._set(runner).items():
            runner.message_hub.update_scalar(f"train/mask/{name}", value)

    def before_val(self, runner: Any) -> None:
        """Set the values of the iterations done, if validation is part of a training run."""
        if self._is_training:
            self._set(runner)

    def _set(self, runner: Any) -> dict[str, float]:
        """Set all numbers to their values at the current iteration; return the values by name."""
        progress = runner.iter / runner.max_iters
        return {
            move.name: self._numbers[move.name].set(move.value(progress)) for move in self.moves
        }

    def _try(self, progress: float) -> None:
        """Build each strategy again with its future values, so that its constructor checks them."""
        owners = {id(number.owner): number.owner for number in self._numbers.values()}
        for key, owner in owners.items():
            arguments = _arguments_of(owner)
            values = {}
            for move in self.moves:
                number = self._numbers[move.name]
                if id(number.owner) == key:
                    values[move.name] = number.cast(move.value(progress))
                    arguments[number.argument] = number.within(
                        arguments[number.argument], values[move.name]
                    )
            try:
                type(owner)(**arguments)
            except ValueError as error:
                raise ConfigError(
                    f"MaskSchedule would set {values} after {progress:.0%} of the run, which "
                    f"{type(owner).__name__} refuses: {error}"
                ) from error


@dataclass(frozen=True, kw_only=True)
class _Number:
    """A number that can be scheduled: a strategy's argument, or one in a list or dict argument.

    Attributes:
        owner: the strategy.
        argument: name of its argument.
        key: the number's key in a dict, or index in a list; None if the argument is the number.
    """

    owner: MaskStrategy
    argument: str
    key: int | str | None = None

    def set(self, value: float) -> float:
        """Set the number, rounded if the constructor takes an integer, and return it."""
        value = self.cast(value)
        setattr(self.owner, self.argument, self.within(getattr(self.owner, self.argument), value))
        return value

    def cast(self, value: float) -> float:
        """Round the value if the constructor takes an integer."""
        annotation = inspect.signature(type(self.owner)).parameters[self.argument].annotation
        return round(value) if annotation in (int, "int") else value

    def within(self, argument: Any, value: float) -> Any:
        """Return the argument with the number replaced; copy lists and dicts."""
        if self.key is None:
            return value
        if isinstance(argument, Mapping):
            return {**argument, self.key: value}
        return type(argument)(
            value if index == self.key else each for index, each in enumerate(argument)
        )


def _move(config: Mapping[str, Any]) -> Move:
    """Build a move from its config.

    Raises:
        ConfigError: if a key is unknown or missing, or a value is outside its range.
    """
    valid = {field.name for field in fields(Move)}
    for key in config:
        if key not in valid:
            raise ConfigError(
                f"a move of MaskSchedule has no key '{key}'{did_you_mean(key, valid)}"
            )
    if missing := [key for key in ("name", "start", "end") if key not in config]:
        raise ConfigError(f"a move of MaskSchedule lacks its {', '.join(missing)}: {dict(config)}")
    return Move(**config)


def _arguments_of(strategy: MaskStrategy) -> dict[str, Any]:
    """Return the constructor's arguments that the strategy keeps under the same names."""
    names = inspect.signature(type(strategy)).parameters
    return {name: getattr(strategy, name) for name in names if hasattr(strategy, name)}


def _numbers_of(strategy: MaskStrategy, prefix: str = "") -> Iterator[tuple[str, _Number]]:
    """Yield every number of a strategy and its nested strategies, with its dotted path."""
    for argument, value in _arguments_of(strategy).items():
        if prefix and argument == "mask_ratio":
            continue  # the outermost strategy's mask ratio applies to nested ones
        elements: Mapping[Any, Any] = {None: value}
        if isinstance(value, Mapping):
            elements = value
        elif isinstance(value, (list, tuple)):
            elements = dict(enumerate(value))
        for key, element in elements.items():
            path = f"{prefix}{argument}" if key is None else f"{prefix}{argument}.{key}"
            if isinstance(element, MaskStrategy):
                yield from _numbers_of(element, f"{path}.")
            elif isinstance(element, (int, float)) and not isinstance(element, bool):
                yield path, _Number(owner=strategy, argument=argument, key=key)
