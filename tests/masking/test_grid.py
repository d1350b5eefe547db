"""Regular patterns: a textbook's dither matrix, and evenness in every window."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from drivemim.masking import GridMask, MaskContext

# Bayer's matrix of 4 x 4, as textbooks print it.
BAYER = [[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]]


@pytest.fixture
def phase(monkeypatch):
    """Let the phase be given as fractions of the period, down and across."""

    def give(down, across):
        def drawn(context, *extra):
            return torch.tensor([down, across]).expand(*context.clips.shape, *extra)

        monkeypatch.setattr(MaskContext, "draw_per_frame", drawn)

    return give


def picture(mask_hw):
    return ["".join("#" if hidden else "." for hidden in row) for row in mask_hw.tolist()]


def hide(make_clips, mask_ratio, grid):
    return picture(GridMask(mask_ratio=mask_ratio)(make_clips(), grid, torch.Generator())[0, 0, 0])


def test_patches_come_in_the_order_of_the_dither_matrix(make_clips, phase):
    phase(0.0, 0.0)
    context = MaskContext(
        clips=make_clips(), grid=(4, 4), mask_ratio=0.5, generators=torch.Generator()
    )
    assert GridMask().score(context).scores_BTNhw[0, 0, 0].tolist() == BAYER


def test_the_phase_moves_the_matrix(make_clips, phase):
    phase(0.25, 0.5)
    context = MaskContext(
        clips=make_clips(), grid=(3, 4), mask_ratio=0.5, generators=torch.Generator()
    )
    expected = [[row[(column + 2) % 4] for column in range(4)] for row in BAYER[1:]]
    assert GridMask().score(context).scores_BTNhw[0, 0, 0].tolist() == expected


def test_no_two_patches_are_equal(make_clips):
    context = MaskContext(
        clips=make_clips(), grid=(3, 25), mask_ratio=0.5, generators=torch.Generator()
    )
    assert len(GridMask().score(context).scores_BTNhw.unique()) == 75


def test_pictures_by_hand(make_clips, phase):
    phase(0.0, 0.0)
    assert hide(make_clips, 0.75, (4, 6)) == [".#.#.#", "######", ".#.#.#", "######"]
    assert hide(make_clips, 0.5, (4, 6)) == [".#.#.#", "#.#.#.", ".#.#.#", "#.#.#."]
    assert hide(make_clips, 0.25, (4, 6)) == ["......", "#.#.#.", "......", "#.#.#."]


def test_a_grid_of_odd_size_meets_the_budget_with_patches_of_the_next_pattern(make_clips, phase):
    phase(0.0, 0.0)
    # 4 of 9 patches are to be visible, and one of every 2 x 2 is: the corners.
    assert hide(make_clips, 5 / 9, (3, 3)) == [".#.", "###", ".#."]
    # 5: the next level is the middle's, 4 in the matrix above.
    assert hide(make_clips, 4 / 9, (3, 3)) == [".#.", "#.#", ".#."]
    # 3: the highest of the four corners, 3 in the matrix above, is hidden too.
    assert hide(make_clips, 6 / 9, (3, 3)) == [".#.", "###", "##."]


@settings(max_examples=40, deadline=None)
@given(
    grid=st.tuples(st.integers(1, 30), st.integers(1, 30)),
    mask_ratio=st.floats(0, 1),
    seed=st.integers(0, 999),
)
def test_every_window_hides_about_as_much_as_any_other(make_clips, grid, mask_ratio, seed):
    """At most one patch more, whatever the mask ratio: windows of 2 x 2, 4 x 4 and 8 x 8."""
    generator = torch.Generator().manual_seed(seed)
    mask = GridMask(mask_ratio=mask_ratio)(make_clips(), grid, generator)[0, 0].float()
    for size in (2, 4, 8):
        if min(grid) >= size:
            hidden = torch.nn.functional.avg_pool2d(mask, size, stride=1) * size**2
            assert hidden.max() - hidden.min() <= 1.01


def test_three_quarters_leave_one_patch_of_every_two_by_two(make_clips):
    mask = GridMask()(make_clips(shape=(5, 2, 2)), (28, 50), torch.Generator())
    visible = torch.nn.functional.avg_pool2d((~mask).flatten(0, 2).float(), 2, stride=1)
    assert (visible == 0.25).all()


def test_every_patch_is_hidden_equally_often(make_clips):
    mask = GridMask(mask_ratio=0.6)(make_clips(shape=(100, 4, 5)), (4, 5), torch.Generator())
    often = mask.float().mean((0, 1, 2))
    # 2000 frames: standard deviation 0.011.
    torch.testing.assert_close(often, torch.full((4, 5), 0.6), atol=0.05, rtol=0)


def test_alike_in_time_draws_for_each_camera(make_clips):
    clips, generator = make_clips(shape=(2, 3, 4)), torch.Generator()
    mask = GridMask(mask_ratio=0.6, alike_in_time=True)(clips, (8, 16), generator)
    assert torch.equal(mask, mask[:, :1].expand_as(mask))
    assert not torch.equal(mask[:, :, 0], mask[:, :, 1])
    mask = GridMask(mask_ratio=0.6)(clips, (8, 16), generator)
    assert not torch.equal(mask[:, 0], mask[:, 1])
