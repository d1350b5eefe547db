"""Drawn textures: facades, walls, trees, street lamps, traffic lights, signs, cones, barriers."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from drivemim.array_types import Floats32, Image
from drivemim.town import drawing
from drivemim.town.quads import Texture
from drivemim.town.town_config import Condition

TextureColour = Sequence[int]

_WALLS = (  # colours, BGR
    (72, 88, 158),
    (96, 116, 172),
    (150, 178, 204),
    (188, 200, 206),
    (126, 150, 160),
    (160, 150, 132),
    (110, 128, 120),
    (170, 188, 220),
    (98, 96, 104),
    (140, 170, 190),
)


def make_texture(
    image_HW3: Image | Floats32,
    condition: Condition,
    *,
    alpha_HW: NDArray[np.generic] | None = None,
    glow_HW: NDArray[np.generic] | None = None,
    shade: float = 1.0,
) -> Texture:
    """Light a drawn image and return it as a texture.

    Args:
        image_HW3: colours under full daylight, BGR.
        condition: light of the scene.
        alpha_HW: uint8 opacity; opaque when None.
        glow_HW: emission, 0 to 1: full at night, none on a dry day, 0.6 times in other
            conditions.
        shade: fraction of the light that this side of the object gets.
    """
    gain_3 = np.array(condition.ambient, np.float32) * np.float32(shade)
    lit: Floats32 = image_HW3 * gain_3
    if glow_HW is not None and (condition.night or condition.name):
        strength = glow_HW[..., None].astype(np.float32) * (1.0 if condition.night else 0.6)
        lit += (image_HW3 - lit) * strength
    if alpha_HW is None:
        alpha_HW = np.full(image_HW3.shape[:2], 255, np.uint8)
    colours = np.minimum(lit, 255).astype(np.uint8)
    return Texture(np.dstack([colours, alpha_HW.astype(np.uint8)]))


def noise_image(
    generator: np.random.Generator, height: int, width: int, sizes: Sequence[int], strength: float
) -> Floats32:
    """Return smooth noise around 1: a sum of Gaussian noise of several grain sizes (pixels)."""
    total = np.ones((height, width), np.float32)
    for size in sizes:
        shape = (max(height // size, 2), max(width // size, 2))
        grain = generator.standard_normal(shape).astype(np.float32)
        total += strength * np.asarray(
            cv2.resize(grain, (width, height), interpolation=cv2.INTER_CUBIC), np.float32
        )
    return total


def _draw_wall(
    generator: np.random.Generator, height: int, width: int, colour: TextureColour
) -> Floats32:
    """Draw a wall of brick, plaster or panels."""
    image = np.empty((height, width, 3), np.float32)
    image[:] = colour
    kind = generator.integers(3)
    if kind == 0:
        rows, columns = height // 3 + 1, width // 8 + 2
        bricks = generator.normal(1.0, 0.1, (rows, columns)).astype(np.float32)
        bricks = np.kron(bricks, np.ones((3, 8), np.float32))
        for row in range(1, rows, 2):
            bricks[row * 3 : row * 3 + 3] = np.roll(bricks[row * 3 : row * 3 + 3], 4, axis=1)
        image *= bricks[:height, :width, None]
        image[::3] *= 0.84
    elif kind == 1:
        image *= noise_image(generator, height, width, (1, 24), 0.05)[..., None]
    else:
        image *= noise_image(generator, height, width, (1,), 0.03)[..., None]
        step = int(generator.integers(14, 30))
        image[::step] *= 0.7
        image[:, ::step] *= 0.8
    return image


def draw_facade(
    generator: np.random.Generator, width_m: float, height_m: float, scale: float
) -> tuple[Floats32, Floats32]:
    """Draw the front of a building: floors of windows above shops or doors.

    Args:
        generator: source of randomness.
        width_m: metres.
        height_m: metres.
        scale: texture pixels per metre.

    Returns:
        Colours (BGR) and glow, 0 to 1.
    """
    width, height = int(width_m * scale), int(height_m * scale)
    wall = np.array(_WALLS[generator.integers(len(_WALLS))]) * generator.uniform(0.75, 1.15)
    image = _draw_wall(generator, height, width, wall.tolist())
    glow = np.zeros((height, width), np.float32)
    storey = generator.uniform(2.9, 3.5) * scale
    pitch = generator.uniform(2.0, 3.6) * scale
    frame = (wall * generator.choice([0.5, 1.4])).clip(0, 255)
    window_w, window_h = pitch * generator.uniform(0.4, 0.7), storey * generator.uniform(0.45, 0.65)
    ground = height - storey * 1.15
    for top in np.arange(ground - storey * 0.85, storey * 0.1, -storey):
        for left in np.arange(
            (width % pitch) / 2 + (pitch - window_w) / 2, width - window_w, pitch
        ):
            _draw_window(generator, image, glow, (left, top, window_w, window_h), frame)
    _draw_ground_floor(generator, image, glow, int(ground), wall)
    cv2.rectangle(image, (0, 0), (width, int(0.35 * scale)), frame.tolist(), cv2.FILLED)
    return image, glow


def _draw_window(
    generator: np.random.Generator,
    image: Floats32,
    glow: Floats32,
    box: tuple[float, float, float, float],
    frame: NDArray[np.float64],
) -> None:
    left, top, width, height = (int(value) for value in box)
    right, bottom = left + max(width, 2), top + max(height, 2)
    cv2.rectangle(image, (left - 1, top - 1), (right + 1, bottom + 1), frame.tolist(), cv2.FILLED)
    lit = generator.random() < 0.4
    glass = (90, 190, 245) if lit else (118, 96, 70)
    image[max(top, 0) : bottom, left:right] = np.array(glass) * generator.uniform(0.6, 1.1)
    reflection = generator.uniform(1.1, 1.5)
    if lit:
        glow[max(top, 0) : bottom, left:right] = generator.uniform(0.5, 1.0)
    else:
        image[max(top, 0) : (top + bottom) // 2, left:right] *= reflection
    if generator.random() < 0.6:
        drawing.line(
            image, ((left + right) // 2, top), ((left + right) // 2, bottom), frame.tolist(), 1
        )
    if generator.random() < 0.3:
        curtain = right - (right - left) // 3
        image[max(top, 0) : bottom, curtain:right] = generator.uniform(120, 220, 3)


def _draw_ground_floor(
    generator: np.random.Generator,
    image: Floats32,
    glow: Floats32,
    top: int,
    wall: NDArray[np.float64],
) -> None:
    height, width = image.shape[:2]
    if generator.random() < 0.4:
        image[top:] *= 0.8
        for left in range(width // 8, width - width // 6, max(width // 3, 1)):
            door = generator.uniform(30, 150, 3)
            bottom = height
            cv2.rectangle(
                image, (left, top + 6), (left + width // 9, bottom), door.tolist(), cv2.FILLED
            )
        return
    sign_colour = generator.uniform(40, 235, 3)
    sign = top + (height - top) // 4
    image[top:sign] = sign_colour
    glow[top:sign] = 0.7
    for left in range(4, width - 10, 7):
        if generator.random() < 0.75:
            ink = (255 - sign_colour).tolist()
            drawing.line(
                image, (left, top + 2), (left + int(generator.integers(1, 5)), sign - 3), ink, 1
            )
    image[sign:, :] = (96, 104, 92)
    for left in range(0, width, max(width // 5, 8)):
        right = left + max(width // 5, 8) - 2
        shelf = generator.uniform(50, 200, 3)
        image[sign + 3 : height - 5, left + 1 : right] = shelf * 0.6
        if generator.random() < 0.7:
            glow[sign + 3 : height - 5, left + 1 : right] = 0.6
    image[height - 5 :] = wall * 0.5


def draw_plain_wall(
    generator: np.random.Generator, width_m: float, height_m: float, scale: float
) -> Floats32:
    """Draw the side of a building, without windows."""
    wall = np.array(_WALLS[generator.integers(len(_WALLS))]) * generator.uniform(0.8, 1.1)
    height, width = int(height_m * scale), int(width_m * scale)
    image = _draw_wall(generator, height, width, wall.tolist())
    for _ in range(int(generator.integers(1, 4))):
        left, top = generator.integers(0, max(width - 20, 1)), generator.integers(0, height)
        size = (generator.uniform(0.1, 0.3) * width, generator.uniform(1.0, 3.0) * scale)
        corner = int(left + size[0]), int(top + size[1])
        colour = generator.uniform(40, 230, 3)
        cv2.rectangle(image, (int(left), int(top)), corner, colour.tolist(), cv2.FILLED)
        for line in range(int(top) + 4, corner[1] - 3, 6):
            ends = (int(left) + 3, line), (int(left + size[0] * generator.uniform(0.3, 0.9)), line)
            drawing.line(image, *ends, (255 - colour).tolist(), 2)
    pipe = int(generator.integers(2, max(width - 4, 3)))
    image[:, pipe : pipe + 2] *= 0.55
    image[: height // 30 + 1] *= 0.6
    return image * noise_image(generator, height, width, (6, 40), 0.05)[..., None]


def draw_tree(generator: np.random.Generator) -> tuple[Image, Image]:
    """Draw a tree, 128 x 96 pixels: colours and opacity."""
    image, alpha = np.zeros((128, 96, 3), np.uint8), np.zeros((128, 96), np.uint8)
    cv2.rectangle(image, (44, 60), (51, 127), (52, 72, 92), cv2.FILLED)
    cv2.rectangle(alpha, (44, 60), (51, 127), (255,), cv2.FILLED)
    green = np.array([40, 95, 62]) * generator.uniform(0.8, 1.25) + generator.uniform(-12, 18, 3)
    for _ in range(170):
        angle, radius = generator.uniform(0, 2 * np.pi), 40 * np.sqrt(generator.random())
        x, y = 48 + radius * np.cos(angle) * 0.95, 44 + radius * np.sin(angle)
        light = 0.65 + 0.5 * (84 - y) / 84 + generator.normal(0, 0.12)
        size = int(generator.integers(3, 8))
        colour = np.clip(green * light, 0, 255).tolist()
        drawing.circle(image, (int(x), int(y)), size, colour)
        drawing.circle(alpha, (int(x), int(y)), size, 255)
    return image, alpha


def draw_lamp() -> tuple[Image, Image, Floats32]:
    """Draw a street lamp, 240 x 48 pixels: colours, opacity and glow."""
    image, alpha = np.full((240, 48, 3), 78, np.uint8), np.zeros((240, 48), np.uint8)
    glow = np.zeros((240, 48), np.float32)
    cv2.rectangle(alpha, (22, 6), (25, 239), (255,), cv2.FILLED)
    drawing.line(alpha, (23, 8), (44, 4), 255, 3)
    drawing.ellipse(alpha, (40, 7), (8, 4), 255)
    drawing.ellipse(image, (40, 7), (8, 4), (170, 225, 250))
    drawing.ellipse(glow, (40, 7), (8, 4), 1.0)
    image[:, :24] = image[:, :24] // 4 * 3
    return image, alpha, glow


def draw_traffic_light(generator: np.random.Generator) -> tuple[Image, Image, Floats32]:
    """Draw a traffic light on its post, 160 x 32 pixels: colours, opacity and glow."""
    image, alpha = np.full((160, 32, 3), 60, np.uint8), np.zeros((160, 32), np.uint8)
    glow = np.zeros((160, 32), np.float32)
    cv2.rectangle(alpha, (14, 40), (17, 159), (255,), cv2.FILLED)
    cv2.rectangle(alpha, (6, 0), (25, 46), (255,), cv2.FILLED)
    image[:47] = 30
    on = int(generator.integers(3))
    for lamp, colour in enumerate(((40, 40, 235), (40, 190, 240), (90, 220, 60))):
        bright = colour if lamp == on else tuple(value // 4 for value in colour)
        drawing.circle(image, (15.5, 9 + 14 * lamp), 5, bright)
        if lamp == on:
            drawing.circle(glow, (15.5, 9 + 14 * lamp), 5, 1.0)
    return image, alpha, glow


def draw_sign(generator: np.random.Generator) -> tuple[Image, Image]:
    """Draw a round, square or triangular sign on a post, 120 x 40 pixels: colours and opacity."""
    image, alpha = np.full((120, 40, 3), 128, np.uint8), np.zeros((120, 40), np.uint8)
    cv2.rectangle(alpha, (18, 30), (21, 119), (255,), cv2.FILLED)
    kind = int(generator.integers(3))
    if kind == 0:
        for canvas, colour in ((alpha, 255), (image, (40, 40, 210))):
            drawing.circle(canvas, (19.5, 19.5), 19, colour)
        drawing.circle(image, (19.5, 19.5), 13, (240, 240, 240))
    elif kind == 1:
        cv2.rectangle(alpha, (2, 2), (37, 37), (255,), cv2.FILLED)
        cv2.rectangle(image, (2, 2), (37, 37), (190, 110, 30), cv2.FILLED)
        cv2.rectangle(image, (12, 9), (27, 30), (240, 240, 240), cv2.FILLED)
    else:
        triangle = np.array([[19.5, 1], [38, 37], [1, 37]])
        drawing.polygon(alpha, triangle, 255)
        drawing.polygon(image, triangle, (40, 40, 210))
        middle_2 = np.array([19.5, 25.0])
        drawing.polygon(image, (triangle - middle_2) * 0.6 + middle_2, (235, 240, 240))
    return image, alpha


def draw_cone() -> tuple[Image, Image]:
    """Draw a traffic cone, 48 x 32 pixels: colours and opacity."""
    image, alpha = np.zeros((48, 32, 3), np.uint8), np.zeros((48, 32), np.uint8)
    cone = np.array([[13, 0], [18, 0], [27, 44], [4, 44]], np.int32)
    drawing.polygon(alpha, cone, 255)
    image[:] = (30, 90, 240)
    image[14:22] = image[31:37] = (235, 235, 235)
    cv2.rectangle(alpha, (0, 43), (31, 47), (255,), cv2.FILLED)
    image[43:] = (40, 50, 60)
    return image, alpha


def draw_barrier() -> Image:
    """Draw a striped barrier, 40 x 96 pixels."""
    image = np.full((40, 96, 3), 225, np.uint8)
    for left in range(-40, 96, 24):
        stripe = np.array([[left, 40], [left + 12, 40], [left + 40, 0], [left + 28, 0]], np.int32)
        drawing.polygon(image, stripe, (40, 50, 215))
    image[-4:] = 90
    return image
