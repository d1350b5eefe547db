"""Draw shapes with subpixel positions on images with one channel (grey) or three (BGR).

OpenCV takes subpixel positions as fixed-point numbers. Points are in pixels (x, y); integers are
the centres of pixels. All functions draw in place.
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
_SHIFT = 4  # fractional bits: positions are rounded to 16ths of a pixel


def line(canvas: Canvas, start: Point, end: Point, colour: Colour, thickness: int = 1) -> None:
    """Draw a straight line between two points."""
    cv2.line(
        canvas, _fixed(start), _fixed(end), _as_scalar(colour), thickness, cv2.LINE_8, shift=_SHIFT
    )


def circle(
    canvas: Canvas, center: Point, radius: float, colour: Colour, thickness: int = cv2.FILLED
) -> None:
    """Draw a circle, by default a filled one."""
    (size,) = _fixed([radius])
    cv2.circle(
        canvas, _fixed(center), size, _as_scalar(colour), thickness, cv2.LINE_8, shift=_SHIFT
    )


def ellipse(
    canvas: Canvas,
    center: Point,
    axes: Point,
    colour: Colour,
    *,
    angle: float = 0.0,
    arc: tuple[float, float] = (0.0, 360.0),
) -> None:
    """Draw a filled ellipse or a sector of it; angles in degrees, clockwise."""
    middle, size = _fixed(center), _fixed(axes)
    cv2.ellipse(
        canvas, middle, size, angle, *arc, _as_scalar(colour), cv2.FILLED, cv2.LINE_8, shift=_SHIFT
    )


def polygon(canvas: Canvas, corners: Sequence[Point] | NDArray[Any], colour: Colour) -> None:
    """Draw a filled polygon."""
    fixed = np.array([_fixed(corner) for corner in corners], np.int32)
    cv2.fillPoly(canvas, [fixed], _as_scalar(colour), cv2.LINE_8, shift=_SHIFT)


def _fixed(point: Point) -> list[int]:
    """Return coordinates as fixed-point numbers."""
    return [round(float(value) * 2**_SHIFT) for value in point]


def _as_scalar(colour: Colour) -> tuple[float, ...]:
    """Return a grey level or a colour as OpenCV takes it: one number per channel."""
    if isinstance(colour, int | float):
        return (float(colour),)
    return tuple(float(level) for level in colour)
