"""Few large blocks, with the draws given so that blocks are known."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from drivemim.masking import MaskContext, MultiBlockMask

# 2 x 4 patches of 4 x 8, one with its upper left corner at (1, 2) and one at (2, 4): 14 patches.
TWO = {"blocks": 2, "min_area": 0.25, "max_area": 0.25, "min_aspect": 0.5, "max_aspect": 0.5}
MIDDLE, CORNER = (0.0, 0.0, 0.5, 0.5), (0.0, 0.0, 0.99, 0.99)


@pytest.fixture
def blocks(monkeypatch):
    """Let blocks be given rows of (size, aspect, down, across), single patches decreasing draws."""

    def give(*rows, method="draw_per_frame"):
        def drawn(context, *extra):
            frames = context.clips.shape
            if extra[-1] == 4:
                return torch.tensor(rows).expand(*frames, *extra)
            count = extra[0] * extra[1]
            return (1 - torch.arange(1.0, count + 1) / count).view(extra).expand(*frames, *extra)

        monkeypatch.setattr(MaskContext, method, drawn)

    return give


def picture(mask_hw):
    return ["".join("#" if hidden else "." for hidden in row) for row in mask_hw.tolist()]


def hide(make_clips, hidden, **arguments):
    mask = MultiBlockMask(mask_ratio=hidden / 32, **arguments)(
        make_clips(), (4, 8), torch.Generator()
    )
    return picture(mask[0, 0, 0])


def test_blocks_that_meet_the_budget(make_clips, blocks):
    blocks(MIDDLE, CORNER)
    expected = ["........", "..####..", "..######", "....####"]
    assert hide(make_clips, 14, **TWO) == expected


def test_chance_fills_the_rest_of_the_budget(make_clips, blocks):
    blocks(MIDDLE, CORNER)
    # The lowest draws are those of the last patches, in reading order, that no block covers.
    expected = ["........", "..####..", "..######", "..######"]
    assert hide(make_clips, 16, **TWO) == expected


def test_the_last_block_is_cut_from_below(make_clips, blocks):
    blocks(MIDDLE, CORNER)
    expected = ["........", "..####..", "..######", "....#..."]
    assert hide(make_clips, 11, **TWO) == expected


def test_the_first_block_is_cut_when_it_alone_exceeds_the_budget(make_clips, blocks):
    blocks(MIDDLE, CORNER)
    assert hide(make_clips, 3, **TWO) == ["........", "..###...", "........", "........"]


def test_shares_and_aspects_are_drawn_in_their_ranges(make_clips, blocks):
    # Half way from 4 to 12 patches is 8; half way (in the logarithm) from 1/4 to 1 is 1/2: 2 x 4.
    blocks((0.5, 0.5, 0.0, 0.0))
    arguments = {"min_area": 4 / 32, "max_area": 12 / 32, "min_aspect": 0.25, "max_aspect": 1.0}
    expected = ["####....", "####....", "........", "........"]
    assert hide(make_clips, 8, blocks=1, **arguments) == expected


def test_alike_in_time_draws_for_each_camera(make_clips):
    clips, generator = make_clips(shape=(2, 3, 2)), torch.Generator()
    mask = MultiBlockMask(alike_in_time=True)(clips, (8, 16), generator)
    assert torch.equal(mask, mask[:, :1].expand_as(mask))
    assert not torch.equal(mask[:, :, 0], mask[:, :, 1])
    mask = MultiBlockMask()(clips, (8, 16), generator)
    assert not torch.equal(mask[:, 0], mask[:, 1])


@settings(max_examples=40, deadline=None)
@given(
    grid=st.tuples(st.integers(1, 30), st.integers(1, 30)),
    areas=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    aspects=st.tuples(st.floats(0.01, 50), st.floats(0.01, 50)),
    draw=st.sampled_from([0.0, 0.4, 1 - 2**-24]),
)
def test_blocks_lie_within_the_grid(make_clips, grid, areas, aspects, draw):
    """Given budget for just one block, all hidden patches are a rectangle of its size."""
    strategy = MultiBlockMask(
        min_area=min(areas), max_area=max(areas), min_aspect=min(aspects),
        max_aspect=max(aspects),
    )  # fmt: skip
    draws = torch.full((1, 1, 1, 4, 4), draw)
    top, left, height, width = strategy._rectangles(draws, *grid)
    assert (height >= 1).all()
    assert (width >= 1).all()
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (top + height <= grid[0]).all()
    assert (left + width <= grid[1]).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"blocks": 0}, r"blocks=0 must be a whole number in \[1, infinity\)"),
        ({"blocks": 1.5}, r"blocks=1.5 must be a whole number in \[1, infinity\)"),
        ({"min_area": -0.1}, r"min_area=-0.1 must be in \[0, 1\]"),
        ({"max_area": 1.5}, r"max_area=1.5 must be in \[0, 1\]"),
        ({"min_area": 0.5}, r"min_area=0.5 must be in \[0, max_area=0.2\]"),
        ({"min_aspect": 0}, r"min_aspect=0 must be in \(0, max_aspect=1.5\]"),
        ({"min_aspect": 2}, r"min_aspect=2 must be in \(0, max_aspect=1.5\]"),
        ({"max_aspect": float("inf")}, r"max_aspect=inf must be in \(0, infinity\)"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        MultiBlockMask(**arguments)
