"""Grid masks: a regular pattern."""

from typing import ClassVar

import torch
from torch import Tensor

from drivemim.masking.base import MaskContext, MaskStrategy, Ranking
from drivemim.registry import MASKS


@MASKS.register_module()
class GridMask(MaskStrategy):
    """Hide cells in a regular pattern, as spread out as the ratio allows.

    At a ratio of 0.75 one cell of every 2 x 2 is visible, at 0.5 every other one, as on a
    chessboard. It is the grid-wise sampling of MAE's ablations (He et al., 2022), an easy task:
    every hidden cell has a visible neighbour. GridMask (Chen et al., 2020) drops regular squares
    of an image to augment it. Here the pattern has a drawn phase, and exists for every ratio: cells
    come in the order of Bayer's dither matrix (1973), of which every beginning is evenly spread.

    Args:
        ratio: share of every frame's cells that is hidden, in [0, 1].
        alike_in_time: draw the phase for a camera's whole clip, instead of for each frame.

    Raises:
        ValueError: if ``ratio`` is outside [0, 1].
    """

    reads: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, *, ratio: float = 0.75, alike_in_time: bool = False) -> None:
        super().__init__(ratio=ratio)
        self.alike_in_time = alike_in_time

    def rank(self, context: MaskContext) -> Ranking:
        """Rank cells by a dither matrix larger than the grid, so that no two are equal."""
        h, w = context.grid
        bits = (max(h, w) - 1).bit_length()
        draw = context.per_camera if self.alike_in_time else context.per_frame
        down_BTN, across_BTN = (draw(2) * 2**bits).long().unbind(-1)
        rows_h, columns_w = (torch.arange(size, device=context.device) for size in (h, w))
        rows_BTNh1 = _reversed_bits(rows_h + down_BTN[..., None], bits)[..., :, None]
        columns_BTN1w = _reversed_bits(columns_w + across_BTN[..., None], bits)[..., None, :]
        # Two bits of the matrix for each bit of a place: whether row and column differ, and the
        # row's. The lowest bits of the place weigh most, which keeps neighbours in rank apart.
        levels_BTNhw = 2 * (rows_BTNh1 ^ columns_BTN1w) + rows_BTNh1
        return Ranking(scores_BTNhw=levels_BTNhw.float().expand(*context.clips.shape, h, w))


def _reversed_bits(places: Tensor, bits: int) -> Tensor:
    """The lowest bits of each place in reverse, as the digits of a number to base 4."""
    reversed_places = torch.zeros_like(places)
    for bit in range(bits):
        reversed_places = reversed_places * 4 + (places >> bit & 1)
    return reversed_places
