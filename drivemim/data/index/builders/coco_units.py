"""Checks that the boxes of a COCO file are x, y, width, height in pixels of its images."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from drivemim.data.index.builders.coco_fields import CocoImage
from drivemim.errors import DataError

_LOG = logging.getLogger(__name__)
Corners = tuple[float, float, float, float]

_FEW, _FRACTION = 3, 0.03
"""Number and fraction of boxes that must reach out of their images to suggest another format. Fewer
may be single mistakes.

Of real boxes (CamVid, IDD) written as centres, 13 to 16 % reach out; as x, y, width, height, none.
"""
_ROUNDING = 1
"""Pixels that a box may reach out."""
_MANY = 20
"""Smallest number of boxes for the check whether they are in percent."""
_PERCENT = 100
_LARGE = 300
"""Size in pixels of an image whose boxes are not expected to all lie within the first 100."""
_SCALES = (1.25, 4 / 3, 1.5, 2, 2.5, 3, 4, 5, 6, 8)
"""Usual factors by which images are made smaller."""
_NEARLY = 0.9
"""Fraction of the larger image's side that its boxes must reach for this factor to be suggested."""
_MIN_REACH = 1.1
"""Smallest such reach, in sides of the image, for any factor to be suggested."""
_TOLERANCE = 1.01
"""Factor by which boxes may reach beyond the larger image: its size was rounded."""


def _from_corners(x: float, y: float, width: float, height: float) -> Corners:
    return x, y, width, height


def _from_center(x: float, y: float, width: float, height: float) -> Corners:
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


_READINGS: dict[str, Callable[[float, float, float, float], Corners]] = {
    "x1, y1, x2, y2": _from_corners,
    "centre x, centre y, width, height": _from_center,
}
"""Corners by other formats of ``bbox``."""


def check_units(path: Path, boxes: Sequence[tuple[CocoImage, Corners]]) -> None:
    """Refuse boxes in wrong units; warn of boxes that are clipped, empty or maybe in percent.

    Boxes that reach out of their images are refused if they are at least 3 and 3 % of the boxes,
    and all would fit in another format; or if they are at least 3 and most boxes. The message names
    the format, or the factor by which images were made smaller. Other cases give a warning.

    Args:
        path: the COCO file, for messages.
        boxes: the image of each box, and the box as x1, y1, x2, y2.

    Raises:
        DataError: naming the first image, and the numbers of boxes that reach out.
    """
    if any(corners != (0, 0, 0, 0) for _, corners in boxes) and all(
        max(corners) <= 1 for _, corners in boxes
    ):
        raise DataError(
            f"{path}: no box reaches beyond 1 pixel; give bbox in pixels, not in fractions of the "
            "image"
        )
    empty = sum(x1 == x2 or y1 == y2 for _, (x1, y1, x2, y2) in boxes)
    if empty:
        _LOG.warning("%s: %d of %d boxes have no area and are left out", path, empty, len(boxes))
    _check_inside(path, boxes)
    _warn_of_percent(path, boxes)


def _check_inside(path: Path, boxes: Sequence[tuple[CocoImage, Corners]]) -> None:
    cut = [image for image, corners in boxes if _is_outside(image, corners)]
    if not cut:
        return
    problem = (
        f"{path}: {len(cut)} of {len(boxes)} boxes reach out of their images, first in "
        f"{cut[0].file_name}"
    )
    others = {
        name: sum(_is_outside(image, read(x1, y1, x2 - x1, y2 - y1))
                  for image, (x1, y1, x2, y2) in boxes)
        for name, read in _READINGS.items()
    }  # fmt: skip
    fitting = next((name for name, count in others.items() if count == 0), None)
    if fitting and len(cut) >= max(_FEW, _FRACTION * len(boxes)):
        raise DataError(
            f"{problem}; is bbox {fitting}? Read so, none does. Give x, y, width, height in pixels"
        )
    counts = ", and ".join(f"{count} would as {name}" for name, count in others.items())
    problem = f"{problem}; {counts}"
    if len(cut) >= _FEW:
        problem += _advice_on_scale(boxes)
    if len(cut) >= _FEW and 2 * len(cut) > len(boxes):
        raise DataError(f"{problem}. Give bbox as x, y, width, height in pixels of the images")
    _LOG.warning("%s. They are read as x, y, width, height, and cut at the border", problem)


def _is_outside(image: CocoImage, corners: Corners) -> bool:
    """Return whether a box reaches out of its image by more than rounding, or is reversed."""
    x1, y1, x2, y2 = corners
    return (
        min(x1, y1) < -_ROUNDING
        or x2 > image.width + _ROUNDING
        or y2 > image.height + _ROUNDING
        or x2 < x1
        or y2 < y1
    )


def _advice_on_scale(boxes: Sequence[tuple[CocoImage, Corners]]) -> str:
    """Return advice if all boxes would fit divided by a usual factor; else an empty string.

    The images may have been made smaller after the boxes were drawn.
    """
    if any(min(corners) < -_ROUNDING for _, corners in boxes):
        return ""
    reach = max(max(x2 / image.width, y2 / image.height) for image, (_, _, x2, y2) in boxes)
    scale = next((each for each in _SCALES if reach <= each * _TOLERANCE), None)
    if scale is None or reach < max(_NEARLY * scale, _MIN_REACH):
        return ""
    return (
        f". All would fit divided by {scale:.3g}: if the images were made smaller by that factor "
        "after the boxes were drawn, divide the boxes, too"
    )


def _warn_of_percent(path: Path, boxes: Sequence[tuple[CocoImage, Corners]]) -> None:
    images = {image.id: image for image, _ in boxes}.values()
    large = sum(max(image.width, image.height) > _LARGE for image in images)
    if (
        len(boxes) >= _MANY
        and 2 * large > len(images)
        and all(max(corners) <= _PERCENT for _, corners in boxes)
    ):
        _LOG.warning(
            "%s: none of %d boxes reaches beyond %d pixels, but most images are larger than %d; is "
            "bbox in percent? It is read as pixels",
            path, len(boxes), _PERCENT, _LARGE,
        )  # fmt: skip
