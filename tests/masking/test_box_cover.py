"""Owners of patches: by hand, and against loops."""

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from drivemim.masking import patch_owners
from drivemim.masking.box_cover import first_cover, span


def owners(boxes, depths=None, present=None, grid=(4, 8), size=(40, 80)):
    depths = [1.0] * len(boxes) if depths is None else depths
    present = [True] * len(boxes) if present is None else present
    return patch_owners(
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        torch.tensor(depths, dtype=torch.float32),
        torch.tensor(present, dtype=torch.bool),
        grid,
        size,
    )


def picture(owners_hw):
    return ["".join(".abcdef"[owner + 1] for owner in row) for row in owners_hw.tolist()]


def test_a_box_owns_the_patches_whose_middle_it_covers():
    expected = [".aaaa...", ".aaaa...", ".aaaa...", "........"]
    assert picture(owners([[14, 4, 46, 26]])) == expected


def test_a_box_without_any_middle_owns_the_patch_of_its_own():
    assert picture(owners([[21, 11, 24, 13]])) == ["........", "..a.....", "........", "........"]


def test_a_thin_box_owns_a_column():
    assert picture(owners([[57, 3, 59, 38]])) == [".....a.."] * 4


def test_a_box_at_the_far_corner_stays_inside():
    assert picture(owners([[79.9, 39.9, 80, 40]]))[3] == ".......a"
    assert picture(owners([[80, 40, 80, 40]]))[3] == ".......a"


def test_the_nearest_box_owns_the_patch():
    boxes = [[0, 0, 40, 40], [20, 10, 80, 30]]
    assert picture(owners(boxes, [5, 9])) == ["aaaa....", "aaaabbbb", "aaaabbbb", "aaaa...."]
    assert picture(owners(boxes, [9, 5])) == ["aaaa....", "aabbbbbb", "aabbbbbb", "aaaa...."]


def test_without_depth_the_smaller_box_is_in_front():
    boxes = [[0, 0, 80, 40], [20, 10, 40, 30]]
    expected = ["aaaaaaaa", "aabbaaaa", "aabbaaaa", "aaaaaaaa"]
    assert picture(owners(boxes, [math.inf, math.inf])) == expected
    assert picture(owners(boxes, [8, math.inf])) == ["aaaaaaaa"] * 4


def test_padding_and_no_boxes_own_nothing():
    assert (owners([[0, 0, 80, 40]], present=[False]) == -1).all()
    assert (owners([]) == -1).all()
    assert owners([]).shape == (4, 8)


def reference(boxes, depths, grid, size):
    (h, w), (height, width) = grid, size
    result = [[-1] * w for _ in range(h)]
    area = [(x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in boxes]
    order = sorted(range(len(boxes)), key=lambda m: (depths[m], area[m]))

    def covers(low, high, patch, length):
        return low <= patch + 0.5 < high or patch == min(math.floor((low + high) / 2), length - 1)

    for row in range(h):
        for column in range(w):
            for m in order:
                x1, y1, x2, y2 = boxes[m]
                if covers(y1 * h / height, y2 * h / height, row, h) and covers(
                    x1 * w / width, x2 * w / width, column, w
                ):
                    result[row][column] = m
                    break
    return result


eighths = st.integers(0, 640).map(lambda value: value / 8)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.tuples(eighths, eighths, eighths, eighths, st.integers(1, 4)), max_size=130)
)
def test_many_boxes_against_loops(rows):
    boxes = [
        [min(x1, x2), min(y1, y2) / 2, max(x1, x2), max(y1, y2) / 2] for x1, y1, x2, y2, _ in rows
    ]
    depths = [float(row[-1]) for row in rows]
    assert owners(boxes, depths).tolist() == reference(boxes, depths, (4, 8), (40, 80))


def test_a_middle_on_the_border_of_two_patches_is_the_second_ones():
    """A box from 45 to 55, patches of 10: it covers the centre of patch 4; its own is in 5."""
    assert picture(owners([[45, 0, 55, 10]])) == ["....aa..", *["........"] * 3]


def test_frames_are_independent():
    one, other = [[0, 0, 20, 20.0]], [[40, 20, 80, 40.0]]
    batched = patch_owners(
        torch.tensor([one, other]),
        torch.ones(2, 1),
        torch.ones(2, 1, dtype=torch.bool),
        (4, 8),
        (40, 80),
    )
    assert picture(batched[0]) == picture(owners(one))
    assert picture(batched[1]) == picture(owners(other))


def test_first_cover_beyond_one_integer():
    rows, columns = torch.zeros(200, 2, dtype=torch.bool), torch.ones(200, 3, dtype=torch.bool)
    rows[59, 0] = rows[60, 0] = True
    rows[199, 1] = True
    assert first_cover(rows, columns).tolist() == [[59] * 3, [199] * 3]


def test_span_by_hand():
    assert span(torch.tensor([1.0, -3]), torch.tensor([3.0, 1]), 4).tolist() == [
        [False, True, True, False],
        [True, False, False, False],
    ]
