"""Random masks: every cell of every frame on its own."""

from torch import Tensor

from drivemim.clips import Clips
from drivemim.masking.base import Generators, MaskStrategy, uniform
from drivemim.registry import MASKS


@MASKS.register_module()
class RandomMask(MaskStrategy):
    """Hide cells drawn uniformly, as in MAE (He et al., 2022)."""

    def scores(self, clips: Clips, grid: tuple[int, int], generators: Generators) -> Tensor:
        """Rank the cells of each frame by chance: scores_BTNhw."""
        return uniform((*clips.shape, *grid), generators, clips.valid_BTN.device)
