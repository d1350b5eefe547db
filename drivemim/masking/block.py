"""Block masks: rectangles of patches.

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
    check_fraction,
    check_numbers,
)
from drivemim.registry import MASKS

_BLOCKS = 60
"""Rectangles drawn per frame: as many as ``first_cover`` tests at once."""


@MASKS.register_module()
class BlockMask(MaskStrategy):
    """Hide rectangles of patches up to the budget, like BEiT (Bao et al., 2022).

    Rectangles are drawn one after the other for each frame. They may overlap and may extend beyond
    the border. The last one is cut to the rows that fit into the budget. If 60 rectangles do not
    use up the budget, single patches follow.

    Args:
        mask_ratio: fraction of every frame's patches that is hidden, in [0, 1].
        min_area: area of the smallest rectangle as a fraction of the grid, in [0, 1].
        max_area: area of the largest, in [0, 1].
        min_aspect: smallest ratio of height to width, in patches, in (0, 1]; the largest is its
            inverse.

    Example:
        >>> mask_BTNhw = BlockMask()(Clips.from_images(images))

    Raises:
        ValueError: if an argument is outside its range, or ``min_area`` is above ``max_area``.
    """

    reads: ClassVar[frozenset[str]] = frozenset()

    def __init__(
        self,
        *,
        mask_ratio: float = 0.75,
        min_area: float = 0.04,
        max_area: float = 0.16,
        min_aspect: float = 0.3,
    ) -> None:
        super().__init__(mask_ratio=mask_ratio)
        check_fraction("min_area", min_area)
        check_fraction("max_area", max_area)
        if min_area > max_area:
            raise ValueError(f"min_area={min_area} must be in [0, max_area={max_area}]")
        check_numbers(min_aspect=min_aspect)
        if not 0 < min_aspect <= 1:
            raise ValueError(f"min_aspect={min_aspect} must be in (0, 1]")
        self.min_area, self.max_area, self.min_aspect = min_area, max_area, min_aspect

    def score(self, context: MaskContext) -> MaskScores:
        """Score the rectangles' patches, the first rectangle's highest; then all others by chance.

        Within a rectangle, upper rows have higher scores than lower ones.
        """
        h, w = context.grid
        rectangles_BTNK4 = self._rectangles(context.draw_per_frame(_BLOCKS, 4), context.grid)
        top_BTNK, left_BTNK, height_BTNK, width_BTNK = rectangles_BTNK4.unbind(-1)
        first_BTNhw = first_cover(
            span(top_BTNK, top_BTNK + height_BTNK, h), span(left_BTNK, left_BTNK + width_BTNK, w)
        )
        reading_order_hw = torch.arange(h * w, device=context.device).reshape(h, w) / (h * w)
        covered_BTNhw = -first_BTNhw - reading_order_hw
        single_BTNhw = -_BLOCKS - 1 - context.draw_per_frame(h, w)
        return MaskScores(scores_BTNhw=torch.where(first_BTNhw >= 0, covered_BTNhw, single_BTNhw))

    def _rectangles(self, draws_BTNK4: Tensor, grid: tuple[int, int]) -> Tensor:
        """Convert uniform draws to (top, left, height, width) in whole patches."""
        h, w = grid
        size, aspect, down, across = draws_BTNK4.unbind(-1)
        area = (self.min_area + (self.max_area - self.min_area) * size) * (h * w)
        ratio = torch.exp((1 - 2 * aspect) * math.log(self.min_aspect))
        height = (area * ratio).sqrt().round().clamp(1, h)
        width = (area / ratio).sqrt().round().clamp(1, w)
        # The centre is anywhere in the grid, so that the border is covered as often as the rest.
        top = (down * h - (height - 1) / 2).floor()
        left = (across * w - (width - 1) / 2).floor()
        return torch.stack([top, left, height, width], dim=-1)
