"""Squares of patches, with the draws given so that their order is known."""

import pytest
import torch

from drivemim.masking import CoarsePatchMask, MaskContext


@pytest.fixture
def units(monkeypatch):
    """Let the units of every frame be given draws."""

    def give(*draws):
        def drawn(context, *extra):
            return torch.tensor(draws).expand(*context.clips.shape, *extra)

        monkeypatch.setattr(MaskContext, "draw_per_frame", drawn)

    return give


def picture(mask_hw):
    return ["".join("#" if hidden else "." for hidden in row) for row in mask_hw.tolist()]


def hide(make_clips, mask_ratio, grid, size):
    strategy = CoarsePatchMask(mask_ratio=mask_ratio, size=size)
    return picture(strategy(make_clips(), grid, torch.Generator())[0, 0, 0])


def test_units_by_hand_and_the_last_one_cut(make_clips, units):
    units(0.1, 0.9, 0.3, 0.2, 0.5, 0.8)  # two rows of three units
    assert hide(make_clips, 8 / 24, (4, 6), 2) == ["..##..", "..##..", "....##", "....##"]
    assert hide(make_clips, 11 / 24, (4, 6), 2) == ["..##..", "..##..", "..####", "..#.##"]


def test_units_at_the_border_are_smaller(make_clips, units):
    units(0.1, 0.2, 0.9, 0.3, 0.7, 0.8)  # 4, 4 and 2 patches, then 2, 2 and 1
    assert hide(make_clips, 5 / 15, (3, 5), 2) == ["....#", "....#", "..###"]
    assert hide(make_clips, 8 / 15, (3, 5), 2) == ["..#.#", "....#", "#####"]


def test_one_unit_over_everything_is_cut_row_by_row(make_clips, units):
    units(0.5)
    assert hide(make_clips, 5 / 12, (3, 4), 9) == ["####", "#...", "...."]


def test_units_of_one_patch_are_the_random_mask(make_clips, units):
    units(*[0.4, 0.1, 0.8, 0.3, 0.9, 0.2])
    assert hide(make_clips, 0.5, (2, 3), 1) == ["#.#", ".#."]


def test_every_patch_is_hidden_equally_often(make_clips):
    clips = make_clips(shape=(100, 4, 5))
    mask = CoarsePatchMask(mask_ratio=4 / 6)(clips, (4, 6), torch.Generator())
    often = mask.float().mean((0, 1, 2))
    # 2000 frames, 4 units of 6: standard deviation 0.011.
    torch.testing.assert_close(often, torch.full((4, 6), 4 / 6), atol=0.05, rtol=0)


def test_alike_in_time_draws_for_each_camera(make_clips):
    clips, generator = make_clips(shape=(2, 3, 2)), torch.Generator()
    mask = CoarsePatchMask(alike_in_time=True)(clips, (8, 16), generator)
    assert torch.equal(mask, mask[:, :1].expand_as(mask))
    assert not torch.equal(mask[:, :, 0], mask[:, :, 1])
    mask = CoarsePatchMask()(clips, (8, 16), generator)
    assert not torch.equal(mask[:, 0], mask[:, 1])


@pytest.mark.parametrize("size", [0, -1, 1.5])
def test_wrong_arguments(size):
    message = rf"size={size} must be a whole number in \[1, infinity\)"
    with pytest.raises(ValueError, match=message):
        CoarsePatchMask(size=size)
