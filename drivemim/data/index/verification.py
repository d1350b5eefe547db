"""Decoding of every image of an index, to find those that cannot be read or are damaged."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from mmengine.logging import print_log

from drivemim.data.index.frame_index import FrameIndex
from drivemim.data.index.images import read_image
from drivemim.errors import DataError

_REPORTED = 10_000
"""Number of images after which the progress is printed."""
_CHUNK = 250
"""Number of images that are decoded before libjpeg's warnings are read."""
_STANDARD_ERROR = 2
"""File descriptor of the process's standard error."""
_CORRUPT = re.compile(r"Corrupt JPEG data: (.*)")
"""Warning of libjpeg, which decodes the image nevertheless."""


class ImageProblem(NamedTuple):
    """A problem of an image.

    Attributes:
        text: the problem and its fix, with the path.
        is_readable: whether the image is read nevertheless, with wrong pixels.
    """

    text: str
    is_readable: bool


def image_problems(index: FrameIndex, *, workers: int | None = None) -> Iterator[ImageProblem]:
    """Decode every image, and yield a problem for each that is unreadable or damaged.

    Missing data are found in all files. Changed bytes are found in PNG files, which have checksums.
    JPEG files have none: libjpeg warns of some changes only. It writes its warnings to the standard
    error of the process, without the image's name. So if it warns while a chunk is decoded, the
    images of this chunk are decoded again one by one.

    Args:
        index: the data set.
        workers: number of threads; by default Python's own choice.
    """
    frames = index.frames

    def check(row: int) -> str | None:
        """Decode an image; return why it cannot be read, or None."""
        stored = (int(frames.height[row]), int(frames.width[row]))
        try:
            read_image(index.image_path(row), token=frames.token[row], stored=stored)
        except (DataError, OSError) as error:
            return str(error)
        return None

    count = len(frames)
    with ThreadPoolExecutor(workers) as pool:
        for first in range(0, count, _CHUNK):
            rows = range(first, min(first + _CHUNK, count))
            with _warnings_of_libjpeg() as warnings:
                reasons = list(pool.map(check, rows))
            for row, reason in zip(rows, reasons, strict=True):
                if reason is not None:
                    yield ImageProblem(reason, is_readable=False)
                elif warnings and (line := _warning(check, row)):
                    yield ImageProblem(_describe(index.image_path(row), line), is_readable=True)
            if rows.stop // _REPORTED > first // _REPORTED:
                print_log(f"{rows.stop} of {count} images are decoded")


def _warning(check: Callable[[int], object], row: int) -> str | None:
    """Decode an image; return libjpeg's first warning, or None."""
    with _warnings_of_libjpeg() as warnings:
        check(row)
    return warnings[0] if warnings else None


@contextmanager
def _warnings_of_libjpeg() -> Iterator[list[str]]:
    """Collect libjpeg's warnings, which it writes to the standard error of the process.

    Yields:
        A list that has the warnings after the block. All other lines are written to the standard
        error as usual.
    """
    warnings: list[str] = []
    sys.stderr.flush()
    with tempfile.TemporaryFile() as caught:
        usual = os.dup(_STANDARD_ERROR)
        try:
            os.dup2(caught.fileno(), _STANDARD_ERROR)
            yield warnings
        finally:
            sys.stderr.flush()
            os.dup2(usual, _STANDARD_ERROR)
            os.close(usual)
            caught.seek(0)
            for line in caught.read().decode(errors="replace").splitlines():
                if match := _CORRUPT.search(line):
                    warnings.append(match[1])
                else:
                    print(line, file=sys.stderr)


def _describe(path: Path, warning: str) -> str:
    """Return the message for an image that libjpeg decodes with a warning."""
    return (
        f"image {path} is read, but its JPEG data is damaged ({warning}); look at it, and copy or "
        "unpack it again"
    )
