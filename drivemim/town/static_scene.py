"""The static part of the town: ground, buildings, trees, lamps, traffic lights and signs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from drivemim.array_types import Floats, Image
from drivemim.town.ground import (
    PAVEMENT_WIDTH,
    ROAD_HALF_WIDTH,
    STREET_SPACING,
    Ground,
    draw_ground,
)
from drivemim.town.quads import BACKGROUND, Quads, Sprites, Texture, TextureBank
from drivemim.town.textures import (
    draw_facade,
    draw_lamp,
    draw_plain_wall,
    draw_sign,
    draw_traffic_light,
    draw_tree,
    make_texture,
)
from drivemim.town.town_config import Condition

VIEW_DISTANCE = 110.0  # from the ego car's path to the last built blocks of houses, metres
_BLOCK_OFFSET = ROAD_HALF_WIDTH + PAVEMENT_WIDTH  # from a street's middle to the block, metres
_BLOCK_SIZE = STREET_SPACING - 2 * _BLOCK_OFFSET
_SIDE_SHADE = {0: 0.8, 1: 1.0, 2: 0.92, 3: 0.68}  # fraction of light by compass direction
_BUILDING_DEPTH = 11.0  # metres
_NUM_FACADE_STYLES = 28


@dataclass(frozen=True)
class StaticScene:
    """Static part of a scene.

    Attributes:
        walls: walls of the buildings.
        props: trees, street lamps, traffic lights and signs.
        ground: ground around the ego car's path.
    """

    walls: Quads
    props: Sprites
    ground: Ground


def build_static_scene(
    low_2: Floats,
    high_2: Floats,
    *,
    town_seed: int,
    pixels_per_metre: float,
    condition: Condition,
    bank: TextureBank,
) -> StaticScene:
    """Build the static part of a region of the town.

    Args:
        low_2: smallest x and y of the ego car's path, metres.
        high_2: largest x and y of the ego car's path, metres.
        town_seed: the same seed builds the same town for any region.
        pixels_per_metre: resolution of the ground and of facades (there at most 16).
        condition: light and weather.
        bank: receives the textures.
    """
    facades = _Facades(town_seed, min(pixels_per_metre, 16.0), condition, bank)
    prop_textures = _prop_textures(town_seed, condition, bank)
    walls: list[Quads] = []
    props: list[tuple[float, float, float, float, int]] = []
    first = np.floor((low_2 - VIEW_DISTANCE) / STREET_SPACING - 0.5).astype(int)
    last = np.ceil((high_2 + VIEW_DISTANCE) / STREET_SPACING - 0.5).astype(int)
    # The number after the town's seed makes the random streams of the parts of the town differ.
    for column in range(first[0], last[0] + 1):
        for row in range(first[1], last[1] + 1):
            generator = np.random.default_rng([town_seed, 7, column % 1000, row % 1000])
            corner = (np.array([column, row]) + 0.5) * STREET_SPACING + _BLOCK_OFFSET
            walls.extend(_block_walls(corner, generator, facades))
            props.extend(_block_props(corner, generator, prop_textures))
    margin = np.array([55.0, 55.0])
    ground = draw_ground(
        np.floor(low_2 - margin),
        np.ceil(high_2 + margin),
        1 / pixels_per_metre,
        condition,
        np.random.default_rng([town_seed, 8]),
    )
    table = np.array(props, np.float64).reshape(-1, 5)
    foot = np.concatenate([table[:, :2], np.zeros((len(table), 1))], axis=1)
    instance_id = np.full(len(table), BACKGROUND, np.int64)
    sprites = Sprites(foot, table[:, 2], table[:, 3], table[:, 4].astype(np.int64), instance_id)
    return StaticScene(Quads.cat(walls), sprites, ground)


class _Facades:
    """Textures of fronts and plain walls by compass direction, added to the bank on first use.

    A style (a number) has one width and height, one front and one plain wall. A side (0 to 3) is a
    compass direction, on which the light depends.
    """

    def __init__(
        self, town_seed: int, scale: float, condition: Condition, bank: TextureBank
    ) -> None:
        self._seed, self._scale, self._condition, self._bank = town_seed, scale, condition, bank
        self._texture_numbers: dict[tuple[int, int, bool], int] = {}

    def texture_number(self, style: int, side: int, plain: bool) -> int:
        """Return the number of the texture of a front or, if ``plain``, of a plain wall."""
        key = (style, side, plain)
        if key not in self._texture_numbers:
            self._texture_numbers[key] = self._bank.add(lambda: self._draw(style, side, plain))
        return self._texture_numbers[key]

    def size(self, style: int) -> tuple[float, float]:
        """Return the width and height of a front, metres."""
        return _front_size(self._seed, style)

    def _draw(self, style: int, side: int, plain: bool) -> Texture:
        image, glow = _paint(self._seed, style, plain, self._scale)
        return make_texture(image, self._condition, glow_HW=glow, shade=_SIDE_SHADE[side])


def _front_size(town_seed: int, style: int) -> tuple[float, float]:
    """Return the width and height of a front, metres."""
    generator = np.random.default_rng([town_seed, 5, style])
    return float(generator.uniform(10, 17)), float(generator.uniform(7, 24))


@lru_cache(maxsize=128)
def _paint(
    town_seed: int, style: int, plain: bool, scale: float
) -> tuple[Image, NDArray[np.float16] | None]:
    """Paint a front or a plain wall in daylight; cached, since the scenes of a town share it.

    Returns:
        uint8 colours; glow of a front, 0 to 1, or None for a plain wall.
    """
    generator = np.random.default_rng([town_seed, 6, style, int(plain)])
    width, height = _front_size(town_seed, style)
    if plain:
        wall = draw_plain_wall(generator, _BUILDING_DEPTH, height, scale)
        return np.clip(wall, 0, 255).astype(np.uint8), None
    image, glow = draw_facade(generator, width, height, scale)
    return np.clip(image, 0, 255).astype(np.uint8), glow.astype(np.float16)


def _block_walls(
    corner_2: Floats, generator: np.random.Generator, facades: _Facades
) -> list[Quads]:
    """Build the walls of the buildings around a block, fronts to the street."""
    rows: list[tuple[list[float], list[float], list[float], int]] = []
    for side in range(4):
        angle = side * np.pi / 2
        along = np.array([np.cos(angle), np.sin(angle)])
        inward = np.array([-np.sin(angle), np.cos(angle)])
        start = corner_2 + _BLOCK_SIZE / 2 - (along + inward) * _BLOCK_SIZE / 2
        position = 0.0 if generator.random() < 0.8 else 6.0
        while True:
            style = int(generator.integers(_NUM_FACADE_STYLES))
            width, height = facades.size(style)
            if position + width > _BLOCK_SIZE - _BUILDING_DEPTH:
                break
            if generator.random() < 0.88:
                setback = float(generator.choice([0.0, 0.0, 0.6, 2.5]))
                front = start + along * position + inward * setback
                rows.extend(_building(front, along, inward, style, side, facades))
            position += width + float(generator.choice([0.0, 0.0, 0.0, 3.5]))
    return [Quads.make(rows)]


def _building(
    front_2: Floats, along_2: Floats, inward_2: Floats, style: int, side: int, facades: _Facades
) -> list[tuple[list[float], list[float], list[float], int]]:
    """Return the four walls of a building as rows for ``Quads.make``."""
    width, height = facades.size(style)
    down = [0.0, 0.0, -height]
    left = front_2
    right = front_2 + along_2 * width
    back_left, back_right = left + inward_2 * _BUILDING_DEPTH, right + inward_2 * _BUILDING_DEPTH
    return [
        ([*left, height], [*(right - left), 0.0], down, facades.texture_number(style, side, False)),
        (
            [*right, height],
            [*(back_right - right), 0.0],
            down,
            facades.texture_number(style, (side + 1) % 4, True),
        ),
        (
            [*back_right, height],
            [*(back_left - back_right), 0.0],
            down,
            facades.texture_number(style, (side + 2) % 4, False),
        ),
        (
            [*back_left, height],
            [*(left - back_left), 0.0],
            down,
            facades.texture_number(style, (side + 3) % 4, True),
        ),
    ]


def _prop_textures(town_seed: int, condition: Condition, bank: TextureBank) -> dict[str, list[int]]:
    """Add the textures of all kinds of props to the bank; return their numbers by kind."""
    generator = np.random.default_rng([town_seed, 9])
    trees = []
    for _ in range(6):
        image, alpha = draw_tree(generator)
        trees.append(bank.add(make_texture(image, condition, alpha_HW=alpha)))
    image, alpha, glow = draw_lamp()
    lamps = [bank.add(make_texture(image, condition, alpha_HW=alpha, glow_HW=glow))]
    lights = []
    for _ in range(3):
        image, alpha, glow = draw_traffic_light(generator)
        lights.append(bank.add(make_texture(image, condition, alpha_HW=alpha, glow_HW=glow)))
    signs = []
    for _ in range(5):
        image, alpha = draw_sign(generator)
        signs.append(bank.add(make_texture(image, condition, alpha_HW=alpha)))
    return {"tree": trees, "lamp": lamps, "light": lights, "sign": signs}


def _block_props(
    corner_2: Floats, generator: np.random.Generator, textures: dict[str, list[int]]
) -> list[tuple[float, float, float, float, int]]:
    """Return (x, y, width, height, texture) of a block's trees, lamps, signs and lights."""
    kerb = PAVEMENT_WIDTH - 0.6
    rows = []
    for side in range(4):
        angle = side * np.pi / 2
        along = np.array([np.cos(angle), np.sin(angle)])
        outward = np.array([np.sin(angle), -np.cos(angle)])
        start = (
            corner_2
            + _BLOCK_SIZE / 2
            - along * _BLOCK_SIZE / 2
            + outward * (_BLOCK_SIZE / 2 + kerb)
        )
        position = float(generator.uniform(2, 6))
        while position < _BLOCK_SIZE - 2:
            position_2 = start + along * position
            kind = str(generator.choice(["tree", "tree", "lamp", "sign", ""]))
            number = int(generator.choice(textures[kind])) if kind else -1
            if kind == "tree":
                height = float(generator.uniform(4.5, 7.5))
                rows.append((*position_2, height * 0.75, height, number))
            elif kind == "lamp":
                rows.append((*position_2, 1.4, 7.0, number))
            elif kind == "sign":
                rows.append((*position_2, 0.9, 2.7, number))
            position += float(generator.uniform(5, 10))
        light = start - along * 2.2
        rows.append((*light, 0.7, 3.5, int(generator.choice(textures["light"]))))
    inside = (
        generator.uniform(_BUILDING_DEPTH + 4, _BLOCK_SIZE - _BUILDING_DEPTH - 4, (5, 2)) + corner_2
    )
    for position_2 in inside:
        height = float(generator.uniform(6, 10))
        number = int(generator.choice(textures["tree"]))
        rows.append((*position_2, height * 0.75, height, number))
    return [(float(x), float(y), w, h, number) for x, y, w, h, number in rows]
