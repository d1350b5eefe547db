"""Decoding of every image of an index, to find those that cannot be read."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from mmengine.logging import print_log

from drivemim.data.index.frame_index import FrameIndex
from drivemim.data.index.images import read_image
from drivemim.errors import DataError

_REPORTED = 10_000
"""Number of images after which the progress is printed."""


def unreadable_images(index: FrameIndex, *, workers: int | None = None) -> Iterator[str]:
    """Decode every image once, and yield why one cannot be read.

    Args:
        index: the data set.
        workers: number of threads; by default Python's own choice.
    """
    frames = index.frames

    def check(row: int) -> str | None:
        stored = (int(frames.height[row]), int(frames.width[row]))
        try:
            read_image(index.image_path(row), token=frames.token[row], stored=stored)
        except (DataError, OSError) as error:
            return str(error)
        return None

    with ThreadPoolExecutor(workers) as pool:
        for count, reason in enumerate(pool.map(check, range(len(frames))), start=1):
            if reason is not None:
                yield reason
            if count % _REPORTED == 0:
                print_log(f"{count} of {len(frames)} images are decoded")
