"""Augmentation of one camera's track through time: one draw, pixels and geometry together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import albumentations as A  # noqa: N812  # its own convention
import cv2
import numpy as np
from numpy.typing import NDArray

from drivemim.errors import ConfigError, nearest


@dataclass(frozen=True)
class AugmentSettings:
    """What may be drawn; the defaults suit driving video.

    Attributes:
        flip: probability of mirroring left and right.
        crop: smallest and largest share of the image's area that is cut out and resized back;
            (1, 1) crops nothing.
        stretch: largest factor by which a crop's aspect ratio may differ from the image's.
        brightness: largest relative change.
        contrast: largest relative change.
        saturation: largest relative change.
        hue: largest change as a share of the colour circle.
        colour: probability of changing colours at all.
        blur: probability of a Gaussian blur.
        noise: probability of Gaussian noise.
    """

    flip: float = 0.5
    crop: tuple[float, float] = (0.5, 1.0)
    stretch: float = 1.15
    brightness: float = 0.3
    contrast: float = 0.3
    saturation: float = 0.3
    hue: float = 0.03
    colour: float = 0.8
    blur: float = 0.1
    noise: float = 0.1

    @classmethod
    def parse(cls, settings: Mapping[str, Any]) -> AugmentSettings:
        """Settings from a config's dictionary.

        Raises:
            ConfigError: if a key is unknown, naming the nearest.
        """
        known = [field.name for field in fields(cls)]
        for key in settings:
            if key not in known:
                raise ConfigError(
                    f"augment: {key!r} is none of {', '.join(known)}{nearest(key, known)}"
                )
        return cls(
            **{**settings, **({"crop": tuple(settings["crop"])} if "crop" in settings else {})}
        )


class TrackAugmentation:
    """Draws one augmentation and applies it to every frame of a track.

    Mirroring is geometrically exact: the camera's pose stays as it is, and its intrinsics get a
    negative focal length (fx' = -fx, cx' = W - cx), so a 3-D point projects onto its moved pixel
    and a cell's ray still points to where its pixels came from.

    Args:
        image_size: height and width of the result, pixels.
        settings: what may be drawn; None resizes only.
    """

    def __init__(self, image_size: tuple[int, int], settings: AugmentSettings | None) -> None:
        self.image_size = image_size
        self._pipeline = None if settings is None else _pipeline(image_size, settings)

    def __call__(
        self, images_THWC: NDArray[np.uint8], seed: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
        """Augment a track.

        Args:
            images_THWC: uint8, BGR.
            seed: of the draw; the same seed gives the same augmentation.

        Returns:
            uint8 images of ``image_size``, and the float64 3x3 matrix that takes homogeneous
            pixel coordinates of the input to the output. Pixel i spans [i, i + 1].
        """
        height, width = images_THWC.shape[1:3]
        out_height, out_width = self.image_size
        if self._pipeline is None:
            resized = [
                cv2.resize(image, (out_width, out_height), interpolation=cv2.INTER_LINEAR)
                for image in images_THWC
            ]
            return np.stack(resized).astype(np.uint8, copy=False), np.diag(
                [out_width / width, out_height / height, 1.0]
            )
        self._pipeline.set_random_seed(seed)
        corners = np.array([[0, 0], [width, 0], [0, height]], np.float64)
        result = self._pipeline(
            images=np.ascontiguousarray(images_THWC[..., ::-1]), keypoints=corners
        )
        moved = np.asarray(result["keypoints"], np.float64)
        matrix = np.eye(3)
        matrix[:2, 0] = (moved[1] - moved[0]) / width
        matrix[:2, 1] = (moved[2] - moved[0]) / height
        matrix[:2, 2] = moved[0]
        if matrix[0, 0] < 0:
            # Albumentations mirrors pixel numbers (x -> W - 1 - x), not the edges between pixels.
            matrix[0, 2] += 1
        return np.ascontiguousarray(result["images"][..., ::-1]), matrix


def move_boxes(boxes_M4: NDArray[np.float64], matrices_M33: NDArray[np.float64]) -> Any:
    """Boxes under scaling, mirroring and shifting.

    Args:
        boxes_M4: x1 y1 x2 y2 pixels.
        matrices_M33: as ``TrackAugmentation`` returns them.

    Returns:
        (M, 4) x1 y1 x2 y2 pixels of the result, not clipped.
    """
    scale_M2 = np.stack([matrices_M33[:, 0, 0], matrices_M33[:, 1, 1]], axis=1)
    corners_M22 = boxes_M4.reshape(-1, 2, 2) * scale_M2[:, None] + matrices_M33[:, None, :2, 2]
    return np.concatenate([corners_M22.min(axis=1), corners_M22.max(axis=1)], axis=1)


def _pipeline(image_size: tuple[int, int], settings: AugmentSettings) -> A.Compose:
    """The transforms; mirroring comes last of those that move pixels, at the final width."""
    height, width = image_size
    aspect = width / height
    return A.Compose(
        [
            A.RandomResizedCrop(
                size=image_size,
                scale=settings.crop,
                ratio=(aspect / settings.stretch, aspect * settings.stretch),
            )
            if settings.crop != (1.0, 1.0)
            else A.Resize(height, width),
            A.HorizontalFlip(p=settings.flip),
            A.ColorJitter(
                brightness=settings.brightness,
                contrast=settings.contrast,
                saturation=settings.saturation,
                hue=settings.hue,
                p=settings.colour,
            ),
            A.GaussianBlur(sigma_limit=(0.3, 1.5), p=settings.blur),
            A.GaussNoise(std_range=(0.01, 0.05), p=settings.noise),
        ],
        keypoint_params=A.KeypointParams("xy", remove_invisible=False),
    )
