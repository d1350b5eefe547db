"""World masks, on cameras whose overlap is known exactly."""

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import grid_sample

from drivemim.geometry import backproject_patches, project_points
from drivemim.masking import MaskContext, RandomMask, WorldMask

AHEAD = torch.tensor([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])
LEFT = torch.tensor([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
GRID = (10, 20)  # of 80 x 160 pixels: patches of 8 pixels


@pytest.fixture
def rig(make_clips):
    """One clip of 80 x 160 pixels, focal length 80, cameras 1.6 m above the ground."""

    def build(T=1, N=1, axes=AHEAD):
        clips = make_clips(shape=(1, T, N))
        clips.intrinsics_BTN33[:] = torch.tensor([[80.0, 0, 80], [0, 80, 40], [0, 0, 1]])
        clips.camera_to_clip_BTN44[..., :3, :3] = axes
        clips.camera_to_clip_BTN44[..., 2, 3] = 1.6
        return clips

    return build


def scores(strategy, clips, grid=GRID, seed=0):
    context = MaskContext(
        clips=clips,
        grid=grid,
        mask_ratio=strategy.mask_ratio,
        generators=torch.Generator().manual_seed(seed),
    )
    return strategy.score(context).scores_BTNhw[0]


def mask(strategy, clips, grid=GRID, seed=0):
    return strategy(clips, grid, torch.Generator().manual_seed(seed))[0]


def test_hidden_content_stays_hidden_as_it_moves(rig):
    """Looking left, the row 20 pixels below the middle is 6.4 m away.

    There, 0.64 m of driving is 80 * 0.64 / 6.4 = 8 pixels, one patch.
    """
    clips = rig(T=2, axes=LEFT)
    clips.camera_to_clip_BTN44[:, 1, :, 0, 3] = 0.64
    now, later = scores(WorldMask(wall_distance=30), clips)[:, 0, 7]
    torch.testing.assert_close(later[:-1], now[1:], atol=1e-3, rtol=0)
    assert (later - now).abs().max() > 0.1


@pytest.mark.parametrize("shared_over", ["both", "cameras"])
def test_a_neighbour_that_looks_further_right_sees_the_same_mask(rig, shared_over):
    """The middle of the second camera's image is 3 patches further left: it sees 3 patches more."""
    clips = rig(N=2)
    clips.intrinsics_BTN33[:, :, 1, 0, 2] -= 24
    left, right = scores(WorldMask(shared_over=shared_over), clips)[0]
    torch.testing.assert_close(right[:, :-3], left[:, 3:], atol=1e-3, rtol=0)


def test_a_camera_upside_down_sees_the_mask_upside_down(rig):
    clips = rig(N=2)
    clips.camera_to_clip_BTN44[:, :, 1, :3, :3] = AHEAD @ torch.diag(torch.tensor([-1.0, -1, 1]))
    upright, turned = scores(WorldMask(), clips)[0]
    torch.testing.assert_close(turned, upright.flip(0, 1), atol=1e-3, rtol=0)


@pytest.mark.parametrize("calibrated", [True, False])
@pytest.mark.parametrize("shared_over", ["both", "time"])
def test_without_motion_it_is_a_tube(rig, make_clips, shared_over, calibrated):
    clips = rig(T=3, N=2) if calibrated else make_clips(shape=(1, 3, 2))
    clips.camera_to_clip_BTN44[:, :, 1, 1, 3] = 0.5
    hidden = mask(WorldMask(shared_over=shared_over), clips)
    assert (hidden == hidden[:1]).all()
    assert hidden.sum((-1, -2)).tolist() == [[150, 150]] * 3


def test_every_camera_can_have_a_mask_of_its_own(rig):
    """Two cameras with the same view hide the same, unless each is to follow itself alone."""
    clips = rig(T=2, N=2)
    clips.intrinsics_BTN33[:, :, 1, 0, 0] += 0.01
    alike = [
        (mask(WorldMask(shared_over=a), clips)[0]).float() for a in ("both", "cameras", "time")
    ]
    agreement = [float((one[0] == one[1]).float().mean()) for one in alike]
    assert agreement[:2] == pytest.approx([1, 1], abs=0.05)
    assert agreement[2] < 0.9


def test_every_time_can_have_a_mask_of_its_own(rig):
    hidden = mask(WorldMask(shared_over="cameras"), rig(T=2))
    assert (hidden[0] == hidden[1]).float().mean() < 0.9


def test_lidar_says_how_far_things_move(rig):
    """Points 4 m away move by 80 * 0.8 / 4 = 16 pixels, two patches; the wall is further away."""
    clips = rig(T=2, axes=LEFT)
    clips.camera_to_clip_BTN44[:, 1, :, 0, 3] = 0.8
    y, x = torch.meshgrid(torch.arange(10) * 8.0 + 4, torch.arange(20) * 8.0 + 4, indexing="ij")
    points = torch.stack([x, y, torch.full_like(x, 4)], dim=-1).reshape(-1, 3)
    measured = replace(clips, points_BTNP3=points.expand(1, 2, 1, -1, 3))
    now, later = scores(WorldMask(), measured)[:, 0]
    torch.testing.assert_close(later[:, :-2], now[:, 2:], atol=1e-3, rtol=0)
    now, later = scores(WorldMask(), clips)[:, 0, :3]
    assert (later[:, :-2] - now[:, 2:]).abs().mean() > 0.1


def leaked(hidden, clips, wall_distance=10.0):
    """Fraction of points of hidden patches (4 x 4 each) that a visible patch of another frame has.

    The world is what the mask takes it to be.
    """
    h, w = GRID
    points = backproject_patches(
        clips.intrinsics_BTN33,
        clips.camera_to_clip_BTN44,
        clips.valid_BTN,
        clips.points_BTNP3,
        (4 * h, 4 * w),
        clips.image_size,
        wall_distance,
    ).reshape(-1, 4 * h, 4 * w, 3)
    intrinsics = clips.intrinsics_BTN33.reshape(-1, 3, 3)
    poses = clips.camera_to_clip_BTN44.reshape(-1, 4, 4)
    hidden = hidden.reshape(-1, h, w)
    own = hidden.repeat_interleave(4, 1).repeat_interleave(4, 2)
    shown = torch.zeros_like(own)
    for other in range(len(points)):
        pixels, depth = project_points(points.flatten(1, 2), intrinsics[other], poses[other])
        places = (pixels / torch.tensor([80.0, 40.0]) - 1).reshape(1, -1, 1, 2)
        visible = (~hidden[other]).float()[None, None]
        read = grid_sample(visible, places, mode="nearest", align_corners=False) > 0.5
        seen = (read.reshape(depth.shape) & (depth > 0.1)).reshape(shown.shape)
        seen[other] = False
        shown |= seen
    return float((own & shown).sum() / own.sum())


def test_a_mask_on_the_world_leaks_a_quarter_of_a_random_one(rig):
    """Three cameras that overlap, driving 5 m, in a world of just ground and wall."""
    clips = rig(T=3, N=3)
    for n, yaw in enumerate((-0.9, 0.0, 0.9)):
        angle = torch.tensor(yaw)
        turn = torch.tensor(
            [[angle.cos(), -angle.sin(), 0], [angle.sin(), angle.cos(), 0], [0, 0, 1]]
        )
        clips.camera_to_clip_BTN44[:, :, n, :3, :3] = turn @ AHEAD
        clips.camera_to_clip_BTN44[:, :, n, 1, 3] = 0.5 * yaw
    clips.camera_to_clip_BTN44[..., 0, 3] = torch.tensor([0, 2.5, 5])[:, None]
    world = [leaked(mask(WorldMask(), clips, seed=seed), clips) for seed in range(8)]
    chance = [leaked(mask(RandomMask(), clips, seed=seed), clips) for seed in range(8)]
    assert sum(chance) / 8 > 0.3
    assert sum(world) < 0.25 * sum(chance)


def test_wide_spots_are_wider(rig):
    """Pairs of neighbours of which one is hidden: fewer, the wider the spots."""
    borders = []
    for spot_size in (2, 4, 8):
        hidden = torch.stack(
            [mask(WorldMask(spot_size=spot_size), rig(), seed=seed) for seed in range(20)]
        )
        borders.append(float((hidden[..., 1:] != hidden[..., :-1]).float().mean()))
    assert borders[0] > 1.5 * borders[1] > 2 * borders[2]


def test_frames_agree_on_the_level_below_which_patches_are_visible(rig):
    """Four cameras all around: the highest visible score hardly differs between them."""
    clips = rig(N=4)
    for n in range(4):
        angle = torch.tensor(n * torch.pi / 2)
        turn = torch.tensor(
            [[angle.cos(), -angle.sin(), 0], [angle.sin(), angle.cos(), 0], [0, 0, 1]]
        )
        clips.camera_to_clip_BTN44[:, :, n, :3, :3] = turn @ AHEAD
    for seed in range(5):
        field = scores(WorldMask(), clips, seed=seed)[0].flatten(1)
        levels = field.kthvalue(50, dim=-1).values
        assert levels.std() < 0.1 * field.std()


def test_invalid_frames_change_nothing_for_the_others(rig):
    """Even where most are missing: the last three of five time steps."""
    clips = rig(T=5, N=2)
    clips.camera_to_clip_BTN44[..., 0, 3] = torch.arange(5)[:, None] * 1.5
    clips.intrinsics_BTN33[:, :, 1, 0, 2] -= 24
    clips.valid_BTN[:, 2:] = False
    clips.camera_to_clip_BTN44[:, 2:], clips.intrinsics_BTN33[:, 2:] = torch.eye(4), torch.eye(3)
    field = scores(WorldMask(), clips)
    assert field.isfinite().all()
    shorter = rig(T=2, N=2)
    shorter.camera_to_clip_BTN44[:] = clips.camera_to_clip_BTN44[:, :2]
    shorter.intrinsics_BTN33[:] = clips.intrinsics_BTN33[:, :2]
    torch.testing.assert_close(field[:2], scores(WorldMask(), shorter), atol=1e-3, rtol=0)


@pytest.mark.parametrize("mask_ratio", [0.0, 1.0])
@pytest.mark.parametrize("valid", [True, False])
def test_nothing_and_everything_hidden(rig, mask_ratio, valid):
    clips = rig(T=2, N=2)
    clips.valid_BTN[:] = valid
    assert scores(WorldMask(mask_ratio=mask_ratio), clips).isfinite().all()
    assert (mask(WorldMask(mask_ratio=mask_ratio), clips) == bool(mask_ratio)).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shared_over": "space"}, "shared_over='space' must be one of 'both', 'time', 'cameras'"),
        ({"spot_size": 0.5}, r"spot_size=0.5 must be in \[1, infinity\)"),
        ({"spot_size": float("nan")}, r"spot_size=nan must be in \[1, infinity\)"),
        ({"wall_distance": 0}, r"wall_distance=0 must be in \(0, infinity\)"),
        ({"wall_distance": float("inf")}, r"wall_distance=inf must be in \(0, infinity\)"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        WorldMask(**arguments)


def test_half_precision_around_it_changes_nothing(rig):
    clips = rig(T=2, N=2)
    clips.intrinsics_BTN33[:, :, 1, 0, 2] -= 24
    plain = scores(WorldMask(), clips)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(scores(WorldMask(), clips), plain)


def test_spots_are_longer_along_the_way_driven(rig):
    """Of a camera to the left: more neighbours across differ when it stands than when it drives."""
    differ = []
    for way in (0.0, 6.0):
        clips = rig(T=3, axes=LEFT)
        clips.camera_to_clip_BTN44[0, :, 0, 0, 3] = torch.arange(3) * way / 2
        hidden = torch.stack([mask(WorldMask(spot_size=3), clips, seed=seed) for seed in range(20)])
        hidden = hidden[:, 1, 0, :5]
        across = (hidden[..., 1:] != hidden[..., :-1]).float().mean()
        down = (hidden[:, 1:] != hidden[:, :-1]).float().mean()
        differ.append(float(across / down))
    assert differ[0] > 1.5 * differ[1]
