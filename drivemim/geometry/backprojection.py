"""Backprojection of patches to world points, and projection between points and pixels.

Without measured depth, the world is assumed to be flat ground at z = 0 that ends at a wall: an
upright cylinder around the cameras. The wall is near, not at infinity: objects beside a street are
5 to 30 metres away, and over a clip the car moves far enough to shift them by several patches.

Letters: P points.
"""

import torch
from torch import Tensor

from drivemim.geometry.rays import patch_rays

_NEAREST = 0.1
"""Smallest depth of a visible point, and smallest distance to the wall, metres."""


def backproject_patches(
    intrinsics_BTN33: Tensor,
    camera_to_clip_BTN44: Tensor,
    valid_BTN: Tensor,
    points_BTNP3: Tensor,
    grid: tuple[int, int],
    image_size: tuple[int, int],
    wall_distance: float,
) -> Tensor:
    """Find the world point that the middle of every patch looks at.

    A patch that contains lidar points takes its depth from them. Any other patch looks at the
    ground (z = 0) or at the wall around all cameras of the clip.

    Args:
        intrinsics_BTN33: float, pixels of an image of ``image_size``.
        camera_to_clip_BTN44: float, metres; z of the clip frame points up from the ground.
        valid_BTN: bool; invalid frames do not affect the wall.
        points_BTNP3: float, (x, y) pixels and depth along the camera's z axis, metres; padded with
            depth ``inf``. P may be 0.
        grid: patches down and across (h, w).
        image_size: (height, width) in pixels.
        wall_distance: least distance from a camera to the wall, metres. A measured depth may be
            larger.

    Returns:
        float [B, T, N, h, w, 3], metres in the clip frame; finite for every frame.
    """
    rays_BTNhw6 = patch_rays(intrinsics_BTN33, camera_to_clip_BTN44, grid, image_size)
    origins_BTNhw3, directions_BTNhw3 = rays_BTNhw6[..., :3], rays_BTNhw6[..., 3:]
    positions_BF3 = camera_to_clip_BTN44[..., :3, 3].flatten(1, 2)
    center_B3, half_extent_B3 = valid_bounding_box(positions_BF3, valid_BTN.flatten(1))
    radius_B = wall_distance + half_extent_B3[:, :2].norm(dim=-1)
    # Values of a clip, repeated for its T x N frames of h x w patches.
    per_clip = (slice(None), None, None, None, None)
    distance_BTNhw = torch.minimum(
        _to_ground(origins_BTNhw3[..., 2], directions_BTNhw3[..., 2]),
        _to_wall(
            origins_BTNhw3[..., :2] - center_B3[per_clip][..., :2],
            directions_BTNhw3[..., :2],
            radius_B[per_clip],
        ),
    )
    if points_BTNP3.shape[-2]:
        depth_BTNhw = patch_depths(points_BTNP3, grid, image_size)
        axis_BTN3 = camera_to_clip_BTN44[..., :3, 2]
        along_BTNhw = (directions_BTNhw3 * axis_BTN3[..., None, None, :]).sum(dim=-1)
        measured_BTNhw = depth_BTNhw / along_BTNhw.clamp(min=1e-3)
        distance_BTNhw = torch.where(depth_BTNhw.isfinite(), measured_BTNhw, distance_BTNhw)
    return origins_BTNhw3 + distance_BTNhw[..., None] * directions_BTNhw3


def patch_depths(
    points_BTNP3: Tensor, grid: tuple[int, int], image_size: tuple[int, int]
) -> Tensor:
    """Compute the depth of the patches that contain points.

    The inverse depths of a patch's points are averaged, because the motion of a patch between
    frames is proportional to its inverse depth.

    Args:
        points_BTNP3: float, (x, y) pixels and depth, metres; padded with depth ``inf``. Points
            nearer than 0.1 m are ignored.
        grid: patches down and across (h, w).
        image_size: (height, width) in pixels; points outside it are ignored.

    Returns:
        float [B, T, N, h, w], metres; ``inf`` for patches without a point.
    """
    (h, w), (height, width) = grid, image_size
    x_BTNP, y_BTNP, depth_BTNP = points_BTNP3.unbind(-1)
    column_BTNP = (x_BTNP * (w / width)).floor()
    row_BTNP = (y_BTNP * (h / height)).floor()
    inside_BTNP = (column_BTNP >= 0) & (column_BTNP < w) & (row_BTNP >= 0) & (row_BTNP < h)
    counted_BTNP = inside_BTNP & depth_BTNP.isfinite() & (depth_BTNP > _NEAREST)
    patch_BTNP = torch.where(counted_BTNP, row_BTNP * w + column_BTNP, 0).long()
    nearness_BTNP = torch.where(counted_BTNP, 1 / depth_BTNP, 0)
    zeros_BTNL = torch.zeros(
        *depth_BTNP.shape[:-1], h * w, dtype=depth_BTNP.dtype, device=depth_BTNP.device
    )
    count_BTNL = zeros_BTNL.scatter_add(-1, patch_BTNP, counted_BTNP.to(depth_BTNP.dtype))
    total_BTNL = zeros_BTNL.scatter_add(-1, patch_BTNP, nearness_BTNP)
    depth_BTNL = torch.where(count_BTNL > 0, count_BTNL / total_BTNL, torch.inf)
    return depth_BTNL.reshape(*depth_BTNL.shape[:-1], h, w)


def project_points(
    points_XP3: Tensor, intrinsics_X33: Tensor, camera_to_clip_X44: Tensor
) -> tuple[Tensor, Tensor]:
    """Project points from the clip frame into camera frames.

    X stands for any leading shape; the leading shapes of the three arguments must broadcast.

    Args:
        points_XP3: float, metres.
        intrinsics_X33: float, pixels.
        camera_to_clip_X44: float, metres.

    Returns:
        pixels_XP2: float (x, y); meaningless for points with a depth below 0.1 m.
        depth_XP: float, metres along the camera's z axis.
    """
    offset_XP3 = points_XP3 - camera_to_clip_X44[..., None, :3, 3]
    camera_XP3 = offset_XP3 @ camera_to_clip_X44[..., :3, :3]
    image_XP3 = camera_XP3 @ intrinsics_X33.transpose(-1, -2)
    depth_XP = camera_XP3[..., 2]
    return image_XP3[..., :2] / depth_XP.clamp(min=_NEAREST)[..., None], depth_XP


def unproject_points(
    points_XP3: Tensor, intrinsics_X33: Tensor, camera_to_clip_X44: Tensor
) -> Tensor:
    """Unproject pixels with depth to the clip frame: the inverse of ``project_points``.

    Args:
        points_XP3: float, (x, y) pixels and finite depth along the camera's z axis, metres.
        intrinsics_X33: float, pixels.
        camera_to_clip_X44: float, metres.

    Returns:
        float [X, P, 3], metres.
    """
    inverse_X33 = torch.linalg.inv_ex(intrinsics_X33).inverse
    depth_XP1 = points_XP3[..., 2:]
    pixels_XP3 = torch.cat([points_XP3[..., :2], torch.ones_like(depth_XP1)], dim=-1)
    camera_XP3 = (pixels_XP3 @ inverse_X33.transpose(-1, -2)) * depth_XP1
    rotation_X33 = camera_to_clip_X44[..., :3, :3]
    rotated_XP3: Tensor = camera_XP3 @ rotation_X33.transpose(-1, -2)
    return rotated_XP3 + camera_to_clip_X44[..., None, :3, 3]


def valid_bounding_box(positions_F3: Tensor, valid_F: Tensor) -> tuple[Tensor, Tensor]:
    """Return the centre and half size of the axis-aligned box around the valid positions.

    Both are zero if no position is valid. The result does not depend on the order of the
    positions, to the last bit. Any leading shape works before F.

    Args:
        positions_F3: float, metres.
        valid_F: bool.

    Returns:
        float [..., 3] and [..., 3], metres.
    """
    low_3 = torch.where(valid_F[..., None], positions_F3, torch.inf).amin(dim=-2)
    high_3 = torch.where(valid_F[..., None], positions_F3, -torch.inf).amax(dim=-2)
    any_1 = valid_F.any(dim=-1)[..., None]
    center_3 = torch.where(any_1, (low_3 + high_3) / 2, 0)
    return center_3, torch.where(any_1, (high_3 - low_3) / 2, 0)


def _to_ground(height: Tensor, climb: Tensor) -> Tensor:
    """Return the distance along rays to the ground, z = 0.

    Args:
        height: z of the rays' origins, metres.
        climb: z of the rays' unit directions.

    Returns:
        metres; ``inf`` for rays that do not reach the ground.
    """
    return torch.where((height > 0) & (climb < -1e-6), -height / climb.clamp(max=-1e-6), torch.inf)


def _to_wall(start_2: Tensor, step_2: Tensor, radius: Tensor) -> Tensor:
    """Return the distance along rays to an upright cylinder around the z axis.

    Args:
        start_2: x and y of the rays' origins, inside the cylinder, metres.
        step_2: x and y of the rays' unit directions.
        radius: radius of the cylinder, metres.
    """
    across = step_2.square().sum(dim=-1).clamp(min=1e-6)
    towards = (start_2 * step_2).sum(dim=-1)
    beyond = start_2.square().sum(dim=-1) - radius.square()
    root = (towards.square() - across * beyond).clamp(min=0).sqrt()
    return ((root - towards) / across).clamp(min=_NEAREST)
