"""Renderer of textured rectangles: exact colours, inverse depth and instance numbers.

On a plane, inverse depth is an affine function of image coordinates, and texture coordinates are
a homography of them. Each rectangle therefore costs one perspective warp and one depth comparison.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from drivemim.town.ground import Ground
from drivemim.town.rig import Camera
from drivemim.town.surfaces import BACKGROUND, Floats, Image, Surfaces, TextureBank

NEAR = 0.2
_SPECK = 1.0  # background surfaces smaller than this many pixels are left out
_WARP = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP

Floats32 = NDArray[np.float32]


@dataclass
class Picture:
    """Rendered view of a camera.

    Attributes:
        colours_HW4: uint8 BGR and a fourth channel without meaning.
        closeness_HW: float32, 1 / depth along the camera's z axis, 1 / metres; 0 for the sky.
        owners_HW: uint16 instance numbers, ``BACKGROUND`` elsewhere.
        ground_HW: bool, True where the pixel shows the ground.
        outlines: instance number -> number of pixels that it would cover if nothing hid it;
            empty unless ``render`` is called with ``outlines``.
    """

    colours_HW4: Image
    closeness_HW: Floats32
    owners_HW: NDArray[np.uint16]
    ground_HW: NDArray[np.bool_]
    outlines: dict[int, int] = field(default_factory=dict)

    def depth(self) -> Floats32:
        """Return the depth along the camera's z axis, metres; ``inf`` for the sky."""
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
        surfaces: surfaces in the world frame.
        bank: their textures.
        ground: the ground, or None for none.
        camera: size and intrinsics of the image; pixel i spans [i, i + 1].
        pose: the camera's position and camera-to-world rotation.
        outlines: also count the pixels that every instance would cover if nothing hid it.
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
    for row in range(len(view)):
        _draw(picture, view, row, bank, alone if outlines else None)
    picture.outlines = {owner: int(np.count_nonzero(mask)) for owner, mask in alone.items()}
    if ground is not None:
        _draw_ground(picture, ground, camera, pose)
    return picture


class _View:
    """Surfaces in a camera's frame, culled and sorted nearest first.

    Attributes:
        boxes_M4: pixel box (left, top, right, bottom) that a surface may cover, ends excluded.
        closest_M: 1 / depth of the surface's nearest point, 1 / metres.
        clipped_M: bool, True if a part of the surface is nearer than ``NEAR``.
        planes_M3: 1 / depth at the centre of pixel (x, y) is ``plane @ (x, y, 1)``.
        owners_M: instance numbers.
    """

    def __init__(self, surfaces: Surfaces, camera: Camera, pose: tuple[Floats, Floats]) -> None:
        position, rotation = pose
        corners_M43 = (surfaces.corners() - position) @ rotation
        right_M3, down_M3 = surfaces.right_M3 @ rotation, surfaces.down_M3 @ rotation
        normal_M3 = np.cross(right_M3, down_M3)
        offset_M = (normal_M3 * corners_M43[:, 0]).sum(-1)
        kept = surfaces.two_sided_M | (offset_M > 0)
        kept &= np.abs(offset_M) > 1e-9
        kept &= _in_frustum(corners_M43, camera)
        rows = np.flatnonzero(kept)
        K = camera.pixel_numbers_33
        pixels_M42, clipped_M = _project(corners_M43[rows] @ K.T)
        boxes_M4 = _pixel_boxes(pixels_M42, camera.image_size)
        depth_M = corners_M43[rows, :, 2].min(axis=1)
        seen = (boxes_M4[:, 2] > boxes_M4[:, 0]) & (boxes_M4[:, 3] > boxes_M4[:, 1])
        specks = (pixels_M42.max(axis=1) - pixels_M42.min(axis=1)).max(axis=1) < _SPECK
        seen &= ~(specks & (surfaces.owner_M[rows] == BACKGROUND))
        order = np.flatnonzero(seen)[np.argsort(depth_M[seen], kind="stable")]
        rows = rows[order]
        self.boxes_M4, self.clipped_M = boxes_M4[order], clipped_M[order]
        self.closest_M = 1 / np.maximum(depth_M[order], NEAR)
        self.owners_M = surfaces.owner_M[rows]
        self.planes_M3 = (normal_M3[rows] / offset_M[rows, None]) @ np.linalg.inv(K)
        basis_M33 = np.stack([right_M3[rows], down_M3[rows], corners_M43[rows, 0]], axis=-1)
        self._to_unit_M33 = np.linalg.inv(K @ basis_M33)
        self._texture_M = surfaces.texture_M[rows]
        sides_M42 = pixels_M42[order] - np.roll(pixels_M42[order], 1, axis=1)
        sides_M4 = np.linalg.norm(sides_M42, axis=2)
        self._spread_M2 = np.maximum(sides_M4[:, [1, 0]], sides_M4[:, [3, 2]]).clip(0.5)
        self._spread_M2[self.clipped_M] = np.inf

    def __len__(self) -> int:
        return len(self.owners_M)

    def warp(self, row: int, bank: TextureBank, border: tuple[float, ...] | None = None) -> Image:
        """Return the surface's texture as the camera sees it, cropped to the surface's box."""
        texture = bank[int(self._texture_M[row])]
        height, width = texture.levels[0].shape[:2]
        across, down = self._spread_M2[row]
        image = texture.level(float(max(width / across, 1.0) * max(height / down, 1.0)) ** 0.5)
        left, top, right, bottom = self.boxes_M4[row].tolist()
        to_texture_33 = self._to_unit_M33[row].copy()
        to_texture_33[:, 2] += left * to_texture_33[:, 0] + top * to_texture_33[:, 1]
        to_texture_33[0] = to_texture_33[0] * image.shape[1] - 0.5 * to_texture_33[2]
        to_texture_33[1] = to_texture_33[1] * image.shape[0] - 0.5 * to_texture_33[2]
        return np.asarray(
            cv2.warpPerspective(
                image,
                to_texture_33,
                (right - left, bottom - top),
                flags=_WARP,
                borderValue=border or texture.border,
            ),
            np.uint8,
        )


def _project(projected_M43: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Return pixel numbers of projected rectangles, and whether each reaches nearer than ``NEAR``.

    Such a rectangle is cut at ``NEAR``; its corners are those of the box around the rest.
    """
    clipped_M = projected_M43[..., 2].min(axis=1) < NEAR
    with np.errstate(divide="ignore", invalid="ignore"):
        pixels_M42 = projected_M43[..., :2] / projected_M43[..., 2:]
    for row in np.flatnonzero(clipped_M):
        cut = _clip_near(projected_M43[row])
        if len(cut) == 0:
            pixels_M42[row] = -1e6
            continue
        (left, top), (right, bottom) = cut.min(axis=0), cut.max(axis=0)
        pixels_M42[row] = [[left, top], [right, top], [right, bottom], [left, bottom]]
    return pixels_M42, clipped_M


def _pixel_boxes(pixels_M42: Floats, image_size: tuple[int, int]) -> NDArray[np.int64]:
    """Return boxes of whole pixels around quadrilaterals, cut at the image border."""
    height, width = image_size
    limit = np.array([width, height])
    low_M2 = np.clip(np.floor(pixels_M42.min(axis=1)), 0, limit)
    high_M2 = np.clip(np.ceil(pixels_M42.max(axis=1)) + 1, 0, limit)
    return np.asarray(np.concatenate([low_M2, high_M2], axis=1), np.int64)


def _in_frustum(corners_M43: Floats, camera: Camera) -> NDArray[np.bool_]:
    """Return whether each surface is not entirely outside one side of the field of view."""
    height, width = camera.image_size
    K = camera.pixel_numbers_33
    x, y, z = corners_M43[..., 0], corners_M43[..., 1], corners_M43[..., 2]
    u, v = K[0, 0] * x + K[0, 2] * z, K[1, 1] * y + K[1, 2] * z
    outside = (z < NEAR).all(1) | (u < -0.5 * z).all(1) | (u > (width - 0.5) * z).all(1)
    outside |= (v < -0.5 * z).all(1) | (v > (height - 0.5) * z).all(1)
    kept: NDArray[np.bool_] = ~outside
    return kept


def _clip_near(projected_43: Floats) -> Floats:
    """Return pixel numbers of a projected rectangle after cutting off the part before ``NEAR``."""
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


def _draw(
    picture: Picture,
    view: _View,
    row: int,
    bank: TextureBank,
    alone: dict[int, NDArray[np.bool_]] | None,
) -> None:
    left, top, right, bottom = view.boxes_M4[row].tolist()
    owner = int(view.owners_M[row])
    region = np.s_[top:bottom, left:right]
    known = picture.closeness_HW[region]
    measured = alone is not None and owner != BACKGROUND
    if not measured and known.min() >= view.closest_M[row]:
        return
    a, b, c = view.planes_M3[row]
    across = (a * np.arange(left, right) + c).astype(np.float32)
    closeness = np.add.outer((b * np.arange(top, bottom)).astype(np.float32), across)
    colours = view.warp(row, bank)
    solid = colours[..., 3] >= 128
    if view.clipped_M[row]:
        solid &= (closeness > 0) & (closeness <= 1 / NEAR)
    if measured and alone is not None:
        if owner not in alone:
            alone[owner] = np.zeros(picture.owners_HW.shape, np.bool_)
        alone[owner][region] |= solid & (closeness > 0)
    solid &= closeness > known
    _put(picture, region, solid, colours, closeness)
    np.copyto(picture.owners_HW[region], np.uint16(owner), where=solid)


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
    """Draw the plane z = 0 in bands of rows, each with the texture level that suits it."""
    position, rotation = pose
    K = camera.pixel_numbers_33
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
        camera: see ``render``.
        pose: see ``render``.
    """
    gain = np.clip(shadow_gain * 255, 0, 255).astype(np.uint8)
    bank = TextureBank()
    bank.add_image(np.dstack([gain, gain, gain, np.full(gain.shape, 255, np.uint8)]))
    view = _View(shadows, camera, pose)
    for row in range(len(view)):
        left, top, right, bottom = view.boxes_M4[row].tolist()
        on_ground = picture.ground_HW[top:bottom, left:right]
        if not on_ground.any():
            continue
        gains = view.warp(row, bank, border=(255.0,) * 4)
        target = np.ascontiguousarray(picture.colours_HW4[top:bottom, left:right])
        darker = np.asarray(cv2.multiply(target, gains, scale=1 / 255))
        np.copyto(
            picture.colours_HW4.view(np.uint32)[top:bottom, left:right, 0],
            darker.view(np.uint32)[..., 0],
            where=on_ground,
        )
