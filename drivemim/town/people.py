"""Textures of pedestrians and cyclists: a jointed figure, seen from any side."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from drivemim.array_types import Floats, Image
from drivemim.town import drawing

VIEWS = 8  # directions from which a pedestrian is drawn
PHASES = 8  # of the walking cycle
_SKIN = ((120, 150, 205), (150, 185, 230), (60, 85, 125), (95, 125, 175))
_HAIR = ((25, 30, 35), (40, 60, 90), (70, 130, 170), (150, 150, 155), (30, 40, 70))


@dataclass(frozen=True)
class Outfit:
    """Clothes of one person and their colours (BGR)."""

    skin: tuple[int, ...]
    hair: tuple[int, ...]
    shirt: tuple[int, ...]
    trousers: tuple[int, ...]
    shoes: tuple[int, ...]
    bag: bool
    skirt: bool
    vest: bool

    @staticmethod
    def sample(generator: np.random.Generator, vest: bool = False) -> Outfit:
        """Sample random clothes and colours."""
        shirt = (30, 150, 250) if vest else tuple(generator.integers(20, 240, 3).tolist())
        dark = generator.uniform(0.3, 0.9)
        return Outfit(
            _SKIN[generator.integers(len(_SKIN))],
            _HAIR[generator.integers(len(_HAIR))],
            shirt,
            tuple((generator.integers(30, 190, 3) * dark).astype(int).tolist()),
            tuple(generator.integers(10, 90, 3).tolist()),
            bool(generator.random() < 0.35),
            bool(generator.random() < 0.2) and not vest,
            vest,
        )


@dataclass(frozen=True)
class Limb:
    """A segment of the body, drawn as a thick line.

    Attributes:
        start_3: one end (forward, left, up), as fractions of the figure's height.
        end_3: the other end.
        thickness: as a fraction of the figure's height.
        colour: BGR.
    """

    start_3: Floats
    end_3: Floats
    thickness: float
    colour: tuple[int, ...]


def _walking_limbs(outfit: Outfit, phase: float, stride: float) -> list[Limb]:
    """Return a pedestrian's legs and arms; for ``phase`` and ``stride`` see ``draw_person``."""
    limbs = []
    swing = np.sin(2 * np.pi * phase) * stride
    for side, sign in ((0.05, 1.0), (-0.05, -1.0)):
        hip = np.array([0.0, side, 0.50])
        reach = sign * swing
        lift = max(np.cos(2 * np.pi * phase) * sign, 0.0) * stride
        knee = np.array([reach * 0.55 + lift * 0.25, side, 0.28])
        foot = np.array([reach - lift * 0.2, side, 0.035 + 0.3 * lift])
        toe = foot + [0.05, 0.0, -0.012]
        limbs.append(Limb(hip, knee, 0.088, outfit.trousers))
        limbs.append(Limb(knee, foot, 0.066, outfit.trousers))
        limbs.append(Limb(foot, toe, 0.045, outfit.shoes))
        shoulder = np.array([0.0, side * 2.4, 0.79])
        elbow = np.array([-reach * 0.45, side * 2.6, 0.63])
        hand = np.array([-reach * 0.8 + 0.03, side * 2.4, 0.49])
        limbs.append(Limb(shoulder, elbow, 0.058, outfit.shirt))
        limbs.append(Limb(elbow, hand, 0.046, outfit.shirt))
        limbs.append(Limb(hand, hand + [0.0, 0.0, -0.015], 0.042, outfit.skin))
    return limbs


def _torso_limbs(outfit: Outfit, lean: float) -> list[Limb]:
    """Return the torso, with skirt, vest and bag if the outfit has them."""
    limbs = []
    for side in (-0.055, 0.0, 0.055):
        hip, neck = np.array([0.0, side * 0.8, 0.5]), np.array([lean, side, 0.78])
        limbs.append(Limb(hip, neck, 0.115, outfit.shirt))
        if outfit.skirt:
            limbs.append(Limb(hip, hip - [0.0, -side * 0.6, 0.17], 0.12, outfit.trousers))
        if outfit.vest:
            low, high = hip + [0, 0, 0.1], hip + [0, 0, 0.13]
            limbs.append(Limb(low, high, 0.12, (210, 240, 240)))
    if outfit.bag:
        limbs.append(
            Limb(np.array([-0.09, 0, 0.58]), np.array([-0.09, 0, 0.74]), 0.12, outfit.shoes)
        )
    return limbs


def draw_person(
    outfit: Outfit, view: float, phase: float, stride: float, aspect_ratio: float, height: int
) -> tuple[Image, Image]:
    """Draw a pedestrian.

    Args:
        outfit: colours.
        view: angle from the direction that the person faces to the direction of the camera,
            radians, anticlockwise from above: 0 shows the face, pi the back.
        phase: phase of the walking cycle, in cycles.
        stride: amplitude of a foot's swing as a fraction of the height; 0 for standing.
        aspect_ratio: width of the image as a fraction of its height.
        height: height of the image, pixels.

    Returns:
        Colours and opacity, ``height`` pixels high.
    """
    limbs = _walking_limbs(outfit, phase, stride) + _torso_limbs(outfit, 0.02)
    canvas = FigureCanvas(view, aspect_ratio, height)
    canvas.draw(limbs)
    canvas.head(outfit, np.array([0.03, 0.0, 0.915]))
    return canvas.finish()


class FigureCanvas:
    """Draw limbs in orthographic projection on an upright image.

    Args:
        view: direction of the camera, see ``draw_person``.
        aspect_ratio: width of the image as a fraction of its height.
        height: height of the image, pixels; the figure is as high.
    """

    def __init__(self, view: float, aspect_ratio: float, height: int) -> None:
        self.view, self.height = view, height
        self.width = round(self.height * aspect_ratio)
        self.image = np.zeros((self.height, self.width, 3), np.uint8)
        self.alpha = np.zeros((self.height, self.width), np.uint8)
        self.to_camera_3 = np.array([np.cos(view), np.sin(view), 0.0])
        self.right_3 = np.array([-np.sin(view), np.cos(view), 0.0])

    def pixel(self, point_3: Floats) -> tuple[float, float]:
        """Return the pixel position of a point; integers are the centres of pixels.

        The point is (forward, left, up), as fractions of the figure's height. The image spans
        -0.5 to size - 0.5 in both directions.
        """
        x = self.width / 2 + float(point_3 @ self.right_3) * self.height
        return x - 0.5, float(1.0 - point_3[2]) * self.height - 0.5

    def line_width(self, pixels: int) -> int:
        """Return the width of a line that is ``pixels`` wide in an image 192 pixels high."""
        return max(round(pixels * self.height / 192), 1)

    def draw(self, limbs: list[Limb]) -> None:
        """Draw limbs, the farthest first."""

        def closeness(limb: Limb) -> float:
            return float((limb.start_3 + limb.end_3) @ self.to_camera_3)

        for limb in sorted(limbs, key=closeness):
            shade = 0.88 + 0.9 * min(max(closeness(limb), -0.15), 0.15)
            thickness = max(round(limb.thickness * self.height), 1)
            ends = self.pixel(limb.start_3), self.pixel(limb.end_3)
            colour = [min(value * shade, 255) for value in limb.colour]
            drawing.line(self.image, *ends, colour, thickness)
            drawing.line(self.alpha, *ends, 255, thickness)

    def head(self, outfit: Outfit, center_3: Floats) -> None:
        """Draw a head with hair, and the neck under it."""
        center = self.pixel(center_3)
        axes = (round(0.055 * self.height), round(0.072 * self.height))
        neck = self.pixel(center_3 - [0.03, 0.0, 0.1])
        for canvas, colour in ((self.image, outfit.skin), (self.alpha, 255)):
            drawing.line(canvas, center, neck, colour, round(0.05 * self.height))
            drawing.ellipse(canvas, center, axes, colour)
        facing = np.cos(self.view)
        if facing < -0.3:
            drawing.ellipse(self.image, center, axes, outfit.hair)
            return
        side = self.pixel(center_3 - [0.03, 0.0, -0.02])
        if abs(facing) <= 0.75:
            drawing.ellipse(self.image, side, (axes[0] * 4 // 5, axes[1] * 4 // 5), outfit.hair)
        drawing.ellipse(self.image, center, axes, outfit.hair, arc=(180, 360))

    def finish(self) -> tuple[Image, Image]:
        """Shade the figure as lit from the upper left; return colours and opacity."""
        across = np.linspace(1.12, 0.78, self.width)[None, :]
        down = np.linspace(1.06, 0.92, self.height)[:, None]
        lit = self.image * (across * down)[..., None]
        return np.clip(lit, 0, 255).astype(np.uint8), self.alpha


def draw_cyclist(
    outfit: Outfit, phase: float, frame_colour: tuple[int, ...], height: int
) -> tuple[Image, Image]:
    """Draw a bicycle from its right side (facing right), with or without its rider.

    Args:
        outfit: colours of the rider.
        phase: phase of the pedals, in turns; negative to draw the bicycle without a rider.
        frame_colour: colour of the bicycle's frame, BGR.
        height: height and width of the image, pixels.

    Returns:
        Colours and opacity.
    """
    canvas = FigureCanvas(-np.pi / 2, 1.0, height)
    if phase >= 0:
        canvas.draw(_riding_limbs(outfit, phase))
        canvas.head(outfit, np.array([0.14, 0.0, 0.91]))
    _draw_bicycle(canvas, frame_colour)
    return canvas.finish()


def _riding_limbs(outfit: Outfit, phase: float) -> list[Limb]:
    """Return a cyclist's torso, legs and arms; ``phase`` is in turns of the pedals."""
    hip, neck = np.array([-0.16, 0, 0.57]), np.array([0.07, 0, 0.8])
    limbs = [Limb(hip, neck, 0.14, outfit.shirt)]
    for sign in (1.0, -1.0):
        turn = 2 * np.pi * phase + (0 if sign > 0 else np.pi)
        foot = np.array([-0.03 + 0.09 * np.cos(turn), -sign * 0.01, 0.2 + 0.09 * np.sin(turn)])
        knee = (hip + foot) / 2 + [0.12, 0, 0.05]
        limbs.append(Limb(hip, knee, 0.085, outfit.trousers))
        limbs.append(Limb(knee, foot, 0.06, outfit.trousers))
        limbs.append(Limb(foot, foot + [0.05, 0, -0.01], 0.04, outfit.shoes))
        hand = np.array([0.25, -sign * 0.01, 0.58])
        limbs.append(Limb(neck, (neck + hand) / 2 - [0, 0, 0.04], 0.055, outfit.shirt))
        limbs.append(Limb((neck + hand) / 2 - [0, 0, 0.04], hand, 0.045, outfit.skin))
    return limbs


def _draw_bicycle(canvas: FigureCanvas, frame_colour: tuple[int, ...]) -> None:
    """Draw the wheels and the frame."""

    def at(forward: float, up: float) -> tuple[float, float]:
        return canvas.pixel(np.array([forward, 0.0, up]))

    radius = round(0.185 * canvas.height)
    bars = [
        (at(-0.30, 0.2), at(-0.03, 0.2)),
        (at(-0.03, 0.2), at(-0.16, 0.5)),
        (at(-0.03, 0.2), at(0.2, 0.5)),
        (at(-0.14, 0.45), at(0.2, 0.5)),
        (at(0.30, 0.2), at(0.2, 0.58)),
        (at(-0.22, 0.52), at(-0.1, 0.52)),
    ]
    for target, wheel, bar in (
        (canvas.image, (25, 25, 25), frame_colour),
        (canvas.alpha, 255, 255),
    ):
        for hub in (at(-0.30, 0.2), at(0.30, 0.2)):
            drawing.circle(target, hub, radius, wheel, canvas.line_width(5))
            drawing.circle(target, hub, canvas.line_width(4), wheel)
            for spoke in range(4):
                tip = np.array(hub) + radius * np.array(
                    [np.cos(spoke * np.pi / 4), np.sin(spoke * np.pi / 4)]
                )
                back = 2 * np.array(hub) - tip
                drawing.line(target, back.tolist(), tip.tolist(), wheel, 1)
        for start, end in bars:
            drawing.line(target, start, end, bar, canvas.line_width(5))


def draw_rider(
    outfit: Outfit, view: float, aspect_ratio: float, height: int
) -> tuple[Image, Image]:
    """Draw a cyclist seen from the front (``view`` 0) or from behind (pi)."""
    canvas = FigureCanvas(view, aspect_ratio, height)
    wheel = canvas.pixel(np.array([0.0, 0.0, 0.38])), canvas.pixel(np.array([0.0, 0.0, 0.02]))
    for target, colour in ((canvas.image, (25, 25, 25)), (canvas.alpha, 255)):
        drawing.line(target, *wheel, colour, canvas.line_width(7))
        left = canvas.pixel(np.array([0.0, 0.12, 0.6]))
        right = canvas.pixel(np.array([0.0, -0.12, 0.6]))
        drawing.line(target, left, right, colour, canvas.line_width(4))
    limbs = _torso_limbs(outfit, 0.05)
    for side in (0.06, -0.06):
        hip, knee = np.array([0.0, side, 0.55]), np.array([0.1, side * 1.3, 0.4])
        foot, hand = np.array([0.0, side, 0.2]), np.array([0.15, side * 2, 0.6])
        shoulder = np.array([0.05, side * 1.8, 0.78])
        limbs.append(Limb(hip, knee, 0.085, outfit.trousers))
        limbs.append(Limb(knee, foot, 0.065, outfit.trousers))
        limbs.append(Limb(shoulder, hand, 0.055, outfit.shirt))
    canvas.draw(limbs)
    canvas.head(outfit, np.array([0.08, 0.0, 0.91]))
    return canvas.finish()
