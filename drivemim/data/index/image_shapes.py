"""Proportions of images, and sizes to which images can be resized without changing them much."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from drivemim.array_types import Ints
from drivemim.data.index.frame_index import FrameIndex

LARGEST_STRETCH = 0.1
"""Relative change of the aspect ratio above which an image counts as stretched."""
_TRIED_SHAPES = 20
"""Number of sizes of stretched images, the most frequent ones, for which a better size is tried."""


def image_shapes(index: FrameIndex, rows: Ints) -> Ints:
    """Return the height and width (F, 2) of frames, pixels.

    Args:
        index: the data set.
        rows: (F,) rows of the frames.
    """
    frames = index.frames
    sizes_F2: Ints = np.stack([frames.height[rows], frames.width[rows]], axis=1).astype(np.int64)
    return sizes_F2


class Stretch(NamedTuple):
    """Images that are stretched when they are resized.

    Attributes:
        line: description of the images, and a better size.
        factor: factor by which images of the most frequent size are stretched, above 1.
    """

    line: str
    factor: float


def describe_stretched(
    index: FrameIndex, rows: Ints, image_size: tuple[int, int], patch_size: int
) -> Stretch | None:
    """Describe images that ``image_size`` stretches by more than 10 %; None if there are none.

    Args:
        index: the data set.
        rows: rows of the images.
        image_size: height and width that the images are resized to, pixels.
        patch_size: number that a suggested height and width are multiples of, pixels; 1 for any.
    """
    sizes_F2 = image_shapes(index, rows)
    suggested = fitting_size(sizes_F2, image_size, patch_size)
    if suggested is None:
        return None
    stretched_F = _is_stretched(sizes_F2, image_size)
    height, width = _common_shapes(sizes_F2[stretched_F])[0]
    ratio = (width / height) / (image_size[1] / image_size[0])
    still_stretched_F = _is_stretched(sizes_F2, suggested)
    multiples = f", multiples of the encoder's patches of {patch_size} pixels,"
    fix = (
        f"image_size={suggested}{multiples if patch_size > 1 else ''} would stretch "
        f"{still_stretched_F.mean():.1%}"
        if still_stretched_F.sum() < stretched_F.sum()
        else "No size was found that stretches fewer: the images differ in their proportions"
    )
    factor = max(ratio, 1 / ratio)
    line = (
        f"{index.path}: image_size={image_size} (height, width) stretches {stretched_F.mean():.1%} "
        f"of the images, for example those of ({height}, {width}), which it makes "
        f"{factor:.2f} times too {'high' if ratio > 1 else 'wide'}. {fix}"
    )
    return Stretch(line, factor)


def fitting_size(
    sizes_F2: Ints, image_size: tuple[int, int], patch_size: int
) -> tuple[int, int] | None:
    """Return the size that stretches the fewest images by more than 10 %.

    Args:
        sizes_F2: height and width of the images, pixels.
        image_size: height and width that they are resized to now, pixels.
        patch_size: number that the returned height and width are multiples of, pixels.

    Returns:
        A size of about as many pixels as ``image_size``, or ``image_size`` itself if none of those
        tried is better; None if ``image_size`` stretches no image.
    """
    stretched_F = _is_stretched(sizes_F2, image_size)
    if not stretched_F.any():
        return None
    common = _common_shapes(sizes_F2[stretched_F])
    tried = [unstretched_size(shape, image_size, patch_size) for shape in common]
    return min([image_size, *tried], key=lambda size: int(_is_stretched(sizes_F2, size).sum()))


def _common_shapes(sizes_F2: Ints) -> list[tuple[int, int]]:
    """Return the most frequent sizes (height, width) of images, the most frequent first."""
    shapes, counts = np.unique(sizes_F2, axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:_TRIED_SHAPES]
    return [(height, width) for height, width in shapes[order].tolist()]


def _is_stretched(sizes_F2: Ints, image_size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return True for images (height, width) that ``image_size`` stretches by more than 10 %."""
    ratio_F = (sizes_F2[:, 1] / sizes_F2[:, 0]) / (image_size[1] / image_size[0])
    stretched_F: NDArray[np.bool_] = np.maximum(ratio_F, 1 / ratio_F) > 1 + LARGEST_STRETCH
    return stretched_F


def unstretched_size(
    stored: tuple[int, int], image_size: tuple[int, int], patch_size: int
) -> tuple[int, int]:
    """Return a size of about as many pixels as ``image_size`` with the proportions of images.

    Only sizes with 0.75 to 1.33 times as many pixels are tried, if there are any. Of these, it is
    the size that stretches images least. Sizes that stretch them by less than 2 % are equally good;
    of several such sizes, it is the one whose number of pixels is nearest to that of
    ``image_size``.

    Args:
        stored: height and width of the images, pixels.
        image_size: height and width that they are resized to now, pixels.
        patch_size: number that the returned height and width are multiples of, pixels.
    """
    aspect, pixels = stored[1] / stored[0], image_size[0] * image_size[1]
    rows = math.sqrt(pixels / aspect) / patch_size
    candidates = [
        (row * patch_size, max(1, round(row * aspect)) * patch_size)
        for row in range(max(1, math.floor(0.7 * rows)), math.ceil(1.4 * rows) + 1)
    ]

    near = [size for size in candidates if 0.75 < size[0] * size[1] / pixels < 4 / 3]
    candidates = near or candidates

    def badness(size: tuple[int, int]) -> tuple[float, float]:
        stretch = abs(math.log(size[1] / size[0] / aspect))
        return max(stretch, math.log(1.02)), abs(math.log(size[0] * size[1] / pixels))

    return min(candidates, key=badness)
