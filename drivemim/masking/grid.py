"""Grid masks: a regular pattern."""

from typing import ClassVar

import torch
from torch import Tensor

from drivemim.masking.strategy import MaskContext, MaskScores, MaskStrategy
from drivemim.registry import MASKS


@MASKS.register_module()
class GridMask(MaskStrategy):
    """Hide patches in a regular pattern, as evenly spread as the mask ratio allows.

    At a mask ratio of 0.75 one patch of every 2 x 2 is visible; at 0.5 every other one, like on a
    chessboard. This is the grid-wise sampling of MAE's ablations (He et al., 2022), an easy task:
    every hidden patch has a visible neighbour. GridMask (Chen et al., 2020) drops regular squares
    of an image as augmentation. Here the phase of the pattern is drawn, and every mask ratio works:
    patches are hidden in the order of Bayer's dither matrix (1973), whose first k entries are
    evenly spread for every k.

    Args:
        mask_ratio: fraction of every frame's patches that is hidden, in [0, 1].
        alike_in_time: draw one phase per camera and clip, instead of one per frame.

    Example:
        >>> mask_BTNhw = GridMask()(Clips.from_images(images))

    Raises:
        ValueError: if ``mask_ratio`` is outside [0, 1].
    """

    reads: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, *, mask_ratio: float = 0.75, alike_in_time: bool = False) -> None:
        super().__init__(mask_ratio=mask_ratio)
        self.alike_in_time = alike_in_time

    def score(self, context: MaskContext) -> MaskScores:
        """Score patches by a dither matrix at least as large as the grid, so that no scores tie."""
        h, w = context.grid
        bits = (max(h, w) - 1).bit_length()
        draw = context.draw_per_camera if self.alike_in_time else context.draw_per_frame
        down_BTN, across_BTN = (draw(2) * 2**bits).long().unbind(-1)
        rows_h, columns_w = (torch.arange(size, device=context.device) for size in (h, w))
        rows_BTNh1 = _reversed_bits(rows_h + down_BTN[..., None], bits)[..., :, None]
        columns_BTN1w = _reversed_bits(columns_w + across_BTN[..., None], bits)[..., None, :]
        # Each bit of a position gives two bits of the matrix: row XOR column, and row. The lowest
        # bits of the position weigh most, which keeps patches of similar rank apart.
        dither_BTNhw = 2 * (rows_BTNh1 ^ columns_BTN1w) + rows_BTNh1
        return MaskScores(scores_BTNhw=dither_BTNhw.float().expand(*context.clips.shape, h, w))


def _reversed_bits(positions: Tensor, bits: int) -> Tensor:
    """Reverse the lowest bits of each position and read them as digits of a base-4 number."""
    reversed_positions = torch.zeros_like(positions)
    for bit in range(bits):
        reversed_positions = reversed_positions * 4 + (positions >> bit & 1)
    return reversed_positions
