"""Boxes in front of cameras, against the devkit's Box, pyquaternion and by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nuscenes.utils.data_classes import Box
from pyquaternion import Quaternion

from drivemim.geometry.camera_boxes import (
    CameraBoxes,
    boxes_to_camera,
    boxes_to_global,
    levelled_axes,
    wrap_angles,
)
from drivemim.geometry.poses import pose_matrix

# Camera axes (x right, y down, z forward) of a camera that looks along global x.
FORWARD = Quaternion(0.5, -0.5, 0.5, -0.5)
angles = st.floats(-np.pi, np.pi)


def camera_pose(yaw=0.0, pitch=0.0, roll=0.0, position=(0.0, 0.0, 0.0)):
    """Camera turned to the left by yaw, up by pitch and about its optical axis by roll."""
    rotation = (
        Quaternion(axis=(0, 0, 1), angle=yaw)
        * FORWARD
        * Quaternion(axis=(1, 0, 0), angle=pitch)
        * Quaternion(axis=(0, 0, 1), angle=roll)
    )
    return pose_matrix(position, rotation.elements)


def yaw_of(rotation):
    front = Quaternion(rotation).rotate([1, 0, 0])
    return np.arctan2(front[1], front[0])


# A camera at (10, 20, 1.5) that looks along global x: global left is -x of the camera.
@pytest.mark.parametrize(
    ("heading", "yaw"),
    [(-np.pi / 2, 0.0), (0.0, -np.pi / 2), (np.pi, np.pi / 2), (np.pi / 2, np.pi)],
    ids=["to the right", "away", "towards the camera", "to the left"],
)
def test_one_box_by_hand(heading, yaw):
    pose = camera_pose(position=(10, 20, 1.5))
    rotation = Quaternion(axis=(0, 0, 1), angle=heading).elements
    boxes = boxes_to_camera([[30, 17, 1]], [[2, 4, 1.5]], [rotation], [[3, -1]], pose)
    assert len(boxes) == 1
    np.testing.assert_allclose(boxes.centers_M3, [[3, 0.5, 20]], atol=1e-12)
    np.testing.assert_allclose(boxes.sizes_M3, [[2, 4, 1.5]])
    np.testing.assert_allclose(np.abs(wrap_angles(boxes.yaws_M - yaw)), 0, atol=1e-12)
    np.testing.assert_allclose(boxes.velocities_M2, [[1, 3]], atol=1e-12)


@given(angles, st.floats(-1.2, 1.2), st.floats(-0.5, 0.5), angles)
@settings(max_examples=100, deadline=None)
def test_headings_are_those_of_the_devkits_box(camera_yaw, pitch, roll, heading):
    pose = camera_pose(camera_yaw, pitch, roll, (411.0, 1181.0, 1.5))
    # The devkit turns a box into a levelled camera: same place, without pitch and roll.
    level = camera_pose(camera_yaw, position=(411.0, 1181.0, 1.5))
    rotation = Quaternion(axis=(0, 0, 1), angle=heading)
    box = Box([420, 1190, 0.8], [2, 4, 1.5], rotation, velocity=(3.0, -2.0, 0.0))
    box.translate(-level[:3, 3])
    box.rotate(Quaternion(matrix=level[:3, :3]).inverse)
    front = box.orientation.rotate([1, 0, 0])

    found = boxes_to_camera([[420, 1190, 0.8]], [[2, 4, 1.5]], [rotation.elements], [[3, -2]], pose)
    yaw = found.yaws_M[0]
    # A right-handed turn about y takes x to the front.
    turned = Quaternion(axis=(0, 1, 0), angle=yaw).rotate([1, 0, 0])
    np.testing.assert_allclose(turned, front, atol=1e-9)
    np.testing.assert_allclose(found.velocities_M2[0], box.velocity[[0, 2]], atol=1e-9)
    centre = np.linalg.inv(pose) @ [420, 1190, 0.8, 1]
    np.testing.assert_allclose(found.centers_M3[0], centre[:3], atol=1e-9)


@given(angles, st.floats(-1.4, 1.4), angles, st.lists(angles, max_size=5), st.booleans())
@settings(max_examples=100, deadline=None)
def test_boxes_in_the_camera_frame_and_back_are_unchanged(
    camera_yaw, pitch, roll, headings, mirrored
):
    pose = camera_pose(camera_yaw, pitch, roll, (411.0, 1181.0, 1.5))
    if mirrored:
        pose = pose @ np.diag([-1.0, 1, 1, 1])
    M = len(headings)
    generator = np.random.default_rng(M)
    center_M3, size_M3 = generator.normal(400, 30, (M, 3)), generator.uniform(0.3, 12, (M, 3))
    velocity_M2 = generator.normal(0, 5, (M, 2))
    velocity_M2[: M // 2] = np.nan
    rotation_M4 = np.array(
        [Quaternion(axis=(0, 0, 1), angle=each).elements for each in headings]
    ).reshape(M, 4)
    boxes = boxes_to_camera(center_M3, size_M3, rotation_M4, velocity_M2, pose)
    center, size, rotation, velocity = boxes_to_global(boxes, pose)
    np.testing.assert_allclose(center, center_M3, atol=1e-9)
    np.testing.assert_allclose(size, size_M3)
    np.testing.assert_allclose(velocity, velocity_M2, atol=1e-12)
    assert (rotation[:, 0] >= 0).all()
    for found, wanted in zip(rotation, rotation_M4, strict=True):
        assert Quaternion.absolute_distance(Quaternion(found), Quaternion(wanted)) < 1e-9
    assert (boxes.yaws_M > -np.pi).all()
    assert (boxes.yaws_M <= np.pi).all()


def test_a_mirrored_camera_sees_the_mirrored_world():
    pose = camera_pose(0.3, 0.1, 0.2, (5, 6, 7))
    truth = ([[30, 17, 1]], [[2, 4, 1.5]], [Quaternion(axis=(0, 0, 1), angle=0.7).elements])
    seen = boxes_to_camera(*truth, [[3, -1]], pose)
    mirrored = boxes_to_camera(*truth, [[3, -1]], pose @ np.diag([-1.0, 1, 1, 1]))
    np.testing.assert_allclose(mirrored.centers_M3, seen.centers_M3 * [-1, 1, 1])
    np.testing.assert_allclose(mirrored.velocities_M2, seen.velocities_M2 * [-1, 1])
    np.testing.assert_allclose(mirrored.yaws_M, wrap_angles(np.pi - seen.yaws_M))


def test_a_tilted_box_keeps_its_heading_on_the_ground():
    tilted = Quaternion(axis=(0, 0, 1), angle=0.4) * Quaternion(axis=(0, 1, 0), angle=0.3)
    boxes = boxes_to_camera([[9, 0, 0]], [[2, 4, 1]], [tilted.elements], [[0, 0]], camera_pose())
    _, _, rotation, _ = boxes_to_global(boxes, camera_pose())
    assert yaw_of(rotation[0]) == pytest.approx(yaw_of(tilted)) == pytest.approx(0.4)


def test_unit_lengths_do_not_matter_and_nothing_is_nothing():
    boxes = boxes_to_camera([[9, 0, 0]], [[2, 4, 1]], [[2, 0, 0, 2]], [[0, 0]], camera_pose())
    _, _, rotation, _ = boxes_to_global(boxes, camera_pose())
    np.testing.assert_allclose(rotation, [[np.sqrt(0.5), 0, 0, np.sqrt(0.5)]])
    empty = boxes_to_camera([], [], [], [], camera_pose())
    assert len(empty) == 0
    shapes = [each.shape for each in boxes_to_global(empty, camera_pose())]
    assert shapes == [(0, 3), (0, 3), (0, 4), (0, 2)]
    with pytest.raises(ValueError, match="length 0"):
        boxes_to_camera([[9, 0, 0]], [[2, 4, 1]], [[0, 0, 0, 0]], [[0, 0]], camera_pose())


def test_a_camera_that_looks_straight_down_has_no_headings():
    down = camera_pose(pitch=-np.pi / 2)
    np.testing.assert_allclose(down[:3, 2], [0, 0, -1], atol=1e-12)
    nothing = CameraBoxes(
        centers_M3=np.zeros((0, 3)), sizes_M3=np.zeros((0, 3)), yaws_M=np.zeros(0),
        velocities_M2=np.zeros((0, 2)),
    )  # fmt: skip
    with pytest.raises(ValueError, match="straight up or down"):
        boxes_to_global(nothing, down)
    np.testing.assert_allclose(levelled_axes(camera_pose()), [[0, -1], [1, 0]], atol=1e-12)


def test_angles_wrap_to_the_closed_end():
    wrapped = wrap_angles([np.pi, -np.pi, 3 * np.pi, 0.0, 7.0])
    np.testing.assert_allclose(wrapped, [np.pi, np.pi, np.pi, 0.0, 7.0 - 2 * np.pi], atol=1e-12)
