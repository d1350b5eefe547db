"""Random masks: every cell of every frame on its own."""

from typing import ClassVar

from drivemim.masking.base import MaskContext, MaskStrategy, Ranking
from drivemim.registry import MASKS


@MASKS.register_module()
class RandomMask(MaskStrategy):
    """Hide cells drawn uniformly, as in MAE (He et al., 2022)."""

    reads: ClassVar[frozenset[str]] = frozenset()

    def rank(self, context: MaskContext) -> Ranking:
        """Rank the cells of each frame by chance."""
        return Ranking(scores_BTNhw=context.per_frame(*context.grid))
