"""Errors that users can cause; each message names the object, its value and the fix.

The command line tools print these errors as one line. Other exceptions keep their traceback.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches

_ALIKE = 0.65
"""Smallest similarity, from 0 to 1, at which a name is suggested for another."""


MOST_SEED = 2**32 - 1
"""Largest seed of NumPy's generators."""

# PyTorch: "... is killed by signal: Killed.", or "... exited unexpectedly".
_KILLED_WORKER = re.compile(
    r"DataLoader worker \(pid(?:\(s\))? [\d, ]+\) "
    r"(?:is killed by signal: ([\w ]+)|exited unexpectedly)"
)


class ConfigError(ValueError):
    """An invalid config or command line option."""


class CheckpointError(ValueError):
    """A checkpoint that is missing, damaged, of another model, or cannot be written."""


class NonFiniteLossError(ArithmeticError):
    """A training loss that is infinite or NaN."""


class DataError(ValueError):
    """A data set file or index that is broken or does not match the request."""


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the closest candidate, or an empty string."""
    lower = {candidate.lower(): candidate for candidate in sorted(set(candidates), reverse=True)}
    found = get_close_matches(name.lower(), sorted(lower), n=1, cutoff=_ALIKE)
    return f"; did you mean '{lower[found[0]]}'?" if found else ""


def check_range(name: str, value: float, least: float, most: float = math.inf) -> None:
    """Refuse a number that is out of range, or not a number.

    Args:
        name: the option, as the user gives it.
        value: its value.
        least: smallest value.
        most: largest value; without it, any finite number.

    Raises:
        ConfigError: naming option, value and range.
    """
    if not least <= value <= most or value == math.inf:
        limits = f"be {least} or more" if most == math.inf else f"be in [{least}, {most}]"
        raise ConfigError(f"{name} {value} must {limits}")


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Exit with one line if the user caused the error, even in a data loader worker."""
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
        # A data loader worker puts its whole traceback in the message; the error is at the end.
        sys.exit(f"{name}: {str(error).rsplit(f'{name}: ', 1)[-1].strip()}")
    except RuntimeError as error:
        if line := describe_killed_worker(error):
            sys.exit(line)
        raise


def describe_killed_worker(error: RuntimeError) -> str | None:
    """Return one line for PyTorch's error after a data loader worker was killed; None for others.

    Args:
        error: error of a run.
    """
    found = _KILLED_WORKER.search(str(error))
    if found is None:
        return None
    reason = f" by signal {found[1]}" if found[1] else ""
    return (
        f"RuntimeError: a worker process of a data loader was killed{reason}, probably because the "
        "memory did not suffice; start fewer: --cfg-options train_dataloader.num_workers=N (or "
        "val_, test_dataloader)"
    )
