"""Motorcycles with and without riders: one quad along the middle plane, two across."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from drivemim.array_types import Floats, Floats32, Image
from drivemim.town import drawing
from drivemim.town.people import FigureCanvas, Limb, Outfit
from drivemim.town.quads import Quads, TextureBank
from drivemim.town.textures import make_texture
from drivemim.town.town_config import Condition

# The textures are drawn for this size, then stretched to a track's box. Metres; colours are BGR.
_WIDTH, _LENGTH = 0.8, 2.1
_HEIGHT_WITH_RIDER, _HEIGHT_ALONE = 1.5, 1.15
_HUB, _RADIUS = 0.74, 0.31  # of the wheels: from the middle to the hub; radius
_TYRE, _METAL, _SEAT = (24, 24, 24), (120, 122, 125), (35, 35, 40)
_PAINTS = (
    (35, 30, 180),
    (30, 30, 32),
    (160, 80, 30),
    (40, 130, 60),
    (40, 140, 235),
    (205, 205, 205),
)
_HELMETS = ((235, 235, 235), (30, 30, 32), (40, 40, 200), (190, 120, 40))


@dataclass(frozen=True)
class _Appearance:
    """Colours (BGR) of a motorcycle and of its rider, if there is one."""

    paint: tuple[int, ...]
    helmet: tuple[int, ...]
    rider: Outfit | None

    @property
    def height(self) -> float:
        """Height of the helmet's or the mirrors' top above the ground, metres."""
        return _HEIGHT_WITH_RIDER if self.rider else _HEIGHT_ALONE


def build_motorcycle(
    size_wlh: tuple[float, float, float],
    instance_id: int,
    has_rider: bool,
    generator: np.random.Generator,
    bank: TextureBank,
    condition: Condition,
    texture_height: int,
) -> Quads:
    """Build a motorcycle's quads around the middle of its underside, x forward, y left, z up.

    Args:
        size_wlh: width, length, height of the box that the quads fill, metres.
        instance_id: instance number.
        has_rider: whether it has a rider.
        generator: source of randomness.
        bank: receives the textures.
        condition: light of the scene.
        texture_height: height of the textures, pixels.
    """
    width, length, height = size_wlh
    appearance = _Appearance(
        _PAINTS[generator.integers(len(_PAINTS))],
        _HELMETS[generator.integers(len(_HELMETS))],
        Outfit.sample(generator) if has_rider else None,
    )
    image, alpha, glow = _draw_side(appearance, texture_height)
    along = bank.add(make_texture(image, condition, alpha_HW=alpha, glow_HW=glow))
    rows = [([-length / 2, 0.0, height], [length, 0.0, 0.0], [0.0, 0.0, -height], along)]
    body = Quads.make(rows, instance_id, two_sided=True)
    ends = []
    for sign, offset in ((1.0, 0.12), (-1.0, -0.1)):
        image, alpha, glow = _draw_end(appearance, sign > 0, texture_height)
        across = bank.add(make_texture(image, condition, alpha_HW=alpha, glow_HW=glow))
        corner = [offset * length, -sign * width / 2, height]
        ends.append((corner, [0.0, sign * width, 0.0], [0.0, 0.0, -height], across))
    return Quads.cat([body, Quads.make(ends, instance_id)])


class _MotorcycleCanvas:
    """A ``FigureCanvas`` with coordinates in metres and a glow channel."""

    def __init__(
        self, view: float, width: float, appearance: _Appearance, texture_height: int
    ) -> None:
        self.canvas = FigureCanvas(view, width / appearance.height, texture_height)
        self.glow: Floats32 = np.zeros(self.canvas.alpha.shape, np.float32)
        self._metre = 1 / appearance.height

    def along(self, forward: float, up: float) -> Floats:
        """Return a point of the upright plane along the motorcycle, through its middle."""
        return np.array([forward, 0.0, up]) * self._metre

    def across(self, left: float, up: float) -> Floats:
        """Return a point of the upright plane across the motorcycle, through its middle."""
        return np.array([0.0, left, up]) * self._metre

    def pixels(self, metres: float) -> int:
        """Return a length in pixels, at least 1."""
        return max(round(metres * self._metre * self.canvas.height), 1)

    def bar(self, start: Floats, end: Floats, thickness: float, colour: tuple[int, ...]) -> None:
        """Draw a tube, ``thickness`` metres wide, over everything drawn before."""
        ends = self.canvas.pixel(start), self.canvas.pixel(end)
        drawing.line(self.canvas.image, *ends, colour, self.pixels(thickness))
        drawing.line(self.canvas.alpha, *ends, 255, self.pixels(thickness))

    def disc(self, middle: Floats, radius: float, colour: tuple[int, ...]) -> None:
        center = self.canvas.pixel(middle)
        drawing.circle(self.canvas.image, center, self.pixels(radius), colour)
        drawing.circle(self.canvas.alpha, center, self.pixels(radius), 255)

    def lamp(self, middle: Floats, radius: float, colour: tuple[int, ...]) -> None:
        self.disc(middle, radius, colour)
        drawing.circle(self.glow, self.canvas.pixel(middle), self.pixels(radius), 1.0)

    def limb(self, start: Floats, end: Floats, thickness: float, colour: tuple[int, ...]) -> Limb:
        return Limb(start, end, thickness * self._metre, colour)

    def finish(self) -> tuple[Image, Image, Floats32]:
        return *self.canvas.finish(), self.glow


def _draw_side(appearance: _Appearance, texture_height: int) -> tuple[Image, Image, Floats32]:
    """Draw the view from the right side, front at the right: colours, opacity and glow."""
    sketch = _MotorcycleCanvas(-np.pi / 2, _LENGTH, appearance, texture_height)
    at = sketch.along
    for hub in (-_HUB, _HUB):
        sketch.disc(at(hub, _RADIUS), _RADIUS, _TYRE)
        sketch.disc(at(hub, _RADIUS), 0.2, _METAL)
        sketch.disc(at(hub, _RADIUS), 0.16, (70, 70, 72))
    sketch.bar(at(-_HUB, _RADIUS), at(-0.1, 0.42), 0.07, _METAL)
    sketch.bar(at(_HUB, _RADIUS), at(0.46, 0.95), 0.07, _METAL)
    sketch.bar(at(-0.15, 0.4), at(0.22, 0.4), 0.3, (58, 60, 64))
    sketch.bar(at(-0.1, 0.26), at(-0.92, 0.36), 0.09, _METAL)
    sketch.bar(at(-0.8, 0.78), at(-0.2, 0.68), 0.12, appearance.paint)
    sketch.bar(at(0.02, 0.72), at(0.38, 0.78), 0.24, appearance.paint)
    sketch.bar(at(-0.68, 0.84), at(-0.08, 0.78), 0.09, _SEAT)
    sketch.bar(at(0.46, 0.95), at(0.32, 1.04), 0.05, _SEAT)
    sketch.bar(at(0.4, 1.0), at(0.38, _HEIGHT_ALONE - 0.03), 0.05, _SEAT)
    sketch.lamp(at(0.56, 0.84), 0.09, (225, 240, 245))
    sketch.lamp(at(-0.84, 0.8), 0.05, (40, 40, 225))
    if appearance.rider:
        outfit, limb = appearance.rider, sketch.limb
        hip, neck = at(-0.32, 0.9), at(0.02, 1.26)
        knee, foot = at(0.14, 0.68), at(-0.14, 0.36)
        elbow, hand = at(0.18, 1.02), at(0.36, 1.04)
        sketch.canvas.draw(
            [
                limb(hip, neck, 0.27, outfit.shirt),
                limb(hip, knee, 0.17, outfit.trousers),
                limb(knee, foot, 0.13, outfit.trousers),
                limb(foot, at(0.0, 0.34), 0.09, outfit.shoes),
                limb(neck - at(0.0, 0.08), elbow, 0.11, outfit.shirt),
                limb(elbow, hand, 0.09, outfit.shirt),
            ]
        )
        sketch.disc(at(0.08, _HEIGHT_WITH_RIDER - 0.14), 0.14, appearance.helmet)
        sketch.disc(at(0.16, _HEIGHT_WITH_RIDER - 0.14), 0.05, (40, 36, 34))
    return sketch.finish()


def _draw_end(
    appearance: _Appearance, front: bool, texture_height: int
) -> tuple[Image, Image, Floats32]:
    """Draw the view from the front or from behind: colours, opacity and glow."""
    sketch = _MotorcycleCanvas(0.0 if front else np.pi, _WIDTH, appearance, texture_height)
    at = sketch.across
    sketch.bar(at(0.0, 0.08), at(0.0, 0.56), 0.15, _TYRE)
    sketch.bar(at(0.0, 0.4), at(0.0, 0.8), 0.26, (58, 60, 64))
    sketch.bar(at(0.0, 0.72), at(0.0, 0.86), 0.3, appearance.paint)
    sketch.bar(at(-0.36, 1.03), at(0.36, 1.03), 0.05, _SEAT)
    for side in (-1.0, 1.0):
        sketch.bar(at(side * 0.3, 1.03), at(side * 0.36, _HEIGHT_ALONE - 0.04), 0.03, _SEAT)
        sketch.bar(
            at(side * 0.33, _HEIGHT_ALONE - 0.04),
            at(side * 0.37, _HEIGHT_ALONE - 0.04),
            0.06,
            _SEAT,
        )
    if appearance.rider:
        outfit, limb = appearance.rider, sketch.limb
        limbs = [limb(at(0.0, 0.86), at(0.0, 1.22), 0.38, outfit.shirt)]
        for side in (-1.0, 1.0):
            hip, knee, foot = at(side * 0.1, 0.88), at(side * 0.24, 0.66), at(side * 0.18, 0.36)
            limbs += [
                limb(hip, knee, 0.16, outfit.trousers),
                limb(knee, foot, 0.12, outfit.trousers),
                limb(foot, foot - at(0.0, 0.03), 0.1, outfit.shoes),
                limb(at(side * 0.17, 1.2), at(side * 0.33, 1.04), 0.11, outfit.shirt),
            ]
        sketch.canvas.draw(limbs)
        sketch.disc(at(0.0, _HEIGHT_WITH_RIDER - 0.14), 0.14, appearance.helmet)
        if front:
            sketch.bar(
                at(-0.06, _HEIGHT_WITH_RIDER - 0.13),
                at(0.06, _HEIGHT_WITH_RIDER - 0.13),
                0.07,
                (40, 36, 34),
            )
    if front:
        sketch.lamp(at(0.0, 0.84), 0.09, (225, 240, 245))
    else:
        sketch.lamp(at(0.0, 0.78), 0.06, (40, 40, 225))
        sketch.bar(at(-0.08, 0.62), at(0.08, 0.62), 0.1, (215, 225, 225))
    return sketch.finish()
