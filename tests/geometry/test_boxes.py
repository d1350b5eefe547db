"""Projected boxes against a dense sampling of the box, the devkit, and shapely."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from nuscenes.scripts.export_2d_annotations_as_json import post_process_coords
from nuscenes.utils.data_classes import Box
from nuscenes.utils.geometry_utils import view_points
from pyquaternion import Quaternion
from scipy.optimize import linprog
from scipy.spatial import ConvexHull, HalfspaceIntersection
from shapely.geometry import MultiPoint
from shapely.geometry import box as rectangle

from drivemim.geometry import box_corners, project_boxes

K = np.array([[1266.0, 0, 816], [0, 1266, 491], [0, 0, 1]])
MIRRORED_K = np.array([[-1266.0, 0, 784], [0, 1266, 491], [0, 0, 1]])
SIZE = (900, 1600)
# Ego axes (x forward, y left, z up) seen by a camera that looks forward.
EGO_TO_CAMERA = np.array([[0.0, -1, 0], [0, 0, -1], [1, 0, 0]])


def corners_in_camera(center, wlh, yaw):
    """Corners in a forward camera of a box given in ego axes."""
    quaternion = [[np.cos(yaw / 2), 0, 0, np.sin(yaw / 2)]]
    return box_corners([center], [wlh], quaternion) @ EGO_TO_CAMERA.T


def solid_in_front(corners_83, near):
    """Sample the solid's surface densely: corners, points along all edges and on the cut plane."""
    pairs = [(i, j) for i in range(8) for j in range(i)]
    points = [corners_83]
    for i, j in pairs:
        a, b = corners_83[i], corners_83[j]
        points.append(a + np.linspace(0, 1, 51)[:, None] * (b - a))
        if (a[2] - near) * (b[2] - near) < 0:
            points.append((a + (near - a[2]) / (b[2] - a[2]) * (b - a))[None])
    points = np.concatenate(points)
    return points[points[:, 2] >= near - 1e-12]


def reference(corners_83, intrinsics, size, near):
    """Bounds by shapely, from the convex hull of the sampled part in front."""
    points = solid_in_front(corners_83, near)
    if len(points) < 3:
        return None
    pixels = points @ intrinsics.T
    hull = MultiPoint(pixels[:, :2] / pixels[:, 2:]).convex_hull
    seen = hull.intersection(rectangle(0, 0, size[1], size[0]))
    if seen.is_empty or hull.area == 0 or seen.area == 0:
        return None
    return np.array(seen.bounds)


def exact_truncation(corners_83, intrinsics, size, near=0.1):
    """Return the fraction of the box's volume out of view: SciPy intersects eleven half-spaces."""
    x, y, depth = intrinsics
    height, width = size
    view = np.stack([x, width * depth - x, y, height * depth - y, [0, 0, 1]])
    view = view / np.linalg.norm(view, axis=1, keepdims=True)
    sides = [*np.c_[-view, [0, 0, 0, 0, near]]]
    for axis in corners_83[[7, 5, 2]] - corners_83[6]:
        length = np.linalg.norm(axis)
        start = corners_83[6] @ axis / length
        sides += [np.r_[axis / length, -start - length], np.r_[-axis / length, start]]
    sides = np.array(sides)
    # The middle of the largest ball inside, if there is one.
    ball = linprog([0, 0, 0, -1], np.c_[sides[:, :3], np.ones(11)], -sides[:, 3],
                   bounds=[(None, None)] * 3 + [(0, None)])  # fmt: skip
    if not ball.success or ball.x[3] < 1e-5:
        return 1.0
    seen = ConvexHull(HalfspaceIntersection(sides, ball.x[:3]).intersections, qhull_options="QJ")
    return 1 - seen.volume / ConvexHull(corners_83).volume


def test_corners_are_the_devkits():
    rng = np.random.default_rng(0)
    centers, sizes, rotations = (
        rng.normal(size=(20, 3)),
        rng.uniform(0, 5, (20, 3)),
        rng.normal(size=(20, 4)),
    )
    ours = box_corners(centers, sizes, rotations)
    for row in range(20):
        theirs = Box(centers[row], sizes[row], Quaternion(rotations[row]).normalised).corners().T
        np.testing.assert_allclose(ours[row], theirs, atol=1e-9)


def test_a_box_in_front_by_hand():
    # 2 m wide, 4 m long, 2 m high, its near face 8 m ahead: the near face gives the bounds.
    corners = corners_in_camera([10, 0, 0], [2, 4, 2], 0)
    seen = project_boxes(corners, [[800, 0, 400], [0, 800, 300], [0, 0, 1]], (600, 800))
    np.testing.assert_allclose(seen.boxes_M4, [[300, 200, 500, 400]])
    np.testing.assert_allclose(seen.depth_M, [10])
    np.testing.assert_allclose(seen.truncation_M, [0], atol=1e-12)
    assert seen.in_image_M.tolist() == [True]


def test_truncation_by_hand():
    # A flat box (no length) 10 m ahead, 100 px wide, of which 25 px are left of the image.
    corners = corners_in_camera([10, 3.75, 0], [1, 0, 1], 0)
    seen = project_boxes(corners, [[1000, 0, 400], [0, 1000, 300], [0, 0, 1]], (600, 800))
    np.testing.assert_allclose(seen.boxes_M4, [[0, 250, 75, 350]], atol=1e-9)
    np.testing.assert_allclose(seen.truncation_M, [0.25])


def test_a_bus_alongside_keeps_its_height():
    """12 x 2.5 x 3.4 m, 1.9 m to the right, reaching from behind the camera to ahead of it."""
    corners = corners_in_camera([0.5, -3.1, 0.1], [2.5, 12, 3.4], 0)
    seen = project_boxes(corners, K, SIZE)
    np.testing.assert_allclose(seen.boxes_M4[0], reference(corners[0], K, SIZE, 0.1), atol=1e-6)
    assert seen.boxes_M4[0, 1:].tolist() == [0, 1600, 900]
    assert 1000 < seen.boxes_M4[0, 0] < 1300
    front = corners[0][corners[0][:, 2] > 0]
    devkit = post_process_coords((front @ K.T / front[:, 2:])[:, :2].tolist())
    assert devkit[3] - devkit[1] < 700  # what dropping corners makes of it


@pytest.mark.parametrize("ahead", [4.0, 2.5, 1.0])
def test_a_wall_alongside_is_truncated_by_its_part_behind_the_view(ahead):
    """10 m long, 2 m to the right. A right angle of view sees of it what is over 2 m ahead."""
    intrinsics = np.array([[50.0, 0, 50], [0, 50, 50], [0, 0, 1]])
    corners = corners_in_camera([ahead - 5 + 2, -2, 0], [0, 10, 1], 0)
    seen = project_boxes(corners, intrinsics, (100, 100))
    np.testing.assert_allclose(seen.truncation_M, [1 - ahead / 10])


def test_a_diagonal_box_is_cropped_as_an_outline():
    """Only the outline's own crossing of the border counts, not its bounds cropped."""
    corners = corners_in_camera([12, 8, 0], [2, 9, 1.5], 0.7)
    seen = project_boxes(corners, K, SIZE)
    pixels = view_points(corners[0].T, K, normalize=True)[:2].T
    np.testing.assert_allclose(seen.boxes_M4[0], post_process_coords(pixels.tolist()), atol=1e-9)
    assert seen.boxes_M4[0, 1] > pixels[:, 1].min() + 5


def test_a_box_around_the_camera_fills_the_image():
    seen = project_boxes(corners_in_camera([0, 0, 0], [8, 8, 8], 0), K, SIZE)
    np.testing.assert_allclose(seen.boxes_M4, [[0, 0, 1600, 900]])
    pyramid = (1600 / 1266 * 4) * (900 / 1266 * 4) * 4 / 3  # what is in view of its 512 m³
    np.testing.assert_allclose(seen.truncation_M, [1 - pyramid / 512], atol=0.003)


def test_a_wall_ahead_fills_the_image():
    """No edge of it is in the image. 10 m away the image is 12.6 m x 7.1 m, the wall 100 x 20."""
    seen = project_boxes(corners_in_camera([10.5, 0, 0], [100, 1, 20], 0), K, SIZE)
    np.testing.assert_allclose(seen.boxes_M4, [[0, 0, 1600, 900]])
    fraction = (1600 / 1266 * 10.5) * (900 / 1266 * 10.5) / (100 * 20)  # of the slice in its middle
    np.testing.assert_allclose(seen.truncation_M, [1 - fraction], atol=0.01)


@pytest.mark.parametrize(
    ("center", "wlh"),
    [
        ([-10, 0, 0], [2, 4, 2]),  # behind
        ([10, 50, 0], [2, 4, 2]),  # beside
        ([10, 0, 0], [0, 0, 0]),  # a point
        ([10, 0, 0], [2, 0, 0]),  # a line across the view
    ],
)
def test_nothing_to_see(center, wlh):
    seen = project_boxes(corners_in_camera(center, wlh, 0), K, SIZE)
    assert seen.in_image_M.tolist() == [False]
    assert seen.boxes_M4.tolist() == [[0, 0, 0, 0]]
    assert seen.truncation_M.tolist() == [1]


def test_touching_the_border_is_not_inside():
    # Right side of the front face exactly on the left border: x = 0 there, less elsewhere.
    corners = corners_in_camera([10, 5, 0], [2, 0, 2], 0)
    seen = project_boxes(corners, [[100, 0, 40], [0, 100, 30], [0, 0, 1]], (60, 80))
    assert seen.in_image_M.tolist() == [False]


def test_no_boxes():
    seen = project_boxes(np.zeros((0, 8, 3)), K, SIZE)
    assert seen.boxes_M4.shape == (0, 4)
    assert seen.truncation_M.shape == seen.depth_M.shape == seen.in_image_M.shape == (0,)


def test_near_must_be_positive():
    with pytest.raises(ValueError, match="near=0"):
        project_boxes(np.zeros((1, 8, 3)), K, SIZE, near=0)


def test_own_intrinsics_and_size_for_every_box():
    corners = np.concatenate(
        [corners_in_camera([9, 2, 0], [2, 4, 2], 0.2), corners_in_camera([3, -3, 0], [3, 9, 3], 0)]
    )
    together = project_boxes(corners, np.stack([K, MIRRORED_K]), [(900, 1600), (450, 800)])
    first = project_boxes(corners[:1], K, (900, 1600))
    second = project_boxes(corners[1:], MIRRORED_K, (450, 800))
    np.testing.assert_array_equal(together.boxes_M4, [first.boxes_M4[0], second.boxes_M4[0]])
    np.testing.assert_array_equal(
        together.truncation_M, [first.truncation_M[0], second.truncation_M[0]]
    )


def number(low, high):
    return st.floats(low, high, allow_nan=False)


def test_truncation_is_near_the_volume_for_boxes_as_they_come():
    generator = np.random.default_rng(0)
    low, high = np.array([[-15, -15, -4, 0.05, 0.05, 0.05, -3.2], [40, 15, 4, 5, 14, 5, 3.2]])
    errors = []
    for row in generator.uniform(low, high, (300, 7)):
        corners = corners_in_camera(tuple(row[:3]), tuple(row[3:6]), row[6])
        found = project_boxes(corners, K, SIZE).truncation_M[0]
        errors.append(abs(found - exact_truncation(corners[0], K, SIZE)))
    assert max(errors) < 0.015
    assert np.mean(errors) < 0.0005


@settings(max_examples=300, deadline=None)
@given(
    center=st.tuples(number(-15, 40), number(-15, 15), number(-4, 4)),
    wlh=st.tuples(number(0.05, 5), number(0.05, 14), number(0.05, 5)),
    yaw=number(-3.2, 3.2),
    mirrored=st.booleans(),
)
@example(center=(0.1, 0, 0), wlh=(2, 0.2, 2), yaw=0, mirrored=False)
@example(center=(2, 0, 0.0625), wlh=(1, 0.125, 2), yaw=0, mirrored=False)
def test_any_box_equals_that_of_exact_geometry(center, wlh, yaw, mirrored):
    intrinsics = MIRRORED_K if mirrored else K
    corners = corners_in_camera(center, wlh, yaw)
    seen = project_boxes(corners, intrinsics, SIZE)
    # A cut along the lines is off by half of their distance, on two sides of two axes at most.
    exact = exact_truncation(corners[0], intrinsics, SIZE)
    np.testing.assert_allclose(seen.truncation_M[0], exact, atol=4 / 64 + 1e-3)
    expected = reference(corners[0], intrinsics, SIZE, 0.1)
    if expected is None:
        area = np.prod(seen.boxes_M4[0, 2:] - seen.boxes_M4[0, :2])
        assert area < 1e-3
        return
    np.testing.assert_allclose(seen.boxes_M4[0], expected, atol=1e-3)


@settings(max_examples=150, deadline=None)
@given(
    center=st.tuples(number(12, 60), number(-40, 40), number(-4, 4)),
    wlh=st.tuples(number(0.3, 4), number(0.3, 12), number(0.3, 4)),
    yaw=number(-3.2, 3.2),
)
def test_boxes_in_front_are_the_devkits(center, wlh, yaw):
    corners = corners_in_camera(center, wlh, yaw)
    seen = project_boxes(corners, K, SIZE)
    pixels = view_points(corners[0].T, K, normalize=True)[:2].T.tolist()
    if not seen.in_image_M[0]:
        overlap = MultiPoint(pixels).convex_hull.intersection(rectangle(0, 0, 1600, 900))
        assert overlap.area < 1e-6
        return
    np.testing.assert_allclose(seen.boxes_M4[0], post_process_coords(pixels), atol=1e-6)
