"""Tube masks: the same cells at every time."""

from typing import ClassVar

from drivemim.masking.base import MaskContext, MaskStrategy, Ranking
from drivemim.registry import MASKS


@MASKS.register_module()
class TubeMask(MaskStrategy):
    """Hide the same cells of a camera at every time, as in VideoMAE (Tong et al., 2022).

    A cell that is hidden now cannot be copied from the same place half a second earlier. Cameras
    are drawn independently.
    """

    reads: ClassVar[frozenset[str]] = frozenset()

    def rank(self, context: MaskContext) -> Ranking:
        """Rank the cells of each camera by chance, alike at all times."""
        scores_B1Nhw = context.per_camera(*context.grid)
        return Ranking(scores_BTNhw=scores_B1Nhw.expand(*context.clips.shape, *context.grid))
