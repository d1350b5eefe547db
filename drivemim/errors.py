"""Errors a user can cause: each message names the thing, its value and the cure.

The command line tools print these as one line; anything else keeps its traceback.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches

_ALIKE = 0.65
"""Share of their letters that two names have in common from which on one may mean the other."""


class ConfigError(ValueError):
    """A config, or an option on the command line, that cannot be what was meant."""


class CheckpointError(ValueError):
    """A checkpoint that is missing, damaged, of another model, or that could not be written."""


class NonFiniteLossError(ArithmeticError):
    """A training loss became infinite or not a number."""


class DataError(ValueError):
    """A file of a data set, or its index, that is broken or not what was asked for."""


def nearest(name: str, candidates: Iterable[str]) -> str:
    """Say which candidate a misspelt name is closest to: ``"; did you mean 'x'?"`` or nothing."""
    lower = {candidate.lower(): candidate for candidate in sorted(set(candidates), reverse=True)}
    found = get_close_matches(name.lower(), sorted(lower), n=1, cutoff=_ALIKE)
    return f"; did you mean '{lower[found[0]]}'?" if found else ""


@contextmanager
def one_line_errors() -> Iterator[None]:
    """End the program with one line if the user caused the error, even in a loader's process."""
    try:
        yield
    except (
        CheckpointError,
        ConfigError,
        DataError,
        NonFiniteLossError,
        OSError,
    ) as error:
        name = type(error).__name__
        # A loader's process puts the whole traceback, which ends with the error, in the message.
        sys.exit(f"{name}: {str(error).rsplit(f'{name}: ', 1)[-1].strip()}")
