"""Images that cannot be read in training: the first one stops the run, or some are skipped."""

from __future__ import annotations

import logging

from mmengine.logging import print_log

from drivemim.errors import ConfigError, DataError, check_range

_SKIPPING = (
    "a run that keeps its index can skip up to N such images: "
    "--cfg-options train_dataloader.dataset.max_unreadable=N"
)
"""Advice for a run that goes on, whose index is not built again."""


class UnreadableFrames:
    """Frames of an index whose images this process could not read.

    Args:
        max_count: number of frames that may be unreadable.

    Raises:
        ConfigError: if it is no whole number of 0 or more.
    """

    def __init__(self, max_count: int) -> None:
        if not isinstance(max_count, int) or isinstance(max_count, bool):
            raise ConfigError(f"max_unreadable={max_count!r} must be a whole number")
        check_range("max_unreadable", max_count, 0)
        self.max_count = max_count
        self._rows: set[int] = set()

    def skip(self, row: int, error: Exception) -> None:
        """Count a frame and log it the first time.

        Args:
            row: row of the frame in the index.
            error: why it cannot be read.

        Raises:
            DataError: if there are more such frames than allowed.
            OSError: the error itself, with advice, if none is allowed.
        """
        if self.max_count == 0:
            if not isinstance(error, (DataError, FileNotFoundError)):
                raise error
            raise type(error)(f"{error}; {_SKIPPING}") from error
        if row in self._rows:
            return
        self._rows.add(row)
        if len(self._rows) > self.max_count:
            raise DataError(
                f"{error}. {len(self._rows)} images could not be read, more than "
                f"max_unreadable={self.max_count}; drivemim index --verify lists all of them"
            ) from error
        print_log(
            f"skipped: {error} ({len(self._rows)} of at most {self.max_count} in this process)",
            logger="current",
            level=logging.WARNING,
        )
