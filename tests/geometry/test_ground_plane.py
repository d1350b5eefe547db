"""Boxes of standing objects at another time, by hand: a camera 1.5 m high, 100 pixels focal."""

import numpy as np
import pytest

from drivemim.geometry.ground_plane import warp_boxes_on_ground

INTRINSICS = np.array([[100.0, 0, 200], [0, 100, 50], [0, 0, 1]])
# Camera axes (x right, y down, z forward) that look along x with z up.
FORWARD = np.array([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 1.5], [0, 0, 0, 1]])
# It stands 15 m ahead (1.5 m are 10 pixels) and 6 m to the right.
BOX = [235.0, 40, 245, 60]


def moved(box, pose, intrinsics=INTRINSICS, next_intrinsics=None):
    next_intrinsics = intrinsics if next_intrinsics is None else next_intrinsics
    result = warp_boxes_on_ground(
        [[box]], intrinsics[None], FORWARD[None], next_intrinsics[None], pose[None]
    )
    return result[0, 0]


def driven(x, yaw=0.0):
    turn = np.array([[np.cos(yaw), -np.sin(yaw), 0], [np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]])
    pose = FORWARD.copy()
    pose[:3, :3] = turn @ FORWARD[:3, :3]
    pose[0, 3] = x
    return pose


def test_nothing_moves():
    np.testing.assert_allclose(moved(BOX, FORWARD), BOX)


def test_nearer_by_a_third_is_larger_by_a_half():
    """10 m ahead: 6 m are 60 pixels, 1.5 m are 15, and the box is 15 by 30."""
    np.testing.assert_allclose(moved(BOX, driven(5)), [252.5, 35, 267.5, 65])


def test_a_turn_to_the_left_moves_things_to_the_right():
    """By 45 degrees: (15, 6 right) is (15 - 6) / sqrt(2) ahead and (15 + 6) / sqrt(2) right."""
    depth, right = 9 / np.sqrt(2), 21 / np.sqrt(2)
    x, y, zoom = 200 + 100 * right / depth, 50 + 150 / depth, 15 / depth
    expected = [x - 5 * zoom, y - 20 * zoom, x + 5 * zoom, y]
    np.testing.assert_allclose(moved(BOX, driven(0, np.pi / 4)), expected)


def test_a_mirrored_image():
    """Negative focal length: the same object at 200 - 40 pixels."""
    mirrored = INTRINSICS * [[-1, 1, 1], [1, 1, 1], [1, 1, 1]]
    np.testing.assert_allclose(
        moved([155, 40, 165, 60], driven(5), mirrored), [132.5, 35, 147.5, 65]
    )


def test_another_focal_length():
    zoomed = np.array([[200.0, 0, 200], [0, 300, 50], [0, 0, 1]])
    np.testing.assert_allclose(moved(BOX, FORWARD, next_intrinsics=zoomed), [270, 20, 290, 80])


@pytest.mark.parametrize("bottom", [50, 30])
def test_rays_that_miss_the_ground_end_far_away(bottom):
    box = [235.0, 10, 245, bottom]
    np.testing.assert_allclose(moved(box, driven(5)), box, atol=0.3)


def test_objects_behind_the_camera_have_no_box():
    assert moved(BOX, driven(14.8)).tolist() == [0, 0, 0, 0]
    assert moved(BOX, driven(20)).tolist() == [0, 0, 0, 0]


def test_without_calibration_boxes_stay():
    """Identity: at the origin, looking up along z."""
    one = np.eye(3)[None]
    box = [[[3.0, 4, 30, 50]]]
    result = warp_boxes_on_ground(box, one, np.eye(4)[None], one, np.eye(4)[None])
    np.testing.assert_allclose(result, box)


def test_no_boxes():
    eye = np.eye(3)[None]
    result = warp_boxes_on_ground(np.zeros((1, 0, 4)), eye, FORWARD[None], eye, FORWARD[None])
    assert result.shape == (1, 0, 4)
