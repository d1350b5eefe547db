"""Functions that draw shapes in place, on pictures with one channel (grey) or three (colour).

Points are in pixels and may have fractions; integers are the centres of pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Canvas = NDArray[Any]
Colour = float | Sequence[float] | NDArray[np.float64]
Point = Sequence[float]
FILLED = -1
_SHIFT = 4  # OpenCV takes fixed-point numbers, here 16ths of a pixel


def line(canvas: Canvas, start: Point, end: Point, colour: Colour, thickness: int = 1) -> None:
    """Draw a straight line between two points."""
    cv2.line(
        canvas, _fixed(start), _fixed(end), _levels(colour), thickness, cv2.LINE_8, shift=_SHIFT
    )


def circle(
    canvas: Canvas, centre: Point, radius: float, colour: Colour, thickness: int = FILLED
) -> None:
    """Draw a circle, by default a filled one."""
    (size,) = _fixed([radius])
    cv2.circle(canvas, _fixed(centre), size, _levels(colour), thickness, cv2.LINE_8, shift=_SHIFT)


def ellipse(
    canvas: Canvas,
    centre: Point,
    axes: Point,
    colour: Colour,
    *,
    turned: float = 0.0,
    arc: tuple[float, float] = (0.0, 360.0),
) -> None:
    """Draw a filled ellipse or a sector of it; angles in degrees."""
    place, size = _fixed(centre), _fixed(axes)
    cv2.ellipse(
        canvas, place, size, turned, *arc, _levels(colour), FILLED, cv2.LINE_8, shift=_SHIFT
    )


def rectangle(
    canvas: Canvas, low: Sequence[int], high: Sequence[int], colour: Colour, thickness: int = FILLED
) -> None:
    """Draw a rectangle of whole pixels, corners included; filled by default."""
    cv2.rectangle(canvas, low, high, _levels(colour), thickness)


def polygon(canvas: Canvas, corners: Sequence[Point] | NDArray[Any], colour: Colour) -> None:
    """Draw a filled polygon."""
    fixed = np.array([_fixed(corner) for corner in corners], np.int32)
    cv2.fillPoly(canvas, [fixed], _levels(colour), cv2.LINE_8, shift=_SHIFT)


def _fixed(point: Point) -> list[int]:
    return [round(float(value) * 2**_SHIFT) for value in point]


def _levels(colour: Colour) -> tuple[float, ...]:
    if isinstance(colour, int | float):
        return (float(colour),)
    return tuple(float(level) for level in colour)
