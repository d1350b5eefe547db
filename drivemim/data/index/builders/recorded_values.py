"""Checks of the values of a recording: poses, rotations, intrinsics, boxes, timestamps.

Letters: P poses, R rotations.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from drivemim.array_types import Floats, Ints
from drivemim.data.index.builders.source_rows import SourceRows
from drivemim.errors import DataError
from drivemim.geometry.poses import (
    matrix_to_quaternion,
    pose_from_vector,
    quaternion_to_matrix,
    transform_points,
)

_ROUNDING = 0.02
"""Largest deviation of a rotation from a unit quaternion or an orthonormal matrix: two decimals."""
_FARTHEST_MOUNT = 50.0
"""Largest distance of a sensor from the ego's origin, metres; more suggests another unit."""
_LARGEST_YAW = 2 * np.pi + 0.01
"""Largest yaw in radians; more suggests degrees. It is a full turn, because converters may add half
a turn to an angle of half a turn, and 0.01 for rounding."""
RowProblem = tuple[int, str]
"""A row, and what is wrong with it."""


def pose_problems(poses_P7: Floats) -> Iterator[RowProblem]:
    """Yield the row and the problem of every invalid pose.

    Args:
        poses_P7: translation in metres and quaternion w x y z.
    """
    for row in np.flatnonzero(~np.isfinite(poses_P7[:, :3]).all(axis=1)):
        yield int(row), f"has the position {poses_P7[row, :3].tolist()}, which is not all numbers"
    yield from _quaternion_problems(poses_P7[:, 3:])


def _quaternion_problems(rotation_R4: Floats) -> Iterator[RowProblem]:
    length = np.linalg.norm(rotation_R4, axis=1)
    for row in np.flatnonzero(~(np.abs(length - 1) <= _ROUNDING)):
        quaternion = rotation_R4[row].tolist()
        problem = f"has the quaternion {quaternion} of length {length[row]:.3g}, not 1"
        yield int(row), f"{problem}; write w, x, y, z"


def poses_of(values: Any, rows: SourceRows) -> Floats:
    """Return poses as rows (P, 7): translation in metres and quaternion w x y z.

    Args:
        values: (P, 7) in this form, or (P, 4, 4) matrices.
        rows: names of the poses, for errors.

    Raises:
        DataError: if a pose is invalid. The message names the first.
    """
    poses = _numbers(values, "poses")
    if poses.ndim == 3 and poses.shape[1:] == (4, 4):
        is_affine = np.isclose(poses[:, 3], [0, 0, 0, 1]).all(axis=1)
        rows.refuse(~is_affine, "has a bottom row other than 0, 0, 0, 1")
        return np.concatenate([poses[:, :3, 3], rotations_of(poses[:, :3, :3], rows)], axis=1)
    if poses.ndim != 2 or poses.shape[1] != 7:
        raise DataError(
            f"{rows.file(0)}: poses of shape {poses.shape} are neither (P, 7), translation and "
            "quaternion w, x, y, z, nor (P, 4, 4)"
        )
    _refuse_first(pose_problems(poses), rows)
    return poses


def mount_of(value: Any, rows: SourceRows) -> Floats:
    """Return the pose (7,) of a sensor in the ego frame.

    Args:
        value: 7 numbers, or a 4x4 matrix.
        rows: the name of the sensor, for errors.

    Raises:
        DataError: if the pose is invalid, or too far from the ego's origin to be in metres.
    """
    mount: Floats = poses_of([value], rows)[0]
    distance = float(np.linalg.norm(mount[:3]))
    if distance > _FARTHEST_MOUNT:
        raise DataError(
            f"{rows.file(0)}: {rows.name(0)} is {distance:,.0f} m from the ego's origin; write its "
            "translation in metres, in the ego frame"
        )
    return mount


def rotations_of(values: ArrayLike, rows: SourceRows) -> Floats:
    """Return rotations as quaternions (R, 4), w x y z.

    Args:
        values: (R, 4) quaternions w x y z, or (R, 3, 3) matrices.
        rows: names of the rotations, for errors.

    Raises:
        DataError: if a rotation is invalid. The message names the first.
    """
    rotations = _numbers(values, "rotations")
    if rotations.ndim == 2 and rotations.shape[1] == 4:
        _refuse_first(_quaternion_problems(rotations), rows)
        return rotations
    if rotations.ndim != 3 or rotations.shape[1:] != (3, 3):
        raise DataError(
            f"{rows.file(0)}: {rows.name(0)} has a rotation of shape {rotations.shape[1:]}; use a "
            "quaternion w, x, y, z or a 3x3 matrix"
        )
    product = rotations @ np.swapaxes(rotations, 1, 2)
    wrong = ~(np.abs(product - np.eye(3)) <= _ROUNDING).all(axis=(1, 2))
    rows.refuse(wrong, "has a rotation matrix whose rows are not orthogonal and of length 1")
    mirrored = np.linalg.det(rotations) < 0
    rows.refuse(mirrored, "has a rotation matrix that mirrors (determinant -1); check its axes")
    return matrix_to_quaternion(rotations)


def intrinsics_of(values: ArrayLike, rows: SourceRows) -> Floats:
    """Return a camera's matrix (3, 3).

    Args:
        values: the matrix, or fx, fy, cx, cy in pixels.
        rows: the name of the camera, for errors.

    Raises:
        DataError: if the values have another shape, or are not all finite numbers.
    """
    matrix = _numbers(values, "intrinsics")
    if matrix.shape == (4,):
        fx, fy, cx, cy = matrix
        matrix = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    if matrix.shape != (3, 3):
        raise DataError(
            f"{rows.file(0)}: {rows.name(0)} has intrinsics of shape {matrix.shape}; use a 3x3 "
            "matrix, or fx, fy, cx, cy in pixels"
        )
    if not np.isfinite(matrix).all():
        raise DataError(f"{rows.file(0)}: {rows.name(0)} has intrinsics that are not all numbers")
    return matrix


def size_of(values: Sequence[Any] | NDArray[Any], rows: SourceRows) -> tuple[int, int]:
    """Return the width and height of a camera's images.

    Args:
        values: width and height in pixels.
        rows: the name of the camera, for errors.

    Raises:
        DataError: if they are not two whole numbers above 0.
    """
    is_pair = len(values) == 2 and all(
        isinstance(each, Integral) and int(each) > 0 for each in values
    )
    if not is_pair:
        raise DataError(
            f"{rows.file(0)}: {rows.name(0)} has size {values!r}; use width and height in pixels"
        )
    return int(values[0]), int(values[1])


def timestamps_of(values: Any, rows: SourceRows) -> Ints:
    """Return timestamps as an int64 array.

    Args:
        values: microseconds.
        rows: names of the rows that have them, for errors.

    Raises:
        DataError: if they are not whole numbers.
    """
    times = np.asarray(values)
    if times.ndim != 1 or (len(times) and not np.issubdtype(times.dtype, np.integer)):
        raise DataError(
            f"{rows.file(0)}: timestamps of type {times.dtype} and shape {times.shape}; use whole "
            "microseconds, one for each row"
        )
    return times.astype(np.int64)


def box_problems(center_M3: Floats, size_M3: Floats, rotation_M4: Floats) -> Iterator[RowProblem]:
    """Yield the row and the problem of every invalid box.

    Args:
        center_M3: metres.
        size_M3: width, length, height, metres.
        rotation_M4: quaternion w x y z.
    """
    for row in np.flatnonzero(~np.isfinite(center_M3).all(axis=1)):
        yield int(row), f"has the centre {center_M3[row].tolist()}, which is not all numbers"
    for row in np.flatnonzero(~(np.isfinite(size_M3) & (size_M3 > 0)).all(axis=1)):
        size = size_M3[row].tolist()
        yield int(row), f"has the size {size}; write width, length, height in metres, above 0"
    yield from _quaternion_problems(rotation_M4)


def boxes_of(
    centers: ArrayLike, sizes: ArrayLike, rotations: ArrayLike, rows: SourceRows
) -> tuple[Floats, Floats, Floats]:
    """Return centres (M, 3), sizes (M, 3) and quaternions (M, 4) of boxes.

    Args:
        centers: (M, 3) metres.
        sizes: (M, 3) width, length, height, metres.
        rotations: (M,) yaw in radians about the z axis, -2 pi to 2 pi, (M, 4) quaternions w x y z,
            or (M, 3, 3).
        rows: names of the boxes, for errors.

    Raises:
        DataError: if the numbers of values differ, or a box is invalid. The message names the
            first.
    """
    center, size = _numbers(centers, "centers"), _numbers(sizes, "sizes")
    headings = _numbers(rotations, "rotations")
    if center.size == size.size == headings.size == 0:
        return np.zeros((0, 3)), np.zeros((0, 3)), np.zeros((0, 4))
    count = len(center) if center.ndim else 0
    shapes = (center.shape, size.shape, headings.shape[:1])
    if shapes != ((count, 3), (count, 3), (count,)):
        raise DataError(
            f"{rows.file(0)}: centers {center.shape}, sizes {size.shape} and rotations "
            f"{headings.shape} must be (M, 3), (M, 3), and (M,) yaws, (M, 4) or (M, 3, 3)"
        )
    if headings.ndim == 1:
        _refuse_first(yaw_problems(headings), rows)
    rotation = yaw_rotations(headings) if headings.ndim == 1 else rotations_of(headings, rows)
    _refuse_first(box_problems(center, size, rotation), rows)
    return center, size, rotation


def moved_boxes(
    boxes_3d: tuple[Floats, Floats, Floats], frame_7: Floats
) -> tuple[Floats, Floats, Floats]:
    """Return boxes that are given in some axes, such as the ego's, in the world.

    Args:
        boxes_3d: centres (M, 3), sizes (M, 3) and quaternions (M, 4) in these axes.
        frame_7: pose of these axes in the world.
    """
    center, size, rotation = boxes_3d
    frame = pose_from_vector(frame_7)
    matrices = frame[:3, :3] @ quaternion_to_matrix(rotation)
    return transform_points(frame, center), size, matrix_to_quaternion(matrices)


def yaw_problems(yaw_M: Floats) -> Iterator[RowProblem]:
    """Yield the row and the problem of every yaw of more than a full turn, as it is in degrees.

    Args:
        yaw_M: radians.
    """
    for row in np.flatnonzero(~(np.abs(yaw_M) <= _LARGEST_YAW)):
        problem = f"has the yaw {yaw_M[row]:g}"
        yield int(row), f"{problem}; write radians from -2 pi to 2 pi, not degrees"


def yaw_rotations(yaw_M: Floats) -> Floats:
    """Return quaternions (M, 4), w x y z, of rotations about the z axis by angles in radians."""
    zero = np.zeros_like(yaw_M)
    return np.stack([np.cos(yaw_M / 2), zero, zero, np.sin(yaw_M / 2)], axis=1)


def _numbers(values: ArrayLike, what: str) -> NDArray[np.float64]:
    """Return values as an array; refuse text and ragged lists. ``what`` is their name in errors."""
    try:
        return np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{what} are not numbers of one shape ({error})") from None


def _refuse_first(problems: Iterator[RowProblem], rows: SourceRows) -> None:
    """Raise a DataError with the first problem, if there is one."""
    for row, problem in problems:
        raise DataError(f"{rows.file(row)}: {rows.name(row)} {problem}")
