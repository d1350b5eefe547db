"""Conversion of 3-D boxes between the global frame and a camera, as a monocular head needs it.

The *levelled* camera frame shares the camera's position. Its y axis is gravity, z the horizontal
part of the optical axis, x the horizontal direction to the right. Headings and velocities are given
in this frame: a heading turns about gravity, whatever the camera's pitch and roll. Centres stay in
the camera's own frame, where pixel and depth determine them. Headings follow the convention of
KITTI's ``rotation_y`` (Geiger et al., Are we ready for autonomous driving?, 2012).

A pose may be mirrored (determinant -1): a mirrored image is a camera whose x axis points left.
Camera boxes then describe the mirrored world; global boxes are never mirrored.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from drivemim.array_types import Floats
from drivemim.geometry.poses import invert_pose, quaternion_to_matrix, transform_points

_UPRIGHT = 1e-6
"""A unit optical axis whose horizontal part is at most this long counts as vertical."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CameraBoxes:
    """M boxes in front of one camera.

    Attributes:
        centers_M3: float64, metres in the camera's own frame: x right, y down, z forward.
        sizes_M3: float64, metres: width, length, height, in nuScenes' order.
        yaws_M: float64, radians in (-pi, pi]: right-handed rotation about the levelled frame's y
            axis (gravity) from its x axis to the box's front. 0 points right, pi/2 towards the
            camera, -pi/2 away from it.
        velocities_M2: float64, metres per second along x and z of the levelled frame;
            NaN if unknown.
    """

    centers_M3: Floats
    sizes_M3: Floats
    yaws_M: Floats
    velocities_M2: Floats

    def __len__(self) -> int:
        return len(self.centers_M3)


def boxes_to_camera(
    center_M3: ArrayLike,
    size_M3: ArrayLike,
    rotation_M4: ArrayLike,
    velocity_M2: ArrayLike,
    camera_to_global_44: ArrayLike,
) -> CameraBoxes:
    """Convert boxes from the global frame to a camera.

    Args:
        center_M3: float, metres, global frame (z up).
        size_M3: float, metres: width, length, height.
        rotation_M4: float, quaternions w x y z, box to global. A tilted box keeps only its heading
            on the ground.
        velocity_M2: float, metres per second along global x and y; NaN if unknown.
        camera_to_global_44: float, the camera's pose, possibly mirrored.

    Raises:
        ValueError: if the camera looks straight up or down.
    """
    axes_22 = levelled_axes(camera_to_global_44)
    rotation_M33 = quaternion_to_matrix(np.reshape(rotation_M4, (-1, 4)))
    heading_M2 = rotation_M33[:, :2, 0] @ axes_22.T
    to_camera_44 = invert_pose(camera_to_global_44)
    return CameraBoxes(
        centers_M3=transform_points(to_camera_44, np.reshape(center_M3, (-1, 3))),
        sizes_M3=np.array(size_M3, np.float64).reshape(-1, 3),
        yaws_M=wrap_angles(np.arctan2(-heading_M2[:, 1], heading_M2[:, 0])),
        velocities_M2=np.reshape(np.asarray(velocity_M2, np.float64), (-1, 2)) @ axes_22.T,
    )


def boxes_to_global(
    boxes: CameraBoxes, camera_to_global_44: ArrayLike
) -> tuple[Floats, Floats, Floats, Floats]:
    """Convert a camera's boxes to the global frame: the inverse of :func:`boxes_to_camera`.

    Args:
        boxes: boxes in front of the camera.
        camera_to_global_44: float, the camera's pose, possibly mirrored.

    Returns:
        centres [M, 3] in metres; sizes [M, 3] (width, length, height) in metres; rotations [M, 4],
        unit quaternions w x y z about the global z axis with w >= 0; velocities [M, 2], metres
        per second along global x and y, NaN if unknown.

    Raises:
        ValueError: if the camera looks straight up or down.
    """
    axes_22 = levelled_axes(camera_to_global_44)
    heading_M2 = np.stack([np.cos(boxes.yaws_M), -np.sin(boxes.yaws_M)], axis=1) @ axes_22
    half_M = np.arctan2(heading_M2[:, 1], heading_M2[:, 0]) / 2
    zeros_M = np.zeros_like(half_M)
    return (
        transform_points(camera_to_global_44, boxes.centers_M3),
        np.array(boxes.sizes_M3, np.float64),
        np.stack([np.cos(half_M), zeros_M, zeros_M, np.sin(half_M)], axis=1),
        boxes.velocities_M2 @ axes_22,
    )


def levelled_axes(camera_to_global_44: ArrayLike) -> Floats:
    """Return the ground axes of a levelled camera frame.

    Args:
        camera_to_global_44: float, the camera's pose, possibly mirrored.

    Returns:
        float64 [2, 2], orthonormal: the frame's x axis (right; left in a mirrored camera) and its z
        axis (forward), each as global (x, y). ``axes @ (x, y)`` maps a global direction into the
        levelled frame.

    Raises:
        ValueError: if the camera looks straight up or down: its forward axis then has no direction
            on the ground.
    """
    rotation_33 = np.asarray(camera_to_global_44, np.float64)[:3, :3]
    forward_x, forward_y = rotation_33[:2, 2]
    length = float(np.hypot(forward_x, forward_y))
    if not length > _UPRIGHT:
        raise ValueError(
            f"a camera whose optical axis is {rotation_33[:, 2].tolist()} in the global frame "
            "looks straight up or down: headings in front of it have no zero"
        )
    forward_x, forward_y = forward_x / length, forward_y / length
    side = 1.0 if np.linalg.det(rotation_33) > 0 else -1.0
    return np.array([[side * forward_y, -side * forward_x], [forward_x, forward_y]])


def wrap_angles(angles: ArrayLike) -> Floats:
    """Wrap angles to (-pi, pi], radians."""
    wrapped: Floats = np.pi - np.mod(np.pi - np.asarray(angles, np.float64), 2 * np.pi)
    return wrapped
