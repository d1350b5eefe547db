"""Images that cannot be read in training: the first one stops the run, or a few are skipped."""

from __future__ import annotations

import logging

from mmengine.logging import print_log

from drivemim.errors import ConfigError, DataError, check_range

_SKIPPING = (
    "a run that keeps its index can skip up to N such images: "
    "--cfg-options train_dataloader.dataset.max_unreadable=N"
)
"""Alternative to the advice of the error itself, which is to repair the image or to build the index
again."""


class UnreadableFrames:
    """Frames of an index whose images this process could not read.

    Args:
        max_count: number of frames that may be unreadable.

    Raises:
        ConfigError: if ``max_count`` is not a whole number of 0 or more.
    """

    def __init__(self, max_count: int) -> None:
        if not isinstance(max_count, int) or isinstance(max_count, bool):
            raise ConfigError(f"max_unreadable={max_count!r} must be a whole number")
        check_range("max_unreadable", max_count, 0)
        self.max_count = max_count
        self._rows: set[int] = set()

    def skip(self, row: int, error: Exception) -> None:
        """Count a frame that cannot be read, and log it the first time.

        Args:
            row: row of the frame in the index.
            error: why it cannot be read.

        Raises:
            DataError: if there are more such frames than ``max_count``.
            Exception: ``error`` itself, if ``max_count`` is 0. If it is a ``DataError`` or a
                ``FileNotFoundError``, its message then also names the option for skipping images.
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
