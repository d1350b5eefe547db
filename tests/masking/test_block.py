"""Blocks, with the draws given so that rectangles are known."""

import pytest
import torch

from drivemim.masking import BlockMask, MaskContext


@pytest.fixture
def rectangles(monkeypatch):
    """Let the first draws be given rows of (size, aspect, down, across), the rest the first."""

    def give(*rows):
        def drawn(context, *extra):
            values = torch.zeros(*context.clips.shape, *extra)
            if len(extra) == 2 and extra[-1] == 4:
                values[:] = torch.tensor(rows[-1])
                values[..., : len(rows), :] = torch.tensor(rows)
            return values

        monkeypatch.setattr(MaskContext, "draw_per_frame", drawn)

    return give


def picture(mask_hw):
    return ["".join("#" if hidden else "." for hidden in row) for row in mask_hw.tolist()]


def test_one_rectangle_by_hand(make_clips, rectangles):
    # A quarter of 4 x 8 patches is 8; an aspect of 1/2 makes it 2 x 4. Its middle is at (1.5, 3.5).
    rectangles((0.0, 0.0, 0.375, 0.4375))
    strategy = BlockMask(mask_ratio=0.25, min_area=0.25, max_area=0.25, min_aspect=0.5)
    mask = strategy(make_clips(), (4, 8), torch.Generator())
    assert picture(mask[0, 0, 0]) == ["........", "..####..", "..####..", "........"]


def test_the_last_rectangle_is_cut_and_the_border_too(make_clips, rectangles):
    # The first reaches over the upper left corner (middle at 0, 0), the second is cut to 3 patches.
    rectangles((0.0, 0.5, 0.0, 0.0), (0.0, 0.5, 0.5, 0.75))
    strategy = BlockMask(mask_ratio=7 / 32, min_area=9 / 32, max_area=9 / 32, min_aspect=0.5)
    mask = strategy(make_clips(), (4, 8), torch.Generator())
    assert picture(mask[0, 0, 0]) == ["##......", "##...###", "........", "........"]


def test_rectangles_first_then_single_patches(make_clips, rectangles):
    rectangles((0.0, 0.5, 0.5, 0.5))
    strategy = BlockMask(mask_ratio=0.5, min_area=0.25, max_area=0.25, min_aspect=1.0)
    mask = strategy(make_clips(), (4, 4), torch.Generator())
    assert mask.sum() == 8
    assert mask[0, 0, 0, 1:3, 1:3].all()


def test_hidden_patches_lie_together(make_clips):
    """A hidden patch has more hidden neighbours than chance (the ratio) would give it."""
    mask = BlockMask(mask_ratio=0.5)(make_clips(shape=(20, 1, 1)), (14, 25), torch.Generator())
    both = (mask[..., 1:] & mask[..., :-1]).sum() / mask[..., :-1].sum()
    assert both > 0.8


def test_the_border_is_hidden_nearly_as_often(make_clips):
    mask = BlockMask(mask_ratio=0.5)(make_clips(shape=(500, 1, 1)), (14, 25), torch.Generator())
    often = mask.float().mean((0, 1, 2))
    assert often[5:9, 10:15].mean() < 0.65
    assert often[0].mean() > 0.3
    assert often[:, 0].mean() > 0.3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"min_area": -0.1}, r"min_area=-0.1 must be in \[0, 1\]"),
        ({"max_area": 1.5}, r"max_area=1.5 must be in \[0, 1\]"),
        ({"min_area": 0.5, "max_area": 0.2}, r"min_area=0.5 must be in \[0, max_area=0.2\]"),
        ({"min_aspect": 0}, r"min_aspect=0 must be in \(0, 1\]"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        BlockMask(**arguments)
