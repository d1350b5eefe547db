"""Object-aware masks as properties, on any boxes."""

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from drivemim.masking import MaskContext, ObjectMask, patch_owners

GRID = (8, 16)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def owned(clips, grid=GRID):
    present = (clips.labels_BTNM >= 0) & clips.valid_BTN[..., None]
    return patch_owners(clips.boxes_BTNM4, clips.depths_BTNM, present, grid, clips.image_size)


boxes_of_a_frame = st.lists(
    st.tuples(
        st.integers(0, 140), st.integers(0, 60), st.integers(1, 120), st.integers(1, 60),
        st.integers(0, 6), st.floats(1, 60),
    ),
    max_size=8,
    unique_by=lambda row: row[4],
)  # fmt: skip


def clips_of(make_clips, frames):
    """Two steps of two cameras with these boxes, cut at the image."""
    boxes = {
        (0, t, n): [
            (x, y, min(x + width, 160), min(y + height, 80), track, depth)
            for x, y, width, height, track, depth in frames[2 * t + n]
        ]
        for t in range(2)
        for n in range(2)
    }
    return make_clips(boxes, (1, 2, 2))


@settings(max_examples=100, deadline=None)
@given(
    frames=st.lists(boxes_of_a_frame, min_size=4, max_size=4),
    budget_fraction=st.floats(0, 1),
    visible_fraction=st.floats(0, 1),
    min_visible=st.integers(0, 3),
    hide_probability=st.floats(0, 1),
    mask_ratio=st.floats(0, 1),
)
def test_every_object_keeps_its_fraction(
    make_clips, frames, budget_fraction, visible_fraction, min_visible, hide_probability, mask_ratio
):
    clips = clips_of(make_clips, frames)
    strategy = ObjectMask(
        mask_ratio=mask_ratio,
        budget_fraction=budget_fraction,
        visible_fraction=visible_fraction,
        min_visible=min_visible,
        hide_probability=hide_probability,
    )
    mask = strategy(clips, GRID, seeded())
    owners = owned(clips)
    for t in range(2):
        for n in range(2):
            patches = [owners[0, t, n] == m for m in range(clips.tracks_BTNM.shape[-1])]
            patches = [own for own in patches if own.any()]
            kept = [
                min(
                    int(o.sum()),
                    max(min_visible, math.ceil(visible_fraction * int(o.sum()) - 1e-4)),
                )
                for o in patches
            ]
            least = [min(int(o.sum()), min_visible) for o in patches]
            budget = round(mask_ratio * 128)
            for own, full, small in zip(patches, kept, least, strict=True):
                visible = int((own & ~mask[0, t, n]).sum())
                if budget <= 128 - sum(kept):
                    assert visible >= full
                elif budget <= 128 - sum(least):
                    assert visible >= small


@settings(max_examples=50, deadline=None)
@given(frames=st.lists(boxes_of_a_frame, min_size=4, max_size=4), seed=st.integers(0, 99))
def test_a_track_is_hidden_in_every_frame_or_in_none(make_clips, frames, seed):
    """With room for all, a hidden track loses all but its fraction wherever it owns patches."""
    clips = clips_of(make_clips, frames)
    context = MaskContext(clips=clips, grid=GRID, mask_ratio=1.0, generators=seeded(seed))
    scores = (
        ObjectMask(mask_ratio=1.0, budget_fraction=1.0, visible_fraction=0.3)
        .score(context)
        .scores_BTNhw
    )
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
                first = int((scores[0, t, n][own] >= 1).sum())
                assert first in (0, hideable)
                assert hidden.setdefault(track, first > 0) == (first > 0)


many_boxes = st.lists(
    st.tuples(
        st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1),
        st.integers(-1, 3), st.sampled_from([5.0, 9.0, math.inf]), st.integers(0, 1),
    ),
    max_size=130,
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    rows=many_boxes,
    small=st.floats(0.02, 1),
    mode=st.sampled_from(["prefer", "quota", "protect"]),
    budget_fraction=st.sampled_from([1.0, 0.3, {"pedestrian": 0.4, "vehicle": 0.6}]),
    visible_fraction=st.sampled_from([0.0, 0.3]),
    min_visible=st.integers(1, 3),
    grid_and_mask_ratio=st.sampled_from(
        [
            ((14, 25), 0.75),
            ((7, 13), 0.75),
            ((5, 3), 0.75),
            ((28, 50), 0.75),
            ((14, 25), 0.9),
            ((9, 11), 0.6),
            ((4, 4), 0.5),
        ]  # fmt: skip
    ),
    seed=st.integers(0, 99),
)
def test_no_object_of_four_patches_is_hidden_whole(
    make_clips,
    rows,
    small,
    mode,
    budget_fraction,
    visible_fraction,
    min_visible,
    grid_and_mask_ratio,
    seed,
):
    """Four at a ratio of 3/4; in general, one of at least 1 / (1 - mask_ratio) patches."""
    grid, mask_ratio = grid_and_mask_ratio
    boxes = [
        (
            x * 160,
            y * 80,
            min(160, (x + wide * small) * 160),
            min(80, (y + high * small) * 80),
            t,
            d,
        )
        for x, y, wide, high, t, d, _ in rows
    ]
    clips = make_clips({(0, 0, 0): boxes})
    clips.labels_BTNM[0, 0, 0] = torch.tensor([row[-1] for row in rows], dtype=torch.int64)
    strategy = ObjectMask(
        mask_ratio=mask_ratio,
        mode=mode,
        budget_fraction=budget_fraction,
        visible_fraction=visible_fraction,
        min_visible=min_visible,
        hide_probability=1.0,
    )
    mask = strategy(clips, grid, seeded(seed))
    owners = owned(clips, grid)
    least = round(1 / (1 - mask_ratio), 6)
    for m in range(len(rows)):
        own = owners == m
        assert own.sum() < least or (own & ~mask).any()
    # Nor is any other, if there are no more objects than patches left to see.
    budget = round(mask_ratio * grid[0] * grid[1])
    if len(owners[owners >= 0].unique()) <= grid[0] * grid[1] - budget:
        assert all((~mask[owners == m]).any() for m in owners[owners >= 0].unique())
