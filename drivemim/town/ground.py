"""The ground as a top-down texture: roads with markings, pavements and grass."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from drivemim.array_types import Bools, Floats, Floats32, Image
from drivemim.town import drawing
from drivemim.town.quads import Texture
from drivemim.town.textures import noise_image
from drivemim.town.town_config import Condition

STREET_SPACING = 80.0  # between the middles of parallel streets, metres
ROAD_HALF_WIDTH = 5.8  # metres
PAVEMENT_WIDTH = 4.0  # metres
LANE_OFFSET = 1.75  # from the middle of a street to the middle of a lane, metres
CROSSING = (6.6, 9.4)  # from the middle of a junction to both edges of a crossing, metres
NUM_STREETS = 6  # in each of the two directions
TOWN_SIZE = STREET_SPACING * NUM_STREETS  # length and width of the town, metres


@dataclass(frozen=True)
class Ground:
    """A rectangle of ground.

    Attributes:
        texture: colours; north (large y) at the top.
        low_2: least x and y, metres.
        size_2: extent in x and y, metres.
    """

    texture: Texture
    low_2: Floats
    size_2: Floats

    @property
    def resolution(self) -> float:
        """Metres per texture pixel."""
        return float(self.size_2[0]) / self.texture.levels[0].shape[1]


def street_offset(coordinate: Floats) -> Floats:
    """Return the signed distance from the nearest street's middle; streets lie at half spacings."""
    return (coordinate % STREET_SPACING) - STREET_SPACING / 2


def drivable_mask(resolution: float = 0.1) -> Image:
    """Draw the road mask of the whole town like nuScenes' maps: 255 on roads, north at the top."""
    count = round(TOWN_SIZE / resolution)
    offset = np.abs(street_offset((np.arange(count) + 0.5) * resolution))
    road = offset <= ROAD_HALF_WIDTH
    mask = (road[:, None] | road[None, :]).astype(np.uint8) * 255
    return np.ascontiguousarray(mask[::-1])


def draw_ground(
    low_2: Floats,
    high_2: Floats,
    resolution: float,
    condition: Condition,
    generator: np.random.Generator,
) -> Ground:
    """Draw the ground of a region.

    Args:
        low_2: least x and y, metres.
        high_2: largest x and y, metres.
        resolution: metres per pixel.
        condition: light and weather.
        generator: source of randomness.
    """
    columns, rows = (int(extent) for extent in np.ceil((high_2 - low_2) / resolution))
    high_y = low_2[1] + rows * resolution
    x_offset = street_offset(low_2[0] + (np.arange(columns) + 0.5) * resolution)
    y_offset = street_offset(high_y - (np.arange(rows) + 0.5) * resolution)
    wet = condition.rain
    canvas = np.empty((rows, columns, 3), np.uint8)
    canvas[:] = (58, 108, 84)  # grass; colours are BGR
    _paint_areas(canvas, np.abs(x_offset), np.abs(y_offset), wet)
    _paint_markings(canvas, x_offset, y_offset, low_2, high_y, resolution)
    _add_noise(canvas, generator, resolution, wet)
    gain = condition.ambient
    lit = cv2.LUT(
        canvas,
        np.stack([np.clip(np.arange(256) * value, 0, 255) for value in gain], -1)
        .astype(np.uint8)
        .reshape(256, 1, 3),
    )
    opaque = np.full((rows, columns), 255, np.uint8)
    texture = Texture(np.dstack([np.asarray(lit, np.uint8), opaque]))
    return Ground(texture, low_2, np.array([columns * resolution, rows * resolution]))


def _paint_areas(canvas: Image, x_offset: Floats, y_offset: Floats, wet: bool) -> None:
    """Paint pavements, kerbs and roads over the grass.

    The offsets are the distances of columns and rows from the middle of the nearest street, metres.
    """
    edge = ROAD_HALF_WIDTH + PAVEMENT_WIDTH
    pavement = (118, 122, 126) if wet else (158, 164, 168)
    kerb = (100, 104, 108) if wet else (188, 190, 192)
    asphalt = (46, 44, 42) if wet else (88, 86, 84)
    for half_width, colour in ((edge, pavement), (ROAD_HALF_WIDTH + 0.18, kerb)):
        canvas[:, x_offset <= half_width] = colour
        canvas[y_offset <= half_width] = colour
    inner = ROAD_HALF_WIDTH
    canvas[:, x_offset <= inner] = asphalt
    canvas[y_offset <= inner] = asphalt


def _paint_markings(
    canvas: Image,
    x_offset: Floats,
    y_offset: Floats,
    low_2: Floats,
    high_y: float,
    resolution: float,
) -> None:
    """Paint lane lines, parking bays, crossings, stop lines and pavement joints of every street."""
    white, yellow = (208, 212, 214), (70, 180, 222)
    along_x, along_y = np.abs(x_offset), np.abs(y_offset)
    metres_x = low_2[0] + (np.arange(len(x_offset)) + 0.5) * resolution
    metres_y = high_y - (np.arange(len(y_offset)) + 0.5) * resolution
    for across, along, metres, transpose in (
        (y_offset, along_x, metres_x, False),
        (x_offset, along_y, metres_y, True),
    ):
        view = canvas.transpose(1, 0, 2) if transpose else canvas
        outside = along > CROSSING[1] + 0.8
        dashes = outside & (metres % 6.0 < 3.0)
        bays = outside & (metres % 6.5 < 0.12)
        line = max(0.07, resolution / 2)
        _fill(view, np.abs(across) < line, dashes, yellow)
        _fill(view, np.abs(np.abs(across) - 3.5) < line, outside, white)
        _fill(view, (np.abs(across) > 3.5) & (np.abs(across) < 5.7), bays, white)
        stripes = (np.abs(across) < 5.4) & (np.abs(across) % 1.0 < 0.5)
        _fill(view, stripes, (along > CROSSING[0]) & (along < CROSSING[1]), white)
        stop = (along > CROSSING[1] + 0.8) & (along < CROSSING[1] + 1.2)
        _fill(view, np.abs(across) < 3.5, stop, white)
        slabs = np.abs(across) > ROAD_HALF_WIDTH + 0.18
        slabs &= np.abs(across) < ROAD_HALF_WIDTH + PAVEMENT_WIDTH
        joints = (along > ROAD_HALF_WIDTH + PAVEMENT_WIDTH) & (
            metres % 1.2 < max(0.06, resolution * 0.6)
        )
        _fill(view, slabs, joints, (128, 132, 136))


def _fill(view: Image, rows: Bools, columns: Bools, colour: tuple[int, ...]) -> None:
    """Paint the pixels that lie in one of the rows and in one of the columns."""
    view[np.ix_(np.flatnonzero(rows), np.flatnonzero(columns))] = colour


def _add_noise(canvas: Image, generator: np.random.Generator, resolution: float, wet: bool) -> None:
    """Add grain, puddles if wet, and stains: one noise tile repeated over the texture."""
    tile = 1024
    grain = noise_image(generator, tile, tile, (1, 3), 0.07)
    grain *= noise_image(generator, tile, tile, (max(int(1.5 / resolution), 4),), 0.10)
    if wet:
        puddles = noise_image(generator, tile, tile, (max(int(3 / resolution), 4),), 0.5)
        grain *= np.where(puddles > 1.35, 1.75, 1.0).astype(np.float32)
    for _ in range(26):
        center = generator.integers(0, tile, 2).tolist()
        axes = generator.integers(2, max(int(1.2 / resolution), 4), 2).tolist()
        drawing.ellipse(grain, center, axes, 0.82, angle=float(generator.uniform(0, 180)))
    tile_u8 = np.clip(grain * 128, 0, 255).astype(np.uint8)
    tile_3 = cv2.merge([tile_u8] * 3)
    for top in range(0, canvas.shape[0], tile):
        for left in range(0, canvas.shape[1], tile):
            block = canvas[top : top + tile, left : left + tile]
            rotated_tile = np.ascontiguousarray(np.rot90(tile_3, (top // tile + left // tile) % 4))
            part = rotated_tile[: block.shape[0], : block.shape[1]]
            block[:] = cv2.multiply(np.ascontiguousarray(block), part, scale=1 / 128)


def shadow_texture(condition: Condition) -> Floats32:
    """Draw the soft shadow under an object: gain of the ground's colour, 0 to 1, 64 x 64."""
    y, x = (np.indices((64, 64)) + 0.5) / 32 - 1
    depth = 0.35 if condition.name else 0.5  # darkest on a dry day, whose name is empty
    edge = np.clip((1.0 - np.maximum(np.abs(x), np.abs(y))) * 4, 0, 1)
    return np.asarray(1 - depth * edge, np.float32)
