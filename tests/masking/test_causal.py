"""Past and future: number of hidden patches per frame, by hand on grids of 32 and 5 patches."""

import pytest
import torch

from drivemim.masking import CausalMask, MaskContext, RandomMask, TubeMask, topk_mask


def hidden(make_clips, shape, grid=(4, 8), **arguments):
    """Hidden patches of each frame of the first clip: rows of times, columns of cameras."""
    mask = CausalMask(**arguments)(make_clips(shape=shape), grid, torch.Generator())
    return mask.sum((-2, -1))[0].tolist()


def test_the_future_is_hidden_whole_and_the_past_pays_less(make_clips):
    # 6 frames x 24 patches; the future takes 2 x 32 of them, which leaves 80 for 4 frames.
    expected = [[20, 20], [20, 20], [32, 32]]
    assert hidden(make_clips, (1, 3, 2), mask_ratio=0.75) == expected


def test_two_steps_of_future(make_clips):
    # 3 x 24 - 2 x 32 = 8.
    assert hidden(make_clips, (1, 3, 1), mask_ratio=0.75, future_steps=2) == [[8], [32], [32]]


def test_a_future_that_hides_less_leaves_more_to_the_past(make_clips):
    # 6 x 24 - 2 x 16 = 112, over 4.
    expected = [[28, 28], [28, 28], [16, 16]]
    assert hidden(make_clips, (1, 3, 2), mask_ratio=0.75, future_ratio=0.5) == expected


def test_a_small_budget_is_all_the_futures(make_clips):
    # 6 x 8 patches are less than the 64 of the future.
    assert hidden(make_clips, (1, 3, 2), mask_ratio=0.25) == [[0, 0], [0, 0], [24, 24]]


def test_the_future_takes_what_the_past_has_no_patches_for(make_clips):
    # 6 x 29 patches; the future asks for 2 x 8, but the past holds no more than 4 x 32.
    expected = [[32, 32], [32, 32], [23, 23]]
    assert hidden(make_clips, (1, 3, 2), mask_ratio=0.9, future_ratio=0.25) == expected


def test_remainders_go_to_the_frames_with_the_highest_draws(make_clips, monkeypatch):
    """6 x 2 patches, 10 of them in the future: 2 are left for the 4 frames of the past."""
    original = MaskContext.draw_per_frame

    def drawn(context, *extra):
        if extra:
            return original(context, *extra)
        return torch.tensor([[[0.6, 0.1], [0.2, 0.5], [0.9, 0.8]]])

    monkeypatch.setattr(MaskContext, "draw_per_frame", drawn)
    assert hidden(make_clips, (1, 3, 2), (1, 5), mask_ratio=0.4) == [[1, 0], [0, 1], [5, 5]]
    # 6 x 2 - 2 x 2 = 8 with a future of 2 / 5; of 3 / 5 it would be 6: 1 each and 2 more.
    assert hidden(make_clips, (1, 3, 2), (1, 5), mask_ratio=0.4, future_ratio=0.4) == [[2, 2]] * 3
    expected = [[2, 1], [1, 2], [3, 3]]
    assert hidden(make_clips, (1, 3, 2), (1, 5), mask_ratio=0.4, future_ratio=0.6) == expected


def test_the_first_time_is_always_past(make_clips):
    # 3 x 24 patches, 64 of them in the two times that follow.
    assert hidden(make_clips, (1, 3, 1), mask_ratio=0.75, future_steps=7) == [[8], [32], [32]]


@pytest.mark.parametrize("base", [RandomMask(), TubeMask()])
def test_one_time_is_masked_by_the_base_strategy(make_clips, base):
    clips, same = make_clips(shape=(2, 1, 3)), torch.Generator().manual_seed
    mask = CausalMask(mask_ratio=0.5, base=base)(clips, (4, 8), same(1))
    base.mask_ratio = 0.5
    assert torch.equal(mask, base(clips, (4, 8), same(1)))


def test_the_base_strategy_says_which_patches(make_clips):
    clips, same = make_clips(shape=(2, 3, 2)), torch.Generator().manual_seed
    mask = CausalMask(mask_ratio=0.75, base={"type": "TubeMask"})(clips, (4, 8), same(1))
    context = MaskContext(clips=clips, grid=(4, 8), mask_ratio=0.75, generators=same(1))
    expected = topk_mask(TubeMask().score(context).scores_BTNhw, 20)
    assert torch.equal(mask[:, :2], expected[:, :2])


def test_the_base_strategy_must_leave_budgets_alone(make_clips):
    strategy = CausalMask(base={"type": "CameraDropoutMask"})
    with pytest.raises(ValueError, match="CameraDropoutMask inside CausalMask decides how many"):
        strategy(make_clips(shape=(1, 2, 2)), (4, 8), torch.Generator())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"future_ratio": 1.5}, r"future_ratio=1.5 must be in \[0, 1\]"),
        ({"future_ratio": float("nan")}, r"future_ratio=nan must be in \[0, 1\]"),
        ({"future_steps": 0}, r"future_steps=0 must be a whole number in \[1, infinity\)"),
        ({"future_steps": 0.5}, r"future_steps=0.5 must be a whole number in \[1, infinity\)"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        CausalMask(**arguments)
