"""Reading images: at the smallest JPEG scale that covers the size wanted, and never half of one."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from drivemim.errors import DataError

_REDUCED = {
    8: cv2.IMREAD_REDUCED_COLOR_8,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    1: cv2.IMREAD_COLOR,
}
_JPEG_START, _JPEG_SCAN, _JPEG_END = b"\xff\xd8", b"\xff\xda", b"\xff\xd9"
_PNG_START, _PNG_END = b"\x89PNG", b"IEND"


def reduction(stored: tuple[int, int], wanted: tuple[int, int]) -> int:
    """Largest of 8, 4, 2, 1 by which an image can be reduced and still cover a size.

    Args:
        stored: height and width of the file, pixels.
        wanted: height and width to cover, pixels.
    """
    for factor in (8, 4, 2):
        if all(have >= need * factor for have, need in zip(stored, wanted, strict=True)):
            return factor
    return 1


def read_image(
    path: Path, *, token: str, stored: tuple[int, int], wanted: tuple[int, int] | None = None
) -> NDArray[np.uint8]:
    """Read an image in BGR, reduced while decoding as far as ``wanted`` allows.

    Args:
        path: the file.
        token: the frame's token, for errors.
        stored: height and width that the index has for it, pixels.
        wanted: height and width that the result must cover; None for full size.

    Returns:
        uint8 (H, W, 3), H and W those of ``stored`` divided by 1, 2, 4 or 8.

    Raises:
        FileNotFoundError: if the file is not there.
        ValueError: if it is truncated, cannot be decoded, or is not of the stored size.
    """
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(
            f"image {path} of frame {token} is missing; restore it, or build the index again "
            "without it (tools/create_index.py ... --missing-images drop)"
        ) from None
    if is_truncated(data):
        raise DataError(
            f"image {path} of frame {token} is truncated ({len(data)} bytes); "
            "copy or unpack it again"
        )
    factor = 1 if wanted is None else reduction(stored, wanted)
    # The sensor's own pixels are what calibration describes, whatever EXIF says about them.
    flags = _REDUCED[factor] | cv2.IMREAD_IGNORE_ORIENTATION
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    if image is None:
        raise DataError(f"image {path} of frame {token} cannot be decoded; copy or unpack it again")
    expected = tuple(-(-size // factor) for size in stored)
    if any(abs(have - want) > 1 for have, want in zip(image.shape[:2], expected, strict=True)):
        raise DataError(
            f"image {path} of frame {token} is {image.shape[1] * factor}x"
            f"{image.shape[0] * factor} but the index has {stored[1]}x{stored[0]}; "
            "build the index again with tools/create_index.py"
        )
    return image.astype(np.uint8, copy=False)


def is_truncated(data: bytes) -> bool:
    """Whether a JPEG or PNG file ends early. OpenCV fills the rest of a JPEG with grey instead."""
    if data.startswith(_JPEG_START):
        # Neither marker can occur within compressed data, but both do in an embedded thumbnail.
        return data.rfind(_JPEG_END) <= data.rfind(_JPEG_SCAN)
    if data.startswith(_PNG_START):
        return data.rfind(_PNG_END) < len(data) - 64
    return not data
