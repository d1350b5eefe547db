"""Causal masks: the past is visible, the future has to be predicted."""

from typing import Any, ClassVar

import torch

from drivemim.masking.base import (
    MaskContext,
    MaskStrategy,
    Ranking,
    build_rest,
    check_count,
    check_share,
    hidden_cells,
)
from drivemim.masking.budgets import even_scores, spread
from drivemim.registry import MASKS


@MASKS.register_module()
class CausalMask(MaskStrategy):
    """Hide more of the last time steps of a clip than of the first, or all of them.

    A frame between visible frames can be interpolated. The last frames have to be predicted, which
    requires the motion of objects and of the vehicle. SiamMAE (Gupta et al., 2023) shows all of the
    past and hides 95 % of the future.

    The clip as a whole meets its budget: the future hides ``future_ratio`` of its patches, the past
    evenly hides what remains. If nothing remains, the past is fully visible and the future hides no
    more than the budget. If more remains than the past has patches, the future hides more.

    Args:
        ratio: mask ratio: fraction of a clip's patches that is hidden, in [0, 1].
        future_ratio: mask ratio of the future, in [0, 1]; 1 hides whole frames.
        future_steps: number of last time steps that are the future, at least 1. The first time step
            always belongs to the past. A clip of one time step has no future; its mask is that of
            ``rest``.
        rest: strategy that ranks each frame's patches, or its config; ``RandomMask`` by default.

    Example:
        >>> mask_BTNhw = CausalMask()(Clips.from_images(images))

    Raises:
        ValueError: if an argument is outside its range; when masking, if ``rest`` sets the frames'
            budgets itself.
    """

    reads: ClassVar[frozenset[str]] = frozenset()

    def __init__(
        self,
        *,
        ratio: float = 0.75,
        future_ratio: float = 1.0,
        future_steps: int = 1,
        rest: MaskStrategy | dict[str, Any] | None = None,
    ) -> None:
        super().__init__(ratio=ratio)
        check_share("future_ratio", future_ratio)
        check_count("future_steps", future_steps)
        self.future_ratio, self.future_steps = future_ratio, future_steps
        self.rest = build_rest(rest)

    def rank(self, context: MaskContext) -> Ranking:
        """Score patches with ``rest``; give past and future different budgets."""
        (h, w), (B, T, N) = context.grid, context.clips.shape
        scores_BTNhw = even_scores(self.rest, context, self)
        past_steps = max(T - self.future_steps, 1)
        future_frames, past_frames = (T - past_steps) * N, past_steps * N
        total = T * N * context.budget
        future = min(hidden_cells(self.future_ratio, context.grid) * future_frames, total)
        # The future hides at least what exceeds the patches of the past.
        future = max(future, total - past_frames * h * w)

        draws_BTN = context.per_frame()
        is_past_BTN = torch.zeros(B, T, N, dtype=torch.bool, device=context.device)
        is_past_BTN[:, :past_steps] = True
        future_B = torch.full((B,), future, device=context.device)
        budgets_BTN = spread(total - future_B, is_past_BTN, draws_BTN)
        budgets_BTN += spread(future_B, ~is_past_BTN, draws_BTN)
        return Ranking(scores_BTNhw=scores_BTNhw, budgets_BTN=budgets_BTN)
