"""Large-cell masks: squares of several cells."""

from typing import ClassVar

import torch

from drivemim.masking.base import MaskContext, MaskStrategy, Ranking, check_count
from drivemim.registry import MASKS


@MASKS.register_module()
class LargeCellMask(MaskStrategy):
    """Hide squares of cells drawn uniformly, as in SimMIM (Xie et al., 2022).

    SimMIM found 32 px units better than the 16 px cells of its encoder: the middle of a larger
    hole cannot be filled in from its rim. Units are counted off from the upper left corner; those
    at the lower and right border are smaller where ``size`` does not divide the grid. Of the unit
    that the budget ends in, only the upper cells are hidden.

    Args:
        ratio: share of every frame's cells that is hidden, in [0, 1].
        size: cells down and across a unit, at least 1 (which is ``RandomMask``).
        alike_in_time: hide the same cells of a camera at every time, instead of drawing each frame.

    Raises:
        ValueError: if an argument is outside its range.
    """

    reads: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, *, ratio: float = 0.75, size: int = 2, alike_in_time: bool = False) -> None:
        super().__init__(ratio=ratio)
        check_count("size", size)
        self.size, self.alike_in_time = size, alike_in_time

    def rank(self, context: MaskContext) -> Ranking:
        """Rank the units of each frame by chance, their cells row by row."""
        h, w = context.grid
        rows_h, columns_w = (torch.arange(length, device=context.device) for length in (h, w))
        down, across = -(-h // self.size), -(-w // self.size)
        draw = context.per_camera if self.alike_in_time else context.per_frame
        # Whole numbers between units leave room for the order of the cells within one.
        places_BTNU = draw(down * across).argsort(dim=-1).argsort(dim=-1)
        units_hw = rows_h[:, None] // self.size * across + columns_w // self.size
        within_hw = rows_h[:, None] % self.size * self.size + columns_w % self.size
        scores_BTNhw = places_BTNU[..., units_hw] - within_hw / self.size**2
        return Ranking(scores_BTNhw=scores_BTNhw.expand(*context.clips.shape, h, w))
