"""Guided masks: by hand on few patches, by counting on many, and as properties."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from drivemim.masking import (
    MaskScores,
    MaskStrategy,
    ObjectMask,
    clip_generators,
    num_masked_patches,
)
from drivemim.masking.guided import GuidedMask

NAN, INF = torch.nan, torch.inf


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


class ReadingOrder(MaskStrategy):
    """Hides from the first patch on; of the first frame of a clip, more than of the second."""

    def __init__(self, *, mask_ratio=0.5, budgets=None):
        super().__init__(mask_ratio=mask_ratio)
        self.budgets = budgets

    def score(self, context):
        h, w = context.grid
        scores = -torch.arange(h * w).reshape(h, w).float()
        budgets = None if self.budgets is None else torch.tensor(self.budgets)
        return MaskScores(
            scores_BTNhw=scores.expand(*context.clips.shape, h, w), num_masked_BTN=budgets
        )


def test_fraction_and_base_strategy_by_hand(make_clips):
    """8 of 16 patches: 4 by the map, wherever they are, and the first 4 of the others."""
    teacher_map = torch.tensor(
        [[0.1, 9.0, 0.2, 0.3], [0.0, 0.0, 0.0, 8.0], [7.0, 0.0, 0.0, 0.0], [0.4, 0.0, 0.0, 6.0]]
    )
    expected = torch.tensor([[1, 1, 1, 1], [1, 0, 0, 1], [1, 0, 0, 0], [0, 0, 0, 1]]).bool()
    strategy = GuidedMask(mask_ratio=0.5, budget_fraction=0.5, temperature=0, base=ReadingOrder())
    mask = strategy(make_clips(), (4, 4), seeded(), teacher_map[None, None, None])
    assert mask[0, 0, 0].equal(expected)


@pytest.mark.parametrize(("budget_fraction", "chosen"), [(0.0, 0), (0.25, 2), (1.0, 8)])
def test_fraction_of_the_budget(make_clips, budget_fraction, chosen):
    teacher_map = torch.arange(16.0).reshape(1, 1, 1, 4, 4)
    strategy = GuidedMask(
        mask_ratio=0.5, budget_fraction=budget_fraction, temperature=0, base=ReadingOrder()
    )
    mask = strategy(make_clips(), (4, 4), seeded(), teacher_map).flatten()
    assert mask.nonzero()[:, 0].tolist() == [*range(8 - chosen), *range(16 - chosen, 16)]


def test_not_a_number_is_lowest_and_infinity_is_a_number(make_clips):
    teacher_map = torch.tensor([[NAN, 1.0, INF], [-INF, -5.0, NAN]])[None, None, None]
    strategy = GuidedMask(mask_ratio=0.5, budget_fraction=1.0, temperature=0)
    mask = strategy(make_clips(), (2, 3), seeded(), teacher_map)[0, 0, 0]
    assert mask.equal(torch.tensor([[False, True, True], [False, True, False]]))


def test_a_frame_is_compared_with_itself_only(make_clips):
    clips = make_clips(shape=(2, 2, 3))
    teacher_map = torch.rand(2, 2, 3, 5, 6, generator=seeded(1))
    scale = 10.0 ** torch.arange(-6, 6).reshape(2, 2, 3, 1, 1)
    strategy = GuidedMask(hint_probability=0.2)
    masks = [
        strategy(clips, (5, 6), clip_generators(clips), each)
        for each in (teacher_map, (teacher_map - 3) * scale, teacher_map.exp())
    ]
    assert masks[0].equal(masks[1])
    assert masks[0].equal(masks[2])


@pytest.mark.parametrize(
    "hint_probability", [0.0, 0.9]
)  # so many that hints have to be hidden as well
def test_a_flat_map_gives_every_patch_the_same_chance(make_clips, hint_probability):
    clips = make_clips(shape=(2000, 1, 1), image_size=(1, 1))
    mask = GuidedMask(
        mask_ratio=0.5, budget_fraction=1.0, hint_probability=hint_probability, temperature=0
    )(clips, (2, 4), seeded(), torch.full((2000, 1, 1, 2, 4), 3.0))
    assert (mask.float().mean((0, 1, 2)) - 0.5).abs().max() < 0.05


def test_temperature_by_hand(make_clips):
    """Of four patches one is drawn, with chances proportional to exp((0, 1/4, 1/2, 3/4) / 0.5)."""
    clips = make_clips(shape=(20_000, 1, 1), image_size=(1, 1))
    teacher_map = torch.tensor([[5.0, 6.0], [70.0, 71.0]]).expand(20_000, 1, 1, 2, 2)
    strategy = GuidedMask(mask_ratio=0.25, budget_fraction=1.0, temperature=0.5)
    drawn = strategy(clips, (2, 2), seeded(), teacher_map).float().mean((0, 1, 2)).flatten()
    torch.testing.assert_close(
        drawn, torch.tensor([0.1015, 0.1674, 0.2760, 0.4551]), atol=0.015, rtol=0
    )


def test_hints_are_left_out_by_chance_and_the_next_take_their_place(make_clips):
    B, patches, budget = 500, 100, 50
    clips = make_clips(shape=(B, 1, 1), image_size=(1, 1))
    teacher_map = torch.arange(float(patches)).reshape(10, 10).expand(B, 1, 1, 10, 10)
    strategy = GuidedMask(mask_ratio=0.5, budget_fraction=1.0, hint_probability=0.2, temperature=0)
    mask = strategy(clips, (10, 10), seeded(), teacher_map).flatten(1)
    lowest = mask.byte().argmax(dim=1)
    hints = patches - lowest - budget  # visible patches above the lowest one that is hidden
    assert hints.min() >= 0
    # The number of failures before 50 successes has the mean 50 * 0.2 / 0.8.
    assert hints.float().mean().item() == pytest.approx(12.5, abs=1.0)


def test_hints_are_hidden_last(make_clips):
    """A quarter goes by the map: its hints stay visible until nothing else is left."""
    clips = make_clips(shape=(200, 1, 1), image_size=(1, 1))
    teacher_map = torch.arange(100.0).reshape(10, 10).expand(200, 1, 1, 10, 10)
    mask = GuidedMask(mask_ratio=0.8, budget_fraction=0.125, hint_probability=0.5, temperature=0)(
        clips, (10, 10), seeded(), teacher_map
    ).flatten(1)
    # 10 by the map, some 10 hints, and the other 70 hidden are among the 80 below.
    assert (mask.sum(1) == 80).all()
    assert ((~mask[:, 90:]).sum(1) > 0).all()
    assert (~mask[:, 85:]).float().mean() > 0.4
    all_hidden = GuidedMask(mask_ratio=1.0, budget_fraction=1.0, hint_probability=0.5)(
        clips, (10, 10), seeded(), teacher_map
    )
    assert all_hidden.all()


def test_frames_of_different_budgets(make_clips):
    teacher_map = torch.arange(8.0).reshape(2, 4).expand(1, 2, 1, 2, 4)
    base = ReadingOrder(budgets=[[[6], [2]]])
    strategy = GuidedMask(mask_ratio=0.5, budget_fraction=0.5, temperature=0, base=base)
    mask = strategy(make_clips(shape=(1, 2, 1)), (2, 4), seeded(), teacher_map).flatten(-2)
    assert mask[0, 0, 0].tolist() == [True, True, True, False, False, True, True, True]
    assert mask[0, 1, 0].tolist() == [True, False, False, False, False, False, False, True]


def test_the_order_of_the_cameras_does_not_matter(make_clips):
    clips = make_clips(shape=(2, 2, 3))
    poses = clips.camera_to_clip_BTN44.clone()
    poses[..., 0, 3] = torch.tensor([0.5, -1.0, 2.0])
    clips = replace(clips, camera_to_clip_BTN44=poses)
    order = [2, 0, 1]
    turned = replace(clips, camera_to_clip_BTN44=poses[:, :, order])
    teacher_map = torch.rand(2, 2, 3, 5, 6, generator=seeded(1))
    strategy = GuidedMask(hint_probability=0.2, temperature=0.5)
    mask = strategy(clips, (5, 6), clip_generators(clips), teacher_map)
    other = strategy(turned, (5, 6), clip_generators(clips), teacher_map[:, :, order])
    assert other.equal(mask[:, :, order])


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 2**31),
    mask_ratio=st.floats(0, 1),
    budget_fraction=st.floats(0, 1),
    hint_probability=st.floats(0, 0.99),
    temperature=st.sampled_from([0.0, 0.1, 10.0]),
    value=st.sampled_from([0.0, NAN, INF, -INF]),
)
def test_budget_and_determinism(
    make_clips, seed, mask_ratio, budget_fraction, hint_probability, temperature, value
):
    boxes = {(0, 0, 0): [(10.0, 10.0, 70.0, 60.0, 3, 9.0)]}
    clips = make_clips(boxes, (2, 2, 2), seed=seed)
    teacher_map = torch.randn(2, 2, 2, 8, 16, generator=seeded(seed))
    teacher_map = teacher_map.masked_fill(teacher_map > 1, value)
    guided = GuidedMask(
        mask_ratio=mask_ratio,
        budget_fraction=budget_fraction,
        hint_probability=hint_probability,
        temperature=temperature,
    )
    for strategy in (guided, ObjectMask(mask_ratio=mask_ratio, base=guided)):
        mask = strategy(clips, (8, 16), clip_generators(clips), teacher_map)
        assert (mask.sum((-2, -1)) == num_masked_patches(mask_ratio, (8, 16))).all()
        assert mask.equal(strategy(clips, (8, 16), clip_generators(clips), teacher_map))


def test_mistakes_are_named(make_clips):
    with pytest.raises(ValueError, match=r"model\.teacher=dict\(type='LossPredictor'\)"):
        GuidedMask()(make_clips(), (2, 2), seeded())
    with pytest.raises(
        ValueError, match=r"teacher_map_BTNhw of shape \(1, 1, 1, 2, 3\) .*1, 1, 2, 2"
    ):
        GuidedMask()(make_clips(), (2, 2), seeded(), torch.zeros(1, 1, 1, 2, 3))
    for arguments, message in (
        (dict(budget_fraction=1.2), r"budget_fraction=1\.2 must be in \[0, 1\]"),
        (dict(hint_probability=1.0), r"hint_probability=1\.0 must be in \[0, 1\)"),
        (dict(temperature=-0.1), r"temperature=-0\.1 must be in \[0, infinity\)"),
        (dict(mask_ratio=2), r"mask_ratio=2 must be in \[0, 1\]"),
    ):
        with pytest.raises(ValueError, match=message):
            GuidedMask(**arguments)
