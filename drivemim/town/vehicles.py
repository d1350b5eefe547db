"""Cars, vans, trucks and buses: a side profile swept across the vehicle's width."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from drivemim.array_types import Floats32, Image
from drivemim.town import drawing
from drivemim.town.quads import Quads, TextureBank
from drivemim.town.textures import make_texture
from drivemim.town.town_config import Condition

_SCALE = 48  # texture pixels per metre


@dataclass(frozen=True)
class VehicleShape:
    """A kind of vehicle.

    Attributes:
        category: nuScenes category.
        size_wlh: width, length and height ranges (low, high), metres.
        profile: outline from front bumper over the roof to rear bumper: points (forward, up,
            material), as fractions of half the length (1 front, -1 rear) and of the height. The
            material belongs to the surface from this point to the next, so the last point's is
            empty.
        wheels: forward positions of the wheels, as fractions of half the length.
        wheel_radius: metres.
        windows: side windows, each a polygon of (forward, up) points like those of ``profile``.
    """

    category: str
    size_wlh: tuple[tuple[float, float], tuple[float, float], tuple[float, float]]
    profile: tuple[tuple[float, float, str], ...]
    wheels: tuple[float, ...]
    wheel_radius: float
    windows: tuple[tuple[tuple[float, float], ...], ...]


VEHICLE_SHAPES = {
    "sedan": VehicleShape(
        "vehicle.car",
        ((1.75, 1.9), (4.3, 4.9), (1.42, 1.52)),
        (
            (1.0, 0.14, "front"),
            (0.98, 0.54, "hood"),
            (0.38, 0.66, "windscreen"),
            (0.05, 1.0, "roof"),
            (-0.45, 0.99, "rear window"),
            (-0.76, 0.68, "hood"),
            (-0.99, 0.62, "back"),
            (-1.0, 0.14, ""),
        ),
        (0.62, -0.6),
        0.33,
        (
            ((0.28, 0.66), (0.03, 0.93), (-0.18, 0.93), (-0.18, 0.66)),
            ((-0.23, 0.66), (-0.23, 0.93), (-0.44, 0.92), (-0.64, 0.68)),
        ),
    ),
    "hatchback": VehicleShape(
        "vehicle.car",
        ((1.7, 1.9), (3.8, 4.6), (1.5, 1.78)),
        (
            (1.0, 0.15, "front"),
            (0.97, 0.55, "hood"),
            (0.5, 0.64, "windscreen"),
            (0.16, 1.0, "roof"),
            (-0.82, 0.97, "rear window"),
            (-0.96, 0.6, "back"),
            (-1.0, 0.15, ""),
        ),
        (0.62, -0.62),
        0.35,
        (
            ((0.4, 0.64), (0.14, 0.93), (-0.12, 0.93), (-0.12, 0.64)),
            ((-0.17, 0.64), (-0.17, 0.93), (-0.5, 0.93), (-0.5, 0.64)),
            ((-0.55, 0.64), (-0.55, 0.93), (-0.78, 0.91), (-0.86, 0.66)),
        ),
    ),
    "van": VehicleShape(
        "vehicle.truck",
        ((1.95, 2.1), (5.0, 6.2), (2.2, 2.7)),
        (
            (1.0, 0.12, "front"),
            (0.97, 0.42, "hood"),
            (0.78, 0.5, "windscreen"),
            (0.55, 1.0, "roof"),
            (-0.98, 0.98, "back"),
            (-1.0, 0.12, ""),
        ),
        (0.64, -0.58),
        0.36,
        (((0.72, 0.52), (0.54, 0.88), (0.33, 0.88), (0.33, 0.52)),),
    ),
    "truck": VehicleShape(
        "vehicle.truck",
        ((2.4, 2.6), (7.5, 9.5), (3.1, 3.6)),
        (
            (1.0, 0.12, "front"),
            (1.0, 0.42, "windscreen"),
            (0.95, 0.78, "roof"),
            (0.6, 0.8, "cargo front"),
            (0.58, 1.0, "roof"),
            (-1.0, 1.0, "cargo back"),
            (-1.0, 0.16, ""),
        ),
        (0.78, -0.45, -0.68),
        0.5,
        (((0.95, 0.46), (0.91, 0.72), (0.72, 0.72), (0.72, 0.46)),),
    ),
    "bus": VehicleShape(
        "vehicle.bus.rigid",
        ((2.5, 2.8), (10.0, 12.0), (3.0, 3.4)),
        (
            (1.0, 0.1, "front"),
            (1.0, 0.35, "windscreen"),
            (0.98, 1.0, "roof"),
            (-0.99, 1.0, "rear window"),
            (-1.0, 0.6, "back"),
            (-1.0, 0.1, ""),
        ),
        (0.55, -0.5),
        0.48,
        tuple(
            ((x + 0.24, 0.42), (x + 0.24, 0.84), (x, 0.84), (x, 0.42))
            for x in (-0.94, -0.66, -0.38, -0.1, 0.18, 0.46, 0.72)
        ),
    ),
}
_PAINTS = (  # colours, BGR
    (235, 235, 235),
    (40, 40, 42),
    (150, 150, 152),
    (40, 38, 170),
    (150, 80, 30),
    (60, 110, 50),
    (190, 200, 205),
    (70, 140, 200),
    (80, 60, 40),
    (110, 120, 30),
)
_GLASS = (62, 52, 40)


def build_vehicle(
    shape: VehicleShape,
    size_wlh: tuple[float, float, float],
    instance_id: int,
    generator: np.random.Generator,
    bank: TextureBank,
    condition: Condition,
) -> Quads:
    """Build a vehicle's quads around the middle of its underside, x forward, y left, z up."""
    width, length, height = size_wlh
    paint = np.array(_PAINTS[generator.integers(len(_PAINTS))]) * generator.uniform(0.85, 1.1)
    side, alpha = _draw_side(shape, size_wlh, paint, generator)
    left = bank.add(make_texture(side, condition, alpha_HW=alpha, shade=0.82))
    right = bank.add(make_texture(side[:, ::-1], condition, alpha_HW=alpha[:, ::-1], shade=0.98))
    rows: list[tuple[list[float], list[float], list[float], int]] = [
        ([length / 2, width / 2, height], [-length, 0, 0], [0, 0, -height], left),
        ([-length / 2, -width / 2, height], [length, 0, 0], [0, 0, -height], right),
    ]
    inset = width * 0.995
    for (x0, z0, material), (x1, z1, _) in zip(shape.profile, shape.profile[1:], strict=False):
        (top_x, top_z), (bottom_x, bottom_z) = sorted(
            [(x0, z0), (x1, z1)], key=lambda point: point[1], reverse=True
        )
        panel, glow, shade = _draw_panel(material, paint, generator)
        texture = bank.add(make_texture(panel, condition, glow_HW=glow, shade=shade))
        corner = [top_x * length / 2, -inset / 2, top_z * height]
        down = [(bottom_x - top_x) * length / 2, 0.0, (bottom_z - top_z) * height]
        rows.append((corner, [0.0, inset, 0.0], down, texture))
    return Quads.make([_face_outward(row) for row in rows], instance_id)


def _face_outward(
    row: tuple[list[float], list[float], list[float], int],
) -> tuple[list[float], list[float], list[float], int]:
    """Return a panel that faces outward; turn it around if it faces inward.

    Outward is away from a point inside the vehicle: its middle, 0.3 m above the ground.
    """
    corner, right, down, texture = (np.array(part) for part in row)
    normal = -np.cross(right, down)
    outward = corner + right / 2 + down / 2 - [0.0, 0.0, 0.3]
    if normal @ outward >= 0:
        return row
    return (corner + right).tolist(), (-right).tolist(), down.tolist(), int(texture)


def _draw_side(
    shape: VehicleShape,
    size_wlh: tuple[float, float, float],
    paint: NDArray[np.float64],
    generator: np.random.Generator,
) -> tuple[Floats32, Image]:
    """Draw the left side, front at the left edge: colours and opacity."""
    _, length, height = size_wlh
    scale = _SCALE if length < 7 else _SCALE * 2 / 3
    columns, rows = int(length * scale), int(height * scale)

    def pixel(forward: float, up: float) -> list[int]:
        return [round((1 - forward) / 2 * (columns - 1)), round((1 - up) * (rows - 1))]

    image = np.empty((rows, columns, 3), np.float32)
    image[:] = paint
    image *= np.linspace(1.1, 0.75, rows, dtype=np.float32)[:, None, None]
    alpha = np.zeros((rows, columns), np.uint8)
    outline = np.array([pixel(x, z) for x, z, _ in shape.profile], np.int32)
    drawing.polygon(alpha, outline, 255)
    if shape.category != "vehicle.car" and generator.random() < 0.8:
        _draw_lettering(image, generator)
    for window in shape.windows:
        corners = np.array([pixel(x, z) for x, z in window], np.int32)
        drawing.polygon(image, corners, _GLASS)
        drawing.line(image, corners[0].tolist(), corners[1].tolist(), (130, 120, 110), 1)
        door_bottom = pixel(window[-1][0], shape.profile[0][1] + 0.08)
        if shape.category == "vehicle.car":
            drawing.line(image, corners[-1].tolist(), door_bottom, (paint * 0.55).tolist(), 1)
    sill = pixel(0, shape.profile[0][1] + 0.06)[1]
    image[sill:] *= 0.35
    radius = round(shape.wheel_radius * scale)
    for forward in shape.wheels:
        hub = pixel(forward, shape.wheel_radius / height)
        drawing.circle(image, hub, round(radius * 1.15), (16, 16, 16))
        drawing.circle(alpha, hub, radius, 255)
        drawing.circle(image, hub, round(radius * 0.62), (150, 150, 148))
        drawing.circle(image, hub, round(radius * 0.25), (60, 60, 60))
    return image, alpha


def _draw_lettering(image: Floats32, generator: np.random.Generator) -> None:
    """Draw a stripe and block letters along the cargo area."""
    rows, columns = image.shape[:2]
    colour = generator.uniform(20, 230, 3)
    image[int(rows * 0.55) : int(rows * 0.66)] = colour
    for left in range(columns // 3, columns * 4 // 5, max(columns // 16, 6)):
        top, bottom = int(rows * 0.2), int(rows * 0.4)
        right = left + max(columns // 24, 3)
        cv2.rectangle(
            image, (left, top), (right, bottom), colour.tolist(), int(generator.integers(2)) - 1
        )


def _draw_panel(
    material: str, paint: NDArray[np.float64], generator: np.random.Generator
) -> tuple[Floats32, Floats32, float]:
    """Draw a panel across the vehicle, 48 x 64 pixels: colours, glow and shade."""
    image = np.empty((48, 64, 3), np.float32)
    image[:] = paint
    glow = np.zeros((48, 64), np.float32)
    if material in ("windscreen", "rear window"):
        image[:] = _GLASS
        image[:] *= np.linspace(2.0, 0.8, 48, dtype=np.float32)[:, None, None]
        image[:, :3] = image[:, -3:] = image[:2] = paint * 0.6
        return image, glow, 1.0
    if material in ("roof", "hood"):
        image[:, :2] *= 0.6
        image[:, -2:] *= 0.6
        return image, glow, 1.12 if material == "roof" else 1.05
    if material.startswith("cargo"):
        image[:, 30:33] *= 0.5
        image[::12] *= 0.85
        if material == "cargo back":
            image[42:46, :8] = image[42:46, -8:] = (40, 40, 230)
            glow[42:46, :8] = glow[42:46, -8:] = 1.0
        return image, glow, 0.75
    lamp = (225, 240, 245) if material == "front" else (40, 40, 215)
    for columns in (slice(3, 15), slice(49, 61)):
        image[10:22, columns] = lamp
        glow[10:22, columns] = 1.0
    if material == "front":
        image[14:26, 18:46] = (35, 35, 35)
        image[16:26:3, 18:46] = (90, 90, 90)
    image[30:38, 24:40] = (215, 225, 225)
    for left in range(26, 38, 3):
        image[32:36, left : left + int(generator.integers(1, 3))] = 30
    image[38:] *= 0.5
    return image, glow, 0.9 if material == "front" else 0.8
