"""Rotations and poses as quaternions (w, x, y, z) and 4x4 matrices: NumPy float64, vectorised.

A pose matrix maps points of the posed frame to its parent frame: ``parent = pose @ child``. Chains
read right to left, e.g. ``global_from_ego @ ego_from_camera``.

Letters: P known poses, F times of the poses that are asked for.
"""

import numpy as np
from numpy.typing import ArrayLike

from drivemim.array_types import Floats


def quaternion_to_matrix(quaternions_wxyz: ArrayLike) -> Floats:
    """Convert quaternions, which need not have unit length, to rotation matrices.

    Args:
        quaternions_wxyz: float [..., 4], scalar part first.

    Returns:
        float64 [..., 3, 3].

    Raises:
        ValueError: if a quaternion has length 0.
    """
    w, x, y, z = np.moveaxis(_unit(quaternions_wxyz), -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def matrix_to_quaternion(rotations: ArrayLike) -> Floats:
    """Convert rotation matrices to unit quaternions with a non-negative scalar part.

    Args:
        rotations: float [..., 3, 3], proper rotations (determinant +1).

    Returns:
        float64 [..., 4], scalar part first.
    """
    R = np.asarray(rotations, dtype=np.float64)
    xx, yy, zz = R[..., 0, 0], R[..., 1, 1], R[..., 2, 2]
    wx, wy, wz = (
        R[..., 2, 1] - R[..., 1, 2],
        R[..., 0, 2] - R[..., 2, 0],
        R[..., 1, 0] - R[..., 0, 1],
    )
    xy, xz, yz = (
        R[..., 0, 1] + R[..., 1, 0],
        R[..., 0, 2] + R[..., 2, 0],
        R[..., 1, 2] + R[..., 2, 1],
    )
    # These are the rows of the matrix 4 q q^T, so every row is a multiple of q. The row with the
    # largest diagonal element is never close to zero.
    rows = [
        [1 + xx + yy + zz, wx, wy, wz],
        [wx, 1 + xx - yy - zz, xy, xz],
        [wy, xy, 1 - xx + yy - zz, yz],
        [wz, xz, yz, 1 - xx - yy + zz],
    ]
    outer = np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)
    best = np.argmax(np.diagonal(outer, axis1=-2, axis2=-1), axis=-1)
    quaternions = _unit(np.take_along_axis(outer, best[..., None, None], axis=-2)[..., 0, :])
    return np.where(quaternions[..., :1] < 0, -quaternions, quaternions)


def pose_matrix(translation: ArrayLike, quaternions_wxyz: ArrayLike) -> Floats:
    """Build pose matrices.

    Args:
        translation: float [..., 3], metres: the posed frame's origin in its parent frame.
        quaternions_wxyz: float [..., 4], the posed frame's axes in its parent frame.

    Returns:
        float64 [..., 4, 4], child to parent.
    """
    rotation = quaternion_to_matrix(quaternions_wxyz)
    position = np.asarray(translation, dtype=np.float64)
    shape = np.broadcast_shapes(rotation.shape[:-2], position.shape[:-1])
    pose = np.zeros((*shape, 4, 4))
    pose[..., :3, :3] = rotation
    pose[..., :3, 3] = position
    pose[..., 3, 3] = 1
    return pose


def pose_from_vector(poses_7: ArrayLike) -> Floats:
    """Build pose matrices [..., 4, 4] from rows [..., 7]: translation and quaternion w x y z."""
    poses = np.asarray(poses_7, dtype=np.float64)
    return pose_matrix(poses[..., :3], poses[..., 3:])


def sensor_pose(
    sensor_to_ego_7: ArrayLike, ego_to_global_7: ArrayLike, reference_7: ArrayLike | None = None
) -> Floats:
    """Chain sensor -> ego -> global (-> reference).

    Args:
        sensor_to_ego_7: float [..., 7], mounts of the sensors: translation in metres and quaternion
            w x y z.
        ego_to_global_7: float [..., 7], ego pose at the time of each sensor's reading.
        reference_7: float [7], pose of the reference frame in the global frame; None for poses in
            the global frame.

    Returns:
        float64 [..., 4, 4], from the sensor's axes to the global frame, or to the reference's.
    """
    ego = pose_from_vector(ego_to_global_7)
    if reference_7 is not None:
        # The reference comes before the sensor's mount: global coordinates of many kilometres then
        # cancel in the first product, and their rounding errors do not spread.
        ego = invert_pose(pose_from_vector(reference_7)) @ ego
    pose: Floats = ego @ pose_from_vector(sensor_to_ego_7)
    return pose


def invert_pose(pose: ArrayLike) -> Floats:
    """Invert rigid poses, float [..., 4, 4] (reflections are allowed, scale and shear are not)."""
    matrix = np.asarray(pose, dtype=np.float64)
    transposed = np.swapaxes(matrix[..., :3, :3], -1, -2)
    inverse = np.zeros_like(matrix)
    inverse[..., :3, :3] = transposed
    inverse[..., :3, 3] = -(transposed @ matrix[..., :3, 3:])[..., 0]
    inverse[..., 3, 3] = 1
    return inverse


def transform_points(pose: ArrayLike, points: ArrayLike) -> Floats:
    """Transform points [..., P, 3] from the posed frame to its parent by poses [..., 4, 4]."""
    matrix = np.asarray(pose, dtype=np.float64)
    rotated = np.asarray(points, dtype=np.float64) @ np.swapaxes(matrix[..., :3, :3], -1, -2)
    moved: Floats = rotated + matrix[..., None, :3, 3]
    return moved


def slerp(start_wxyz: ArrayLike, end_wxyz: ArrayLike, fraction: ArrayLike) -> Floats:
    """Interpolate rotations along the shorter arc, like the nuScenes devkit does for sweeps.

    Args:
        start_wxyz: float [..., 4], rotation at ``fraction`` 0; need not have unit length.
        end_wxyz: float [..., 4], rotation at ``fraction`` 1.
        fraction: float [...], clipped to [0, 1].

    Returns:
        float64 [..., 4], unit quaternions (``q`` and ``-q`` are the same rotation).

    Raises:
        ValueError: if a quaternion has length 0.
    """
    return _slerp(start_wxyz, end_wxyz, np.clip(np.asarray(fraction, dtype=np.float64), 0, 1))


def interpolate_poses(times_P: ArrayLike, poses_P7: ArrayLike, at_F: ArrayLike) -> Floats:
    """Return poses between known poses: linear in position, along the shorter arc in rotation.

    Before the first and after the last pose, the motion between the two nearest poses continues. At
    the time of a pose the result is that pose, unchanged.

    Args:
        times_P: times of the poses, strictly ascending, in any unit; at least one.
        poses_P7: float, translation in metres and quaternion w x y z.
        at_F: times of the returned poses, in the same unit.

    Returns:
        float64 [F, 7].
    """
    # Times are subtracted before they become float64: microseconds since 1970 need almost all of
    # its digits.
    times, moments = np.asarray(times_P), np.asarray(at_F)
    poses = np.asarray(poses_P7, dtype=np.float64)
    if len(times) == 1:
        return np.repeat(poses, len(moments), axis=0)
    end = np.clip(np.searchsorted(times, moments), 1, len(times) - 1)
    start = end - 1
    fraction = (moments - times[start]) / (times[end] - times[start])
    interpolated = np.empty((len(moments), 7))
    step = poses[end, :3] - poses[start, :3]
    interpolated[:, :3] = poses[start, :3] + fraction[:, None] * step
    interpolated[:, 3:] = _slerp(poses[start, 3:], poses[end, 3:], fraction)
    for row in (start, end):
        exact = times[row] == moments
        interpolated[exact] = poses[row[exact]]
    return interpolated


def _slerp(start_wxyz: ArrayLike, end_wxyz: ArrayLike, amount: ArrayLike) -> Floats:
    """Return ``slerp`` without clipping: amounts outside [0, 1] continue the rotation."""
    start, end = _unit(start_wxyz), _unit(end_wxyz)
    fraction = np.asarray(amount, dtype=np.float64)[..., None]
    cosine = np.sum(start * end, axis=-1, keepdims=True)
    start = np.where(cosine < 0, -start, start)
    angle = np.arccos(np.minimum(np.abs(cosine), 1))
    # Close rotations are interpolated linearly, like in the devkit's pyquaternion.
    close = np.abs(cosine) > 0.9995
    divisor = np.where(close, 1, np.sin(angle))
    start_weight = np.where(close, 1 - fraction, np.sin((1 - fraction) * angle) / divisor)
    end_weight = np.where(close, fraction, np.sin(fraction * angle) / divisor)
    return _unit(start_weight * start + end_weight * end)


def _unit(quaternions_wxyz: ArrayLike) -> Floats:
    """Scale quaternions to unit length."""
    quaternions = np.asarray(quaternions_wxyz, dtype=np.float64)
    length = np.linalg.norm(quaternions, axis=-1, keepdims=True)
    if not np.all(length > 0):
        raise ValueError("a quaternion of length 0 is not a rotation; the identity is (1, 0, 0, 0)")
    unit: Floats = quaternions / length
    return unit
