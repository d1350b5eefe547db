"""Stacks: strategies that share the budget of each frame."""

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from drivemim.masking.base import (
    MaskContext,
    MaskStrategy,
    Ranking,
    build_mask,
    check_share,
    unit_range,
)
from drivemim.masking.budgets import even_scores
from drivemim.registry import MASKS


@MASKS.register_module()
class StackMask(MaskStrategy):
    """Give each of several strategies a share of every frame's budget.

    The strategies take turns: each spends its share of the budget on the patches that the earlier
    ones left, the last all that remains. They only rank patches. For budgets that differ between
    frames (``CausalMask``, ``CameraDropoutMask``), make the stack their ``rest``: its ranking
    gives each strategy about its share of any number of hidden patches.

    Args:
        ratio: mask ratio: fraction of every frame's patches that is hidden, in [0, 1]. The ratios
            of the strategies are ignored.
        strategies: at least one strategy or config.
        shares: share of the budget of each strategy, in [0, 1], with a sum of 1.

    Example:
        >>> mask = StackMask(strategies=[BlockMask(), RandomMask()], shares=[0.5, 0.5])
        >>> mask_BTNhw = mask(Clips.from_images(images))

    Raises:
        ValueError: if an argument is outside its range, or the numbers of strategies and shares
            differ; when masking, if one of the strategies sets the frames' budgets itself.
    """

    reads: ClassVar[frozenset[str]] = frozenset()

    def __init__(
        self,
        *,
        ratio: float = 0.75,
        strategies: Sequence[MaskStrategy | dict[str, Any]],
        shares: Sequence[float],
    ) -> None:
        super().__init__(ratio=ratio)
        if len(strategies) < 1:
            raise ValueError(f"strategies={strategies} must hold at least 1 strategy")
        if len(shares) != len(strategies):
            raise ValueError(f"shares={shares} must hold {len(strategies)}, one a strategy")
        for place, share in enumerate(shares):
            check_share(f"shares[{place}]", share)
        if not math.isclose(sum(shares), 1, abs_tol=1e-6):
            raise ValueError(f"shares={shares} must have a sum of 1, not {sum(shares)}")
        self.strategies = [build_mask(strategy) for strategy in strategies]
        self.shares = list(shares)

    def rank(self, context: MaskContext) -> Ranking:
        """Rank the patches that the strategies choose in turn, then the others by the last one."""
        parts = [even_scores(part, context, self) for part in self.strategies]
        # 0 for patches that no strategy has chosen yet.
        chosen_BTNL = torch.zeros_like(parts[0].flatten(-2))
        for scores_BTNhw, count in zip(parts, self._counts(context.budget), strict=True):
            open_BTNL = scores_BTNhw.flatten(-2).masked_fill(chosen_BTNL > 0, -torch.inf)
            chosen_BTNL = _choose(open_BTNL, count, chosen_BTNL)
        left_BTNhw = unit_range(parts[-1]) - 1
        chosen_BTNhw = chosen_BTNL.view_as(left_BTNhw)
        return Ranking(scores_BTNhw=torch.where(chosen_BTNhw > 0, chosen_BTNhw, left_BTNhw))

    def _counts(self, budget: int) -> list[int]:
        """Return the number of patches of each strategy, rounded so that the sum is the budget."""
        counts: list[int] = []
        for place in range(1, len(self.shares)):
            counts.append(min(round(sum(self.shares[:place]) * budget), budget) - sum(counts))
        return [*counts, budget - sum(counts)]


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
