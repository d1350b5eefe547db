"""Window attention, whose cost is not quadratic in the number of an image's patches.

Paper: https://arxiv.org/abs/2203.16527 (plain ViT as a detector's backbone: most blocks attend
within windows, a few to the whole image). Windows have no parameters, so weights trained with
global attention can be used unchanged.

Letters: W windows of an image, V = B * W windows of all images, S patches of a window.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name all of PyTorch's users know

from drivemim.models.layers import Block, SelfAttention, attend


class Windows:
    """A grid of patches, split into as few windows of equal size as ``size`` allows.

    If the grid is not a multiple of the windows, the last ones extend beyond its edge. No patch
    attends to the padding there.

    Args:
        grid: rows and columns of patches.
        size: largest side of a window, patches.
        device: device of the tokens.

    Attributes:
        grid: rows and columns of patches.
        counts: rows and columns of windows.
        sides: rows and columns of a window, patches.
        inside_WS: bool, for each window and each of its S patches, True = inside the grid; None
            if all are inside.
    """

    def __init__(self, grid: tuple[int, int], size: int, device: torch.device) -> None:
        self.grid = grid
        # Windows of equal size need less padding than steps of ``size``,
        # and no window at the edge is left with only a few patches.
        self.counts = (-(-grid[0] // size), -(-grid[1] // size))
        self.sides = (-(-grid[0] // self.counts[0]), -(-grid[1] // self.counts[1]))
        self._padding = tuple(
            count * side - patches
            for count, side, patches in zip(self.counts, self.sides, grid, strict=True)
        )
        self.inside_WS: Tensor | None = None
        if any(self._padding):
            ones_1L1 = torch.ones(1, grid[0] * grid[1], 1, dtype=torch.bool, device=device)
            self.inside_WS = self.split(ones_1L1)[..., 0]

    def split(self, tokens_BLD: Tensor) -> Tensor:
        """Split (B, L, D) into (B * W, S, D), windows and their patches in row-major order."""
        B, _, D = tokens_BLD.shape
        (down, across), (rows, columns) = self._padding, self.sides
        tokens = tokens_BLD.reshape(B, *self.grid, D)
        if down or across:
            tokens = F.pad(tokens, (0, 0, 0, across, 0, down))
        tokens = tokens.reshape(B, self.counts[0], rows, self.counts[1], columns, D)
        pieces: Tensor = tokens.transpose(2, 3).reshape(-1, rows * columns, D)
        return pieces

    def join(self, tokens_VSD: Tensor) -> Tensor:
        """Join (B * W, S, D) to (B, L, D), without the padding."""
        (h, w), (rows, columns), D = self.grid, self.sides, tokens_VSD.shape[2]
        tokens = tokens_VSD.reshape(-1, *self.counts, rows, columns, D).transpose(2, 3)
        tokens = tokens.reshape(-1, self.counts[0] * rows, self.counts[1] * columns, D)
        return tokens[:, :h, :w].reshape(-1, h * w, D)


class WindowBlock(Block):
    """Transformer block with window attention if windows are given."""

    def forward(self, tokens_BKD: Tensor, windows: Windows | None = None) -> Tensor:
        """Apply the block; input and output have the same shape.

        Args:
            tokens_BKD: with windows, every patch of the grid in row-major order.
            windows: windows of the grid, or None to attend to all tokens.
        """
        if windows is None:
            return super().forward(tokens_BKD)
        mixed_BKD = attend_in_windows(self.attn, self.norm1(tokens_BKD), windows)
        tokens_BKD = tokens_BKD + self.drop_path(mixed_BKD)
        out: Tensor = tokens_BKD + self.drop_path(self.mlp(self.norm2(tokens_BKD)))
        return out


def attend_in_windows(attention: SelfAttention, tokens_BLD: Tensor, windows: Windows) -> Tensor:
    """Let every patch attend to the patches of its window; input and output have the same shape.

    The linear layers work on the whole grid. Only queries, keys and values are split into windows.
    """
    parts = (windows.split(part) for part in attention.qkv(tokens_BLD).chunk(3, dim=-1))
    queries_VSD, keys_VSD, values_VSD = parts
    use_VS = windows.inside_WS
    if use_VS is not None:
        use_VS = use_VS.repeat(len(tokens_BLD), 1)
    mixed_VSD = attend(queries_VSD, keys_VSD, values_VSD, attention.heads, use_VS)
    out: Tensor = attention.proj(windows.join(mixed_VSD))
    return out
