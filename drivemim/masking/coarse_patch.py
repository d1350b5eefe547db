"""Coarse masks: squares of several patches.

Letters: U squares of patches.
"""

from typing import ClassVar

import torch

from drivemim.masking.strategy import MaskContext, MaskScores, MaskStrategy, check_count
from drivemim.registry import MASKS


@MASKS.register_module()
class CoarsePatchMask(MaskStrategy):
    """Hide squares of patches drawn uniformly, like SimMIM (Xie et al., 2022).

    SimMIM found mask patches of 32 px better than the 16 px patches of its encoder: the middle of a
    larger hole cannot be filled in from its border. The squares start at the upper left corner; the
    last ones at the right and lower border are smaller if ``size`` does not divide the grid. If the
    budget ends within a square, only its upper patches are hidden.

    Args:
        mask_ratio: fraction of every frame's patches that is hidden, in [0, 1].
        size: side of a square in patches, at least 1; 1 is ``RandomMask``.
        alike_in_time: hide the same patches of a camera at every time step, instead of drawing
            anew for each frame.

    Example:
        >>> mask_BTNhw = CoarsePatchMask()(Clips.from_images(images))

    Raises:
        ValueError: if an argument is outside its range.
    """

    reads: ClassVar[frozenset[str]] = frozenset()

    def __init__(
        self, *, mask_ratio: float = 0.75, size: int = 2, alike_in_time: bool = False
    ) -> None:
        super().__init__(mask_ratio=mask_ratio)
        check_count("size", size)
        self.size, self.alike_in_time = size, alike_in_time

    def score(self, context: MaskContext) -> MaskScores:
        """Score the squares of each frame by chance, and the patches of a square row by row."""
        h, w = context.grid
        rows_h, columns_w = (torch.arange(length, device=context.device) for length in (h, w))
        down, across = -(-h // self.size), -(-w // self.size)
        draw = context.draw_per_camera if self.alike_in_time else context.draw_per_frame
        # Squares are ranked by whole numbers; fractions below 1 then order the patches of a square.
        ranks_BTNU = draw(down * across).argsort(dim=-1).argsort(dim=-1)
        square_of_patch_hw = rows_h[:, None] // self.size * across + columns_w // self.size
        within_hw = rows_h[:, None] % self.size * self.size + columns_w % self.size
        scores_BTNhw = ranks_BTNU[..., square_of_patch_hw] - within_hw / self.size**2
        return MaskScores(scores_BTNhw=scores_BTNhw.expand(*context.clips.shape, h, w))
