"""Causal masks: the past is visible, the future has to be predicted."""

from typing import Any, ClassVar

import torch

from drivemim.masking.budgets import fixed_budget_scores, split_budget
from drivemim.masking.strategy import (
    MaskContext,
    MaskScores,
    MaskStrategy,
    build_base,
    check_count,
    check_fraction,
    num_masked_patches,
)
from drivemim.registry import MASKS


@MASKS.register_module()
class CausalMask(MaskStrategy):
    """Hide the last time steps of a clip, completely or more than the first ones.

    A frame between visible frames can be interpolated. The last frames have to be predicted, which
    requires the motion of objects and of the vehicle. SiamMAE (Gupta et al., 2023) shows all of the
    past and hides 95 % of the future.

    The clip as a whole meets its budget. The future hides ``future_ratio`` of its patches, and the
    frames of the past share the rest of the budget evenly. If the budget is too small for the
    future, all of it is spent there and the past is fully visible. If the rest is more than the
    past has patches, the future hides more than ``future_ratio``.

    Args:
        mask_ratio: fraction of a clip's patches that is hidden, in [0, 1].
        future_ratio: mask ratio of the future, in [0, 1]; 1 hides whole frames.
        future_steps: number of last time steps that are the future, at least 1. The first time step
            always belongs to the past. A clip of one time step has no future; its mask is that of
            ``base``.
        base: strategy that scores each frame's patches, or its config; ``RandomMask`` by
            default.

    Example:
        >>> mask_BTNhw = CausalMask()(Clips.from_images(images))

    Raises:
        ValueError: if an argument is outside its range; when masking, if ``base`` sets the
            frames' budgets itself.
    """

    reads: ClassVar[frozenset[str]] = frozenset()

    def __init__(
        self,
        *,
        mask_ratio: float = 0.75,
        future_ratio: float = 1.0,
        future_steps: int = 1,
        base: MaskStrategy | dict[str, Any] | None = None,
    ) -> None:
        super().__init__(mask_ratio=mask_ratio)
        check_fraction("future_ratio", future_ratio)
        check_count("future_steps", future_steps)
        self.future_ratio, self.future_steps = future_ratio, future_steps
        self.base = build_base(base)

    def score(self, context: MaskContext) -> MaskScores:
        """Score patches with ``base``; give past and future different budgets."""
        (h, w), (B, T, N) = context.grid, context.clips.shape
        scores_BTNhw = fixed_budget_scores(self.base, context, self)
        past_steps = max(T - self.future_steps, 1)
        future_frames, past_frames = (T - past_steps) * N, past_steps * N
        total_masked = T * N * context.num_masked
        future_masked = num_masked_patches(self.future_ratio, context.grid) * future_frames
        future_masked = min(future_masked, total_masked)
        # The past cannot hide more patches than it has, so the future hides what remains.
        future_masked = max(future_masked, total_masked - past_frames * h * w)

        draws_BTN = context.draw_per_frame()
        is_past_BTN = torch.zeros(B, T, N, dtype=torch.bool, device=context.device)
        is_past_BTN[:, :past_steps] = True
        future_B = torch.full((B,), future_masked, device=context.device)
        num_masked_BTN = split_budget(total_masked - future_B, is_past_BTN, draws_BTN)
        num_masked_BTN += split_budget(future_B, ~is_past_BTN, draws_BTN)
        return MaskScores(scores_BTNhw=scores_BTNhw, num_masked_BTN=num_masked_BTN)
