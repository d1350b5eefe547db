"""Object-aware masks: by hand on 8 x 16 cells of 10 x 10 pixels, and as properties."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from drivemim.masking import (
    MaskContext,
    ObjectMask,
    RandomMask,
    TubeMask,
    cell_owners,
    clip_generators,
)
from drivemim.masking.object import hashed_uniform

GRID = (8, 16)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def scores_of(strategy, clips, generators):
    context = MaskContext(clips=clips, grid=GRID, ratio=strategy.ratio, generators=generators)
    return strategy.rank(context).scores_BTNhw


def owned(clips, grid=GRID):
    present = (clips.labels_BTNM >= 0) & clips.valid_BTN[..., None]
    return cell_owners(clips.boxes_BTNM4, clips.depths_BTNM, present, grid, clips.image_size)


def test_a_hidden_track_by_hand(make_clips):
    """A box of 4 x 4 cells: 12 are hidden, the same 12 in each frame, wherever the box is."""
    places = {(0, 0, 0): (2, 3), (0, 1, 0): (4, 3), (0, 0, 1): (0, 9), (0, 1, 1): (1, 12)}
    clips = make_clips(
        {
            frame: [(10 * column, 10 * row, 10 * column + 40, 10 * row + 40, 7, 10.0)]
            for frame, (row, column) in places.items()
        },
        (1, 2, 2),
    )
    strategy = ObjectMask(ratio=0.5, share=1.0, keep=0.25, track_hidden=1.0)
    for seed in range(20):
        mask = strategy(clips, GRID, seeded(seed))
        parts = [
            mask[frame][row : row + 4, column : column + 4]
            for frame, (row, column) in places.items()
        ]
        assert parts[0].sum() == 12
        assert all(torch.equal(part, parts[0]) for part in parts)


def test_the_same_part_of_the_object_is_kept_at_another_size(make_clips):
    """Twice as large a box keeps the same quarter of itself, up to the width of a cell."""
    clips = make_clips(
        {(0, 0, 0): [(0, 0, 80, 80, 7, 9.0)], (0, 1, 0): [(0, 0, 40, 40, 7, 9.0)]}, (1, 2, 1)
    )
    strategy = ObjectMask(ratio=0.5, share=1.0, keep=0.25, track_hidden=1.0)
    for seed in range(20):
        kept = ~strategy(clips, GRID, seeded(seed))
        large = kept[0, 0, 0, :, :8].nonzero().float().mean(0) + 0.5
        small = kept[0, 1, 0, :4, :4].nonzero().float().mean(0) + 0.5
        torch.testing.assert_close(small, large / 2, atol=0.6, rtol=0)


def test_what_is_kept_lies_together_anywhere(make_clips):
    clips = make_clips({(0, 0, 0): [(0, 0, 80, 80, 7, 9.0)]})
    strategy = ObjectMask(ratio=0.5, share=1.0, keep=4 / 64, track_hidden=1.0)
    middles = []
    for seed in range(20):
        kept = (~strategy(clips, GRID, seeded(seed))[0, 0, 0, :, :8]).nonzero()
        assert len(kept) == 4
        assert (kept.amax(0) - kept.amin(0) <= 3).all()
        middles.append(kept.float().mean(0))
    assert (torch.stack(middles).std(0) > 1).all()


def test_other_tracks_are_hidden_as_the_rest(make_clips):
    """Where nothing has to be kept, the mask is the rest's own."""
    clips = make_clips({(0, 0, 0): [(0, 0, 80, 80, 7, 9.0)]}, (1, 2, 2))
    strategy = ObjectMask(track_hidden=0.0, keep=0.0, min_visible=0, rest=TubeMask())
    generator = seeded()
    torch.rand(1, 4, generator=generator)  # what the tracks were given
    assert torch.equal(strategy(clips, GRID, seeded()), TubeMask()(clips, GRID, generator))


def test_share_limits_hidden_tracks(make_clips):
    """64 cells of budget, 16 of them for the track: it gets those, and chance for the others."""
    clips = make_clips({(0, 0, 0): [(0, 0, 160, 40, 7, 9.0)]})
    strategy = ObjectMask(ratio=0.5, share=0.25, keep=0.0, min_visible=0, track_hidden=1.0)
    scores = scores_of(strategy, clips, seeded())
    assert (scores >= 3).sum() == 16
    assert (scores[..., :4, :] >= 3).sum() == 16


def test_whole_tracks_come_first_when_the_share_is_short(make_clips):
    """Two tracks of 16 cells, a share of 16: one is hidden whole, the same one everywhere."""
    rows = [(0, 0, 40, 40, 1, 5.0), (80, 0, 120, 40, 2, 5.0)]
    clips = make_clips({(0, 0, 0): rows, (0, 1, 0): rows[::-1]}, (1, 2, 1))
    strategy = ObjectMask(ratio=0.25, share=0.5, keep=0.0, min_visible=0, track_hidden=1.0)
    first = scores_of(strategy, clips, seeded()) >= 3
    assert torch.equal(first[0, 0], first[0, 1])
    assert {int(first[0, 0, 0, :4, :4].sum()), int(first[0, 0, 0, :4, 8:12].sum())} == {0, 16}


def test_kept_cells_pay_last_when_the_budget_needs_them(make_clips):
    """One box over everything, 3/4 hidden, half to be kept: half is first, a quarter follows."""
    clips = make_clips({(0, 0, 0): [(0, 0, 160, 80, 7, 9.0)]})
    strategy = ObjectMask(ratio=0.75, share=1.0, keep=0.5, track_hidden=1.0)
    assert strategy(clips, GRID, seeded()).sum() == 96
    scores = scores_of(strategy, clips, seeded()).flatten().sort().values
    assert [int((scores.floor() == tier).sum()) for tier in range(4)] == [1, 63, 0, 64]


def test_the_nearer_object_keeps_its_own_share(make_clips):
    """A near box of 4 cells inside a far one of 16: each keeps a quarter of what it owns."""
    rows = [(0, 0, 40, 40, 1, 30.0), (10, 10, 30, 30, 2, 5.0)]
    clips = make_clips({(0, 0, 0): rows})
    mask = ObjectMask(ratio=0.5, share=1.0, keep=0.25, track_hidden=1.0)(clips, GRID, seeded())
    part = mask[0, 0, 0, :4, :4]
    assert part[1:3, 1:3].sum() == 3
    assert part.sum() == 3 + 9


def test_track_hidden_is_a_probability(make_clips):
    rows = [(10 * m, 0, 10 * m + 10, 20, m, 5.0) for m in range(16)]
    clips = make_clips({(b, 0, 0): rows for b in range(50)}, (50, 1, 1))
    strategy = ObjectMask(ratio=0.5, share=1.0, track_hidden=0.25)
    scores = scores_of(strategy, clips, clip_generators(clips))
    hidden = (scores >= 3).flatten(-2).any(-1, keepdim=True)
    assert hidden.any()
    share = (scores[:, 0, 0, :2] >= 3).any(dim=1).float().mean()
    assert 0.18 < share < 0.32  # 800 draws: standard deviation 0.015


boxes_of_a_frame = st.lists(
    st.tuples(
        st.integers(0, 140), st.integers(0, 60), st.integers(1, 120), st.integers(1, 60),
        st.integers(0, 6), st.floats(1, 60),
    ),
    max_size=8,
    unique_by=lambda row: row[4],
)  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(
    frames=st.lists(boxes_of_a_frame, min_size=4, max_size=4),
    share=st.floats(0, 1),
    keep=st.floats(0, 1),
    min_visible=st.integers(0, 3),
    track_hidden=st.floats(0, 1),
    ratio=st.floats(0, 1),
)
def test_every_object_keeps_its_share(
    make_clips, frames, share, keep, min_visible, track_hidden, ratio
):
    clips = make_clips(
        {
            (0, t, n): [
                (x, y, min(x + width, 160), min(y + height, 80), track, depth)
                for x, y, width, height, track, depth in frames[2 * t + n]
            ]
            for t in range(2)
            for n in range(2)
        },
        (1, 2, 2),
    )
    strategy = ObjectMask(
        ratio=ratio, share=share, keep=keep, min_visible=min_visible, track_hidden=track_hidden
    )
    mask = strategy(clips, GRID, seeded())
    owners = owned(clips)
    for t in range(2):
        for n in range(2):
            cells = [owners[0, t, n] == m for m in range(clips.tracks_BTNM.shape[-1])]
            cells = [own for own in cells if own.any()]
            kept = [
                min(int(o.sum()), max(min_visible, math.ceil(keep * int(o.sum()) - 1e-4)))
                for o in cells
            ]
            least = [min(int(o.sum()), min_visible) for o in cells]
            budget = round(ratio * 128)
            for own, full, small in zip(cells, kept, least, strict=True):
                visible = int((own & ~mask[0, t, n]).sum())
                if budget <= 128 - sum(kept):
                    assert visible >= full
                elif budget <= 128 - sum(least):
                    assert visible >= small


@settings(max_examples=50, deadline=None)
@given(frames=st.lists(boxes_of_a_frame, min_size=4, max_size=4), seed=st.integers(0, 99))
def test_a_track_is_hidden_in_every_frame_or_in_none(make_clips, frames, seed):
    """With room for all, a hidden track loses all but its share wherever it owns cells."""
    clips = make_clips(
        {
            (0, t, n): [
                (x, y, min(x + width, 160), min(y + height, 80), track, depth)
                for x, y, width, height, track, depth in frames[2 * t + n]
            ]
            for t in range(2)
            for n in range(2)
        },
        (1, 2, 2),
    )
    scores = scores_of(ObjectMask(ratio=1.0, share=1.0, keep=0.3), clips, seeded(seed))
    owners = owned(clips)
    hidden = {}
    for t in range(2):
        for n in range(2):
            for m, track in enumerate(clips.tracks_BTNM[0, t, n].tolist()):
                own = owners[0, t, n] == m
                count = int(own.sum())
                hideable = count - max(1, math.ceil(0.3 * count - 1e-4))
                if track < 0 or hideable <= 0:
                    continue
                first = int((scores[0, t, n][own] >= 3).sum())
                assert first in (0, hideable)
                assert hidden.setdefault(track, first > 0) == (first > 0)


def test_boxes_without_a_track_are_objects_of_their_own(make_clips):
    rows = [(10 * m, 0, 10 * m + 10, 40, -1, math.inf) for m in range(16)]
    clips = make_clips({(0, t, 0): rows for t in range(2)}, (1, 2, 1))
    scores = scores_of(ObjectMask(ratio=0.5, share=1.0), clips, seeded())
    hidden = (scores[0, :, 0, :4] >= 3).any(dim=1)
    assert 8 < hidden.sum() < 24
    assert not torch.equal(hidden[0], hidden[1])


def test_invalid_frames_have_no_objects(make_clips):
    clips = make_clips({(0, 0, 0): [(0, 0, 80, 80, 7, 9.0)]})
    clips.valid_BTN[:] = False
    strategy = ObjectMask(share=1.0, track_hidden=1.0)
    generator = seeded()
    torch.rand(1, 4, generator=generator)
    assert torch.equal(strategy(clips, GRID, seeded()), RandomMask()(clips, GRID, generator))


def test_hashed_numbers_are_uniform_and_independent():
    keys = torch.arange(40_000)
    first, second = (hashed_uniform(keys, torch.tensor(salt)) for salt in (0.1, 0.7))
    for values in (first, second):
        assert values.min() >= 0
        assert values.max() < 1
        counts = (values * 20).long().bincount(minlength=20)
        assert ((counts - 2000).abs() < 250).all()  # standard deviation 44
    assert abs(torch.corrcoef(torch.stack([first, second]))[0, 1]) < 0.03
    assert abs(torch.corrcoef(torch.stack([first[1:], first[:-1]]))[0, 1]) < 0.03
    assert torch.equal(hashed_uniform(keys[[5]], torch.tensor(0.1)), first[[5]])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"share": 1.5}, r"share=1.5 must be in \[0, 1\]"),
        ({"keep": -1}, r"keep=-1 must be in \[0, 1\]"),
        ({"track_hidden": 2}, r"track_hidden=2 must be in \[0, 1\]"),
        ({"min_visible": -1}, r"min_visible=-1 must be in \[0, infinity\)"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        ObjectMask(**arguments)
