"""Tube masks: the same cells at every time."""

from torch import Tensor

from drivemim.clips import Clips
from drivemim.masking.base import Generators, MaskStrategy, uniform
from drivemim.registry import MASKS


@MASKS.register_module()
class TubeMask(MaskStrategy):
    """Hide the same cells of a camera at every time, as in VideoMAE (Tong et al., 2022).

    A cell that is hidden now cannot be copied from the same place half a second earlier. Cameras
    are drawn independently.
    """

    def scores(self, clips: Clips, grid: tuple[int, int], generators: Generators) -> Tensor:
        """Rank the cells of each camera by chance, alike at all times: scores_BTNhw."""
        B, T, N = clips.shape
        scores_B1Nhw = uniform((B, 1, N, *grid), generators, clips.valid_BTN.device)
        return scores_B1Nhw.expand(B, T, N, *grid)
