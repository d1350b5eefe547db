"""World points of patches, in small worlds computed by hand."""

import pytest
import torch

from drivemim.geometry import (
    backproject_patches,
    patch_depths,
    project_points,
    unproject_points,
    valid_bounding_box,
)

SIZE = (100, 200)
NO_POINTS = torch.zeros(1, 1, 1, 0, 3)
AHEAD = [[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]]  # looks along x; its right is -y, its down -z
LEFT = [[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]  # looks along y; its right is x
UP = [[1.0, 0, 0], [0, -1, 0], [0, 0, 1]]


def camera(*places, axes=AHEAD, focal=100.0):
    """Frames of one camera with the given axes at places, one a time step; 200 x 100 pixels."""
    poses = torch.eye(4).repeat(1, len(places), 1, 1, 1)
    poses[..., :3, :3] = torch.tensor(axes)
    poses[0, :, 0, :3, 3] = torch.tensor(places)
    intrinsics = torch.tensor([[focal, 0, 100], [0, focal, 50], [0, 0, 1]])
    return intrinsics.expand(1, len(places), 1, 3, 3), poses


def look(frames, grid, wall_distance, points=NO_POINTS, valid=None):
    intrinsics, poses = frames
    valid = torch.ones(poses.shape[:3], dtype=torch.bool) if valid is None else valid
    points = points.expand(*poses.shape[:3], *points.shape[-2:])
    return backproject_patches(intrinsics, poses, valid, points, grid, SIZE, wall_distance)


def test_ground_below_and_wall_above():
    """Rows at 12.5, 37.5, 62.5 and 87.5 pixels: slopes of 3/8 and 1/8 up, 1/8 and 3/8 down.

    From 1.5 m, the lowest row meets the ground after 4 m, and the next would after 12, behind the
    wall at 10, where it is 1.25 m below the camera.
    """
    points = look(camera((0.0, 0.0, 1.5)), (4, 1), 10)[0, 0, 0, :, 0]
    expected = [[10, 0, 5.25], [10, 0, 2.75], [10, 0, 0.25], [4, 0, 0]]
    torch.testing.assert_close(points, torch.tensor(expected))


def test_the_wall_is_round():
    """Columns at 25 and 175 pixels look 3/4 to the side: (8, 6) is where they reach 10 m."""
    points = look(camera((0.0, 0.0, 1.5)), (1, 4), 10)[0, 0, 0, 0]
    torch.testing.assert_close(points[[0, 3]], torch.tensor([[8.0, 6, 1.5], [8, -6, 1.5]]))


def test_the_wall_is_around_all_cameras():
    """From x = -3 and 3, the middle is 0 and the wall at 10 + 3, in front of both cameras."""
    frames = camera((-3.0, 0.0, 1.5), (3.0, 0.0, 1.5))
    points = look(frames, (1, 1), 10)[0, :, 0, 0, 0]
    torch.testing.assert_close(points, torch.tensor([[13.0, 0, 1.5]] * 2))
    only_first = torch.tensor([True, False]).reshape(1, 2, 1)
    points = look(frames, (1, 1), 10, valid=only_first)[0, 0, 0, 0, 0]
    torch.testing.assert_close(points, torch.tensor([7.0, 0, 1.5]))


def test_driving_past_the_ground_moves_it_by_whole_patches():
    """A camera to the left sees the ground 10 m away in the row 20 pixels below its middle.

    There, 1 m of driving is 100 / 10 = 10 pixels, one patch.
    """
    frames = camera((0.0, 0.0, 2.0), (1.0, 0.0, 2.0), axes=LEFT)
    points = look(frames, (5, 20), 60)[0, :, 0, 3]
    torch.testing.assert_close(points[0, :, 1], torch.full((20,), 10.0))
    torch.testing.assert_close(points[1, :-1], points[0, 1:])


def test_points_project_back_to_the_middle_of_their_patches():
    frames = camera((1.0, 2.0, 1.5), (4.0, 2.5, 1.6))
    seen = look(frames, (4, 8), 15)
    pixels, depth = project_points(seen.flatten(3, 4), *frames)
    unprojected = unproject_points(torch.cat([pixels, depth[..., None]], dim=-1), *frames)
    torch.testing.assert_close(unprojected, seen.flatten(3, 4), atol=1e-3, rtol=1e-4)
    pixels = pixels.unflatten(3, (4, 8))
    x, y = torch.meshgrid((torch.arange(8) + 0.5) * 25, (torch.arange(4) + 0.5) * 25, indexing="xy")
    expected = torch.stack([x, y], dim=-1).expand(1, 2, 1, 4, 8, 2)
    torch.testing.assert_close(pixels, expected, atol=1e-2, rtol=0)
    assert (depth > 0).all()


def test_projection_by_hand():
    """5 m ahead, 1 m to the left and 0.5 m up: 20 pixels left of the middle and 10 above it."""
    intrinsics, pose = camera((1.0, 0.0, 1.5))
    points = torch.tensor([[6.0, 1, 2], [-4, 0, 1.5]]).reshape(1, 1, 1, 2, 3)
    pixels, depth = project_points(points, intrinsics, pose)
    assert pixels[0, 0, 0, 0].tolist() == pytest.approx([80, 40])
    assert depth.flatten().tolist() == [5, -5]


def test_lidar_comes_before_ground_and_wall():
    """One of two columns holds points at 2 and 6 m: an inverse of 1/3 on average."""
    points = torch.tensor([[10.0, 10, 2], [90, 90, 6], [0, 0, torch.inf]]).reshape(1, 1, 1, 3, 3)
    seen = look(camera((0.0, 0.0, 1.5)), (1, 2), 10, points)[0, 0, 0, 0]
    # The columns look half a metre to the side for every metre ahead; the wall is 10 m away.
    torch.testing.assert_close(seen[0], torch.tensor([3.0, 1.5, 1.5]))
    torch.testing.assert_close(seen[1], torch.tensor([80**0.5, -(20**0.5), 1.5]))


def test_depths_of_patches_by_hand():
    inf = torch.inf
    points = torch.tensor(
        [
            [0.0, 0, 4],  # first patch
            [99.9, 49.9, 4],  # first patch
            [100, 50, 8],  # last patch
            [200, 50, 1],  # right of the image
            [150, -0.1, 1],  # above it
            [150, 10, 0.0],  # in the camera
            [0, 0, inf],  # padding
        ]
    ).reshape(1, 1, 1, 7, 3)
    depths = patch_depths(points, (2, 2), SIZE)
    assert depths.flatten().tolist() == [4, inf, inf, 8]
    assert (patch_depths(NO_POINTS, (2, 2), SIZE) == inf).all()


@pytest.mark.parametrize(
    "axes", [AHEAD, UP, torch.eye(3).tolist(), [[1.0, 0, 0], [0, -1, 0], [0, 0, -1]]]
)
@pytest.mark.parametrize("height", [-1.0, 0.0, 1.5])
def test_every_ray_ends_somewhere(axes, height):
    """Cameras that look straight up or down, on the ground and under it."""
    points = look(camera((0.0, 0.0, height), axes=axes), (3, 3), 10)
    assert points.isfinite().all()


def test_a_camera_under_the_ground_sees_the_wall():
    points = look(camera((0.0, 0.0, -1.0)), (4, 1), 10)[0, 0, 0, :, 0]
    assert points[:, 0].tolist() == pytest.approx([10] * 4)


def test_invalid_frames_have_points_and_do_not_affect_other_frames():
    frames = camera((0.0, 0.0, 1.5), (50.0, 0.0, 1.5))
    nothing = torch.zeros(1, 2, 1, dtype=torch.bool)
    assert look(frames, (3, 3), 10, valid=nothing).isfinite().all()
    first = torch.tensor([True, False]).reshape(1, 2, 1)
    alone = camera((0.0, 0.0, 1.5))
    torch.testing.assert_close(
        look(frames, (3, 3), 10, valid=first)[:, :1], look(alone, (3, 3), 10)
    )


def test_valid_bounding_box_by_hand():
    positions = torch.tensor([[0.0, 0, 2], [4, -2, 2], [100, 100, 100]])
    valid = torch.tensor([True, True, False])
    centre, half_extent = valid_bounding_box(positions, valid)
    assert centre.tolist() == [2, -1, 2]
    assert half_extent.tolist() == [2, 1, 0]
    centre, half_extent = valid_bounding_box(positions, ~valid & False)
    assert centre.tolist() == half_extent.tolist() == [0, 0, 0]
