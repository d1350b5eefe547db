"""Motion of the image boxes of objects that stand still on the ground."""

import numpy as np
from numpy.typing import ArrayLike

from drivemim.array_types import Floats
from drivemim.geometry.poses import invert_pose, transform_points

_FARTHEST = 1000.0
"""Largest depth of an object, metres. An object whose lower edge is above the horizon gets it."""
_NEAREST = 0.5
"""Objects at this depth or nearer get no box, metres."""


def warp_boxes_on_ground(
    boxes_NM4: ArrayLike,
    intrinsics_N33: ArrayLike,
    camera_to_world_N44: ArrayLike,
    next_intrinsics_N33: ArrayLike,
    next_camera_to_world_N44: ArrayLike,
) -> Floats:
    """Move boxes from one frame of each camera to another.

    An object is assumed to stand still on flat ground at z = 0, at the middle of its box's lower
    edge. Its box grows as the camera comes nearer.

    Args:
        boxes_NM4: boxes of the first frames, x1 y1 x2 y2 pixels.
        intrinsics_N33: intrinsics of the first frames, pixels.
        camera_to_world_N44: poses of the first frames, metres; z of the world points up from the
            ground.
        next_intrinsics_N33: intrinsics of the other frames.
        next_camera_to_world_N44: poses of the other frames.

    Returns:
        (N, M, 4) x1 y1 x2 y2 pixels of the other frames, not clipped; zeros for objects whose
        depth there is at most ``_NEAREST``.
    """
    boxes = np.asarray(boxes_NM4, np.float64)
    matrix, next_matrix = np.asarray(intrinsics_N33), np.asarray(next_intrinsics_N33)
    pose = np.asarray(camera_to_world_N44, np.float64)
    feet_NM3 = np.stack(
        [boxes[..., [0, 2]].mean(axis=-1), boxes[..., 3], np.ones(boxes.shape[:-1])], axis=-1
    )
    rays_NM3 = feet_NM3 @ np.linalg.inv(matrix).swapaxes(-1, -2)
    climb_NM = (rays_NM3 @ pose[:, :3, :3].swapaxes(-1, -2))[..., 2]
    # Depth at which a ray reaches the ground, if it goes down at all.
    depth_NM = np.minimum(pose[:, None, 2, 3] / np.maximum(-climb_NM, 1e-9), _FARTHEST)
    depth_NM = np.where(depth_NM > 0, depth_NM, _FARTHEST)
    move_N44 = invert_pose(np.asarray(next_camera_to_world_N44, np.float64)) @ pose
    moved_NM3 = transform_points(move_N44, rays_NM3 * depth_NM[..., None])
    next_depth_NM = np.maximum(moved_NM3[..., 2], _NEAREST)
    next_feet_NM3 = moved_NM3 / next_depth_NM[..., None] @ next_matrix.swapaxes(-1, -2)
    zoom_N2 = next_matrix[:, [0, 1], [0, 1]] / matrix[:, [0, 1], [0, 1]]
    size_NM2 = (boxes[..., 2:] - boxes[..., :2]) * zoom_N2[:, None]
    size_NM2 *= (depth_NM / next_depth_NM)[..., None]
    x_NM, y_NM = next_feet_NM3[..., 0], next_feet_NM3[..., 1]
    half_NM = size_NM2[..., 0] / 2
    moved_NM4 = np.stack([x_NM - half_NM, y_NM - size_NM2[..., 1], x_NM + half_NM, y_NM], axis=-1)
    return np.where(moved_NM3[..., 2:] > _NEAREST, moved_NM4, 0.0)
