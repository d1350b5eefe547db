"""Stacks: strategies that share the budget of each frame.

Letters: K patches that a strategy chooses.
"""

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from drivemim.masking.budgets import fixed_budget_scores
from drivemim.masking.strategy import (
    MaskContext,
    MaskScores,
    MaskStrategy,
    build_mask,
    check_fraction,
    minmax_normalize,
)
from drivemim.registry import MASKS


@MASKS.register_module()
class StackMask(MaskStrategy):
    """Give each of several strategies a fraction of every frame's budget.

    The strategies take turns: each spends its fraction of the budget on the patches that the
    earlier ones left, the last all that remains. They only score patches. For budgets that differ
    between frames (``CausalMask``, ``CameraDropoutMask``), make the stack their ``base``: its
    scores give each strategy about its fraction of any number of hidden patches.

    Args:
        mask_ratio: fraction of every frame's patches that is hidden, in [0, 1]. The mask
            ratios of the strategies are ignored.
        strategies: at least one strategy or config.
        budget_fractions: fraction of the budget of each strategy, in [0, 1], with a sum of 1.

    Example:
        >>> mask = StackMask(strategies=[BlockMask(), RandomMask()], budget_fractions=[0.5, 0.5])
        >>> mask_BTNhw = mask(Clips.from_images(images))

    Raises:
        ValueError: if an argument is outside its range, or the numbers of strategies and fractions
            differ; when masking, if one of the strategies sets the frames' budgets itself.
    """

    reads: ClassVar[frozenset[str]] = frozenset()

    def __init__(
        self,
        *,
        mask_ratio: float = 0.75,
        strategies: Sequence[MaskStrategy | dict[str, Any]],
        budget_fractions: Sequence[float],
    ) -> None:
        super().__init__(mask_ratio=mask_ratio)
        if len(strategies) < 1:
            raise ValueError(f"strategies={strategies} must hold at least 1 strategy")
        if len(budget_fractions) != len(strategies):
            raise ValueError(
                f"budget_fractions={budget_fractions} must hold {len(strategies)}, one per strategy"
            )
        for position, fraction in enumerate(budget_fractions):
            check_fraction(f"budget_fractions[{position}]", fraction)
        if not math.isclose(sum(budget_fractions), 1, abs_tol=1e-6):
            raise ValueError(
                f"budget_fractions={budget_fractions} must have a sum of 1, "
                f"not {sum(budget_fractions)}"
            )
        self.strategies = [
            build_mask(strategy, f"strategies[{position}]")
            for position, strategy in enumerate(strategies)
        ]
        self.budget_fractions = list(budget_fractions)

    def score(self, context: MaskContext) -> MaskScores:
        """Score the patches that the strategies choose in turn, then the others by the last one."""
        parts = [fixed_budget_scores(part, context, self) for part in self.strategies]
        # 0 for patches that no strategy has chosen yet.
        chosen_BTNL = torch.zeros_like(parts[0].flatten(-2))
        for scores_BTNhw, count in zip(parts, self._counts(context.num_masked), strict=True):
            open_BTNL = scores_BTNhw.flatten(-2).masked_fill(chosen_BTNL > 0, -torch.inf)
            chosen_BTNL = _choose(open_BTNL, count, chosen_BTNL)
        left_BTNhw = minmax_normalize(parts[-1]) - 1
        chosen_BTNhw = chosen_BTNL.view_as(left_BTNhw)
        return MaskScores(scores_BTNhw=torch.where(chosen_BTNhw > 0, chosen_BTNhw, left_BTNhw))

    def _counts(self, num_masked: int) -> list[int]:
        """Return the number of patches of each strategy; the sum is ``num_masked``."""
        counts: list[int] = []
        for place in range(1, len(self.budget_fractions)):
            counts.append(
                min(round(sum(self.budget_fractions[:place]) * num_masked), num_masked)
                - sum(counts)
            )
        return [*counts, num_masked - sum(counts)]


def _choose(scores_BTNL: Tensor, count: int, chosen_BTNL: Tensor) -> Tensor:
    """Give a strategy's top patches evenly spaced scores from 1 down to above 0.

    Args:
        scores_BTNL: float, the strategy's scores.
        count: number of patches that it chooses.
        chosen_BTNL: float, scores of the patches chosen before, 0 for the others.

    Returns:
        ``chosen_BTNL`` with the new patches filled in. In any top part of these scores, each
        strategy's number of patches is proportional to the number that it chose.
    """
    top_BTNK = scores_BTNL.topk(count, dim=-1).indices
    steps_K = 1 - torch.arange(count, device=scores_BTNL.device) / max(count, 1)
    return chosen_BTNL.scatter(-1, top_BTNK, steps_K.expand(top_BTNK.shape))
