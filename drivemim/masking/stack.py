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
    earlier ones left, and the last one spends all that remains. Every frame has the same budget. If
    budgets are to differ between frames, make the stack the ``base`` of a ``CausalMask`` or a
    ``CameraDropoutMask``: whatever a frame's budget, each strategy gets about its fraction.

    Args:
        mask_ratio: fraction of every frame's patches that is hidden, in [0, 1]. The mask
            ratios of the strategies are ignored.
        strategies: at least one strategy or its config.
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
        """Score the patches that the strategies choose, then all others by the last strategy."""
        scores = [fixed_budget_scores(strategy, context, self) for strategy in self.strategies]
        # 0 for patches that no strategy has chosen yet.
        chosen_BTNL = torch.zeros_like(scores[0].flatten(-2))
        for scores_BTNhw, count in zip(scores, self._num_chosen(context.num_masked), strict=True):
            available_BTNL = scores_BTNhw.flatten(-2).masked_fill(chosen_BTNL > 0, -torch.inf)
            chosen_BTNL = _choose(available_BTNL, count, chosen_BTNL)
        others_BTNhw = minmax_normalize(scores[-1]) - 1
        chosen_BTNhw = chosen_BTNL.view_as(others_BTNhw)
        return MaskScores(scores_BTNhw=torch.where(chosen_BTNhw > 0, chosen_BTNhw, others_BTNhw))

    def _num_chosen(self, num_masked: int) -> list[int]:
        """Return how many patches each strategy chooses; the sum is ``num_masked``."""
        counts: list[int] = []
        for num_strategies in range(1, len(self.budget_fractions)):
            counts.append(
                min(round(sum(self.budget_fractions[:num_strategies]) * num_masked), num_masked)
                - sum(counts)
            )
        return [*counts, num_masked - sum(counts)]


def _choose(scores_BTNL: Tensor, count: int, chosen_BTNL: Tensor) -> Tensor:
    """Give a strategy's top patches evenly spaced scores from 1 down to above 0.

    Args:
        scores_BTNL: float, the strategy's scores; ``-inf`` for patches chosen before.
        count: number of patches that it chooses.
        chosen_BTNL: float, scores of the patches chosen before, 0 for the others.

    Returns:
        ``chosen_BTNL`` with the new patches filled in. Because every strategy's scores are evenly
        spaced between 1 and 0, any number of the highest scores contains each strategy's patches
        in proportion to the number that it chose.
    """
    top_BTNK = scores_BTNL.topk(count, dim=-1).indices
    steps_K = 1 - torch.arange(count, device=scores_BTNL.device) / max(count, 1)
    return chosen_BTNL.scatter(-1, top_BTNK, steps_K.expand(top_BTNK.shape))
