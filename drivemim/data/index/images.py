"""Reading of images: pretraining, detection and all else use the same decoder, crop and resize."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from drivemim.data.index.image_header import JPEG_START, check_bit_depth, check_upright, read_header
from drivemim.data.index.truncation import append_end_marker, end_is_missing, is_truncated
from drivemim.errors import DataError

_REDUCED = {
    8: cv2.IMREAD_REDUCED_COLOR_8,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    1: cv2.IMREAD_COLOR,
}
"""OpenCV's flag for each factor by which an image can be reduced while it is decoded."""


class Crop(NamedTuple):
    """A rectangle of whole pixels of the stored image.

    Attributes:
        top: number of rows above the rectangle.
        left: number of columns left of the rectangle.
        height: number of rows of the rectangle.
        width: number of columns of the rectangle.
    """

    top: int
    left: int
    height: int
    width: int

    @classmethod
    def whole(cls, stored: tuple[int, int]) -> Crop:
        """Return the crop that contains a whole image of this height and width."""
        return cls(0, 0, *stored)

    def matrix(self, size: tuple[int, int]) -> NDArray[np.float64]:
        """Return the 3x3 matrix from the stored image's pixels to those of the resized crop.

        Args:
            size: height and width that the crop is resized to, pixels.

        Returns:
            float64, for homogeneous coordinates in which pixel i spans [i, i + 1].
        """
        scale_y, scale_x = size[0] / self.height, size[1] / self.width
        return np.array(
            [[scale_x, 0.0, -self.left * scale_x], [0.0, scale_y, -self.top * scale_y], [0, 0, 1.0]]
        )


def reduction(crop: Crop, size: tuple[int, int]) -> int:
    """Return the largest of 8, 4, 2, 1 by which a JPEG can be reduced before a crop is resized.

    The reduced crop is at least as large as the size, so a reduced image is never enlarged again.
    Its edges lie between pixels: a pixel of an image reduced by 8 spans exactly 8 stored pixels,
    so 113 pixels span 904 stored pixels, not 900.

    Args:
        crop: the part of the stored image.
        size: height and width that the crop is resized to, pixels.
    """
    factor = reduction_to_cover((crop.height, crop.width), size)
    while any(number % factor for number in crop):
        factor //= 2
    return factor


def reduction_to_cover(shape: tuple[int, int], size: tuple[int, int]) -> int:
    """Return the largest of 8, 4, 2, 1 by which a shape can be reduced and still cover a size.

    Args:
        shape: height and width before the reduction, pixels.
        size: height and width to cover, pixels.
    """
    for factor in (8, 4, 2):
        if all(have >= need * factor for have, need in zip(shape, size, strict=True)):
            return factor
    return 1


def read_image(
    path: Path,
    *,
    stored: tuple[int, int],
    token: str = "",
    size: tuple[int, int] | None = None,
    crop: Crop | None = None,
) -> NDArray[np.uint8]:
    """Read an image in BGR: decode it as small as the size allows, crop, resize.

    The same file, crop and size always give the same pixels.

    Args:
        path: the file.
        stored: height and width according to the index or the file's header, pixels.
        token: the frame's token, for errors; empty for a file that is not of an index.
        size: height and width of the result, pixels; None for those of the crop.
        crop: the part of the stored image to read; None for all of it.

    Returns:
        uint8 (H, W, 3) of ``size``.

    Raises:
        FileNotFoundError: if the file does not exist.
        ValueError: if the image is truncated, cannot be decoded, is not of the stored size, has an
            EXIF orientation that would turn it, or has more than 8 bits per channel.
    """
    name = f"image {path} of frame {token}" if token else f"image {path}"
    data = _read_bytes(path, name)
    truncated = f"{name} is truncated ({len(data)} bytes); copy or unpack it again"
    if is_truncated(data):
        raise DataError(truncated)
    header = read_header(BytesIO(data))
    check_upright(path, header, token)
    check_bit_depth(path, header, token)
    crop = Crop.whole(stored) if crop is None else crop
    size = (crop.height, crop.width) if size is None else size
    # OpenCV reduces other formats by skipping pixels, and rounds their sizes down.
    factor = reduction(crop, size) if data.startswith(JPEG_START) else 1
    flags = _REDUCED[factor] | cv2.IMREAD_IGNORE_ORIENTATION
    image = cv2.imdecode(np.frombuffer(append_end_marker(data), np.uint8), flags)
    if image is None:
        raise DataError(f"{name} cannot be decoded; copy or unpack it again")
    # The decoder fills missing data with grey.
    if end_is_missing(data, image.astype(np.uint8, copy=False)):
        raise DataError(truncated)
    actual = image.shape[:2] if header.size is None else header.size
    if actual != stored:
        raise DataError(
            f"{name} is {actual[1]}x{actual[0]} but the index has {stored[1]}x{stored[0]}. Build "
            "the index again with drivemim index; if a COCO file has this size, correct it first"
        )
    top, left, height, width = (number // factor for number in crop)
    cropped = image[top : top + height, left : left + width]
    return resize_image(cropped.astype(np.uint8, copy=False), size)


def _read_bytes(path: Path, name: str) -> bytes:
    """Return the content of a file.

    Raises:
        FileNotFoundError: if it does not exist, with ``name`` and the fix.
    """
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(
            f"{name} is missing; restore it, or build the index again: of tables without it "
            "(--missing-images drop), of folders from where they are now"
        ) from None


def resize_image(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize an image: average pixels where it shrinks, interpolate where it grows.

    Args:
        image: uint8 (H, W, 3).
        size: height and width of the result, pixels.
    """
    # INTER_AREA averages only if neither side grows, so a side that shrinks is resized first.
    shrunk = (min(image.shape[0], size[0]), min(image.shape[1], size[1]))
    for step, method in ((shrunk, cv2.INTER_AREA), (size, cv2.INTER_LINEAR)):
        if image.shape[:2] != step:
            image = np.asarray(cv2.resize(image, step[::-1], interpolation=method), np.uint8)
    return np.ascontiguousarray(image)
