"""Exceptions for users' mistakes, and checks of arguments that raise them.

Each message names the object, its value and the fix. The commands print these errors as one line;
other exceptions keep their traceback.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from difflib import get_close_matches
from numbers import Integral, Real

_ALIKE = 0.65
"""Smallest similarity, from 0 to 1, at which a name is suggested for another."""

MAX_SEED = 2**32 - 1
"""Largest seed of ``numpy.random.seed``, which MMEngine calls."""


class ConfigError(ValueError):
    """An invalid config or command line option."""


class CheckpointError(ValueError):
    """A checkpoint that is missing, damaged, of another model, or cannot be written.

    Attributes:
        unsafe_content: functions and classes that the file names, if reading it could run code.
    """

    def __init__(self, *args: object, unsafe_content: str = "") -> None:
        super().__init__(*args)
        self.unsafe_content = unsafe_content


class NonFiniteLossError(ArithmeticError):
    """A training loss that is infinite or NaN."""


class DataError(ValueError):
    """A data set file or index that is broken or does not match the request."""


class RunStopped(KeyboardInterrupt):
    """A run that Ctrl-C or SIGTERM ended.

    Attributes:
        what: what happened, and where the checkpoint is.
        number: the signal.
        advice: how to go on; empty if the run trained nothing.
    """

    def __init__(self, what: str, *, number: int, advice: str = "") -> None:
        super().__init__(". ".join(filter(None, (what, advice))))
        self.what = what
        self.number = number
        self.advice = advice

    @property
    def status(self) -> int:
        """Exit status, as shells give it: 130 after Ctrl-C, 143 after SIGTERM."""
        return 128 + self.number


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the closest candidate, or an empty string."""
    lower = {candidate.lower(): candidate for candidate in sorted(set(candidates), reverse=True)}
    found = get_close_matches(name.lower(), sorted(lower), n=1, cutoff=_ALIKE)
    return f"; did you mean '{lower[found[0]]}'?" if found else ""


def check_range(name: str, value: float, minimum: float, maximum: float = math.inf) -> None:
    """Refuse a value that is out of range, or not a number.

    Args:
        name: the option, as the user gives it.
        value: its value.
        minimum: smallest value.
        maximum: largest value; without it, any finite number.

    Raises:
        ConfigError: naming option, value and range.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ConfigError(f"{name} {value!r} must be a number")
    if not minimum <= value <= maximum or value == math.inf:
        limits = f"be {minimum} or more" if maximum == math.inf else f"be in [{minimum}, {maximum}]"
        raise ConfigError(f"{name} {value} must {limits}")


def check_whole_number(name: str, value: int, minimum: int = 1) -> None:
    """Refuse a number that is not whole, or too small.

    Args:
        name: the option, as the user gives it.
        value: its value.
        minimum: smallest value.

    Raises:
        ConfigError: naming option and value.
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise ConfigError(f"{name} {value!r} must be a whole number")
    check_range(name, value, minimum)
