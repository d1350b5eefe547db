"""Augmentation of one camera's frames: one draw per clip, for pixels and geometry together.

Letters: M objects.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from numbers import Real
from typing import Any

import albumentations as A  # noqa: N812  # its own convention
import numpy as np
from numpy.typing import NDArray

from drivemim.array_types import Floats
from drivemim.data.index.images import Crop, reduction_to_cover
from drivemim.errors import ConfigError, check_range, did_you_mean

_FOCUS_POSITIONS = (0.25, 0.75)
"""Range of positions in the crop, from 0 to 1, at which ``focus`` puts the centre of an object."""


@dataclass(frozen=True)
class AugmentSettings:
    """Ranges and probabilities of the augmentations; the defaults suit driving video.

    Attributes:
        flip: probability of mirroring left and right.
        crop: smallest and largest fraction of the stored image's area that is cropped and resized
            to the image size; (1, 1) disables cropping.
        stretch: largest factor by which a crop's aspect ratio may differ from the stored image's.
        focus: probability that the crop contains the centre of an object, drawn from the boxes of
            the camera's frames in the clip, instead of lying anywhere. The crop's size does not
            change. Pretraining then reads boxes.
        brightness: largest relative change, at most 1.
        contrast: largest relative change, at most 1.
        saturation: largest relative change, at most 1.
        hue: largest change as a fraction of the colour circle, at most 0.5.
        colour: probability of any change of colours.
        blur: probability of a Gaussian blur.
        noise: probability of Gaussian noise.
    """

    flip: float = 0.5
    crop: tuple[float, float] = (0.5, 1.0)
    stretch: float = 1.15
    focus: float = 0.0
    brightness: float = 0.3
    contrast: float = 0.3
    saturation: float = 0.3
    hue: float = 0.03
    colour: float = 0.8
    blur: float = 0.1
    noise: float = 0.1

    def __post_init__(self) -> None:
        if not _is_range_of_fractions(self.crop):
            raise ConfigError(
                f"augment: crop={self.crop!r} must be the smallest and the largest fraction of the "
                "image's area, above 0 and at most 1"
            )
        check_range("augment: stretch", self.stretch, 1)
        check_range("augment: hue", self.hue, 0, 0.5)  # half of the circle is every colour
        for name in (
            "flip",
            "focus",
            "brightness",
            "contrast",
            "saturation",
            "colour",
            "blur",
            "noise",
        ):
            check_range(f"augment: {name}", getattr(self, name), 0, 1)

    @classmethod
    def parse(cls, settings: Mapping[str, Any]) -> AugmentSettings:
        """Make the settings from a config's dict.

        Raises:
            ConfigError: if a key is unknown (the message names the nearest known one), or a value
                is out of range.
        """
        known = [field.name for field in fields(cls)]
        for key in settings:
            if key not in known:
                raise ConfigError(
                    f"augment: {key!r} is none of {', '.join(known)}{did_you_mean(key, known)}"
                )
        values = dict(settings)
        if isinstance(values.get("crop"), list):
            values["crop"] = tuple(values["crop"])
        return cls(**values)


def _is_range_of_fractions(values: Any) -> bool:
    """Return whether a setting is two increasing numbers, above 0 and at most 1."""
    if not isinstance(values, (list, tuple)) or len(values) != 2:
        return False
    if any(isinstance(each, bool) or not isinstance(each, Real) for each in values):
        return False
    return bool(0 < values[0] <= values[1] <= 1)


@dataclass(frozen=True)
class AugmentationDraw:
    """The drawn augmentation of a camera's frames in a clip: the same crop and mirroring for all.

    Attributes:
        seed: seed of the changes of colour, blur and noise.
        height: height of the crop, as a fraction of the image's.
        width: width of the crop, as a fraction of the image's.
        top: position of the crop in its vertical range, from 0 (top) to below 1 (bottom).
        left: position of the crop in its horizontal range, from 0 (left) to below 1 (right).
        mirrored: whether left and right are exchanged, after the crop.
    """

    seed: int
    height: float = 1.0
    width: float = 1.0
    top: float = 0.0
    left: float = 0.0
    mirrored: bool = False

    def crop(self, stored: tuple[int, int], size: tuple[int, int]) -> Crop:
        """Return the crop of an image, rounded so that the file can be decoded at a reduced size.

        Args:
            stored: height and width of the stored image, pixels.
            size: height and width that the crop is resized to, pixels.

        Returns:
            The drawn crop. Its edges are multiples of the factor by which ``read_image`` reduces
            the image while decoding, so they lie between pixels of the decoded image. (The whole
            image is not rounded.)
        """
        if self.height == self.width == 1.0:
            return Crop.whole(stored)
        drawn = [
            max(1, round(fraction * length))
            for fraction, length in zip((self.height, self.width), stored, strict=True)
        ]
        factor = reduction_to_cover((drawn[0], drawn[1]), size)
        lengths, starts = [], []
        for length, available, start in zip(drawn, stored, (self.top, self.left), strict=True):
            length = factor * min(round(length / factor), available // factor)
            lengths.append(length)
            starts.append(factor * int(start * ((available - length) // factor + 1)))
        return Crop(starts[0], starts[1], lengths[0], lengths[1])

    def matrix(self, crop: Crop, size: tuple[int, int]) -> NDArray[np.float64]:
        """Return the 3x3 matrix from the stored image's pixels to those of the augmented image.

        Args:
            crop: the part of the stored image.
            size: height and width that the crop was resized to, pixels.

        Returns:
            float64, for homogeneous coordinates in which pixel i spans [i, i + 1].
        """
        matrix = crop.matrix(size)
        if self.mirrored:
            matrix[0] = [-matrix[0, 0], 0.0, size[1] - matrix[0, 2]]
        return matrix


class CameraAugmentation:
    """Augmentation of one camera's frames in a clip, with one draw.

    The crop is drawn before anything is read, so that each file is decoded at the scale that the
    crop needs. Mirroring is geometrically exact: the camera's pose does not change, and its
    intrinsics get a negative focal length (fx' = -fx, cx' = W - cx). So a 3-D point projects onto
    its mirrored pixel, and a patch's ray still points to the 3-D location that its pixels show.

    Args:
        settings: ranges of the draw; None for no augmentation.
    """

    def __init__(self, settings: AugmentSettings | None) -> None:
        self.settings = settings
        self._pipeline = None if settings is None else _pipeline(settings)

    def draw(self, seed: int, centers_M2: Floats | None = None) -> AugmentationDraw:
        """Draw an augmentation; the same seed and centres give the same one.

        Args:
            seed: the seed.
            centers_M2: centres (y, x) of objects, as fractions of the image's height and width,
                from which ``focus`` draws one; None without ``focus``.
        """
        if self.settings is None:
            return AugmentationDraw(seed)
        generator = np.random.default_rng(seed)
        area, aspect, top, left, mirrored = generator.random(5)
        smallest, largest = self.settings.crop
        area = smallest + (largest - smallest) * area
        # A crop with a large area cannot be stretched far without leaving the image.
        stretch = min(self.settings.stretch, 1 / area) ** (2 * aspect - 1)
        height, width = min(1.0, np.sqrt(area / stretch)), min(1.0, np.sqrt(area * stretch))
        # The object is drawn after all else, so that focus does not change the other draws.
        if centers_M2 is not None and len(centers_M2) and generator.random() < self.settings.focus:
            y, x = centers_M2[generator.integers(len(centers_M2))]
            top = _start_around(y, height, generator.uniform(*_FOCUS_POSITIONS))
            left = _start_around(x, width, generator.uniform(*_FOCUS_POSITIONS))
        return AugmentationDraw(
            seed,
            height=float(height),
            width=float(width),
            top=float(top),
            left=float(left),
            mirrored=bool(mirrored < self.settings.flip),
        )

    def finish(self, images_THWC: NDArray[np.uint8], draw: AugmentationDraw) -> NDArray[np.uint8]:
        """Mirror a camera's frames, which were read with the draw's crop, and change colours.

        Args:
            images_THWC: uint8, BGR.
            draw: the drawn augmentation.

        Returns:
            uint8, BGR, of the same shape.
        """
        if draw.mirrored:
            images_THWC = images_THWC[:, :, ::-1]
        if self._pipeline is None:
            return np.ascontiguousarray(images_THWC)
        self._pipeline.set_random_seed(draw.seed)
        result = self._pipeline(images=np.ascontiguousarray(images_THWC[..., ::-1]))
        return np.ascontiguousarray(result["images"][..., ::-1])


def _start_around(center: float, length: float, position: float) -> float:
    """Return the position in its range of a crop that shows a point, along one axis.

    Args:
        center: the point, as a fraction of the image.
        length: length of the crop, as a fraction of the image.
        position: where in the crop the point should be, from 0 to 1. Near the border of the image
            it is elsewhere, because the crop stays inside the image.

    Returns:
        from 0 to below 1, like ``AugmentationDraw.top``.
    """
    if length >= 1:
        return 0.0
    below_one = float(np.nextafter(1, 0))
    return min(max((center - position * length) / (1 - length), 0.0), below_one)


def _pipeline(settings: AugmentSettings) -> A.Compose:
    """Build the augmentations that do not move pixels."""
    return A.Compose(
        [
            A.ColorJitter(
                brightness=settings.brightness,
                contrast=settings.contrast,
                saturation=settings.saturation,
                hue=settings.hue,
                p=settings.colour,
            ),
            A.GaussianBlur(sigma_limit=(0.3, 1.5), p=settings.blur),
            A.GaussNoise(std_range=(0.01, 0.05), p=settings.noise),
        ]
    )
