"""Camera dropout masks: all frames of a camera hidden."""

from typing import Any, ClassVar

import torch
from torch import Tensor

from drivemim.masking.budgets import fixed_budget_scores, split_budget
from drivemim.masking.strategy import (
    MaskContext,
    MaskScores,
    MaskStrategy,
    build_base,
    check_count,
    check_fraction,
)
from drivemim.registry import MASKS


@MASKS.register_module()
class CameraDropoutMask(MaskStrategy):
    """Hide whole cameras, drawn at random, at all time steps.

    The content of a hidden camera can only be inferred from the overlapping fields of view of its
    neighbours. The other cameras share the rest of the clip's budget evenly, so they hide less than
    without dropout. If the budget is too small to hide the drawn cameras completely, they share all
    of it.

    Args:
        mask_ratio: fraction of a clip's patches that is hidden, in [0, 1].
        drop_probability: probability that a clip has hidden cameras, in [0, 1].
        cameras: number of hidden cameras, at least 1. They are drawn from the cameras with a valid
            frame, of which at least one is kept. (At a mask ratio of 1 all cameras are hidden.)
        base: strategy that scores each frame's patches, or its config; ``RandomMask`` by
            default.

    Example:
        >>> mask_BTNhw = CameraDropoutMask()(Clips.from_images(images))

    Raises:
        ValueError: if an argument is outside its range; when masking, if ``base`` sets the
            frames' budgets itself.
    """

    reads: ClassVar[frozenset[str]] = frozenset()

    def __init__(
        self,
        *,
        mask_ratio: float = 0.75,
        drop_probability: float = 0.5,
        cameras: int = 1,
        base: MaskStrategy | dict[str, Any] | None = None,
    ) -> None:
        super().__init__(mask_ratio=mask_ratio)
        check_fraction("drop_probability", drop_probability)
        check_count("cameras", cameras)
        self.drop_probability, self.cameras = drop_probability, cameras
        self.base = build_base(base)

    def score(self, context: MaskContext) -> MaskScores:
        """Score patches with ``base``; spend the budget on the hidden cameras first."""
        (h, w), (_, T, N) = context.grid, context.clips.shape
        scores_BTNhw = fixed_budget_scores(self.base, context, self)
        draws_BTN = context.draw_per_frame()
        dropped_BTN = self._drop(context)[:, None].expand(-1, T, -1)
        total_masked = T * N * context.num_masked
        dropped_B = (dropped_BTN.sum(dim=(1, 2)) * (h * w)).clamp(max=total_masked)
        num_masked_BTN = split_budget(dropped_B, dropped_BTN, draws_BTN)
        num_masked_BTN += split_budget(total_masked - dropped_B, ~dropped_BTN, draws_BTN)
        return MaskScores(scores_BTNhw=scores_BTNhw, num_masked_BTN=num_masked_BTN)

    def _drop(self, context: MaskContext) -> Tensor:
        """Draw the cameras to hide: bool (B, N)."""
        has_frame_BN = context.clips.valid_BTN.any(dim=1)
        draws_BN = context.draw_per_camera()[:, 0].masked_fill(~has_frame_BN, -1)
        ranks_BN = draws_BN.argsort(dim=-1, descending=True).argsort(dim=-1)
        count_B = (has_frame_BN.sum(dim=-1) - 1).clamp(min=0, max=self.cameras)
        has_dropout_B = context.draw_per_clip() < self.drop_probability
        return (ranks_BN < torch.where(has_dropout_B, count_B, 0)[:, None]) & has_frame_BN
