"""Errors that wrong values in a config raise where no check knows them."""

from __future__ import annotations

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
"""Errors that wrong values in a config raise where nothing checks them."""


@contextmanager
def errors_of_values(mark: MarkBegin) -> Iterator[None]:
    """Turn the error of a value that no check knows, up to the first iteration, into one line.

    Raises:
        ConfigError: with the error and where it was raised.
    """
    try:
        yield
    except (CheckpointError, ConfigError, DataError):
        raise
    except _OF_VALUES as error:
        if mark.has_iterated or (isinstance(error, RuntimeError) and _is_of_machine(error)):
            raise
        place = traceback.extract_tb(error.__traceback__)[-1]
        text = " ".join(str(error).split())
        raise ConfigError(
            f"the run cannot be done, probably because of a value in the config: "
            f"{type(error).__name__}: {text} ({'/'.join(Path(place.filename).parts[-3:])}, line "
            f"{place.lineno}; {TRACEBACK}=1 in the environment shows the way there)"
        ) from error


def _is_of_machine(error: RuntimeError) -> bool:
    """Return whether the reason is memory, a killed worker, or another process."""
    is_memory = isinstance(error, torch.OutOfMemoryError)
    return is_memory or get_world_size() > 1 or describe_killed_worker(error) is not None
