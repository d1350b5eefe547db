"""One-line errors for wrong values in a config that no check has found."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from mmengine.dist import get_world_size

from drivemim.errors import CheckpointError, ConfigError, DataError
from drivemim.process_ends import TRACEBACK, describe_killed_worker
from drivemim.training.work_dir import MarkBegin

_OF_VALUES = (
    AssertionError, AttributeError, ImportError, LookupError, RuntimeError, TypeError, ValueError,
)  # fmt: skip
"""Types of errors that a wrong value in a config may raise if no check finds it first."""
_PASSWORD = re.compile(r"(://[^/\s:@]*:)[^/\s@]+@")
"""Password in an address."""


@contextmanager
def errors_of_values(mark: MarkBegin) -> Iterator[None]:
    """Turn an error up to the end of the first iteration into one line, if it may be a value's.

    Errors whose cause is not a value of the config stay as they are: those of memory, of killed
    workers, and with several processes every ``RuntimeError``.

    Args:
        mark: hook that knows whether the first iteration has ended.

    Raises:
        ConfigError: with the error, and the line that raised it.
    """
    try:
        yield
    except (CheckpointError, ConfigError, DataError):
        raise
    except Exception as error:
        places, text = traceback.extract_tb(error.__traceback__), " ".join(str(error).split())
        if not mark.has_iterated and any(_is_of_logger(place.filename) for place in places):
            shown = _PASSWORD.sub(r"\1***@", text)
            raise ConfigError(
                "a logger (--logger, or visualizer.vis_backends of the config) does not start: "
                f"{type(error).__name__}: {shown}"
            ) from error
        is_of_value = isinstance(error, _OF_VALUES)
        if mark.has_iterated or not is_of_value or _is_of_machine(error):
            raise
        place = places[-1]
        raise ConfigError(
            f"the run cannot be done, probably because of a value in the config: "
            f"{type(error).__name__}: {text} ({'/'.join(Path(place.filename).parts[-3:])}, line "
            f"{place.lineno}; {TRACEBACK}=1 in the environment shows the way there)"
        ) from error


def _is_of_logger(filename: str) -> bool:
    """Return whether a file is MMEngine's module of loggers."""
    return Path(filename).parts[-3:] == ("mmengine", "visualization", "vis_backend.py")


def _is_of_machine(error: Exception) -> bool:
    """Return whether the reason is memory, a killed worker, or another process."""
    if not isinstance(error, RuntimeError):
        return False
    is_memory = isinstance(error, torch.OutOfMemoryError)
    return is_memory or get_world_size() > 1 or describe_killed_worker(error) is not None
