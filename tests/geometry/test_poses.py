"""Poses against pyquaternion and numbers by hand."""

import numpy as np
import pytest
from pyquaternion import Quaternion
from scipy.spatial.transform import Rotation, Slerp

from drivemim.geometry import (
    interpolate_poses,
    invert_pose,
    matrix_to_quaternion,
    pose_matrix,
    quaternion_to_matrix,
    sensor_pose,
    slerp,
    transform_points,
)


@pytest.fixture
def quaternions():
    random = np.random.default_rng(1).normal(size=(200, 4))
    # Half turns about the axes are where a naive conversion from matrices divides by zero.
    return np.concatenate([random, np.eye(4), -np.eye(4), [[1e-9, 1, 0, 0], [0, 1, 1, 0]]])


def test_matrices_are_pyquaternions(quaternions):
    expected = [Quaternion(q).rotation_matrix for q in quaternions]
    np.testing.assert_allclose(quaternion_to_matrix(quaternions), expected, atol=1e-12)


def test_a_quarter_turn_by_hand():
    turn = quaternion_to_matrix([np.sqrt(0.5), 0, 0, np.sqrt(0.5)])
    np.testing.assert_allclose(turn @ [1, 0, 0], [0, 1, 0], atol=1e-12)


def test_matrix_round_trip(quaternions):
    unit = quaternions / np.linalg.norm(quaternions, axis=1, keepdims=True)
    back = matrix_to_quaternion(quaternion_to_matrix(quaternions))
    assert (back[:, 0] >= 0).all()
    np.testing.assert_allclose(np.abs((back * unit).sum(axis=1)), 1, atol=1e-12)


def test_a_zero_quaternion_is_an_error():
    with pytest.raises(ValueError, match="length 0"):
        quaternion_to_matrix(np.zeros((2, 4)))


def test_pose_by_hand():
    pose = pose_matrix([1, 2, 3], [np.sqrt(0.5), 0, 0, np.sqrt(0.5)])
    np.testing.assert_allclose(transform_points(pose, [[1, 0, 0]]), [[1, 3, 3]], atol=1e-12)
    np.testing.assert_allclose(
        transform_points(invert_pose(pose), [[1, 3, 3]]), [[1, 0, 0]], atol=1e-12
    )


def test_the_chain_of_a_sensor_by_hand():
    still, left = [1, 0, 0, 0], [np.sqrt(0.5), 0, 0, np.sqrt(0.5)]
    mounts = [[1, 0, 2, *still], [0, 1, 0, *left]]
    egos = [[10, 20, 0, *left], [13, 20, 0, *still]]
    points = [[[0, 0, 0], [5, 0, 0]]] * 2
    # The first sensor is 1 m ahead in a vehicle that looks along +y; the second looks to the left
    # of a vehicle that looks along +x.
    np.testing.assert_allclose(
        transform_points(sensor_pose(mounts, egos), points),
        [[[10, 21, 2], [10, 26, 2]], [[13, 21, 0], [13, 26, 0]]],
        atol=1e-12,
    )
    # The first vehicle sees the second one 3 m to its right.
    np.testing.assert_allclose(
        transform_points(sensor_pose(mounts, egos, reference_7=egos[0]), points),
        [[[1, 0, 2], [6, 0, 2]], [[1, -3, 0], [6, -3, 0]]],
        atol=1e-12,
    )


def test_large_positions_cancel_before_the_mount_is_applied():
    ego, mount = [600_000.1, 1_600_000.2, 0, 0.6, 0, 0, 0.8], [1.7, 0.1, 1.5, 0.5, -0.5, 0.5, -0.5]
    found = sensor_pose(mount, ego, reference_7=ego)
    np.testing.assert_allclose(found, sensor_pose(mount, [0, 0, 0, 1, 0, 0, 0]), atol=1e-15)


def test_inverses_are_numpys(quaternions):
    poses = pose_matrix(np.random.default_rng(2).normal(size=(len(quaternions), 3)), quaternions)
    np.testing.assert_allclose(invert_pose(poses), np.linalg.inv(poses), atol=1e-12)


def test_translation_broadcasts_over_rotations(quaternions):
    assert pose_matrix([1, 2, 3], quaternions[:6].reshape(2, 3, 4)).shape == (2, 3, 4, 4)
    assert pose_matrix(np.zeros((0, 3)), np.zeros((0, 4))).shape == (0, 4, 4)


def test_slerp_is_pyquaternions(quaternions):
    starts, ends = quaternions[:-1], quaternions[1:]
    amounts = np.random.default_rng(3).uniform(-0.2, 1.2, len(starts))
    near = starts + 1e-3 * np.random.default_rng(4).normal(size=starts.shape)
    for targets in (ends, near, starts):
        ours = slerp(starts, targets, amounts)
        for row in range(len(starts)):
            theirs = Quaternion.slerp(
                Quaternion(starts[row]), Quaternion(targets[row]), amounts[row]
            ).elements
            assert abs(np.dot(ours[row], theirs)) == pytest.approx(1, abs=1e-12)


def test_slerp_takes_one_amount_for_all(quaternions):
    halfway = slerp([1, 0, 0, 0], [0, 0, 0, 1], 0.5)
    np.testing.assert_allclose(halfway, [np.sqrt(0.5), 0, 0, np.sqrt(0.5)])
    assert slerp(quaternions, quaternions[0], 0.3).shape == quaternions.shape


def test_poses_between_poses_by_hand():
    """A quarter turn to the left in 0.2 s while driving 2 m ahead, then 0.1 s of standing."""
    half, eighth = np.sqrt(0.5), np.pi / 8
    start = 1_600_000_000_000_000
    times = np.array([0, 200_000, 300_000]) + start
    poses = np.array([[500_000, 0, 0, 1, 0, 0, 0], [500_002, 0, 1, half, 0, 0, half],
                      [500_002, 0, 1, -half, 0, 0, -half]])  # fmt: skip
    at = np.array([0, 100_000, 200_000, 250_000, 300_000, -100_000, 320_000]) + start
    found = interpolate_poses(times, poses, at)
    expected = [
        poses[0],
        [500_001, 0, 0.5, np.cos(eighth), 0, 0, np.sin(eighth)],
        poses[1],
        [500_002, 0, 1, half, 0, 0, half],  # q and -q are one rotation
        poses[2],
        [499_999, 0, -0.5, np.cos(eighth), 0, 0, -np.sin(eighth)],  # the turn, continued backwards
        [500_002, 0, 1, half, 0, 0, half],
    ]
    np.testing.assert_allclose(found[:, :3], np.array(expected)[:, :3], atol=1e-9)
    alike = np.abs((found[:, 3:] * np.array(expected)[:, 3:]).sum(axis=1))
    np.testing.assert_allclose(alike, 1, atol=1e-12)
    assert (found[[0, 2, 4]] == poses).all()
    assert interpolate_poses(times[:1], poses[:1], at[:2]).tolist() == poses[[0, 0]].tolist()
    assert interpolate_poses(times, poses, at[:0]).shape == (0, 7)


def test_poses_between_poses_against_scipy():
    generator = np.random.default_rng(5)
    quaternions = generator.normal(size=(6, 4))
    poses = np.concatenate([generator.normal(size=(6, 3)), quaternions], axis=1)
    times = np.cumsum(generator.integers(50_000, 200_000, 6))
    at = np.sort(generator.integers(times[0], times[-1], 40))
    found = interpolate_poses(times, poses, at)
    reference = Slerp(times, Rotation.from_quat(quaternions[:, [1, 2, 3, 0]]))(at)
    np.testing.assert_allclose(quaternion_to_matrix(found[:, 3:]), reference.as_matrix(), atol=1e-9)
    for axis in range(3):
        np.testing.assert_allclose(found[:, axis], np.interp(at, times, poses[:, axis]))
