"""Camera dropout masks: all frames of a camera hidden."""

from typing import Any, ClassVar

import torch
from torch import Tensor

from drivemim.masking.base import (
    MaskContext,
    MaskStrategy,
    Ranking,
    build_rest,
    check_count,
    check_share,
)
from drivemim.masking.budgets import even_scores, spread
from drivemim.registry import MASKS


@MASKS.register_module()
class CameraDropoutMask(MaskStrategy):
    """Hide whole cameras, drawn at random, at all time steps.

    The content of a hidden camera can only be inferred from the overlapping fields of view of its
    neighbours. The other cameras share the rest of the clip's budget evenly, so they hide less than
    without dropout. A budget too small for a whole camera is all spent on it.

    Args:
        ratio: mask ratio: fraction of a clip's patches that is hidden, in [0, 1].
        chance: probability that a clip has hidden cameras, in [0, 1].
        cameras: number of hidden cameras, at least 1. They are drawn from the cameras with a valid
            frame, of which at least one is kept. (At a ratio of 1 all cameras are hidden.)
        rest: strategy that ranks each frame's patches, or its config; ``RandomMask`` by default.

    Example:
        >>> mask_BTNhw = CameraDropoutMask()(Clips.from_images(images))

    Raises:
        ValueError: if an argument is outside its range; when masking, if ``rest`` sets the frames'
            budgets itself.
    """

    reads: ClassVar[frozenset[str]] = frozenset()

    def __init__(
        self,
        *,
        ratio: float = 0.75,
        chance: float = 0.5,
        cameras: int = 1,
        rest: MaskStrategy | dict[str, Any] | None = None,
    ) -> None:
        super().__init__(ratio=ratio)
        check_share("chance", chance)
        check_count("cameras", cameras)
        self.chance, self.cameras = chance, cameras
        self.rest = build_rest(rest)

    def rank(self, context: MaskContext) -> Ranking:
        """Score patches with ``rest``; give the dropped cameras the highest budgets."""
        (h, w), (_, T, N) = context.grid, context.clips.shape
        scores_BTNhw = even_scores(self.rest, context, self)
        draws_BTN = context.per_frame()
        dropped_BTN = self._drop(context)[:, None].expand(-1, T, -1)
        total = T * N * context.budget
        dropped_B = (dropped_BTN.sum(dim=(1, 2)) * (h * w)).clamp(max=total)
        budgets_BTN = spread(dropped_B, dropped_BTN, draws_BTN)
        budgets_BTN += spread(total - dropped_B, ~dropped_BTN, draws_BTN)
        return Ranking(scores_BTNhw=scores_BTNhw, budgets_BTN=budgets_BTN)

    def _drop(self, context: MaskContext) -> Tensor:
        """Draw the cameras to hide: bool (B, N)."""
        seeing_BN = context.clips.valid_BTN.any(dim=1)
        draws_BN = context.per_camera()[:, 0].masked_fill(~seeing_BN, -1)
        places_BN = draws_BN.argsort(dim=-1, descending=True).argsort(dim=-1)
        count_B = (seeing_BN.sum(dim=-1) - 1).clamp(min=0, max=self.cameras)
        happens_B = context.per_clip() < self.chance
        return (places_BN < torch.where(happens_B, count_B, 0)[:, None]) & seeing_BN
