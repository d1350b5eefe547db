"""Causal masks: the past is seen, the future is to be foretold."""

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
    """Hide the last time steps of a clip more than the first, or whole.

    A frame with visible frames before and after it can be interpolated; the last ones have to be
    predicted, which takes the motion of things and of the vehicle. SiamMAE (Gupta et al., 2023)
    shows the past whole and hides 95 % of the future.

    The clip as a whole meets its budget: the future hides what ``future_ratio`` says, the past
    what remains of the budget, evenly. If nothing remains, the past is seen whole and the future
    hides no more than the budget; if more remains than the past has cells, the future hides more.

    Args:
        ratio: share of a clip's cells that is hidden, in [0, 1].
        future_ratio: share of the future's cells that is hidden, in [0, 1]; 1 hides whole frames.
        future_steps: how many of the last time steps are the future, at least 1. The first one
            always belongs to the past; with one time step there is no future, and the mask is
            that of ``rest``.
        rest: strategy that ranks the cells of each frame, or its config; ``RandomMask`` by default.

    Raises:
        ValueError: if an argument is outside its range; when masking, if ``rest`` decides itself
            how much each frame hides.
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
        """Rank as the rest does, with budgets that differ between past and future."""
        (h, w), (B, T, N) = context.grid, context.clips.shape
        scores_BTNhw = even_scores(self.rest, context, self)
        past_steps = max(T - self.future_steps, 1)
        future_frames, past_frames = (T - past_steps) * N, past_steps * N
        total = T * N * context.budget
        future = min(hidden_cells(self.future_ratio, context.grid) * future_frames, total)
        # At least what the past has no cells for.
        future = max(future, total - past_frames * h * w)

        draws_BTN = context.per_frame()
        is_past_BTN = torch.zeros(B, T, N, dtype=torch.bool, device=context.device)
        is_past_BTN[:, :past_steps] = True
        future_B = torch.full((B,), future, device=context.device)
        budgets_BTN = spread(total - future_B, is_past_BTN, draws_BTN)
        budgets_BTN += spread(future_B, ~is_past_BTN, draws_BTN)
        return Ranking(scores_BTNhw=scores_BTNhw, budgets_BTN=budgets_BTN)
