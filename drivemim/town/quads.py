"""Textured rectangles (quads), the only primitive of the renderer and of the lidar; sprites.

Letters: M quads or sprites.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from drivemim.array_types import Floats, Image, Ints

BACKGROUND = 0  # instance id


class Texture:
    """An image with transparency and its mipmap levels; each level halves the resolution.

    Args:
        image_HW4: uint8 BGRA; a pixel is opaque where alpha is at least 128.
    """

    def __init__(self, image_HW4: Image) -> None:
        first = np.array(image_HW4, np.uint8, order="C")
        transparent = first[..., 3] == 0
        mean = cv2.mean(first, (~transparent).astype(np.uint8))
        first[transparent] = (*(round(value) for value in mean[:3]), 0)
        self.border: tuple[float, ...] = (*mean[:3], 0.0)
        self.levels: list[Image] = [first]
        while min(self.levels[-1].shape[:2]) >= 8:
            height, width = self.levels[-1].shape[:2]
            size = (width // 2, height // 2)
            half = cv2.resize(self.levels[-1], size, interpolation=cv2.INTER_AREA)
            self.levels.append(np.asarray(half, np.uint8))

    def level(self, minification: float) -> Image:
        """Return the level to use where one image pixel spans ``minification`` texture pixels."""
        # The bias of 0.35 favours the coarser of two levels: less aliasing.
        level = int(max(np.log2(max(minification, 1.0)) + 0.35, 0.0))
        return self.levels[min(level, len(self.levels) - 1)]


class TextureBank:
    """Textures by number; a texture given as a function is drawn when first used."""

    def __init__(self) -> None:
        self._items: list[Texture | Callable[[], Texture]] = []

    def __len__(self) -> int:
        return len(self._items)

    def add(self, item: Texture | Callable[[], Texture]) -> int:
        """Add a texture, or the function that draws it, and return its number."""
        self._items.append(item)
        return len(self._items) - 1

    def add_image(self, image_HW4: Image) -> int:
        """Add a BGRA image and return its number."""
        return self.add(Texture(image_HW4))

    def __getitem__(self, number: int) -> Texture:
        item = self._items[number]
        if not isinstance(item, Texture):
            item = item()
            self._items[number] = item
        return item


@dataclass(frozen=True)
class Quads:
    """M textured rectangles, metres.

    Attributes:
        corner_M3: top-left corner, as seen from the front.
        right_M3: from the top-left to the top-right corner.
        down_M3: from the top-left to the bottom-left corner; perpendicular to ``right_M3``.
        texture_M: number of the texture.
        instance_id_M: instance id, ``BACKGROUND`` for quads that do not belong to an instance.
        two_sided_M: bool, True if also visible from behind.
    """

    corner_M3: Floats
    right_M3: Floats
    down_M3: Floats
    texture_M: Ints
    instance_id_M: Ints
    two_sided_M: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.corner_M3)

    def __getitem__(self, rows: NDArray[np.bool_] | Ints) -> Quads:
        return Quads(*(getattr(self, field.name)[rows] for field in fields(self)))

    @staticmethod
    def make(
        rectangles: Sequence[tuple[Sequence[float], Sequence[float], Sequence[float], int]],
        instance_id: int = BACKGROUND,
        two_sided: bool = False,
    ) -> Quads:
        """Return quads from (corner, right, down, texture) rows."""
        count = len(rectangles)
        vectors = np.array([row[:3] for row in rectangles], np.float64).reshape(count, 3, 3)
        return Quads(
            vectors[:, 0],
            vectors[:, 1],
            vectors[:, 2],
            np.array([row[3] for row in rectangles], np.int64),
            np.full(count, instance_id, np.int64),
            np.full(count, two_sided, np.bool_),
        )

    @staticmethod
    def cat(parts: Sequence[Quads]) -> Quads:
        """Concatenate several sets of quads."""
        return Quads(
            *(
                np.concatenate([getattr(part, field.name) for part in parts])
                for field in fields(Quads)
            )
        )

    def scaled(self, factor: float) -> Quads:
        """Return a copy that is scaled around the origin."""
        return replace(
            self,
            corner_M3=self.corner_M3 * factor,
            right_M3=self.right_M3 * factor,
            down_M3=self.down_M3 * factor,
        )

    def corners(self) -> Floats:
        """Return top-left, top-right, bottom-right and bottom-left corners, (M, 4, 3)."""
        top_right = self.corner_M3 + self.right_M3
        return np.stack(
            [self.corner_M3, top_right, top_right + self.down_M3, self.corner_M3 + self.down_M3],
            axis=1,
        )


@dataclass(frozen=True)
class Sprites:
    """M upright rectangles that are turned to face the camera or the scanner.

    Attributes:
        foot_M3: middle of the lower edge, metres.
        width_M: metres.
        height_M: metres.
        texture_M: number of the texture.
        instance_id_M: instance id.
    """

    foot_M3: Floats
    width_M: Floats
    height_M: Floats
    texture_M: Ints
    instance_id_M: Ints

    def __len__(self) -> int:
        return len(self.foot_M3)

    def facing(self, viewpoint_3: Floats) -> Quads:
        """Return the quads of the sprites as they face ``viewpoint_3``."""
        forward_M2 = self.foot_M3[:, :2] - viewpoint_3[:2]
        distance_M = np.maximum(np.linalg.norm(forward_M2, axis=1), 1e-6)
        forward_M2 = forward_M2 / distance_M[:, None]
        right_M3 = np.zeros_like(self.foot_M3)
        right_M3[:, 0] = forward_M2[:, 1] * self.width_M
        right_M3[:, 1] = -forward_M2[:, 0] * self.width_M
        down_M3 = np.zeros_like(self.foot_M3)
        down_M3[:, 2] = -self.height_M
        return Quads(
            self.foot_M3 - right_M3 / 2 - down_M3,
            right_M3,
            down_M3,
            self.texture_M,
            self.instance_id_M,
            np.ones(len(self), np.bool_),
        )
