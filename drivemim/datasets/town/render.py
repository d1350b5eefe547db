"""Exact pictures of textured rectangles: colours, inverse depth and instance numbers.

On a plane the inverse of depth is affine in image coordinates, and the texture position is a
homography of them, so each rectangle costs one perspective warp and one depth comparison.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from drivemim.datasets.town.ground import Ground
from drivemim.datasets.town.rig import Camera
from drivemim.datasets.town.surfaces import BACKGROUND, Floats, Image, Surfaces, TextureBank

NEAR = 0.2
_WARP = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP

Floats32 = NDArray[np.float32]


@dataclass
class Picture:
    """What a camera sees.

    Attributes:
        colours_HW4: uint8 BGR and opacity; the last channel says nothing.
        closeness_HW: float32, 1 / depth along the camera's z axis, 1 / metres; 0 for the sky.
        owners_HW: uint16 instance numbers, ``BACKGROUND`` elsewhere.
        ground_HW: bool, the pixel shows the ground.
        outlines: pixels each instance would cover were nothing in front of it, by number;
            only when asked for.
    """

    colours_HW4: Image
    closeness_HW: Floats32
    owners_HW: NDArray[np.uint16]
    ground_HW: NDArray[np.bool_]
    outlines: dict[int, int] = field(default_factory=dict)

    def depth(self) -> Floats32:
        """Depth along the camera's z axis, metres; ``inf`` for the sky."""
        with np.errstate(divide="ignore"):
            depth: Floats32 = 1.0 / self.closeness_HW
        return depth


def render(
    surfaces: Surfaces,
    bank: TextureBank,
    ground: Ground | None,
    camera: Camera,
    pose: tuple[Floats, Floats],
    *,
    outlines: bool = False,
) -> Picture:
    """Draw surfaces, nearest first, then the ground behind them.

    Args:
        surfaces: world frame.
        bank: their textures.
        ground: the ground, or None for none.
        camera: size and intrinsics of the image; pixel centres have integer coordinates.
        pose: the camera's position and camera-to-world rotation.
        outlines: also measure what every instance would cover alone.
    """
    height, width = camera.image_size
    picture = Picture(
        np.zeros((height, width, 4), np.uint8),
        np.zeros((height, width), np.float32),
        np.zeros((height, width), np.uint16),
        np.zeros((height, width), np.bool_),
    )
    alone: dict[int, NDArray[np.bool_]] = {}
    view = _View(surfaces, camera, pose)
    for patch in view.patches(bank):
        _draw(picture, patch, alone if outlines else None)
    picture.outlines = {owner: int(mask.sum()) for owner, mask in alone.items()}
    if ground is not None:
        _draw_ground(picture, ground, camera, pose)
    return picture


@dataclass(frozen=True)
class _Patch:
    """A rectangle ready to draw: where, with which texture, how far."""

    box: tuple[int, int, int, int]
    to_texture_33: Floats
    plane_3: Floats
    texture: Image
    border: tuple[float, ...]
    closest: float
    clipped: bool
    owner: int


class _View:
    """Surfaces in a camera's frame, culled and sorted."""

    def __init__(self, surfaces: Surfaces, camera: Camera, pose: tuple[Floats, Floats]) -> None:
        position, rotation = pose
        corners_M43 = (surfaces.corners_M43() - position) @ rotation
        right_M3, down_M3 = surfaces.right_M3 @ rotation, surfaces.down_M3 @ rotation
        normal_M3 = np.cross(right_M3, down_M3)
        offset_M = (normal_M3 * corners_M43[:, 0]).sum(-1)
        kept = surfaces.two_sided_M | (offset_M > 0)
        kept &= np.abs(offset_M) > 1e-9
        kept &= _in_frustum(corners_M43, camera)
        self._corners_M43, self._owner_M = corners_M43[kept], surfaces.owner_M[kept]
        self._texture_M = surfaces.texture_M[kept]
        K = camera.intrinsics_33
        self._K, self._size = K, camera.image_size
        self._plane_M3 = (normal_M3[kept] / offset_M[kept, None]) @ np.linalg.inv(K)
        basis_M33 = np.stack([right_M3[kept], down_M3[kept], corners_M43[kept, 0]], axis=-1)
        self._to_unit_M33 = np.linalg.inv(K @ basis_M33) if kept.any() else np.zeros((0, 3, 3))
        self._depth_M = corners_M43[kept][..., 2].min(axis=1)

    def patches(self, bank: TextureBank) -> list[_Patch]:
        """Everything that may be visible, nearest first."""
        patches = []
        projected_M43 = self._corners_M43 @ self._K.T
        with np.errstate(divide="ignore", invalid="ignore"):
            pixels_M42 = projected_M43[..., :2] / projected_M43[..., 2:]
        for row in np.argsort(self._depth_M, kind="stable"):
            clipped = bool(self._depth_M[row] < NEAR)
            pixels = _clip_near(projected_M43[row]) if clipped else pixels_M42[row]
            if len(pixels) == 0:
                continue
            box = self._box(pixels)
            if box is None:
                continue
            texture = bank[int(self._texture_M[row])]
            edges = np.linalg.norm(pixels - np.roll(pixels, 1, axis=0), axis=1)
            columns = texture.levels[0].shape[1]
            rows = texture.levels[0].shape[0]
            shrink = 1.0
            if not clipped:
                across, down = max(edges[1], edges[3], 0.5), max(edges[0], edges[2], 0.5)
                shrink = np.sqrt(max(columns / across, 1.0) * max(rows / down, 1.0))
            image = texture.level(shrink)
            scale = np.array(
                [[image.shape[1], 0, -0.5], [0, image.shape[0], -0.5], [0, 0, 1]], np.float64
            )
            shift = np.array([[1, 0, box[0]], [0, 1, box[1]], [0, 0, 1]], np.float64)
            patches.append(
                _Patch(
                    box,
                    scale @ self._to_unit_M33[row] @ shift,
                    self._plane_M3[row],
                    image,
                    texture.border,
                    1.0 / max(float(self._depth_M[row]), NEAR),
                    clipped,
                    int(self._owner_M[row]),
                )
            )
        return patches

    def _box(self, pixels_P2: Floats) -> tuple[int, int, int, int] | None:
        height, width = self._size
        low, high = np.floor(pixels_P2.min(axis=0)), np.ceil(pixels_P2.max(axis=0)) + 1
        left, top = max(int(max(low[0], 0)), 0), max(int(max(low[1], 0)), 0)
        right, bottom = int(min(high[0], width)), int(min(high[1], height))
        return (left, top, right, bottom) if right > left and bottom > top else None


def _in_frustum(corners_M43: Floats, camera: Camera) -> NDArray[np.bool_]:
    """Surfaces that are not wholly beyond one side of the field of view."""
    height, width = camera.image_size
    K = camera.intrinsics_33
    x, y, z = corners_M43[..., 0], corners_M43[..., 1], corners_M43[..., 2]
    u, v = K[0, 0] * x + K[0, 2] * z, K[1, 1] * y + K[1, 2] * z
    outside = (z < NEAR).all(1) | (u < -0.5 * z).all(1) | (u > (width - 0.5) * z).all(1)
    outside |= (v < -0.5 * z).all(1) | (v > (height - 0.5) * z).all(1)
    kept: NDArray[np.bool_] = ~outside
    return kept


def _clip_near(projected_43: Floats) -> Floats:
    """Pixels of a projected rectangle after cutting away what is nearer than ``NEAR``."""
    points = []
    for start, end in zip(projected_43, np.roll(projected_43, -1, axis=0), strict=True):
        if start[2] >= NEAR:
            points.append(start)
        if (start[2] >= NEAR) != (end[2] >= NEAR):
            points.append(start + (end - start) * (NEAR - start[2]) / (end[2] - start[2]))
    if not points:
        return np.zeros((0, 2))
    cut = np.array(points)
    return np.asarray(cut[:, :2] / cut[:, 2:], np.float64)


def _draw(picture: Picture, patch: _Patch, alone: dict[int, NDArray[np.bool_]] | None) -> None:
    left, top, right, bottom = patch.box
    region = np.s_[top:bottom, left:right]
    depth = picture.closeness_HW[region]
    measured = alone is not None and patch.owner != BACKGROUND
    if not measured and depth.min() >= patch.closest:
        return
    a, b, c = patch.plane_3
    across = (a * np.arange(left, right) + c).astype(np.float32)
    closeness = np.add.outer((b * np.arange(top, bottom)).astype(np.float32), across)
    colours = cv2.warpPerspective(
        patch.texture,
        patch.to_texture_33,
        (right - left, bottom - top),
        flags=_WARP,
        borderValue=patch.border,
    )
    solid = colours[..., 3] >= 128
    if patch.clipped:
        solid &= (closeness > 0) & (closeness <= 1 / NEAR)
    if measured and alone is not None:
        if patch.owner not in alone:
            alone[patch.owner] = np.zeros(picture.owners_HW.shape, np.bool_)
        alone[patch.owner][region] |= solid & (closeness > 0)
    solid &= closeness > depth
    _put(picture, region, solid, colours, closeness)
    np.copyto(picture.owners_HW[region], np.uint16(patch.owner), where=solid)


def _put(
    picture: Picture,
    region: tuple[slice, slice],
    solid: NDArray[np.bool_],
    colours: NDArray[np.generic],
    closeness: Floats32,
) -> None:
    target = picture.colours_HW4.view(np.uint32)[..., 0]
    np.copyto(target[region], colours.view(np.uint32)[..., 0], where=solid)
    np.copyto(picture.closeness_HW[region], closeness, where=solid)


def _draw_ground(
    picture: Picture, ground: Ground, camera: Camera, pose: tuple[Floats, Floats]
) -> None:
    """The plane z = 0, in bands of rows that suit one copy of the texture each."""
    position, rotation = pose
    K = camera.intrinsics_33
    inverse_K = np.linalg.inv(K)
    height, width = camera.image_size
    a, b, c = (-rotation[2] / position[2]) @ inverse_K
    columns, rows = np.arange(width), np.arange(height)
    middle = a * width / 2 + b * rows + c
    last = np.maximum(a * 0 + b * rows + c, a * (width - 1) + b * rows + c)
    below = np.flatnonzero(last > 1e-4)
    if len(below) == 0:
        return
    corner = np.array([ground.low_2[0], ground.low_2[1] + ground.size_2[1], 0.0]) - position
    right, down = np.array([ground.size_2[0], 0, 0]), np.array([0, -ground.size_2[1], 0.0])
    basis_33 = rotation.T @ np.stack([right, down, corner], axis=-1)
    to_unit_33 = np.linalg.inv(K @ basis_33)
    depth = 1 / np.maximum(middle, 1e-3)
    shrink = depth**1.5 / (K[0, 0] * np.sqrt(position[2]) * ground.resolution)
    levels = np.clip(np.log2(np.maximum(shrink, 1.0)), 0, 5).astype(int)
    edges = np.flatnonzero(np.diff(levels[below])) + 1
    for band in np.split(below, edges):
        image = ground.texture.levels[min(levels[band[0]], len(ground.texture.levels) - 1)]
        top, bottom = int(band[0]), int(band[-1]) + 1
        scale = np.array([[image.shape[1], 0, -0.5], [0, image.shape[0], -0.5], [0, 0, 1.0]])
        shift = np.array([[1, 0, 0], [0, 1, top], [0, 0, 1.0]])
        size = (width, bottom - top)
        colours = cv2.warpPerspective(
            image, scale @ to_unit_33 @ shift, size, flags=_WARP, borderValue=ground.texture.border
        )
        closeness = np.add.outer(
            (b * rows[top:bottom]).astype(np.float32), (a * columns + c).astype(np.float32)
        )
        solid = closeness > np.maximum(picture.closeness_HW[top:bottom], 1e-4)
        _put(picture, np.s_[top:bottom, :], solid, colours, closeness)
        picture.ground_HW[top:bottom] = solid


def draw_shadows(
    picture: Picture,
    shadows: Surfaces,
    shadow_gain: Floats32,
    camera: Camera,
    pose: tuple[Floats, Floats],
) -> None:
    """Darken the ground under objects.

    Args:
        picture: changed in place, only where it shows the ground.
        shadows: flat rectangles on the ground.
        shadow_gain: picture of one shadow: gain of the ground's colour.
        camera: as for ``render``.
        pose: as for ``render``.
    """
    gain = np.clip(shadow_gain * 255, 0, 255).astype(np.uint8)
    bank = TextureBank()
    view = _View(shadows, camera, pose)
    opaque = np.full(gain.shape, 255, np.uint8)
    bank.add_image(np.dstack([gain, gain, gain, opaque]))
    for patch in view.patches(bank):
        left, top, right, bottom = patch.box
        on_ground = picture.ground_HW[top:bottom, left:right]
        if not on_ground.any():
            continue
        gains = cv2.warpPerspective(
            patch.texture,
            patch.to_texture_33,
            (right - left, bottom - top),
            flags=_WARP,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=(255, 255, 255, 255),
        )
        target = np.ascontiguousarray(picture.colours_HW4[top:bottom, left:right])
        darker = cv2.multiply(target, gains, scale=1 / 255)
        np.copyto(
            picture.colours_HW4.view(np.uint32)[top:bottom, left:right, 0],
            darker.view(np.uint32)[..., 0],
            where=on_ground,
        )
