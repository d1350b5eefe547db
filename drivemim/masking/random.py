"""Random masks: every frame's patches are drawn independently."""

from typing import ClassVar

from drivemim.masking.strategy import MaskContext, MaskScores, MaskStrategy
from drivemim.registry import MASKS


@MASKS.register_module()
class RandomMask(MaskStrategy):
    """Hide patches drawn uniformly, like MAE (He et al., 2022).

    Example:
        >>> mask_BTNhw = RandomMask()(Clips.from_images(images))
    """

    reads: ClassVar[frozenset[str]] = frozenset()

    def score(self, context: MaskContext) -> MaskScores:
        """Score the patches of each frame by chance."""
        return MaskScores(scores_BTNhw=context.draw_per_frame(*context.grid))
