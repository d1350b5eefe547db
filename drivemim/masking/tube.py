"""Tube masks: the same patches at every time step."""

from typing import ClassVar

from drivemim.masking.strategy import MaskContext, MaskScores, MaskStrategy
from drivemim.registry import MASKS


@MASKS.register_module()
class TubeMask(MaskStrategy):
    """Hide the same patches of a camera at every time step, like VideoMAE (Tong et al., 2022).

    A hidden patch cannot be copied from the same position in another frame of the same camera. Each
    camera has its own mask.

    Example:
        >>> mask_BTNhw = TubeMask()(Clips.from_images(images))
    """

    reads: ClassVar[frozenset[str]] = frozenset()

    def score(self, context: MaskContext) -> MaskScores:
        """Score the patches of each camera by chance, with the same ranks at all time steps."""
        scores_B1Nhw = context.draw_per_camera(*context.grid)
        return MaskScores(scores_BTNhw=scores_B1Nhw.expand(*context.clips.shape, *context.grid))
