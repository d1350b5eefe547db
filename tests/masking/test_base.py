"""The contract that every mask strategy meets, and its building blocks by hand."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from drivemim.clips import Clips
from drivemim.masking import clip_generators, hidden_cells, hide_top, uniform
from drivemim.registry import MASKS

STRATEGIES = [
    {"type": "RandomMask"},
    {"type": "BlockMask"},
    {"type": "TubeMask"},
    {"type": "ObjectMask"},
    {"type": "ObjectMask", "rest": {"type": "TubeMask"}, "track_hidden": 1.0, "share": 1.0},
    {"type": "ObjectMask", "rest": {"type": "BlockMask"}, "keep": 0.0, "min_visible": 0},
]
every_strategy = pytest.mark.parametrize("config", STRATEGIES, ids=str)


def same_seed():
    return torch.Generator().manual_seed(3)


@st.composite
def scenes(draw):
    """Random boxes of a few tracks in 2 clips x 2 times x 2 cameras of 80 x 160 pixels."""
    number = st.floats(0, 1, width=32)
    box = st.tuples(number, number, number, number, st.integers(-1, 5), st.floats(1, 60))
    boxes = {}
    for frame in [(b, t, n) for b in range(2) for t in range(2) for n in range(2)]:
        rows = draw(st.lists(box, max_size=5))
        boxes[frame] = [
            (min(x1, x2) * 160, min(y1, y2) * 80, max(x1, x2) * 160, max(y1, y2) * 80, track, depth)
            for x1, y1, x2, y2, track, depth in rows
        ]
    return boxes


def test_hidden_cells_by_hand():
    assert hidden_cells(0.75, (14, 25)) == 262  # 262.5, half to even
    assert hidden_cells(0, (14, 25)) == 0
    assert hidden_cells(1, (14, 25)) == 350
    assert hidden_cells(0.5, (1, 3)) == 2


def test_hide_top_by_hand():
    scores = torch.tensor([[[0.1, 0.9], [0.5, 0.2]], [[4.0, 3.0], [2.0, 1.0]]])
    assert hide_top(scores, 2).tolist() == [
        [[False, True], [True, False]],
        [[True, True], [False, False]],
    ]


def test_hide_top_with_a_count_for_each_frame():
    scores = torch.tensor([[0.1, 0.9], [0.5, 0.2]]).expand(1, 3, 1, 2, 2)
    mask = hide_top(scores, torch.tensor([[[0], [3], [4]]]))
    assert mask[0, :, 0].flatten(1).tolist() == [[False] * 4, [False, True, True, True], [True] * 4]


def test_uniform_is_torchs_own():
    together = uniform((2, 3), same_seed(), "cpu")
    assert torch.equal(together, torch.rand(2, 3, generator=same_seed()))
    each = uniform((2, 3), [same_seed(), same_seed()], "cpu")
    assert torch.equal(each, torch.rand(3, generator=same_seed()).expand(2, 3))


def test_uniform_needs_a_generator_for_every_clip():
    with pytest.raises(ValueError, match="3 generators for 2 clips"):
        uniform((2, 3), [same_seed()] * 3, "cpu")


def test_clip_generators_follow_the_clips_seeds(make_clips):
    first, second = clip_generators(make_clips(shape=(2, 1, 1), seed=40))
    assert first.initial_seed() == 40
    assert second.initial_seed() == 41


@every_strategy
@pytest.mark.parametrize("ratio", [-0.01, 1.01, float("nan")])
def test_ratio_is_a_share(config, ratio):
    with pytest.raises(ValueError, match=r"ratio=.* must be in \[0, 1\]"):
        MASKS.build({**config, "ratio": ratio})


@every_strategy
@settings(max_examples=25, deadline=None)
@given(
    boxes=scenes(),
    ratio=st.floats(0, 1),
    grid=st.sampled_from([(4, 8), (1, 1), (3, 5), (8, 16)]),
    valid=st.booleans(),
)
def test_contract(config, make_clips, boxes, ratio, grid, valid):
    clips = make_clips(boxes, (2, 2, 2))
    clips.valid_BTN[1, 0, 1] = valid
    strategy = MASKS.build({**config, "ratio": ratio})
    mask = strategy(clips, grid, clip_generators(clips))
    assert mask.dtype == torch.bool
    assert mask.shape == (2, 2, 2, *grid)
    assert (mask.sum((-2, -1)) == hidden_cells(ratio, grid)).all()
    assert torch.equal(mask, strategy(clips, grid, clip_generators(clips)))


@every_strategy
@settings(max_examples=15, deadline=None)
@given(boxes=scenes())
def test_a_clip_does_not_depend_on_its_batch(config, make_clips, boxes):
    """Neither on its neighbours, nor on how far boxes are padded because of them."""
    rows = {frame: boxes[frame] for frame in boxes if frame[0] == 0}
    alone = make_clips(rows, (1, 2, 2), seed=5)
    crowd = make_clips({(0, 0, 0): [(0, 0, 90, 60, 1, 5)] * 9}, (1, 2, 2), seed=6)
    strategy = MASKS.build(config)
    expected = strategy(alone, (4, 8), clip_generators(alone))
    for batch, place in ((Clips.cat([alone, crowd]), 0), (Clips.cat([crowd, alone]), 1)):
        mask = strategy(batch, (4, 8), clip_generators(batch))
        assert torch.equal(mask[place], expected[0])


@every_strategy
@pytest.mark.parametrize("ratio", [0, 0.5, 1])
@pytest.mark.parametrize(
    "rows", [[], [(0, 0, 160, 80, 1, 5)], [(0, 0, 160, 80, 1, 5)] * 70], ids=["no", "one", "70"]
)
def test_degenerate_boxes(config, make_clips, ratio, rows):
    clips = make_clips({(0, 0, 0): rows}, (1, 2, 1))
    clips.valid_BTN[:] = False
    for valid in (False, True):
        clips.valid_BTN[:] = valid
        mask = MASKS.build({**config, "ratio": ratio})(clips, (4, 8), same_seed())
        assert (mask.sum((-2, -1)) == 32 * ratio).all()


@every_strategy
def test_an_empty_batch(config, make_clips):
    mask = MASKS.build(config)(make_clips(shape=(0, 2, 2)), (4, 8), [])
    assert mask.shape == (0, 2, 2, 4, 8)


@every_strategy
def test_seeds_and_frames_differ(config, make_clips):
    clips = make_clips(shape=(2, 2, 2))
    mask = MASKS.build(config)(clips, (8, 16), clip_generators(clips))
    assert not torch.equal(mask[0], mask[1])
    assert not torch.equal(mask[0, 0, 0], mask[0, 0, 1])
