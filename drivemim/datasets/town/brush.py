"""Shapes drawn in place, on pictures of one channel or three, in grey levels or colours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Canvas = NDArray[Any]
Colour = float | Sequence[float] | NDArray[np.float64]
Point = Sequence[int]
FILLED = -1


def line(canvas: Canvas, start: Point, end: Point, colour: Colour, thickness: int = 1) -> None:
    """A straight line between two pixels."""
    cv2.line(canvas, start, end, _levels(colour), thickness)


def circle(
    canvas: Canvas, centre: Point, radius: int, colour: Colour, thickness: int = FILLED
) -> None:
    """A circle, a disc by default."""
    cv2.circle(canvas, centre, radius, _levels(colour), thickness)


def ellipse(
    canvas: Canvas,
    centre: Point,
    axes: Point,
    colour: Colour,
    *,
    turned: float = 0.0,
    arc: tuple[float, float] = (0.0, 360.0),
) -> None:
    """A filled ellipse or a sector of it; angles in degrees."""
    cv2.ellipse(canvas, centre, axes, turned, *arc, _levels(colour), FILLED)


def rectangle(
    canvas: Canvas, low: Point, high: Point, colour: Colour, thickness: int = FILLED
) -> None:
    """A rectangle, filled by default; both corners belong to it."""
    cv2.rectangle(canvas, low, high, _levels(colour), thickness)


def polygon(
    canvas: Canvas, corners: Sequence[Point] | NDArray[np.integer[Any]], colour: Colour
) -> None:
    """A filled polygon."""
    cv2.fillPoly(canvas, [np.asarray(corners, np.int32)], _levels(colour))


def _levels(colour: Colour) -> tuple[float, ...]:
    if isinstance(colour, int | float):
        return (float(colour),)
    return tuple(float(level) for level in colour)
