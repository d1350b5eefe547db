"""Object-aware masks by hand, on 8 x 16 patches of 10 x 10 pixels."""

import dataclasses

import pytest
import torch

from drivemim.masking import (
    MaskContext,
    MaskScores,
    ObjectMask,
    RandomMask,
    TubeMask,
    clip_generators,
)

GRID = (8, 16)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def scores_of(strategy, clips, generators):
    context = MaskContext(
        clips=clips, grid=GRID, mask_ratio=strategy.mask_ratio, generators=generators
    )
    return strategy.score(context).scores_BTNhw


def test_a_hidden_track_by_hand(make_clips):
    """A box of 4 x 4 patches: 12 are hidden, the same 12 in each frame, wherever the box is."""
    places = {(0, 0, 0): (2, 3), (0, 1, 0): (4, 3), (0, 0, 1): (0, 9), (0, 1, 1): (1, 12)}
    clips = make_clips(
        {
            frame: [(10 * column, 10 * row, 10 * column + 40, 10 * row + 40, 7, 10.0)]
            for frame, (row, column) in places.items()
        },
        (1, 2, 2),
    )
    strategy = ObjectMask(
        mask_ratio=0.5, budget_fraction=1.0, visible_fraction=0.25, hide_probability=1.0
    )
    for seed in range(20):
        mask = strategy(clips, GRID, seeded(seed))
        parts = [
            mask[frame][row : row + 4, column : column + 4]
            for frame, (row, column) in places.items()
        ]
        assert parts[0].sum() == 12
        assert all(torch.equal(part, parts[0]) for part in parts)


def test_the_same_part_of_the_object_is_kept_at_another_size(make_clips):
    """Twice as large a box keeps the same quarter of itself, up to the width of a patch."""
    clips = make_clips(
        {(0, 0, 0): [(0, 0, 80, 80, 7, 9.0)], (0, 1, 0): [(0, 0, 40, 40, 7, 9.0)]}, (1, 2, 1)
    )
    strategy = ObjectMask(
        mask_ratio=0.5, budget_fraction=1.0, visible_fraction=0.25, hide_probability=1.0
    )
    for seed in range(20):
        kept = ~strategy(clips, GRID, seeded(seed))
        large = kept[0, 0, 0, :, :8].nonzero().float().mean(0) + 0.5
        small = kept[0, 1, 0, :4, :4].nonzero().float().mean(0) + 0.5
        torch.testing.assert_close(small, large / 2, atol=0.6, rtol=0)


def test_kept_patches_lie_together(make_clips):
    clips = make_clips({(0, 0, 0): [(0, 0, 80, 80, 7, 9.0)]})
    strategy = ObjectMask(
        mask_ratio=0.5, budget_fraction=1.0, visible_fraction=4 / 64, hide_probability=1.0
    )
    middles = []
    for seed in range(20):
        kept = (~strategy(clips, GRID, seeded(seed))[0, 0, 0, :, :8]).nonzero()
        assert len(kept) == 4
        assert (kept.amax(0) - kept.amin(0) <= 3).all()
        middles.append(kept.float().mean(0))
    assert (torch.stack(middles).std(0) > 1).all()


def test_other_tracks_are_hidden_as_the_base_strategy(make_clips):
    """If no patch has to be kept, the mask is that of the base strategy."""
    clips = make_clips({(0, 0, 0): [(0, 0, 80, 80, 7, 9.0)]}, (1, 2, 2))
    strategy = ObjectMask(
        hide_probability=0.0, visible_fraction=0.0, min_visible=0, base=TubeMask()
    )
    generator = seeded()
    torch.rand(1, 5, generator=generator)  # what the tracks were given
    assert torch.equal(strategy(clips, GRID, seeded()), TubeMask()(clips, GRID, generator))


def test_fraction_limits_hidden_tracks(make_clips):
    """64 patches of budget, 16 of them for the track: it gets those, and chance for the others."""
    clips = make_clips({(0, 0, 0): [(0, 0, 160, 40, 7, 9.0)]})
    strategy = ObjectMask(
        mask_ratio=0.5, budget_fraction=0.25, visible_fraction=0.0, min_visible=0,
        hide_probability=1.0,
    )  # fmt: skip
    scores = scores_of(strategy, clips, seeded())
    assert (scores >= 1).sum() == 16
    assert (scores[..., :4, :] >= 1).sum() == 16


def test_whole_tracks_come_first_when_the_fraction_is_short(make_clips):
    """Two tracks of 16 patches, 16 patches for objects: one is hidden, the same everywhere."""
    rows = [(0, 0, 40, 40, 1, 5.0), (80, 0, 120, 40, 2, 5.0)]
    clips = make_clips({(0, 0, 0): rows, (0, 1, 0): rows[::-1]}, (1, 2, 1))
    strategy = ObjectMask(
        mask_ratio=0.25, budget_fraction=0.5, visible_fraction=0.0, min_visible=0,
        hide_probability=1.0,
    )  # fmt: skip
    first = scores_of(strategy, clips, seeded()) >= 1
    assert torch.equal(first[0, 0], first[0, 1])
    assert {int(first[0, 0, 0, :4, :4].sum()), int(first[0, 0, 0, :4, 8:12].sum())} == {0, 16}


def test_kept_patches_pay_last_when_the_budget_needs_them(make_clips):
    """One box over everything, 3/4 hidden, half to be kept: half is first, a quarter follows."""
    clips = make_clips({(0, 0, 0): [(0, 0, 160, 80, 7, 9.0)]})
    strategy = ObjectMask(
        mask_ratio=0.75, budget_fraction=1.0, visible_fraction=0.5, hide_probability=1.0
    )
    assert strategy(clips, GRID, seeded()).sum() == 96
    levels = scores_of(strategy, clips, seeded()).floor()
    # From the object's last patch upwards: the least visible, kept, spared, open, first.
    expected = {-5: 1, -3: 0, -2: 63, -1: 0, 0: 0, 1: 64}
    assert {level: int((levels == level).sum()) for level in expected} == expected


def test_the_nearer_object_keeps_its_own_fraction(make_clips):
    """A near box of 4 patches inside a far one of 16: each keeps a quarter of what it owns."""
    rows = [(0, 0, 40, 40, 1, 30.0), (10, 10, 30, 30, 2, 5.0)]
    clips = make_clips({(0, 0, 0): rows})
    mask = ObjectMask(
        mask_ratio=0.5, budget_fraction=1.0, visible_fraction=0.25, hide_probability=1.0
    )(clips, GRID, seeded())
    part = mask[0, 0, 0, :4, :4]
    assert part[1:3, 1:3].sum() == 3
    assert part.sum() == 3 + 9


def test_invalid_frames_have_no_objects(make_clips):
    clips = make_clips({(0, 0, 0): [(0, 0, 80, 80, 7, 9.0)]})
    clips.valid_BTN[:] = False
    strategy = ObjectMask(budget_fraction=1.0, hide_probability=1.0)
    generator = seeded()
    torch.rand(1, 5, generator=generator)
    assert torch.equal(strategy(clips, GRID, seeded()), RandomMask()(clips, GRID, generator))


def labelled(clips, labels):
    """The same clips, whose boxes at each position have these labels in every frame."""
    clips.labels_BTNM[:] = torch.tensor(labels)
    return clips


def test_balance_gives_objects_their_fraction_and_no_more(make_clips):
    """Two boxes of 32 patches, budget 64, a quarter of it: 16, all of one track, in every frame."""
    rows = [(0, 0, 80, 40, 1, 5.0), (80, 40, 160, 80, 2, 5.0)]
    clips = make_clips({(0, t, n): rows for t in range(2) for n in range(2)}, (1, 2, 2))
    strategy = ObjectMask(mask_ratio=0.5, mode="quota", budget_fraction=0.25, visible_fraction=0.25)
    chosen = set()
    for seed in range(20):
        mask = strategy(clips, GRID, seeded(seed))
        counts = [mask[..., :4, :8].sum((-2, -1)), mask[..., 4:, 8:].sum((-2, -1))]
        assert (counts[0] + counts[1] == 16).all()
        for count in counts:
            assert (count == count[0, 0, 0]).all()
            assert int(count[0, 0, 0]) in (0, 16)
        chosen.add(int(counts[0][0, 0, 0]))
    assert chosen == {0, 16}


def test_a_large_quota_hides_all_but_the_kept_patches(make_clips):
    clips = make_clips({(0, 0, 0): [(0, 0, 40, 40, 1, 5.0)]})
    strategy = ObjectMask(mask_ratio=0.5, mode="quota", budget_fraction=0.5, visible_fraction=0.25)
    assert strategy(clips, GRID, seeded())[..., :4, :4].sum() == 12


def test_a_fraction_for_each_class(make_clips):
    """Pedestrians of 8 patches and vehicles of 32: 10 % of 64 is 6, 25 % is 16."""
    rows = [(0, 0, 20, 40, 1, 5.0), (30, 0, 50, 40, 2, 5.0), (80, 0, 160, 40, 3, 5.0)]
    clips = labelled(make_clips({(0, t, 0): rows for t in range(2)}, (1, 2, 1)), [0, 0, 1])
    strategy = ObjectMask(
        mask_ratio=0.5,
        mode="quota",
        budget_fraction={"pedestrian": 0.1, "vehicle": 0.25},
        visible_fraction=0.25,
    )
    for seed in range(10):
        mask = strategy(clips, GRID, seeded(seed))
        assert (mask[..., :4, [0, 1, 3, 4]].sum((-2, -1)) == 6).all()
        assert (mask[..., :4, 8:].sum((-2, -1)) == 16).all()


@pytest.mark.parametrize("mode", ["prefer", "quota"])
def test_a_class_without_a_budget_fraction_has_none(make_clips, mode):
    rows = [(0, 0, 80, 40, 1, 5.0), (80, 0, 160, 40, 2, 5.0)]
    clips = labelled(make_clips({(0, 0, 0): rows}), [0, 1])
    strategy = ObjectMask(
        mode=mode, budget_fraction={"vehicle": 0.3}, visible_fraction=0.3, hide_probability=1.0
    )
    first = scores_of(strategy, clips, seeded()) >= 1
    assert first[..., :8].sum() == 0
    assert first[..., 8:].sum() == min(round(0.3 * 96), 32 - 10)


def test_spared_objects_are_hidden_last(make_clips):
    """32 of 128 patches belong to the object: a budget of 96 hides all others, one of 100 four."""
    clips = make_clips({(0, 0, 0): [(0, 0, 80, 40, 1, 5.0)]})
    for budget, hidden in ((64, 0), (96, 0), (100, 4), (128, 32)):
        strategy = ObjectMask(mask_ratio=budget / 128, mode="protect", hide_probability=1.0)
        assert strategy(clips, GRID, seeded())[..., :4, :8].sum() == hidden


def test_a_hidden_track_is_left_to_see_at_some_of_the_times(make_clips):
    """Budget 64 of 128, 16 the track's: hidden but for its quarter, or wholly visible."""
    row = (0, 0, 40, 40, 7, 9.0)
    clips = make_clips({(0, t, n): [row] for t in range(4) for n in range(2)}, (1, 4, 2))
    times = torch.zeros(4)
    for seed in range(200):
        strategy = ObjectMask(
            mask_ratio=0.5,
            budget_fraction=1.0,
            visible_fraction=0.25,
            hide_probability=1.0,
            num_peek_frames=1,
        )
        hidden = strategy(clips, GRID, seeded(seed))[0, ..., :4, :4].sum((-2, -1))
        assert torch.equal(hidden[:, 0], hidden[:, 1])
        assert sorted(hidden[:, 0].tolist()) == [0, 12, 12, 12]
        times[hidden[:, 0] == 0] += 1
    assert (times > 25).all()  # 50 each, standard deviation 6


@pytest.mark.parametrize(("num_peek_frames", "seen"), [(0, 0), (2, 2), (4, 4), (9, 4)])
@pytest.mark.parametrize("mode", ["prefer", "quota"])
def test_the_number_of_peek_frames(make_clips, mode, num_peek_frames, seen):
    clips = make_clips({(0, t, 0): [(0, 0, 40, 40, 7, 9.0)] for t in range(4)}, (1, 4, 1))
    strategy = ObjectMask(
        mask_ratio=0.5,
        mode=mode,
        budget_fraction=1.0,
        visible_fraction=0.25,
        hide_probability=1.0,
        num_peek_frames=num_peek_frames,
    )
    hidden = strategy(clips, GRID, seeded())[0, :, 0, :4, :4].sum((-2, -1))
    assert int((hidden == 0).sum()) == seen
    assert int((hidden == 12).sum()) == 4 - seen


class ReadingOrder(RandomMask):
    """Hides the bottom of the image first."""

    def score(self, context):
        h, w = context.grid
        scores_hw = torch.arange(h * w, dtype=torch.float32).reshape(h, w)
        return MaskScores(scores_BTNhw=scores_hw.expand(*context.clips.shape, h, w))


def test_other_tracks_keep_what_the_base_strategy_would_hide_last(make_clips):
    """Of 4 x 4 patches at the bottom, where all is hidden, the upper row stays."""
    clips = make_clips({(0, 0, 0): [(40, 40, 80, 80, 7, 9.0)]})
    mask = ObjectMask(
        mask_ratio=0.75, visible_fraction=0.25, hide_probability=0.0, base=ReadingOrder()
    )(clips, GRID, seeded())[0, 0, 0]
    assert mask[4:, 4:8].all(dim=1).tolist() == [False, True, True, True]
    assert not mask[4, 4:8].any()
    assert mask.sum() == 96


class Uneven(RandomMask):
    """Hides 32 and 96 of the patches of two times."""

    def score(self, context):
        budgets = torch.tensor([32, 96])[None, :, None].expand(context.clips.shape)
        return MaskScores(scores_BTNhw=super().score(context).scores_BTNhw, num_masked_BTN=budgets)


def test_the_fraction_is_of_the_frames_own_budget(make_clips):
    clips = make_clips({(0, t, 0): [(0, 0, 80, 80, 7, 9.0)] for t in range(2)}, (1, 2, 1))
    strategy = ObjectMask(mask_ratio=0.5, mode="quota", budget_fraction=0.25, base=Uneven())
    mask = strategy(clips, GRID, seeded())[0, :, 0]
    assert mask.sum((-2, -1)).tolist() == [32, 96]
    # A quarter of 96 is 24, but the other patches are no more than 64: 32 are missing.
    assert mask[..., :8].sum((-2, -1)).tolist() == [8, 32]


def test_when_not_every_object_can_keep_a_patch_the_larger_ones_do(make_clips):
    """32 patches to see, 16 objects of 4 patches and 64 of one: 16 of the 64 keep theirs."""
    large = [(40 * m, 20 * n, 40 * m + 40, 20 * n + 10, 4 * n + m, 5.0)
             for m in range(4) for n in range(4)]  # fmt: skip
    small = [(10 * m, 20 * n + 10, 10 * m + 10, 20 * n + 20, 100 + 16 * n + m, 5.0)
             for m in range(16) for n in range(4)]  # fmt: skip
    clips = make_clips({(0, 0, 0): small + large})
    mask = ObjectMask(mask_ratio=0.75, budget_fraction=1.0, hide_probability=1.0)(
        clips, GRID, seeded()
    )[0, 0, 0]
    assert (mask[::2].reshape(4, 4, 4).sum(-1) == 3).all()
    assert mask[1::2].sum() == 48


def shuffled(clips, cameras, boxes):
    """The same clips with cameras and the boxes of every frame in another order."""
    lists = {
        name: getattr(clips, name)[:, :, cameras][:, :, :, boxes]
        for name in ("boxes_BTNM4", "labels_BTNM", "tracks_BTNM", "depths_BTNM")
    }
    frames = {
        name: getattr(clips, name)[:, :, cameras]
        for name in ("intrinsics_BTN33", "camera_to_clip_BTN44", "valid_BTN")
    }
    return dataclasses.replace(clips, **lists, **frames)


@pytest.mark.parametrize("mode", ["prefer", "quota", "protect"])
@pytest.mark.parametrize("tracked", [True, False])
def test_the_order_of_cameras_and_of_boxes_does_not_matter(make_clips, mode, tracked):
    draw = torch.Generator().manual_seed(5)
    boxes = {}
    for frame in [(b, t, n) for b in range(2) for t in range(2) for n in range(3)]:
        corners = torch.rand(6, 5, generator=draw).tolist()
        boxes[frame] = [
            (
                a * 100,
                b * 50,
                a * 100 + 8 + c * 50,
                b * 50 + 8 + d * 20,
                m if tracked else -1,
                1 + e,
            )
            for m, (a, b, c, d, e) in enumerate(corners)
        ]
    clips = make_clips(boxes, (2, 2, 3))
    clips.intrinsics_BTN33[:, :, :, 0, 0] = torch.tensor([100.0, 130.0, 90.0])
    cameras, order = torch.tensor([2, 0, 1]), torch.tensor([3, 5, 0, 1, 4, 2])
    strategy = ObjectMask(mode=mode, budget_fraction=0.3, num_peek_frames=1)
    mask = strategy(clips, GRID, clip_generators(clips))
    other = strategy(shuffled(clips, cameras, order), GRID, clip_generators(clips))
    assert torch.equal(other, mask[:, :, cameras])


def test_a_batch_of_clips_without_boxes_is_masked_as_the_base_strategy(make_clips):
    clips = make_clips(shape=(2, 1, 2))
    assert clips.boxes_BTNM4.shape[3] == 0
    generator = seeded()
    torch.rand(2, 5, generator=generator)
    assert torch.equal(ObjectMask()(clips, GRID, seeded()), RandomMask()(clips, GRID, generator))


def test_more_boxes_than_the_sort_key_holds(make_clips):
    clips = make_clips({(0, 0, 0): [(0, 0, 40, 40, 7, 9.0)]}, padding=4095)
    with pytest.raises(ValueError, match="4096 boxes in a frame; object masks take up to"):
        ObjectMask()(clips, GRID, seeded())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"budget_fraction": 1.5}, r"budget_fraction=1.5 must be in \[0, 1\]"),
        ({"visible_fraction": -1}, r"visible_fraction=-1 must be in \[0, 1\]"),
        ({"hide_probability": 2}, r"hide_probability=2 must be in \[0, 1\]"),
        ({"min_visible": -1}, r"min_visible=-1 must be a whole number in \[0, infinity\)"),
        ({"num_peek_frames": -1}, r"num_peek_frames=-1 must be a whole number in \[0, infinity\)"),
        ({"mode": "protected"}, "mode='protected' must be one of prefer, quota, protect"),
        (
            {"budget_fraction": {"vehicle": 1.1}},
            r"budget_fraction of vehicle=1.1 must be in \[0, 1\]",
        ),
        ({"budget_fraction": {"pedestrian": 0.6, "vehicle": 0.5}}, "must have a sum of at most 1"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        ObjectMask(**arguments)


def test_a_budget_fraction_is_for_the_classes_of_the_clips(make_clips):
    """Three objects of 16 patches: the tram gets 8, an eighth of the budget, the others none."""
    rows = [(0, 0, 40, 40, 1, 5.0), (40, 0, 80, 40, 2, 5.0), (80, 0, 120, 40, 3, 5.0)]
    clips = labelled(make_clips({(0, 0, 0): rows}), [0, 1, 2])
    clips = dataclasses.replace(clips, classes=("pedestrian", "cyclist", "tram"))
    strategy = ObjectMask(
        mask_ratio=0.5, mode="quota", budget_fraction={"tram": 0.125}, visible_fraction=0.0
    )
    mask_hw = strategy(clips, GRID, seeded())[0, 0, 0]
    assert mask_hw[:4, 8:12].sum() == 8
    assert mask_hw[:4, :8].sum() == 0
    assert mask_hw.sum() == 64
    wrong = ObjectMask(budget_fraction={"pedestrain": 0.1})
    with pytest.raises(
        ValueError, match="budget_fraction: 'pedestrain' is none of .*, tram; did .*'pedestrian'"
    ):
        wrong(clips, GRID, seeded())
