"""Multi-block masks: a few large blocks.

Letters: K rectangles.
"""

import math
from typing import ClassVar

import torch
from torch import Tensor

from drivemim.masking.box_cover import first_cover, span
from drivemim.masking.strategy import (
    MaskContext,
    MaskScores,
    MaskStrategy,
    check_count,
    check_fraction,
    check_numbers,
)
from drivemim.registry import MASKS


@MASKS.register_module()
class MultiBlockMask(MaskStrategy):
    """Hide a few large blocks, like the targets of I-JEPA (Assran et al., 2023).

    ``BlockMask`` draws rectangles of many sizes, which may extend beyond the border, until the
    budget is used up. Here the number of blocks is fixed. They have similar sizes and lie fully
    inside the image, so each is a piece of the scene to be predicted from its surroundings. If the
    blocks do not use up the budget, random single patches follow. If they exceed it, the last
    blocks stay visible, and a block in which the budget ends keeps its lower rows visible.

    Args:
        mask_ratio: fraction of every frame's patches that is hidden, in [0, 1].
        blocks: number of blocks, at least 1. They may overlap.
        min_area: area of the smallest block as a fraction of the grid, in [0, 1].
        max_area: area of the largest, in [0, 1].
        min_aspect: smallest ratio of height to width of a block, in patches, in (0, infinity).
        max_aspect: largest ratio of height to width, in (0, infinity).
        alike_in_time: hide the same patches of a camera at every time step, instead of drawing
            anew for each frame.

    Example:
        >>> mask_BTNhw = MultiBlockMask()(Clips.from_images(images))

    Raises:
        ValueError: if an argument is outside its range, or a minimum is above its maximum.
    """

    reads: ClassVar[frozenset[str]] = frozenset()

    def __init__(
        self,
        *,
        mask_ratio: float = 0.75,
        blocks: int = 4,
        min_area: float = 0.15,
        max_area: float = 0.2,
        min_aspect: float = 0.75,
        max_aspect: float = 1.5,
        alike_in_time: bool = False,
    ) -> None:
        super().__init__(mask_ratio=mask_ratio)
        check_count("blocks", blocks)
        check_fraction("min_area", min_area)
        check_fraction("max_area", max_area)
        if min_area > max_area:
            raise ValueError(f"min_area={min_area} must be in [0, max_area={max_area}]")
        check_numbers(min_aspect=min_aspect, max_aspect=max_aspect)
        if not 0 < max_aspect < math.inf:
            raise ValueError(f"max_aspect={max_aspect} must be in (0, infinity)")
        if not 0 < min_aspect <= max_aspect:
            raise ValueError(f"min_aspect={min_aspect} must be in (0, max_aspect={max_aspect}]")
        self.blocks, self.alike_in_time = blocks, alike_in_time
        self.min_area, self.max_area = min_area, max_area
        self.min_aspect, self.max_aspect = min_aspect, max_aspect

    def score(self, context: MaskContext) -> MaskScores:
        """Score the blocks' patches, the first block's highest; then all others by chance.

        Within a block, upper rows have higher scores than lower ones.
        """
        h, w = context.grid
        draw = context.draw_per_camera if self.alike_in_time else context.draw_per_frame
        top_BTNK, left_BTNK, height_BTNK, width_BTNK = self._rectangles(draw(self.blocks, 4), h, w)
        first_BTNhw = first_cover(
            span(top_BTNK, top_BTNK + height_BTNK, h), span(left_BTNK, left_BTNK + width_BTNK, w)
        )
        reading_order_hw = torch.arange(h * w, device=context.device).reshape(h, w) / (h * w)
        covered_BTNhw = -first_BTNhw - reading_order_hw
        single_BTNhw = -self.blocks - 1 - draw(h, w)
        scores_BTNhw = torch.where(first_BTNhw >= 0, covered_BTNhw, single_BTNhw)
        return MaskScores(scores_BTNhw=scores_BTNhw.expand(*context.clips.shape, h, w))

    def _rectangles(
        self, draws_BTNK4: Tensor, h: int, w: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Convert uniform draws to top, left, height and width in patches, inside the grid."""
        size, aspect, down, across = draws_BTNK4.unbind(-1)
        area = (self.min_area + (self.max_area - self.min_area) * size) * (h * w)
        low, high = math.log(self.min_aspect), math.log(self.max_aspect)
        height_over_width = torch.exp(low + (high - low) * aspect)
        height = (area * height_over_width).sqrt().round().clamp(1, h)
        width = (area / height_over_width).sqrt().round().clamp(1, w)
        top, left = (down * (h - height + 1)).floor(), (across * (w - width + 1)).floor()
        return top, left, height, width
