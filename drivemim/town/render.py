"""Render textured quads to colours, inverse depth and instance ids.

On a plane, inverse depth is an affine function of image coordinates, and texture coordinates are
a homography of them. So drawing a quad takes one perspective warp and one depth comparison.

Letters: M quads.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from drivemim.array_types import Floats, Floats32, Image
from drivemim.town.ground import Ground
from drivemim.town.quads import BACKGROUND, Quads, TextureBank
from drivemim.town.rig import Camera

NEAR_PLANE = 0.2  # metres
_MIN_BACKGROUND_SIZE = 1.0  # smaller background quads are not drawn; pixels
_WARP = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP


@dataclass
class RenderOutput:
    """Rendered view of a camera.

    Attributes:
        colours_HW4: uint8 BGR and an unused fourth channel.
        inverse_depth_HW: float32, 1 / depth along the camera's z axis, 1 / metres; 0 for the sky.
        instance_ids_HW: uint16, ``BACKGROUND`` where no instance is visible.
        ground_HW: bool, True where the pixel shows the ground.
        amodal_areas: instance id -> number of pixels that the instance would cover if nothing hid
            it; empty unless ``render`` is called with ``amodal``.
    """

    colours_HW4: Image
    inverse_depth_HW: Floats32
    instance_ids_HW: NDArray[np.uint16]
    ground_HW: NDArray[np.bool_]
    amodal_areas: dict[int, int] = field(default_factory=dict)

    def depth(self) -> Floats32:
        """Return the depth along the camera's z axis, metres; ``inf`` for the sky."""
        with np.errstate(divide="ignore"):
            depth: Floats32 = 1.0 / self.inverse_depth_HW
        return depth


def render(
    quads: Quads,
    bank: TextureBank,
    ground: Ground | None,
    camera: Camera,
    pose: tuple[Floats, Floats],
    *,
    amodal: bool = False,
) -> RenderOutput:
    """Draw quads, nearest first, then the ground behind them.

    Args:
        quads: quads in the world frame.
        bank: their textures.
        ground: the ground, or None for none.
        camera: size and intrinsics of the image; pixel i spans [i, i + 1].
        pose: the camera's position in the world frame, metres, and camera-to-world rotation.
        amodal: also count the pixels that every instance would cover if nothing hid it.
    """
    height, width = camera.image_size
    output = RenderOutput(
        np.zeros((height, width, 4), np.uint8),
        np.zeros((height, width), np.float32),
        np.zeros((height, width), np.uint16),
        np.zeros((height, width), np.bool_),
    )
    amodal_masks: dict[int, NDArray[np.bool_]] = {}
    view = _ProjectedQuads(quads, camera, pose)
    for row in range(len(view)):
        _draw_quad(output, view, row, bank, amodal_masks if amodal else None)
    output.amodal_areas = {
        instance_id: int(np.count_nonzero(mask)) for instance_id, mask in amodal_masks.items()
    }
    if ground is not None:
        _draw_ground(output, ground, camera, pose)
    return output


class _ProjectedQuads:
    """Quads in a camera's frame, culled and sorted nearest first.

    Attributes:
        boxes_M4: pixel box (left, top, right, bottom) that a quad may cover, ends excluded.
        nearest_inverse_depth_M: 1 / depth of the quad's nearest point, 1 / metres.
        clipped_M: bool, True if a part of the quad is nearer than ``NEAR_PLANE``.
        planes_M3: 1 / depth at the centre of pixel (x, y) is ``plane @ (x, y, 1)``.
        instance_id_M: instance ids.
    """

    def __init__(self, quads: Quads, camera: Camera, pose: tuple[Floats, Floats]) -> None:
        position, rotation = pose
        corners_M43 = (quads.corners() - position) @ rotation
        right_M3, down_M3 = quads.right_M3 @ rotation, quads.down_M3 @ rotation
        normal_M3 = np.cross(right_M3, down_M3)
        offset_M = (normal_M3 * corners_M43[:, 0]).sum(-1)
        in_view = quads.two_sided_M | (offset_M > 0)
        in_view &= np.abs(offset_M) > 1e-9
        in_view &= _in_frustum(corners_M43, camera)
        rows = np.flatnonzero(in_view)
        K = camera.pixel_numbers_33
        pixels_M42, clipped_M = _project(corners_M43[rows] @ K.T)
        boxes_M4 = _pixel_boxes(pixels_M42, camera.image_size)
        depth_M = corners_M43[rows, :, 2].min(axis=1)
        seen = (boxes_M4[:, 2] > boxes_M4[:, 0]) & (boxes_M4[:, 3] > boxes_M4[:, 1])
        tiny = (pixels_M42.max(axis=1) - pixels_M42.min(axis=1)).max(axis=1) < _MIN_BACKGROUND_SIZE
        seen &= ~(tiny & (quads.instance_id_M[rows] == BACKGROUND))
        order = np.flatnonzero(seen)[np.argsort(depth_M[seen], kind="stable")]
        rows = rows[order]
        self.boxes_M4, self.clipped_M = boxes_M4[order], clipped_M[order]
        self.nearest_inverse_depth_M = 1 / np.maximum(depth_M[order], NEAR_PLANE)
        self.instance_id_M = quads.instance_id_M[rows]
        self.planes_M3 = (normal_M3[rows] / offset_M[rows, None]) @ np.linalg.inv(K)
        basis_M33 = np.stack([right_M3[rows], down_M3[rows], corners_M43[rows, 0]], axis=-1)
        self._to_unit_M33 = np.linalg.inv(K @ basis_M33)
        self._texture_M = quads.texture_M[rows]
        # Pixels that a quad spans across and down; a clipped quad takes the finest texture level.
        sides_M42 = pixels_M42[order] - np.roll(pixels_M42[order], 1, axis=1)
        sides_M4 = np.linalg.norm(sides_M42, axis=2)
        self._spread_M2 = np.maximum(sides_M4[:, [1, 0]], sides_M4[:, [3, 2]]).clip(0.5)
        self._spread_M2[self.clipped_M] = np.inf

    def __len__(self) -> int:
        return len(self.instance_id_M)

    def warp(self, row: int, bank: TextureBank, border: tuple[float, ...] | None = None) -> Image:
        """Return the quad's texture as the camera sees it, cropped to the quad's box."""
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
    """Return the pixel positions of quads' corners, and whether ``NEAR_PLANE`` cuts each quad.

    The corners of a cut quad are those of the bounding box of its remaining part; they lie far
    outside the image if nothing remains.
    """
    clipped_M = projected_M43[..., 2].min(axis=1) < NEAR_PLANE
    with np.errstate(divide="ignore", invalid="ignore"):
        pixels_M42 = projected_M43[..., :2] / projected_M43[..., 2:]
    for row in np.flatnonzero(clipped_M):
        remaining = _clip_near(projected_M43[row])
        if len(remaining) == 0:
            pixels_M42[row] = -1e6
            continue
        (left, top), (right, bottom) = remaining.min(axis=0), remaining.max(axis=0)
        pixels_M42[row] = [[left, top], [right, top], [right, bottom], [left, bottom]]
    return pixels_M42, clipped_M


def _pixel_boxes(pixels_M42: Floats, image_size: tuple[int, int]) -> NDArray[np.int64]:
    """Return integer pixel boxes around quadrilaterals, clipped to the image."""
    height, width = image_size
    limit = np.array([width, height])
    low_M2 = np.clip(np.floor(pixels_M42.min(axis=1)), 0, limit)
    high_M2 = np.clip(np.ceil(pixels_M42.max(axis=1)) + 1, 0, limit)
    return np.asarray(np.concatenate([low_M2, high_M2], axis=1), np.int64)


def _in_frustum(corners_M43: Floats, camera: Camera) -> NDArray[np.bool_]:
    """Return False for quads that lie entirely outside one side of the view frustum."""
    height, width = camera.image_size
    K = camera.pixel_numbers_33
    x, y, z = corners_M43[..., 0], corners_M43[..., 1], corners_M43[..., 2]
    u, v = K[0, 0] * x + K[0, 2] * z, K[1, 1] * y + K[1, 2] * z
    outside = (z < NEAR_PLANE).all(1) | (u < -0.5 * z).all(1) | (u > (width - 0.5) * z).all(1)
    outside |= (v < -0.5 * z).all(1) | (v > (height - 0.5) * z).all(1)
    inside: NDArray[np.bool_] = ~outside
    return inside


def _clip_near(projected_43: Floats) -> Floats:
    """Cut off the part of a quad that is nearer than ``NEAR_PLANE``.

    Returns:
        Pixel positions of the remaining part's corners, (0, 2) if nothing remains.
    """
    points = []
    for start, end in zip(projected_43, np.roll(projected_43, -1, axis=0), strict=True):
        if start[2] >= NEAR_PLANE:
            points.append(start)
        if (start[2] >= NEAR_PLANE) != (end[2] >= NEAR_PLANE):
            points.append(start + (end - start) * (NEAR_PLANE - start[2]) / (end[2] - start[2]))
    if not points:
        return np.zeros((0, 2))
    remaining = np.array(points)
    return np.asarray(remaining[:, :2] / remaining[:, 2:], np.float64)


def _draw_quad(
    output: RenderOutput,
    view: _ProjectedQuads,
    row: int,
    bank: TextureBank,
    amodal_masks: dict[int, NDArray[np.bool_]] | None,
) -> None:
    """Draw a quad's opaque pixels that are nearer than those drawn so far.

    Args:
        output: changed in place.
        view: all quads.
        row: index of the quad.
        bank: the textures.
        amodal_masks: instance id -> all pixels that its quads cover; receives this quad's pixels.
            None if these are not needed.
    """
    left, top, right, bottom = view.boxes_M4[row].tolist()
    instance_id = int(view.instance_id_M[row])
    region = np.s_[top:bottom, left:right]
    drawn_inverse_depth = output.inverse_depth_HW[region]
    needs_amodal = amodal_masks is not None and instance_id != BACKGROUND
    if not needs_amodal and drawn_inverse_depth.min() >= view.nearest_inverse_depth_M[row]:
        return
    a, b, c = view.planes_M3[row]
    across = (a * np.arange(left, right) + c).astype(np.float32)
    inverse_depth = np.add.outer((b * np.arange(top, bottom)).astype(np.float32), across)
    colours = view.warp(row, bank)
    opaque = colours[..., 3] >= 128
    if view.clipped_M[row]:
        opaque &= (inverse_depth > 0) & (inverse_depth <= 1 / NEAR_PLANE)
    if needs_amodal and amodal_masks is not None:
        if instance_id not in amodal_masks:
            amodal_masks[instance_id] = np.zeros(output.instance_ids_HW.shape, np.bool_)
        amodal_masks[instance_id][region] |= opaque & (inverse_depth > 0)
    visible = opaque & (inverse_depth > drawn_inverse_depth)
    _write_pixels(output, region, visible, colours, inverse_depth)
    np.copyto(output.instance_ids_HW[region], np.uint16(instance_id), where=visible)


def _write_pixels(
    output: RenderOutput,
    region: tuple[slice, slice],
    visible: NDArray[np.bool_],
    colours: NDArray[np.generic],
    inverse_depth: Floats32,
) -> None:
    """Write colours and inverse depths of a region's visible pixels."""
    # As one 32-bit number, the four channels of a pixel are copied at once.
    target = output.colours_HW4.view(np.uint32)[..., 0]
    np.copyto(target[region], colours.view(np.uint32)[..., 0], where=visible)
    np.copyto(output.inverse_depth_HW[region], inverse_depth, where=visible)


def _draw_ground(
    output: RenderOutput, ground: Ground, camera: Camera, pose: tuple[Floats, Floats]
) -> None:
    """Draw the plane z = 0 in bands of rows, each with the mipmap level that suits its distance."""
    position, rotation = pose
    K = camera.pixel_numbers_33
    inverse_K = np.linalg.inv(K)
    height, width = camera.image_size
    a, b, c = (-rotation[2] / position[2]) @ inverse_K
    columns, rows = np.arange(width), np.arange(height)
    middle = a * width / 2 + b * rows + c
    largest = np.maximum(a * 0 + b * rows + c, a * (width - 1) + b * rows + c)
    below = np.flatnonzero(largest > 1e-4)
    if len(below) == 0:
        return
    corner = np.array([ground.low_2[0], ground.low_2[1] + ground.size_2[1], 0.0]) - position
    right, down = np.array([ground.size_2[0], 0, 0]), np.array([0, -ground.size_2[1], 0.0])
    basis_33 = rotation.T @ np.stack([right, down, corner], axis=-1)
    to_unit_33 = np.linalg.inv(K @ basis_33)
    depth = 1 / np.maximum(middle, 1e-3)
    # Texture pixels per image pixel: depth / focal across, depth^2 / (focal * camera height) along
    # the line of sight; the geometric mean of both, in units of the texture's resolution.
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
        inverse_depth = np.add.outer(
            (b * rows[top:bottom]).astype(np.float32), (a * columns + c).astype(np.float32)
        )
        visible = inverse_depth > np.maximum(output.inverse_depth_HW[top:bottom], 1e-4)
        _write_pixels(output, np.s_[top:bottom, :], visible, colours, inverse_depth)
        output.ground_HW[top:bottom] = visible


def draw_shadows(
    output: RenderOutput,
    shadows: Quads,
    shadow_gain: Floats32,
    camera: Camera,
    pose: tuple[Floats, Floats],
) -> None:
    """Darken the ground under objects.

    Args:
        output: rendered view; its colours are changed in place where it shows the ground.
        shadows: quads on the ground.
        shadow_gain: image of a shadow: gain of the ground's colour, 0 to 1.
        camera: see ``render``.
        pose: see ``render``.
    """
    gain = np.clip(shadow_gain * 255, 0, 255).astype(np.uint8)
    bank = TextureBank()
    bank.add_image(np.dstack([gain, gain, gain, np.full(gain.shape, 255, np.uint8)]))
    view = _ProjectedQuads(shadows, camera, pose)
    for row in range(len(view)):
        left, top, right, bottom = view.boxes_M4[row].tolist()
        on_ground = output.ground_HW[top:bottom, left:right]
        if not on_ground.any():
            continue
        gains = view.warp(row, bank, border=(255.0,) * 4)
        target = np.ascontiguousarray(output.colours_HW4[top:bottom, left:right])
        darker = np.asarray(cv2.multiply(target, gains, scale=1 / 255))
        np.copyto(
            output.colours_HW4.view(np.uint32)[top:bottom, left:right, 0],
            darker.view(np.uint32)[..., 0],
            where=on_ground,
        )
