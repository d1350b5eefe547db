"""Mixtures of strategies with easily recognised masks."""

import pytest
import torch

from drivemim.masking import (
    MaskContext,
    MaskScores,
    MaskStrategy,
    MixtureMask,
    RandomMask,
    TubeMask,
    clip_generators,
)


class SinglePatch(MaskStrategy):
    """Hides one patch of 1 x 4 before all others."""

    def __init__(self, patch, budgets=None):
        super().__init__()
        self.patch, self.budgets = patch, budgets

    def score(self, context):
        scores_BTNhw = torch.zeros(*context.clips.shape, *context.grid)
        scores_BTNhw[..., self.patch] = 1
        return MaskScores(scores_BTNhw=scores_BTNhw, num_masked_BTN=self.budgets)


@pytest.fixture
def draws(monkeypatch):
    """Let clips be given draws."""

    def give(*values):
        def drawn(context):
            return torch.tensor(values)

        monkeypatch.setattr(MaskContext, "draw_per_clip", drawn)

    return give


def test_draws_choose_by_weight(make_clips, draws):
    # Of weights 1, 2 and 1 the first has draws below a quarter, the last from three quarters on.
    draws(0.0, 0.24, 0.25, 0.74, 0.75, 0.99)
    strategy = MixtureMask(
        mask_ratio=0.25,
        strategies=[SinglePatch(0), SinglePatch(1), SinglePatch(3)],
        weights=[0.5, 1, 0.5],
    )
    mask = strategy(make_clips(shape=(6, 2, 1)), (1, 4), torch.Generator())
    hidden = mask[:, :, 0, 0].int().argmax(-1)
    assert hidden.tolist() == [[patch] * 2 for patch in (0, 0, 1, 1, 3, 3)]


def test_weights_are_equal_by_default(make_clips, draws):
    draws(0.33, 0.34, 0.66, 0.67)
    strategy = MixtureMask(
        mask_ratio=0.25, strategies=[SinglePatch(0), SinglePatch(1), SinglePatch(2)]
    )
    mask = strategy(make_clips(shape=(4, 1, 1)), (1, 4), torch.Generator())
    assert mask[:, 0, 0, 0].int().argmax(-1).tolist() == [0, 1, 1, 2]


def test_budgets_are_those_of_the_strategy_drawn(make_clips, draws):
    draws(0.1, 0.9)
    uneven = SinglePatch(1, torch.tensor([[[0], [4]], [[3], [1]]]))
    clips = make_clips(shape=(2, 2, 1))
    for strategies in ([SinglePatch(0), uneven], [uneven, SinglePatch(0)]):
        mask = MixtureMask(mask_ratio=0.5, strategies=strategies)(clips, (1, 4), torch.Generator())
        expected = [[2, 2], [3, 1]] if strategies[1] is uneven else [[0, 4], [2, 2]]
        assert mask.sum((-2, -1))[..., 0].tolist() == expected


def test_one_strategy_is_itself(make_clips):
    clips, generators = make_clips(shape=(2, 3, 2)), torch.Generator().manual_seed(1)
    mask = MixtureMask(mask_ratio=0.5, strategies=[{"type": "TubeMask"}])(clips, (4, 8), generators)
    generators.manual_seed(1)
    torch.rand(2, generator=generators)  # what the clips were given
    assert torch.equal(mask, TubeMask(mask_ratio=0.5)(clips, (4, 8), generators))


def test_clips_draw_for_themselves_and_by_weight(make_clips):
    clips = make_clips(shape=(800, 2, 1))
    strategy = MixtureMask(strategies=[RandomMask(), {"type": "TubeMask"}], weights=[1, 3])
    mask = strategy(clips, (4, 8), clip_generators(clips))
    tubes = (mask[:, 0] == mask[:, 1]).flatten(1).all(1).float().mean()
    assert 0.69 < tubes < 0.81  # 800 draws: standard deviation 0.015


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"strategies": []}, r"strategies=\[\] must hold at least 1 strategy"),
        ({"weights": [1]}, r"weights=\[1\] must hold 2, one per strategy"),
        ({"weights": [1, 0]}, r"weights=\[1, 0\] must each be in \(0, infinity\)"),
        ({"weights": [1, float("inf")]}, r"weights=\[1, inf\] must each be in \(0, infinity\)"),
        ({"weights": [float("nan"), 1]}, r"weights=\[nan, 1\] must each be in \(0, infinity\)"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        MixtureMask(**{"strategies": [RandomMask(), TubeMask()], **arguments})
