"""Trailers, excavators and wheel loaders, built of parts: outlines swept sideways.

Letters: C corners of an outline.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from drivemim.array_types import Floats32, Image
from drivemim.town import drawing
from drivemim.town.quads import Quads, TextureBank
from drivemim.town.textures import make_texture
from drivemim.town.town_config import Condition

Outline = tuple[tuple[float, float], ...]
TexturedRow = tuple[list[float], list[float], list[float], int]

_SCALE = 36  # texture pixels per metre
# Colours are BGR.
_YELLOWS = ((20, 175, 240), (30, 150, 235), (40, 190, 225))
_TARPAULINS = ((215, 218, 220), (60, 60, 190), (150, 95, 40), (80, 125, 70), (60, 150, 215))
_COLOURS = {"dark": (52, 54, 56), "tyre": (30, 30, 32), "steel": (96, 102, 108)}


@dataclass(frozen=True)
class Part:
    """One part of a vehicle.

    Attributes:
        outline: corners (forward, up) as fractions of half the vehicle's length and of its
            height, anticlockwise as seen from the right side (front at the right).
        across: its right and left end as fractions of half the vehicle's width, left positive.
        look: how its surfaces are drawn: "paint", "cab", "cargo", "crawler" or "wheel", or in one
            colour: "dark" or "steel".
    """

    outline: Outline
    across: tuple[float, float]
    look: str


@dataclass(frozen=True)
class CompositeVehicle:
    """A kind of vehicle that is built of several parts.

    Attributes:
        category: nuScenes category.
        size_wlh: width, length and height ranges (low, high), metres.
        parts: parts of the vehicle; together they touch every face of its box.
    """

    category: str
    size_wlh: tuple[tuple[float, float], tuple[float, float], tuple[float, float]]
    parts: tuple[Part, ...]


def _block(rear: float, front: float, low: float, high: float) -> Outline:
    """Return a rectangle, from ``rear`` to ``front`` and from ``low`` to ``high``."""
    return ((front, low), (front, high), (rear, high), (rear, low))


def _wheel(middle: float, half: float, top: float) -> Outline:
    """Return an octagon that stands on the ground.

    Args:
        middle: forward position of the hub, as a fraction of half the vehicle's length.
        half: half the wheel's length, as a fraction of half the vehicle's length.
        top: height of the wheel, as a fraction of the vehicle's height.
    """
    angles = np.radians(np.arange(-45, 315, 45) + 22.5)
    reach = 1 / np.cos(np.radians(22.5))
    corners = np.stack([np.cos(angles), np.sin(angles)], -1) * reach
    return tuple(
        (float(middle + half * x), float(np.clip(top / 2 * (1 + z), 0.0, top))) for x, z in corners
    )


def _pair(outline: Outline, inner: float, look: str, outer: float = 1.0) -> tuple[Part, Part]:
    """Return a part on the left side and its mirror image on the right.

    ``inner`` and ``outer`` are the ends of the left part, as fractions of half the vehicle's width.
    """
    return Part(outline, (inner, outer), look), Part(outline, (-outer, -inner), look)


# Outlines of an excavator's crawler, boom, stick, bucket and upper body.
_CRAWLER: Outline = (
    (0.3, 0.0), (0.42, 0.12), (0.42, 0.2), (0.32, 0.3),
    (-0.78, 0.3), (-0.88, 0.2), (-0.88, 0.12), (-0.76, 0.0),
)  # fmt: skip
_BOOM: Outline = ((0.02, 0.45), (0.5, 0.8), (0.62, 0.8), (0.52, 0.95), (0.36, 0.98), (-0.1, 0.5))
_STICK: Outline = ((0.86, 0.22), (0.92, 0.26), (0.58, 0.97), (0.46, 0.86))
_BUCKET: Outline = ((0.8, 0.0), (1.0, 0.12), (0.98, 0.3), (0.82, 0.32), (0.68, 0.12))
_UPPER_BODY: Outline = ((0.02, 0.34), (0.02, 0.62), (-0.94, 0.62), (-1.0, 0.55), (-1.0, 0.34))
# Outlines of a wheel loader's lift arms, shovel and engine hood.
_LIFT: Outline = ((0.74, 0.1), (0.78, 0.2), (0.28, 0.56), (0.08, 0.5))
_SHOVEL: Outline = ((1.0, 0.02), (0.94, 0.05), (0.82, 0.36), (0.68, 0.3), (0.68, 0.06))
_HOOD: Outline = ((-0.1, 0.24), (-0.1, 0.6), (-0.92, 0.54), (-1.0, 0.46), (-1.0, 0.24))

COMPOSITE_VEHICLES = {
    "trailer": CompositeVehicle(
        "vehicle.trailer",
        ((2.35, 2.5), (5.6, 7.2), (2.9, 3.5)),
        (
            Part(_block(-1.0, 0.72, 0.3, 1.0), (-1.0, 1.0), "cargo"),
            Part(_block(-0.98, 0.7, 0.22, 0.3), (-0.6, 0.6), "dark"),
            Part(_block(0.68, 1.0, 0.17, 0.24), (-0.12, 0.12), "steel"),
            *_pair(_wheel(0.16, 0.13, 0.28), 0.66, "wheel", 0.97),
            *_pair(_wheel(-0.16, 0.13, 0.28), 0.66, "wheel", 0.97),
        ),
    ),
    "excavator": CompositeVehicle(
        "vehicle.construction",
        ((2.35, 2.5), (6.0, 6.9), (2.8, 3.1)),
        (
            *_pair(_CRAWLER, 0.55, "crawler"),
            Part(_UPPER_BODY, (-0.95, 0.95), "paint"),
            Part(_block(-0.34, 0.12, 0.34, 1.0), (0.3, 0.95), "cab"),
            Part(_BOOM, (-0.14, 0.14), "paint"),
            Part(_STICK, (-0.11, 0.11), "paint"),
            Part(_BUCKET, (-0.42, 0.42), "steel"),
        ),
    ),
    "loader": CompositeVehicle(
        "vehicle.construction",
        ((2.35, 2.5), (6.0, 6.9), (2.9, 3.2)),
        (
            *_pair(_wheel(0.34, 0.23, 0.5), 0.55, "wheel", 0.95),
            *_pair(_wheel(-0.48, 0.23, 0.5), 0.55, "wheel", 0.95),
            Part(_HOOD, (-0.72, 0.72), "paint"),
            Part(_block(-0.1, 0.5, 0.22, 0.44), (-0.48, 0.48), "dark"),
            Part(_block(-0.36, 0.08, 0.5, 1.0), (-0.55, 0.55), "cab"),
            *_pair(_LIFT, 0.22, "paint", 0.38),
            Part(_SHOVEL, (-1.0, 1.0), "steel"),
        ),
    ),
}


def build_composite_vehicle(
    vehicle: CompositeVehicle,
    size_wlh: tuple[float, float, float],
    instance_id: int,
    generator: np.random.Generator,
    bank: TextureBank,
    condition: Condition,
) -> Quads:
    """Build a vehicle's quads around the middle of its underside, x forward, y left, z up."""
    width, length, height = size_wlh
    colours = _YELLOWS if vehicle.category == "vehicle.construction" else _TARPAULINS
    colour = colours[generator.integers(len(colours))]
    paint = np.array(colour) * generator.uniform(0.88, 1.06)
    rows: list[TexturedRow] = []
    for part in vehicle.parts:
        corners_C2 = np.array(part.outline) * [length / 2, height]
        low, high = np.array(part.across) * width / 2
        rows += _sides(part, corners_C2, (low, high), paint, generator, bank, condition)
        rows += _panels(part, corners_C2, (low, high), paint, bank, condition)
    return Quads.make(rows, instance_id)


def _sides(
    part: Part,
    corners_C2: NDArray[np.float64],
    across: tuple[float, float],
    paint: NDArray[np.float64],
    generator: np.random.Generator,
    bank: TextureBank,
    condition: Condition,
) -> list[TexturedRow]:
    """Build the part's left and right side."""
    (rear, bottom), (front, top) = corners_C2.min(axis=0), corners_C2.max(axis=0)
    image, alpha = _draw_side(part.look, corners_C2, paint, generator)
    right_side = bank.add(make_texture(image, condition, alpha_HW=alpha, shade=0.98))
    left_side = bank.add(
        make_texture(image[:, ::-1], condition, alpha_HW=alpha[:, ::-1], shade=0.82)
    )
    low, high = across
    down = [0.0, 0.0, float(bottom - top)]
    part_length = float(front - rear)
    return [
        ([float(rear), float(low), float(top)], [part_length, 0.0, 0.0], down, right_side),
        ([float(front), float(high), float(top)], [-part_length, 0.0, 0.0], down, left_side),
    ]


def _panels(
    part: Part,
    corners_C2: NDArray[np.float64],
    across: tuple[float, float],
    paint: NDArray[np.float64],
    bank: TextureBank,
    condition: Condition,
) -> list[TexturedRow]:
    """Build the panels between the sides: one rectangle per visible edge of the outline."""
    low, high = across
    rows: list[TexturedRow] = []
    textures: dict[str, int] = {}
    for (x0, z0), (x1, z1) in zip(corners_C2, np.roll(corners_C2, -1, axis=0), strict=True):
        outward_x, outward_z = z1 - z0, x0 - x1
        norm = float(np.hypot(outward_x, outward_z))
        if outward_z < -0.8 * norm:
            continue  # undersides are close to the ground and not visible
        face = "roof" if outward_z > 0.8 * norm else ("front" if outward_x > 0 else "back")
        if face not in textures:
            image, glow, shade = _draw_panel(part.look, face, paint)
            textures[face] = bank.add(make_texture(image, condition, glow_HW=glow, shade=shade))
        panel_width = float(high - low)
        # From the front, the left side is on the right; from above, the front is at the bottom.
        if outward_x > 1e-9 or (abs(outward_x) <= 1e-9 and outward_z > 0):
            corner, right = [float(x1), float(low), float(z1)], [0.0, panel_width, 0.0]
            down = [float(x0 - x1), 0.0, float(z0 - z1)]
        else:
            corner, right = [float(x0), float(high), float(z0)], [0.0, -panel_width, 0.0]
            down = [float(x1 - x0), 0.0, float(z1 - z0)]
        rows.append((corner, right, down, textures[face]))
    return rows


def _base_image(look: str, size: tuple[int, int], paint: NDArray[np.float64]) -> Floats32:
    """Return an image of ``size`` (rows, columns) in the look's base colour."""
    image = np.empty((*size, 3), np.float32)
    image[:] = _COLOURS.get(look, paint if look in ("paint", "cab", "cargo") else _COLOURS["tyre"])
    return image


def _draw_side(
    look: str,
    corners_C2: NDArray[np.float64],
    paint: NDArray[np.float64],
    generator: np.random.Generator,
) -> tuple[Floats32, Image]:
    """Draw a part from the right side, front at the right edge: colours and opacity."""
    low_2, high_2 = corners_C2.min(axis=0), corners_C2.max(axis=0)
    columns, rows = (np.maximum((high_2 - low_2) * _SCALE, 6)).astype(int).tolist()
    fraction_C2 = (corners_C2 - low_2) / (high_2 - low_2)
    pixels_C2 = np.rint(
        np.stack([fraction_C2[:, 0] * (columns - 1), (1 - fraction_C2[:, 1]) * (rows - 1)], -1)
    ).astype(np.int32)
    image = _base_image(look, (rows, columns), paint)
    image *= np.linspace(1.1, 0.8, rows, dtype=np.float32)[:, None, None]
    alpha = np.zeros((rows, columns), np.uint8)
    drawing.polygon(alpha, pixels_C2, 255)
    if look == "cargo":
        image[:, :: max(columns // 8, 4)] *= 0.72
        image[int(rows * 0.92) :] = _COLOURS["dark"]
        if generator.random() < 0.7:
            image[int(rows * 0.35) : int(rows * 0.55), columns // 6 : columns // 2] = (
                generator.uniform(20, 235, 3)
            )
    elif look == "cab":
        edge = max(rows // 12, 2)
        image[edge : int(rows * 0.62), edge:-edge] = (70, 60, 48)
        image[:, columns // 2 : columns // 2 + 2] = paint * 0.6
    elif look == "crawler":
        image[::3] *= 1.35
        for hub in range(rows // 2, columns, max(rows * 2 // 3, 4)):
            drawing.circle(image, (hub, rows // 2), max(rows // 4, 1), (70, 74, 78))
    elif look == "wheel":
        middle = (columns // 2, rows // 2)
        drawing.ellipse(image, middle, (columns // 4, rows // 4), paint.tolist())
        drawing.ellipse(image, middle, (columns // 12, rows // 12), (60, 60, 60))
    elif look == "paint":
        image[int(rows * 0.75) :] *= 0.7
    return image, alpha


def _draw_panel(
    look: str, face: str, paint: NDArray[np.float64]
) -> tuple[Floats32, Floats32, float]:
    """Draw a panel across a part, 32 x 48 pixels: colours, glow and shade."""
    image = _base_image(look, (32, 48), paint)
    glow = np.zeros((32, 48), np.float32)
    if look == "cab" and face != "roof":
        image[3:22, 4:-4] = (84, 74, 60)
    elif look == "cab":
        image[12:20, 20:28], glow[12:20, 20:28] = (30, 150, 250), 1.0  # the beacon
    elif look == "cargo" and face != "roof":
        image[:, 23:25] *= 0.5
        image[29:] = _COLOURS["dark"]
        if face == "back":
            for columns in (slice(1, 7), slice(41, 47)):
                image[26:29, columns], glow[26:29, columns] = (40, 40, 225), 1.0
    elif look == "crawler":
        image[::4] *= 1.5
    elif look == "paint" and face == "back":
        image[10:24:3, 12:36] *= 0.45
    elif look == "steel" and face == "front":
        image[:, ::6] *= 0.8
    return image, glow, {"roof": 1.1, "front": 0.92, "back": 0.78}[face]
