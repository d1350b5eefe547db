"""Sky, haze, headlights, rain and sensor noise."""

from __future__ import annotations

import cv2
import numpy as np

from drivemim.array_types import Floats32, Image
from drivemim.town import drawing
from drivemim.town.render import RenderOutput
from drivemim.town.rig import Camera
from drivemim.town.textures import noise_image
from drivemim.town.town_config import Condition

_SKY_WIDTH, _SKY_HEIGHT = 1536, 256  # panorama of one turn, pixels
_MIN_ELEVATION, _MAX_ELEVATION = np.radians(-3.0), np.radians(48.0)  # of the panorama
_LAYER_MARGIN = 64  # by which layers of rain and noise exceed the image, pixels


class Weather:
    """Turn a rendered view into a camera's image.

    Args:
        condition: light and weather.
        rig: cameras of the scene.
        seed: random seed of clouds, rain and noise.
    """

    def __init__(self, condition: Condition, rig: list[Camera], seed: list[int]) -> None:
        generator = np.random.default_rng(seed)
        self._condition = condition
        self._sky = _draw_sky(condition, generator)
        height, width = rig[0].image_size
        self._size = (height, width)
        noise = generator.normal(
            0, condition.noise / 2.5, (height + _LAYER_MARGIN, width + _LAYER_MARGIN, 3)
        )
        # Unsigned pixels: the stored noise is never negative, and ``apply`` subtracts its mean.
        noise = np.clip(noise + condition.noise, 0, 2 * condition.noise)
        self._noise = noise.astype(np.uint8)
        self._offset = np.full((height, width, 3), condition.noise, np.uint8)
        self._rain = _draw_rain(height, width, generator, condition)
        # Colour that haze adds to a pixel, by transmission from 0 (all haze) to 255 (no haze).
        self._haze_colours = np.array(
            [[[(255 - t) / 255 * value for value in condition.horizon]] for t in range(256)]
        )
        self._haze_colours = np.round(self._haze_colours).astype(np.uint8)
        self._camera_maps = {camera.channel: _CameraMaps(camera, condition) for camera in rig}

    def apply(
        self, output: RenderOutput, camera: Camera, ego_yaw: float, generator: np.random.Generator
    ) -> Image:
        """Add sky, headlights, haze, rain and sensor noise; return uint8 (H, W, 3) BGR.

        Args:
            output: rendered view; its colours are changed in place.
            camera: camera of the rig.
            ego_yaw: heading of the car, radians.
            generator: source of this image's rain and noise.
        """
        maps = self._camera_maps[camera.channel]
        condition = self._condition
        maps.add_sky(output, self._sky, ego_yaw)
        image = cv2.cvtColor(output.colours_HW4, cv2.COLOR_BGRA2BGR)
        inverse_depth = output.inverse_depth_HW
        transmission = inverse_depth / (inverse_depth + np.float32(1 / condition.haze))
        transmission[inverse_depth == 0] = 1.0
        gain = transmission
        scale = 255.0  # 8-bit gains: 255 / scale is the largest gain that they can express
        if maps.beam is not None:
            gain = transmission * (1 + maps.beam * np.minimum(inverse_depth * 14, 1.0))
            scale = 40.0
        gains = cv2.convertScaleAbs(gain, alpha=scale)
        image = cv2.multiply(image, cv2.merge([gains] * 3), scale=1 / scale)
        haze = cv2.applyColorMap(cv2.convertScaleAbs(transmission, alpha=255), self._haze_colours)
        image = cv2.add(image, haze)
        if condition.night:
            image = _bloom(np.asarray(image, np.uint8))
        if self._rain is not None:
            image = cv2.add(image, self._crop(self._rain, generator))
        image = cv2.GaussianBlur(image, (3, 3), 0.55)
        image = cv2.add(image, self._crop(self._noise, generator))
        return np.asarray(cv2.subtract(image, self._offset), np.uint8)

    def _crop(self, layer: Image, generator: np.random.Generator) -> Image:
        """Return a random crop of a layer, as large as the image."""
        height, width = self._size
        top, left = generator.integers(0, _LAYER_MARGIN, 2)
        return layer[top : top + height, left : left + width]


class _CameraMaps:
    """Precomputed maps of one camera: its pixels' positions in the sky, and the headlight beam.

    Attributes:
        beam: gain of the headlights at every pixel, float32 (H, W), or None without headlights.
    """

    def __init__(self, camera: Camera, condition: Condition) -> None:
        height, width = camera.image_size
        x, y = np.meshgrid(np.arange(width), np.arange(height))
        rays = np.stack([x, y, np.ones_like(x)], -1) @ np.linalg.inv(camera.pixel_numbers_33).T
        rays = rays @ camera.rotation_33.T
        rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
        middle = rays[height // 2, width // 2]
        camera_yaw = np.arctan2(middle[1], middle[0])
        azimuth = np.arctan2(rays[..., 1], rays[..., 0]) - camera_yaw
        azimuth = (azimuth + np.pi) % (2 * np.pi) - np.pi
        elevation = np.arcsin(rays[..., 2])
        self._left_azimuth = float(azimuth.max()) + camera_yaw
        sky_rows = np.flatnonzero((elevation > _MIN_ELEVATION).any(axis=1))
        self._rows = int(sky_rows[-1]) + 1 if len(sky_rows) else 0
        x_sky = (azimuth.max() - azimuth) / (2 * np.pi) * _SKY_WIDTH
        y_sky = (_MAX_ELEVATION - elevation) / (_MAX_ELEVATION - _MIN_ELEVATION) * _SKY_HEIGHT
        self._map_xy, self._map_subpixel = cv2.convertMaps(
            x_sky[: max(self._rows, 1)].astype(np.float32),
            np.clip(y_sky, 0, _SKY_HEIGHT - 1)[: max(self._rows, 1)].astype(np.float32),
            cv2.CV_16SC2,
        )
        ego_azimuth = (camera_yaw + azimuth + np.pi) % (2 * np.pi) - np.pi
        self.beam: Floats32 | None = None
        if condition.night:
            low = 1 / (1 + np.exp((elevation - 0.03) / 0.025))
            beam = 3.0 * np.exp(-((ego_azimuth / 0.5) ** 2)) * low
            self.beam = beam.astype(np.float32) if beam.max() > 0.05 else None

    def add_sky(self, output: RenderOutput, sky: Image, ego_yaw: float) -> None:
        """Draw the sky in pixels that show neither a quad nor the ground."""
        if not self._rows:
            return
        start = round(-(self._left_azimuth + ego_yaw) / (2 * np.pi) * _SKY_WIDTH) % _SKY_WIDTH
        visible_sky = sky[:, start : start + _SKY_WIDTH]
        colours = cv2.remap(visible_sky, self._map_xy, self._map_subpixel, cv2.INTER_LINEAR)
        is_sky = output.inverse_depth_HW[: self._rows] == 0
        target = output.colours_HW4[: self._rows].view(np.uint32)[..., 0]
        np.copyto(target, colours.view(np.uint32)[..., 0], where=is_sky)


def _draw_sky(condition: Condition, generator: np.random.Generator) -> Image:
    """Draw gradient and clouds as a panorama of two turns, clockwise to the right, BGRA."""
    height = np.linspace(1, 0, _SKY_HEIGHT)[:, None, None] ** 0.6
    sky = np.array(condition.horizon) * (1 - height) + np.array(condition.zenith) * height
    sky = np.broadcast_to(sky, (_SKY_HEIGHT, _SKY_WIDTH, 3)).astype(np.float32)
    overlap = _SKY_WIDTH // 8
    clouds = noise_image(generator, _SKY_HEIGHT, _SKY_WIDTH + overlap, (8, 24, 70), 0.45) - 1
    # Make the panorama seamless: blend its first columns with the overlap after its last ones.
    fade = np.linspace(0, 1, overlap, dtype=np.float32)
    clouds[:, :overlap] = clouds[:, :overlap] * fade + clouds[:, _SKY_WIDTH:] * (1 - fade)
    clouds = clouds[:, :_SKY_WIDTH] * np.float32(0.8)
    cover = np.clip(clouds - 0.1, 0, 0.8)[..., None]
    cloud = np.array(condition.horizon) * (1.08 if not condition.night else 1.4)
    sky = sky * (1 - cover) + cloud.astype(np.float32) * cover
    sky = np.clip(sky, 0, 255).astype(np.uint8)
    opaque = np.full((_SKY_HEIGHT, _SKY_WIDTH, 1), 255, np.uint8)
    return np.tile(np.concatenate([sky, opaque], axis=2), (1, 2, 1))


def _draw_rain(
    height: int, width: int, generator: np.random.Generator, condition: Condition
) -> Image | None:
    """Draw streaks of rain, or return None in dry weather."""
    if not condition.rain:
        return None
    layer = np.zeros((height + _LAYER_MARGIN, width + _LAYER_MARGIN, 3), np.uint8)
    for _ in range((height + _LAYER_MARGIN) * (width + _LAYER_MARGIN) // 900):
        x, y = (
            generator.integers(0, width + _LAYER_MARGIN),
            generator.integers(0, height + _LAYER_MARGIN),
        )
        length = int(generator.integers(4, 18) * height / 450) + 1
        bright = int(generator.integers(12, 44))
        drawing.line(
            layer, (int(x), int(y)), (int(x) - length // 6, int(y) + length), (bright,) * 3
        )
    return layer


def _bloom(image: Image) -> Image:
    """Add bloom: light that spreads around bright areas."""
    height, width = image.shape[:2]
    size = (max(width // 8, 1), max(height // 8, 1))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    bright = cv2.subtract(small, np.full_like(small, 110))
    glow = cv2.GaussianBlur(bright, (0, 0), 2.0)
    spread = cv2.resize(glow, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.add(image, spread), np.uint8)
