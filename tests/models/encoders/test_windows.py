"""Window attention against loops in float64 and against global attention."""

import math
from typing import Any

import pytest
import torch
from torch import nn

from drivemim.errors import ConfigError
from drivemim.models.encoders.vit import ViT
from drivemim.models.encoders.windows import WindowBlock, Windows, attend_in_windows
from drivemim.models.layers import SelfAttention
from drivemim.models.patches import PatchMask

SMALL = dict(embed_dims=32, depth=4, num_heads=4, patch_size=8)


def encode(encoder: Any, images_XCHW: torch.Tensor, mask_Xhw: torch.Tensor) -> torch.Tensor:
    mask = PatchMask.from_tensor(mask_Xhw, 8)
    tokens_XKD: torch.Tensor = encoder.forward_masked(images_XCHW, mask).tokens_XKD
    return tokens_XKD


def build(**changes: object) -> ViT:
    torch.manual_seed(0)
    return ViT(**{**SMALL, **changes}).eval()


def images(h: int, w: int, count: int = 2) -> torch.Tensor:
    return torch.randn(count, 3, 8 * h, 8 * w, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("grid", "size", "counts", "sides"),
    [
        ((28, 50), 14, (2, 4), (14, 13)),  # 448 x 800: two columns over the edge, not six
        ((56, 100), 14, (4, 8), (14, 13)),
        ((4, 6), 2, (2, 3), (2, 2)),
        ((5, 7), 3, (2, 3), (3, 3)),
        ((1, 9), 4, (1, 3), (1, 3)),
        ((3, 3), 1, (3, 3), (1, 1)),
    ],
)
def test_a_grid_is_cut_as_counted_by_hand_and_put_together_again(
    grid: tuple[int, int], size: int, counts: tuple[int, int], sides: tuple[int, int]
) -> None:
    windows = Windows(grid, size, torch.device("cpu"))
    assert (windows.counts, windows.sides) == (counts, sides)
    tokens = torch.arange(2.0 * grid[0] * grid[1] * 3).reshape(2, -1, 3)
    pieces = windows.split(tokens)
    assert pieces.shape == (2 * counts[0] * counts[1], sides[0] * sides[1], 3)
    assert torch.equal(windows.join(pieces), tokens)
    reaches_over = counts[0] * sides[0] > grid[0] or counts[1] * sides[1] > grid[1]
    assert (windows.inside_WS is not None) == reaches_over
    if windows.inside_WS is not None:
        assert int(windows.inside_WS.sum()) == grid[0] * grid[1]
        assert windows.inside_WS.any(dim=1).all(), "a window without patches would be NaN"


@pytest.mark.parametrize(("grid", "size"), [((4, 6), 2), ((5, 7), 3), ((2, 5), 4)])
def test_attention_is_that_of_explicit_loops(grid: tuple[int, int], size: int) -> None:
    torch.manual_seed(0)
    attention = SelfAttention(8, 2).double()
    nn.init.normal_(attention.qkv.bias)  # what is over the edge would be seen through it
    tokens = torch.randn(2, grid[0] * grid[1], 8, dtype=torch.float64)
    found = attend_in_windows(attention, tokens, Windows(grid, size, tokens.device))
    side = [math.ceil(n / math.ceil(n / size)) for n in grid]
    window = [(row // side[0], column // side[1]) for row in range(grid[0])
              for column in range(grid[1])]  # fmt: skip
    queries, keys, values = attention.qkv(tokens).detach().chunk(3, dim=-1)
    for image in range(2):
        for patch in range(len(window)):
            seen = [other for other in range(len(window)) if window[other] == window[patch]]
            mixed = torch.zeros(8, dtype=torch.float64)
            for channels in (slice(0, 4), slice(4, 8)):
                scores = [
                    (queries[image, patch, channels] * keys[image, other, channels]).sum() / 2.0
                    for other in seen
                ]
                total = sum(math.exp(score) for score in scores)
                for score, other in zip(scores, seen, strict=True):
                    mixed[channels] += math.exp(score) / total * values[image, other, channels]
            torch.testing.assert_close(found[image, patch], attention.proj(mixed))


def test_a_patch_attends_to_its_window_only() -> None:
    # Windows of 2 x 2; what comes out is the first block's map, the second is the global one.
    model = build(depth=2, window_size=2, global_blocks=1, out_indices=(0,))
    assert isinstance(model.blocks[0], WindowBlock)
    before = model(images(4, 6))[0]
    changed = images(4, 6)
    changed[:, :, 8:16, 16:24] += 1.0  # patch (1, 2), in the window of rows 0-1, columns 2-3
    moved = (model(changed)[0] != before).any(dim=1)
    expected = torch.zeros(2, 4, 6, dtype=torch.bool)
    expected[:, 0:2, 2:4] = True
    assert torch.equal(moved, expected)


def test_global_blocks_bring_windows_together() -> None:
    model = build(window_size=2, global_blocks=2)
    before = model(images(4, 6))[0]
    changed = images(4, 6)
    changed[:, :, :8, :8] += 1.0
    assert (model(changed)[0] != before).any(dim=1).all()


@pytest.mark.parametrize(
    ("depth", "global_blocks", "expected"),
    [(12, 4, {2, 5, 8, 11}), (24, 4, {5, 11, 17, 23}), (8, 2, {3, 7}), (4, 4, {0, 1, 2, 3})],
)
def test_which_blocks_are_global(depth: int, global_blocks: int, expected: set[int]) -> None:
    model = build(depth=depth, window_size=7, global_blocks=global_blocks)
    whole = {i for i, block in enumerate(model.blocks) if not isinstance(block, WindowBlock)}
    assert whole == expected


@pytest.mark.parametrize("size", [6, 14])
def test_a_window_over_the_whole_grid_is_attention_over_everything(size: int) -> None:
    windowed, plain = build(window_size=size, global_blocks=1), build()
    assert torch.equal(windowed(images(4, 6))[0], plain(images(4, 6))[0])
    # And through the windows themselves, not only because they are left out.
    block = windowed.blocks[0]
    tokens = torch.randn(2, 24, 32)
    whole = block(tokens, Windows((4, 6), size, tokens.device))
    torch.testing.assert_close(whole, plain.blocks[0](tokens))


def test_parameters_are_those_without_windows() -> None:
    windowed, plain = build(window_size=2, global_blocks=2), build()
    shapes = [{n: p.shape for n, p in m.state_dict().items()} for m in (windowed, plain)]
    assert shapes[0] == shapes[1]
    windowed.load_state_dict(plain.state_dict(), strict=True)
    assert not torch.allclose(windowed(images(4, 6))[0], plain(images(4, 6))[0])
    with windowed.full_attention():
        assert torch.equal(windowed(images(4, 6))[0], plain(images(4, 6))[0])
    assert windowed.window_size == 2


def test_padding_beyond_the_edge_is_excluded() -> None:
    """A window with one column inside equals that column alone."""
    model = build(depth=2, window_size=3, global_blocks=1, out_indices=(0,))
    wide = images(2, 4)  # windows of 2 columns: 0-1 and 2-3
    narrow = images(2, 3)  # windows of 2: 0-1, and 2 with one column over the edge
    assert model(narrow)[0].isfinite().all()
    narrow = wide[..., :24]
    model.window_size = 2
    first = model(narrow)[0]
    torch.testing.assert_close(first[..., :2], model(wide)[0][..., :2])
    by_hand = model.patch_embed.proj(narrow).flatten(2).transpose(1, 2) + model._positions((2, 3))
    alone = model.blocks[0](by_hand.reshape(2, 2, 3, 32)[:, :, 2])
    torch.testing.assert_close(first[..., 2], alone.transpose(1, 2))


def test_gradients_with_windows_over_the_edge_are_finite_and_equal_recomputed_ones() -> None:
    gradients = []
    for with_cp in (False, True):
        model = build(window_size=2, global_blocks=2, with_cp=with_cp).train()
        model(images(5, 7))[0].square().sum().backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    for plain, recomputed in zip(*gradients, strict=True):
        assert plain is not None
        assert plain.isfinite().all()
        torch.testing.assert_close(plain, recomputed)


def test_pretraining_with_windows_is_refused() -> None:
    model = build(window_size=2, global_blocks=2)
    mask = torch.zeros(2, 4, 6, dtype=torch.bool)
    with pytest.raises(ConfigError, match="window_size=2, which is for detectors; leave it out"):
        encode(model, images(4, 6), mask)
    with model.full_attention():
        assert encode(model, images(4, 6), mask).shape == (2, 24, 32)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (dict(window_size=0), "window_size 0 must be at least one patch"),
        (dict(window_size=2, global_blocks=0), "global_blocks 0 must be 1 to 4"),
        (dict(window_size=2, global_blocks=5), "global_blocks 5 must be 1 to 4"),
    ],
)
def test_wrong_window_settings_are_refused(wrong: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(**wrong)
