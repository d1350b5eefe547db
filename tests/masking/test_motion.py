"""Motion masks, on drawn scenes whose moving and still parts are known."""

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from drivemim.clips import Clips
from drivemim.errors import ConfigError
from drivemim.geometry import backproject_patches
from drivemim.masking import MotionMask, RandomMask, TubeMask, ego_compensated_change

AHEAD = torch.tensor([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])
GRID = (10, 20)  # of 80 x 160 pixels: patches of 8 pixels


@pytest.fixture
def scene(make_clips):
    """One camera, 1.6 m above the ground, that looks ahead at a smooth random background."""

    def build(T=3, N=1, seed=0):
        clips = make_clips(shape=(1, T, N))
        clips.intrinsics_BTN33[:] = torch.tensor([[80.0, 0, 80], [0, 80, 40], [0, 0, 1]])
        clips.camera_to_clip_BTN44[..., :3, :3] = AHEAD
        clips.camera_to_clip_BTN44[..., 2, 3] = 1.6
        noise = torch.rand(1, 1, 10, 20, generator=torch.Generator().manual_seed(seed)) * 200
        smooth = interpolate(noise, (80, 160), mode="bicubic").clamp(0, 255).byte()
        clips.images_BTNHWC[:] = smooth[0, 0, :, :, None]
        return clips

    return build


def paint(clips, t, left, n=0):
    """A white square of 2 x 2 patches, four patches down."""
    clips.images_BTNHWC[0, t, n, 32:48, left * 8 : left * 8 + 16] = 255


def change(clips):
    return ego_compensated_change(clips, GRID)[0, :, 0]


def drive(clips, step):
    """Drive ahead over a chequered world, as the frames would see it: 1 m on the ground."""
    T = clips.shape[1]
    clips.camera_to_clip_BTN44[0, :, 0, 0, 3] = torch.arange(T) * step
    points = backproject_patches(
        clips.intrinsics_BTN33,
        clips.camera_to_clip_BTN44,
        clips.valid_BTN,
        clips.points_BTNP3,
        (320, 640),
        clips.image_size,
        20,
    )
    x, y, z = (1.5 * points).unbind(-1)
    light = ((x + z).sin() * (y + z).sin()).add(1).mul(110)
    fine = light.reshape(T, 1, 320, 640)
    pixels = torch.nn.functional.avg_pool2d(fine, 4).reshape(1, T, 1, 80, 160, 1)
    clips.images_BTNHWC[:] = pixels.byte()


def test_a_square_that_moves(scene):
    """From columns 4-5 to 10-11 to 14-15: where it is and where it was have changed."""
    clips = scene()
    for t, left in enumerate((4, 10, 14)):
        paint(clips, t, left)
    changed = change(clips) > 0.05
    for t, columns in enumerate(([4, 5, 10, 11], [4, 5, 10, 11], [10, 11, 14, 15])):
        expected = torch.zeros(GRID, dtype=torch.bool)
        expected[4:6, columns] = True
        assert torch.equal(changed[t], expected), t


def test_nothing_moves(scene):
    assert (change(scene()) == 0).all()


def test_driving_over_still_ground_is_not_a_change(scene):
    """Little remains where the pattern is finer than a patch; taken as static, half changes."""
    clips = scene()
    drive(clips, 1.0)
    ground = change(clips)[:, 6:]
    assert (ground > 0.03).float().mean() < 0.02
    clips.camera_to_clip_BTN44[0, :, 0, 0, 3] = 0
    ground = change(clips)[:, 6:]
    assert (ground > 0.03).float().mean() > 0.4


def test_a_square_that_moves_while_driving(scene):
    clips = scene()
    drive(clips, 1.0)
    for t, left in enumerate((4, 10, 14)):
        paint(clips, t, left)
    for t, left in enumerate((4, 10, 14)):
        found = change(clips)[t]
        inside = found[4:6, left : left + 2]
        assert inside.min() > 0.05
        found[4:6] = 0
        assert (found > 0.05).sum() <= 2


def test_points_outside_the_other_frame_are_unchanged(scene):
    """A camera that turned right by 40 pixels knows nothing of the rightmost 5 columns."""
    clips = scene(T=2)
    clips.intrinsics_BTN33[0, 1, 0, 0, 2] -= 40
    clips.images_BTNHWC[0, 1, 0, :, :120] = clips.images_BTNHWC[0, 0, 0, :, 40:]
    clips.images_BTNHWC[0, 1, 0, :, 120:] = 255
    assert (change(clips)[1] < 0.02).all()


def test_each_frame_is_compared_with_the_last_valid_one(scene):
    """Of four, the third is missing (black): the fourth is compared with the second."""
    clips = scene(T=4)
    clips.valid_BTN[0, 2] = False
    clips.images_BTNHWC[0, 2] = 0
    clips.camera_to_clip_BTN44[0, 2], clips.intrinsics_BTN33[0, 2] = torch.eye(4), torch.eye(3)
    assert (change(clips) == 0).all()
    paint(clips, 3, 10)
    changed = (change(clips) > 0.05).sum((-1, -2))
    assert changed.tolist() == [0, 0, 0, 4]


def test_the_first_valid_frame_is_compared_with_the_next(scene):
    clips = scene(T=3)
    clips.valid_BTN[0, 0] = False
    clips.images_BTNHWC[0, 0] = 0
    paint(clips, 2, 10)
    assert (change(clips) > 0.05).sum((-1, -2)).tolist() == [0, 4, 4]


@pytest.mark.parametrize("valid", [[True], [False, True], [False, False, False]])
def test_cameras_with_less_than_two_frames_have_no_change(scene, valid):
    clips = scene(T=len(valid))
    clips.images_BTNHWC[:] = torch.randint(0, 256, clips.images_BTNHWC.shape, dtype=torch.uint8)
    clips.valid_BTN[0, :, 0] = torch.tensor(valid)
    assert (change(clips) == 0).all()


def test_a_flicker_of_the_whole_image_is_not_a_change(scene):
    clips = scene(T=2)
    clips.images_BTNHWC[0, 1] = (clips.images_BTNHWC[0, 1].int() + 40).clamp(max=255).byte()
    assert change(clips)[:, 2:-2, 2:-2].mean() < 0.02


def test_changed_patches_are_hidden_first(scene):
    """8 patches changed in every frame; the budget fraction of 150 patches has room for all."""
    clips = scene()
    for t, left in enumerate((4, 10, 14)):
        paint(clips, t, left)
    moving = ego_compensated_change(clips, GRID) > 0
    mask = MotionMask(budget_fraction=0.2)(clips, GRID, torch.Generator().manual_seed(0))
    assert moving.any()
    assert mask[moving].all()
    assert mask.sum((-1, -2)).unique().tolist() == [150]


def test_changed_patches_take_no_more_than_their_fraction(scene):
    """Of 8 patches or more, 4 (0.1 of 40) are drawn: the rest have no better chance than others."""
    clips = scene(T=2)
    paint(clips, 0, 4)
    paint(clips, 1, 10)
    moving = ego_compensated_change(clips, GRID)[0, 1, 0] > 0
    strategy = MotionMask(mask_ratio=0.2, budget_fraction=0.1)
    hidden = [strategy(clips, GRID, torch.Generator().manual_seed(s))[0, 1, 0] for s in range(200)]
    count = int(moving.sum())
    assert count >= 8
    # 4 of them, and 36 of the remaining 200 - 4 patches.
    expected = 4 + (count - 4) * 36 / 196
    mean = float(torch.stack(hidden)[:, moving].sum(-1).float().mean())
    assert mean == pytest.approx(expected, abs=0.4)


def test_larger_changes_are_drawn_more_often(scene):
    """A white square among three grey ones, for which there is room for one."""
    clips = scene(T=2)
    clips.images_BTNHWC[:] = 0
    for column, grey in ((2, 40), (6, 40), (10, 40), (14, 255)):
        clips.images_BTNHWC[0, 1, 0, 32:40, column * 8 : column * 8 + 8] = grey
    found = change(clips)[1, 4, [2, 6, 10, 14]]
    strategy = MotionMask(mask_ratio=1 / 200, budget_fraction=1.0)
    drawn = [strategy(clips, GRID, torch.Generator().manual_seed(s))[0, 1, 0] for s in range(300)]
    often = torch.stack(drawn)[:, 4, [2, 6, 10, 14]].float().mean(0)
    torch.testing.assert_close(often, found / found.sum(), atol=0.08, rtol=0)


@pytest.mark.parametrize("T", [1, 3])
def test_without_change_it_is_the_rest(scene, T):
    clips = scene(T=T)
    strategy = MotionMask(budget_fraction=1.0, base=TubeMask())
    mask = strategy(clips, GRID, torch.Generator().manual_seed(0))
    assert (mask == mask[:, :1]).all()
    other = MotionMask(budget_fraction=1.0)(clips, GRID, torch.Generator().manual_seed(1))
    assert (other == mask).float().mean() < 0.8
    assert isinstance(MotionMask(base={"type": "TubeMask"}).base, TubeMask)
    assert isinstance(MotionMask().base, RandomMask)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"budget_fraction": 1.5}, r"budget_fraction=1.5 must be in \[0, 1\]"),
        ({"wall_distance": 0}, r"wall_distance=0 must be in \(0, infinity\)"),
        ({"wall_distance": float("inf")}, r"wall_distance=inf must be in \(0, infinity\)"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        MotionMask(**arguments)


def test_who_needs_what_the_clips_lack_is_named():
    clips = Clips.from_images(np.zeros((1, 2, 1, 80, 160, 3), np.uint8), poses=np.eye(4))
    for user, call in {
        "MotionMask": lambda: MotionMask()(clips),
        "MotionBoxes": lambda: ego_compensated_change(clips, GRID, caller="MotionBoxes"),
        "ego_compensated_change": lambda: ego_compensated_change(clips, GRID),
    }.items():
        match = rf"^{user} needs the intrinsics of the images, which the clips lack; give Clips\."
        with pytest.raises(ConfigError, match=match):
            call()
