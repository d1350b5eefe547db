"""Write MP4 videos."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2

from drivemim.array_types import Image
from drivemim.files import partial_path, remove_abandoned

_SUFFIX = ".mp4"
_LARGEST = 65_535
"""Largest numerator of a frame rate in MPEG-4 Part 2, which has 16 bits for it."""
_CODEC = "mp4v"
"""MPEG-4 Part 2: the only codec for MP4 that OpenCV's wheels can write."""


@contextmanager
def video_writer(path: Path, rate: float) -> Iterator[Callable[[Image], None]]:
    """Write an MP4 beside ``path`` and rename it when it is complete; nothing is left after errors.

    Args:
        path: the file. Without any image, it is not written.
        rate: frames per second.

    Yields:
        A function that appends an image: uint8 (H, W, 3), BGR. All images must have one size. If
        its height or width is odd, the last row or column is cut off, because the codec stores one
        colour for two by two pixels.

    Raises:
        OSError: if the video cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(path, after=f".partial{_SUFFIX}")
    # OpenCV chooses the container by the suffix.
    partial = partial_path(path)
    partial = partial.with_name(partial.name + _SUFFIX)
    writer: cv2.VideoWriter | None = None

    def append(image: Image) -> None:
        nonlocal writer
        if writer is None:
            size = (image.shape[1], image.shape[0])
            codec = cv2.VideoWriter.fourcc(*_CODEC)
            writer = cv2.VideoWriter(str(partial), cv2.CAP_FFMPEG, codec, _writable(rate), size)
            if not writer.isOpened():
                raise OSError(
                    f"OpenCV cannot write {path} ({size[0]}x{size[1]}, {rate:g} a second)"
                )
        writer.write(image)

    try:
        yield append
        if writer is not None:
            writer.release()
            os.replace(partial, path)
    finally:
        if writer is not None:
            writer.release()
        partial.unlink(missing_ok=True)


def _writable(rate: float) -> float:
    """Round a frame rate so that the codec can store it; FFmpeg refuses others.

    OpenCV writes the rate as a fraction with the denominator 1, 10, 100 or 1000.
    """
    digits = next((each for each in (3, 2, 1) if rate * 10**each <= _LARGEST), 0)
    return rate if digits == 3 else round(rate, digits)
