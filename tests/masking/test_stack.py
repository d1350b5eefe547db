"""Fractions of the budget, with strategies whose order of patches is known."""

from dataclasses import replace

import pytest
import torch

from drivemim.masking import MaskContext, MaskScores, MaskStrategy, RandomMask, StackMask, TubeMask


class Order(MaskStrategy):
    """Hides the patches of 1 x 8 in the order of a row of numbers, the highest first."""

    def __init__(self, *scores):
        super().__init__()
        self.scores = torch.tensor(scores)

    def score(self, context):
        return MaskScores(scores_BTNhw=self.scores.expand(*context.clips.shape, *context.grid))


FALLING = Order(8.0, 7, 6, 5, 4, 3, 2, 1)
RISING = Order(-800.0, -700, -600, -500, -400, -300, -200, -100)
MIDDLE = Order(0.1, 0.2, 0.3, 0.9, 0.8, 0.4, 0.2, 0.1)


def hide(make_clips, hidden, strategies, budget_fractions):
    strategy = StackMask(
        mask_ratio=hidden / 8, strategies=strategies, budget_fractions=budget_fractions
    )
    mask = strategy(make_clips(shape=(2, 1, 2)), (1, 8), torch.Generator())
    assert torch.equal(mask, mask[:1, :, :1].expand_as(mask))
    return "".join(".#"[hidden] for hidden in mask[0, 0, 0, 0].int().tolist())


def test_each_hides_its_fraction(make_clips):
    assert hide(make_clips, 4, [FALLING, RISING], [0.75, 0.25]) == "###....#"
    assert hide(make_clips, 4, [FALLING, RISING], [0.25, 0.75]) == "#....###"
    assert hide(make_clips, 4, [FALLING, RISING], [1.0, 0.0]) == "####...."
    assert hide(make_clips, 4, [FALLING, RISING], [0.0, 1.0]) == "....####"
    assert hide(make_clips, 5, [MIDDLE, FALLING, RISING], [0.4, 0.4, 0.2]) == "##.##..#"


def test_a_taken_object_leaves_the_next_best(make_clips):
    """The first takes patches 0 to 3; the second, which would have begun with 3 and 4, 4 and 5."""
    assert hide(make_clips, 6, [FALLING, MIDDLE, RISING], [4 / 6, 2 / 6, 0]) == "######.."
    assert hide(make_clips, 8, [FALLING, MIDDLE], [0.5, 0.5]) == "########"


def test_shares_are_rounded_together(make_clips):
    # 1.5 of 3 patches is 2, half to even, and leaves 1.
    assert hide(make_clips, 3, [FALLING, RISING], [0.5, 0.5]) == "##.....#"
    # Three thirds of 2: up to 0.67 is 1, up to 1.33 is 1, up to 2 is 2.
    assert hide(make_clips, 2, [FALLING, MIDDLE, RISING], [1 / 3] * 3) == "#......#"


def test_one_strategy_is_itself(make_clips):
    clips, same = make_clips(shape=(2, 3, 2)), torch.Generator().manual_seed
    mask = StackMask(mask_ratio=0.5, strategies=[{"type": "TubeMask"}], budget_fractions=[1])(
        clips, (4, 8), same(1)
    )
    assert torch.equal(mask, TubeMask(mask_ratio=0.5)(clips, (4, 8), same(1)))


def test_any_number_of_patches_is_shared_in_proportion(make_clips):
    """The fractions hold if another strategy hides fewer or more patches of a frame."""
    strategy = StackMask(strategies=[FALLING, RISING], budget_fractions=[0.5, 0.5])
    context = MaskContext(
        clips=make_clips(), grid=(1, 8), mask_ratio=0.5, generators=torch.Generator()
    )
    scores = strategy.score(context).scores_BTNhw.flatten()
    # Patches 0 and 7 first, then 1 and 6; of those not chosen the last strategy's best: 5.
    assert set(scores.topk(2).indices.tolist()) == {0, 7}
    assert set(scores.topk(4).indices.tolist()) == {0, 1, 6, 7}
    assert scores.topk(8).indices.tolist()[4:] == [5, 4, 3, 2]

    uneven = StackMask(strategies=[FALLING, RISING], budget_fractions=[0.75, 0.25])
    scores = uneven.score(replace(context, mask_ratio=1.0)).scores_BTNhw.flatten()
    # 6 patches and 2: after one of each come the second and third of the first.
    assert set(scores.topk(4).indices.tolist()) == {0, 1, 2, 7}


def test_strategies_must_leave_budgets_alone(make_clips):
    for place in range(2):
        strategies = [RandomMask(), RandomMask()]
        strategies[place] = {"type": "CausalMask"}
        strategy = StackMask(strategies=strategies, budget_fractions=[0.5, 0.5])
        with pytest.raises(ValueError, match="CausalMask inside StackMask decides how many"):
            strategy(make_clips(shape=(1, 2, 1)), (1, 8), torch.Generator())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"strategies": []}, r"strategies=\[\] must hold at least 1 strategy"),
        ({"budget_fractions": [1]}, r"budget_fractions=\[1\] must hold 2, one per strategy"),
        ({"budget_fractions": [1.5, -0.5]}, r"budget_fractions\[0\]=1.5 must be in \[0, 1\]"),
        ({"budget_fractions": [0.5, -0.5]}, r"budget_fractions\[1\]=-0.5 must be in \[0, 1\]"),
        (
            {"budget_fractions": [0.5, 0.4]},
            r"budget_fractions=\[0.5, 0.4\] must have a sum of 1, not 0.9",
        ),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        StackMask(
            **{
                "strategies": [RandomMask(), TubeMask()],
                "budget_fractions": [0.5, 0.5],
                **arguments,
            }
        )


def test_shares_may_be_off_by_rounding():
    assert StackMask(
        strategies=[RandomMask()] * 3, budget_fractions=[0.333_333_3] * 3
    ).budget_fractions
