"""Whole hidden cameras: numbers of hidden patches, by hand on a grid of 32."""

import pytest
import torch

from drivemim.masking import CameraDropoutMask, MaskContext, RandomMask

GRID = (4, 8)


@pytest.fixture(autouse=True)
def draws(monkeypatch):
    """Let cameras be drawn in the order 1, 2, 0 where there are three."""
    original = MaskContext.draw_per_camera

    def drawn(context, *extra):
        if extra or context.clips.shape[2] != 3:
            return original(context, *extra)
        return torch.tensor([0.2, 0.8, 0.5]).expand(len(context.clips), 1, 3)

    monkeypatch.setattr(MaskContext, "draw_per_camera", drawn)


def hidden(clips, grid=GRID, drop_probability=1.0, **arguments):
    """Hidden patches of each frame of the first clip: rows of times, columns of cameras."""
    mask = CameraDropoutMask(drop_probability=drop_probability, **arguments)(
        clips, grid, torch.Generator()
    )
    return mask.sum((-2, -1))[0].tolist()


def test_one_camera_hidden_whole_at_all_times(make_clips):
    # 6 frames x 16 patches, 2 x 32 of them in the camera: 32 are left for 4 frames.
    assert hidden(make_clips(shape=(1, 2, 3)), mask_ratio=0.5) == [[8, 32, 8]] * 2


def test_several_cameras(make_clips):
    # 6 x 28 - 4 x 32 = 40, over 2.
    assert hidden(make_clips(shape=(1, 2, 3)), mask_ratio=28 / 32, cameras=2) == [[20, 32, 32]] * 2


def test_a_budget_too_small_is_all_the_cameras(make_clips):
    # 6 x 8 patches are less than 2 x 32, and 6 x 16 less than 4 x 32.
    assert hidden(make_clips(shape=(1, 2, 3)), mask_ratio=0.25) == [[0, 24, 0]] * 2
    assert hidden(make_clips(shape=(1, 2, 3)), mask_ratio=0.5, cameras=2) == [[0, 24, 24]] * 2


def test_one_camera_is_left(make_clips):
    # As if two cameras had been asked for.
    assert hidden(make_clips(shape=(1, 2, 3)), mask_ratio=28 / 32, cameras=9) == [[20, 32, 32]] * 2


def test_remainders_are_spread(make_clips):
    # 6 x 3 - 2 x 5 = 8 over 4 frames of 5 patches; 6 x 4 - 10 = 14.
    assert hidden(make_clips(shape=(1, 2, 3)), (1, 5), mask_ratio=0.6) == [[2, 5, 2]] * 2
    (first, whole, second), (third, other, last) = hidden(
        make_clips(shape=(1, 2, 3)), (1, 5), mask_ratio=0.8
    )
    assert (whole, other) == (5, 5)
    assert sorted([first, second, third, last]) == [3, 3, 4, 4]


def test_cameras_that_are_missing_are_not_drawn(make_clips):
    clips = make_clips(shape=(1, 2, 3))
    clips.valid_BTN[0, 0, 1] = False  # still there at the second time
    assert hidden(clips, mask_ratio=0.5) == [[8, 32, 8]] * 2
    clips.valid_BTN[0, :, 1] = False
    assert hidden(clips, mask_ratio=0.5) == [[8, 8, 32]] * 2
    assert hidden(clips, mask_ratio=0.5, cameras=2) == [[8, 8, 32]] * 2
    clips.valid_BTN[0, :, 2] = False  # one camera is left
    assert hidden(clips, mask_ratio=0.5) == [[16, 16, 16]] * 2
    clips.valid_BTN[:] = False
    assert hidden(clips, mask_ratio=0.5) == [[16, 16, 16]] * 2


def test_a_single_camera_is_masked_by_the_base_strategy(make_clips):
    clips, same = make_clips(shape=(2, 3, 1)), torch.Generator().manual_seed
    mask = CameraDropoutMask(mask_ratio=0.5, drop_probability=1.0)(clips, GRID, same(1))
    assert torch.equal(mask, RandomMask(mask_ratio=0.5)(clips, GRID, same(1)))


def test_the_base_strategy_says_which_patches(make_clips):
    clips = make_clips(shape=(1, 2, 3))
    strategy = CameraDropoutMask(mask_ratio=0.75, drop_probability=1.0, base={"type": "TubeMask"})
    mask = strategy(clips, GRID, torch.Generator())
    assert torch.equal(mask[:, 0], mask[:, 1])


def test_chance_is_a_probability(make_clips):
    clips = make_clips(shape=(800, 1, 3))
    for drop_probability, low, high in ((0.0, 0, 0), (0.25, 0.19, 0.31), (1.0, 1, 1)):
        mask = CameraDropoutMask(mask_ratio=0.5, drop_probability=drop_probability)(
            clips, GRID, torch.Generator()
        )
        dropped = mask.all(-1).all(-1).any(-1).float().mean()
        assert low <= dropped <= high  # 800 draws: standard deviation 0.015


def test_every_camera_is_drawn_equally_often(make_clips):
    mask = CameraDropoutMask(mask_ratio=0.5, drop_probability=1.0)(
        make_clips(shape=(800, 1, 4)), GRID, torch.Generator()
    )
    dropped = mask.all(-1).all(-1)[:, 0].float()
    assert (dropped.sum(1) == 1).all()
    # 800 draws: standard deviation 0.015.
    torch.testing.assert_close(dropped.mean(0), torch.full((4,), 0.25), atol=0.06, rtol=0)


def test_the_base_strategy_must_leave_budgets_alone(make_clips):
    strategy = CameraDropoutMask(base={"type": "CausalMask"})
    with pytest.raises(ValueError, match="CausalMask inside CameraDropoutMask decides how many"):
        strategy(make_clips(shape=(1, 2, 2)), GRID, torch.Generator())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"drop_probability": -0.5}, r"drop_probability=-0.5 must be in \[0, 1\]"),
        ({"cameras": 0}, r"cameras=0 must be a whole number in \[1, infinity\)"),
        ({"cameras": 1.5}, r"cameras=1.5 must be a whole number in \[1, infinity\)"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        CameraDropoutMask(**arguments)
