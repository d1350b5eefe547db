"""Leakage: by hand, and against loops over points and frames."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from drivemim.masking.leakage import TrackBoxes, find_correspondences, leakage

GRID = (5, 10)
FOCAL = 100.0
SHIFT = 1.6  # metres to the right: at 10 m, one patch of 16 pixels


def pose(x=0.0, z=0.0, yaw=0.0):
    """A camera's pose: to the right, ahead, and turned to the right."""
    matrix = torch.eye(4)
    matrix[0, 0] = matrix[2, 2] = np.cos(yaw)
    matrix[0, 2], matrix[2, 0] = np.sin(yaw), -np.sin(yaw)
    matrix[0, 3], matrix[2, 3] = x, z
    return matrix


def rig(make_clips, poses_TN):
    """Cameras of 80 x 160 pixels at the given poses."""
    T, N = len(poses_TN), len(poses_TN[0])
    intrinsics = torch.tensor([[FOCAL, 0, 80], [0, FOCAL, 40], [0, 0, 1]])
    return replace(
        make_clips(shape=(1, T, N)),
        intrinsics_BTN33=intrinsics.repeat(1, T, N, 1, 1),
        camera_to_clip_BTN44=torch.stack([torch.stack(row) for row in poses_TN])[None],
    )


def wall(T, N, depth=10.0):
    return torch.full((T, N, 80, 160), depth)


def no_mask(T, N):
    return torch.zeros(T, N, *GRID, dtype=torch.bool)


@pytest.fixture
def moved(make_clips):
    """One camera, a patch further right at the second time."""
    return rig(make_clips, [[pose()], [pose(SHIFT)]])


def test_a_wall_moves_by_one_patch(moved):
    found = find_correspondences(moved, GRID, depth_TNHW=wall(2, 1))
    assert len(found.own_P) == 2 * 50 * 25
    assert int(found.middle_P.sum()) == 2 * 50
    # Each frame sees nine of the ten columns of the other.
    assert len(found.point_E) == 2 * 45 * 25
    own_E, there_E = found.own_P[found.point_E], found.patch_E
    assert torch.equal(there_E[own_E < 50], own_E[own_E < 50] + 50 - 1)
    assert torch.equal(there_E[own_E >= 50], own_E[own_E >= 50] - 50 + 1)
    assert not found.same_time_E.any()


def test_hidden_points_leak_through_visible_patches(moved):
    found = find_correspondences(moved, GRID, depth_TNHW=wall(2, 1))
    mask = no_mask(2, 1)
    mask[0] = True
    counts = leakage(mask, found)
    assert counts.fraction == pytest.approx(0.9)
    assert counts.fraction_time == pytest.approx(0.9)
    assert counts.fraction_patches == pytest.approx(0.9)
    assert counts.fraction_cameras == 0
    # Columns 1 to 5 are now hidden where they reappear, 6 to 9 of ten are not.
    mask[1, :, :, :5] = True
    counts = leakage(mask, found)
    assert int(counts.hidden) == (50 + 25) * 25
    assert int(counts.leaked) == 20 * 25
    assert int(counts.hidden_patches) == 75
    assert int(counts.leaked_patches) == 20


def test_the_same_part_of_the_world_hidden_everywhere_does_not_leak(moved):
    found = find_correspondences(moved, GRID, depth_TNHW=wall(2, 1))
    mask = no_mask(2, 1)
    mask[0, :, :, 4:7] = mask[1, :, :, 3:6] = True
    assert leakage(mask, found).fraction == 0
    tube = no_mask(2, 1)
    tube[:, :, :, 4:7] = True
    # Of three hidden columns one reappears beside the tube, in either direction.
    assert leakage(tube, found).fraction == pytest.approx(1 / 3)


def test_the_sky_stays_where_it_is(moved):
    depth = wall(2, 1)
    depth[:, :, :16] = torch.inf
    found = find_correspondences(moved, GRID, depth_TNHW=depth)
    own_E = found.own_P[found.point_E]
    sky_E = own_E % 50 < 10
    assert int(sky_E.sum()) == 2 * 10 * 25
    assert torch.equal(found.patch_E[sky_E], (own_E[sky_E] + 50) % 100)


def test_occluders_hide_points(moved):
    depth = wall(2, 1)
    depth[1, :, :, 32:64] = 4.0
    found = find_correspondences(moved, GRID, depth_TNHW=depth)
    there_E = found.patch_E[found.own_P[found.point_E] < 50] - 50
    # Columns 2 and 3 of the second frame show what is in front, up to its edge.
    assert set((there_E % 10).tolist()) == {0, 1, 4, 5, 6, 7, 8}
    # And what is in front is seen by the first frame nowhere: it shows the wall behind.
    back_E = found.own_P[found.point_E] >= 50
    columns_E = found.own_P[found.point_E][back_E] % 10
    assert not ((columns_E == 2) | (columns_E == 3)).any()


def test_leakage_by_cameras_and_by_time(make_clips):
    clips = rig(make_clips, [[pose(), pose()], [pose(), pose()]])
    found = find_correspondences(clips, GRID, depth_TNHW=wall(2, 2), per_side=1)
    mask = no_mask(2, 2) | True
    mask[0, 0, 0, 0] = True
    mask[0, 1, 0, 0] = False  # the other camera, at the same time
    mask[1, 0, 0, 1] = False  # the same camera, later
    mask[0, 1, 0, 2] = mask[1, 1, 0, 2] = False  # the other camera, at both
    counts = leakage(mask, found)
    assert int(counts.hidden) == 200 - 4
    # Patch 0 leaks from (0,0), (1,0), (1,1): to the first at once, to the second two in time; patch
    # 1 from (0,0), (0,1) in time and (1,1) at once; patch 2 from (0,0) and (1,0) by both.
    assert int(counts.leaked) == 3 + 3 + 2
    assert int(counts.leaked_cameras) == 1 + 1
    assert int(counts.leaked_time) == 2 + 2


def box(x, size=(0.6, 0.4, 0.4), z=10.0):
    """A box's pose: its length along the camera's x, its height up (against the camera's y)."""
    matrix = torch.eye(4)
    matrix[:3, :3] = torch.tensor([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    matrix[:3, 3] = torch.tensor([x, 0.0, z])
    return matrix, torch.tensor(size)


def track_boxes(boxes_T):
    poses, sizes = zip(*boxes_T, strict=True)
    shape = (len(boxes_T), 1, 1)
    return TrackBoxes(
        box_to_clip_TNK44=torch.stack(poses).reshape(*shape, 4, 4),
        size_TNK3=torch.stack(sizes).reshape(*shape, 3),
        present_TNK=torch.ones(shape, dtype=torch.bool),
    )


def test_points_move_with_their_box(make_clips):
    clips = rig(make_clips, [[pose()], [pose()]])
    # Around the middle of one patch, and two patches further left later on.
    boxes = track_boxes([box(0.8, (1.3, 0.4, 1.3)), box(-2.4, (1.3, 0.4, 1.3))])
    found = find_correspondences(clips, GRID, depth_TNHW=wall(2, 1), track_boxes=boxes, per_side=1)
    there = dict(zip(found.own_P[found.point_E].tolist(), found.patch_E.tolist(), strict=True))
    assert there[25] == 50 + 23
    assert there[50 + 23] == 25
    assert there[24] == 50 + 24
    assert there[23] == 50 + 23


def test_the_ground_under_an_object_stays(make_clips):
    clips = rig(make_clips, [[pose()], [pose()]])
    # The middles of the rows above and below are 1.6 m from the box's, which is 3.3 m high.
    boxes = track_boxes([box(0.8, (1.3, 0.4, 3.3)), box(-2.4, (1.3, 0.4, 3.3))])
    found = find_correspondences(clips, GRID, depth_TNHW=wall(2, 1), track_boxes=boxes, per_side=1)
    there = dict(zip(found.own_P[found.point_E].tolist(), found.patch_E.tolist(), strict=True))
    assert there[15] == 50 + 13
    assert there[25] == 50 + 23
    assert there[35] == 50 + 35


def test_a_box_that_is_gone_leaves_its_points_where_they_were(make_clips):
    clips = rig(make_clips, [[pose()], [pose()]])
    boxes = track_boxes([box(0.8, (1.3, 0.4, 1.3)), box(-2.4, (1.3, 0.4, 1.3))])
    boxes.present_TNK[1] = False
    found = find_correspondences(clips, GRID, depth_TNHW=wall(2, 1), track_boxes=boxes, per_side=1)
    there = dict(zip(found.own_P[found.point_E].tolist(), found.patch_E.tolist(), strict=True))
    assert there[25] == 50 + 25


def lidar(rows_F, T, N):
    points = torch.zeros(1, T, N, max(len(rows) for rows in rows_F), 3)
    points[..., 2] = torch.inf
    for frame, rows in enumerate(rows_F):
        for slot, row in enumerate(rows):
            points[0, frame // N, frame % N, slot] = torch.tensor(row)
    return points


def test_lidar_points(moved):
    rows = [[(88.0, 40.0, 10.0), (40.0, 8.0, 10.0)], [(24.0, 10.0, 4.0)]]
    clips = replace(moved, points_BTNP3=lidar(rows, 2, 1))
    found = find_correspondences(clips, GRID)
    assert found.own_P.tolist() == [25, 2, 51]
    assert found.middle_P.all()
    # The first reappears where nothing is measured; the second, at (24, 8), behind the third,
    # which itself would be at (64, 10), where nothing contradicts it.
    assert found.point_E.tolist() == [0, 2]
    assert found.patch_E.tolist() == [50 + 24, 4]


@pytest.mark.parametrize(("ahead", "seen"), [(9.5, 1), (9.95, 0), (10.05, 0), (30, 0)])
def test_points_at_and_behind_a_camera_are_not_seen(make_clips, ahead, seen):
    clips = rig(make_clips, [[pose()], [pose(z=ahead)]])
    clips = replace(clips, points_BTNP3=lidar([[(80.0, 40.0, 10.0)], []], 2, 1))
    assert len(find_correspondences(clips, GRID).point_E) == seen


def test_the_middle_of_a_patch_is_its_point_nearest_to_it(moved):
    rows = [[(81.0, 40.0, 10.0), (86.0, 41.0, 10.0), (95.0, 40.0, 10.0)], []]
    found = find_correspondences(replace(moved, points_BTNP3=lidar(rows, 2, 1)), GRID)
    assert found.middle_P.tolist() == [False, True, False]


def test_degenerate_masks_and_clips_leak_nothing(make_clips, moved):
    found = find_correspondences(moved, GRID, depth_TNHW=wall(2, 1))
    nothing = leakage(no_mask(2, 1), found)
    assert int(nothing.hidden) == int(nothing.leaked) == 0
    assert nothing.fraction == 0
    assert leakage(~no_mask(2, 1), found).fraction == 0
    single = rig(make_clips, [[pose()]])
    found = find_correspondences(single, GRID, depth_TNHW=wall(1, 1))
    assert len(found.point_E) == 0
    mask = no_mask(1, 1)
    mask[..., :5] = True
    assert int(leakage(mask, found).hidden) == 25 * 25
    assert leakage(mask, found).fraction == 0
    blind = find_correspondences(moved, GRID)
    assert len(blind.own_P) == len(blind.point_E) == 0
    assert leakage(~no_mask(2, 1), blind).fraction == 0


def test_missing_frames_neither_leak_nor_give_away(moved):
    moved.valid_BTN[0, 1] = False
    moved.camera_to_clip_BTN44[0, 1] = torch.eye(4)
    found = find_correspondences(moved, GRID, depth_TNHW=wall(2, 1))
    assert int(found.own_P.max()) < 50
    assert len(found.point_E) == 0


def test_many_masks_are_as_one_by_one_and_counts_add_up(moved):
    found = find_correspondences(moved, GRID, depth_TNHW=wall(2, 1))
    masks = torch.rand(4, 2, 1, *GRID, generator=torch.Generator().manual_seed(0)) < 0.6
    together = leakage(masks, found)
    single = [leakage(mask, found) for mask in masks]
    assert together.leaked.tolist() == [int(each.leaked) for each in single]
    assert together.leaked_patches.tolist() == [int(each.leaked_patches) for each in single]
    total = single[0] + single[1]
    assert int(total.hidden) == int(together.hidden[:2].sum())


def test_mirroring_a_frame_mirrors_its_correspondences(moved):
    plain = find_correspondences(moved, GRID, depth_TNHW=wall(2, 1))
    intrinsics = moved.intrinsics_BTN33.clone()
    intrinsics[0, 1, 0, 0, 0] = -FOCAL
    mirrored = replace(moved, intrinsics_BTN33=intrinsics)
    found = find_correspondences(mirrored, GRID, depth_TNHW=wall(2, 1))
    first = plain.own_P[plain.point_E] < 50
    columns = plain.patch_E[first] % 10
    assert torch.equal(found.patch_E[first], plain.patch_E[first] - columns + 9 - columns)


def reference(clips, grid, depth_TNHW, boxes, per_side):
    """Every point through every frame, one at a time, in float64."""
    T, N = clips.shape[1:]
    height, width = clips.image_size
    (h, w), seen = grid, set()
    frames = [(t, n) for t in range(T) for n in range(N) if clips.valid_BTN[0, t, n]]

    def numbers(tensor):
        return tensor.double().numpy()

    for t, n in frames:
        K, camera = numbers(clips.intrinsics_BTN33[0, t, n]), clips.camera_to_clip_BTN44[0, t, n]
        for row in range(h * per_side):
            for column in range(w * per_side):
                y, x = (row + 0.5) * height / h / per_side, (column + 0.5) * width / w / per_side
                depth = min(float(depth_TNHW[t, n, int(y), int(x)]), 1e5)
                ray = np.linalg.inv(K) @ [x, y, 1]
                point = numbers(camera) @ [*(ray * depth), 1]
                owner = None
                for k in range(boxes.present_TNK.shape[2]):
                    local = np.linalg.inv(numbers(boxes.box_to_clip_TNK44[t, n, k])) @ point
                    half = numbers(boxes.size_TNK3[t, n, k]) / 2
                    inside = (np.abs(local[:3]) <= half + 0.1).all() and local[2] >= 0.1 - half[2]
                    if inside and boxes.present_TNK[t, n, k]:
                        owner, at = k, local
                source = ((t * N + n) * h + row // per_side) * w + column // per_side
                for t2, n2 in frames:
                    if (t2, n2) == (t, n):
                        continue
                    where = point
                    if owner is not None and boxes.present_TNK[t2, n2, owner]:
                        where = numbers(boxes.box_to_clip_TNK44[t2, n2, owner]) @ at
                    there = np.linalg.inv(numbers(clips.camera_to_clip_BTN44[0, t2, n2])) @ where
                    z = there[2]
                    if z <= 0.1:
                        continue
                    u, v, _ = numbers(clips.intrinsics_BTN33[0, t2, n2]) @ there[:3] / z
                    if not (0 <= u < width and 0 <= v < height):
                        continue
                    around = numbers(depth_TNHW[t2, n2])[
                        max(int(v) - 1, 0) : int(v) + 2, max(int(u) - 1, 0) : int(u) + 2
                    ].clip(max=1000)
                    z = min(z, 1000)
                    if not (around.min() * 0.97 - 0.3 <= z <= around.max() * 1.03 + 0.3):
                        continue
                    patch = ((t2 * N + n2) * h + int(v * h / height)) * w + int(u * w / width)
                    seen.add((source, row, column, patch, t2 == t))
    return seen


@pytest.mark.parametrize("seed", range(4))
def test_against_loops(make_clips, seed):
    rng = np.random.default_rng(seed)
    poses = [
        [pose(0.7 * t + n * 0.4 + rng.normal() / 9, rng.normal() / 2, 0.5 * n + rng.normal() / 20)
         for n in range(2)]
        for t in range(2)
    ]  # fmt: skip
    clips = rig(make_clips, poses)
    clips.valid_BTN[0, 1, 1] = seed != 3
    depth = torch.from_numpy(rng.uniform(6, 14, (2, 2, 8, 16)).astype(np.float32))
    depth = depth.repeat_interleave(10, -1).repeat_interleave(10, -2)
    depth[..., :20, :] = torch.inf
    T, N, K = 2, 2, 3
    place = [box(rng.uniform(-3, 3), z=rng.uniform(8, 12))[0] for _ in range(T * N * K)]
    boxes = TrackBoxes(
        box_to_clip_TNK44=torch.stack(place).reshape(T, N, K, 4, 4),
        size_TNK3=torch.from_numpy(rng.uniform(1, 4, (T, N, K, 3)).astype(np.float32)),
        present_TNK=torch.from_numpy(rng.uniform(size=(T, N, K)) < 0.7),
    )
    grid, per_side = (3, 7), 2
    found = find_correspondences(
        clips, grid, depth_TNHW=depth, track_boxes=boxes, per_side=per_side
    )
    expected = reference(clips, grid, depth, boxes, per_side)
    own_E = found.own_P[found.point_E].tolist()
    got = sorted(zip(own_E, found.patch_E.tolist(), found.same_time_E.tolist(), strict=True))
    assert len(got) > 60
    assert got == sorted((own, patch, at_once) for own, _, _, patch, at_once in expected)


def test_bad_arguments(make_clips, moved):
    with pytest.raises(ValueError, match="one clip at a time"):
        find_correspondences(make_clips(shape=(2, 1, 1)), GRID)
    with pytest.raises(ValueError, match="per_side=0"):
        find_correspondences(moved, GRID, depth_TNHW=wall(2, 1), per_side=0)
    found = find_correspondences(moved, GRID, depth_TNHW=wall(2, 1))
    with pytest.raises(ValueError, match="correspondences are of"):
        leakage(torch.zeros(1, 1, 5, 10, dtype=torch.bool), found)
