"""Mixtures: a strategy is drawn for each clip."""

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch

from drivemim.masking.base import MaskContext, MaskStrategy, Ranking, build_mask
from drivemim.registry import MASKS


@MASKS.register_module()
class MixtureMask(MaskStrategy):
    """Draw one of several strategies for each clip.

    Every strategy ranks the whole batch, so a mixture costs as much as all of its strategies
    together. In return, a clip's mask does not depend on other clips, and no step synchronizes
    with the device.

    Args:
        ratio: mask ratio: fraction of a clip's patches that is hidden, in [0, 1]. The ratios of
            the strategies are ignored.
        strategies: at least one strategy or config.
        weights: relative frequency of each strategy, in (0, infinity); equal by default.

    Example:
        >>> mask = MixtureMask(strategies=[BlockMask(), RandomMask()])
        >>> mask_BTNhw = mask(Clips.from_images(images))

    Raises:
        ValueError: if an argument is outside its range, or the numbers of strategies and weights
            differ.
    """

    reads: ClassVar[frozenset[str]] = frozenset()

    def __init__(
        self,
        *,
        ratio: float = 0.75,
        strategies: Sequence[MaskStrategy | dict[str, Any]],
        weights: Sequence[float] | None = None,
    ) -> None:
        super().__init__(ratio=ratio)
        if len(strategies) < 1:
            raise ValueError(f"strategies={strategies} must hold at least 1 strategy")
        weights = [1.0] * len(strategies) if weights is None else list(weights)
        if len(weights) != len(strategies):
            raise ValueError(f"weights={weights} must hold {len(strategies)}, one a strategy")
        if not all(0 < weight < math.inf for weight in weights):
            raise ValueError(f"weights={weights} must each be in (0, infinity)")
        self.strategies = [build_mask(strategy) for strategy in strategies]
        self.weights = weights

    def rank(self, context: MaskContext) -> Ranking:
        """Take each clip's ranking, and its budgets if there are any, from the strategy drawn."""
        draw_B = context.per_clip()
        rankings = [strategy.rank(context) for strategy in self.strategies]
        uneven = any(ranking.budgets_BTN is not None for ranking in rankings)
        scores_BTNhw = rankings[0].scores_BTNhw
        budgets_BTN = _budgets(rankings[0], context)
        below = 0.0
        for weight, ranking in zip(self.weights, rankings[1:], strict=False):
            below += weight / sum(self.weights)
            taken_B11 = (draw_B >= below)[:, None, None]
            scores_BTNhw = torch.where(
                taken_B11[..., None, None], ranking.scores_BTNhw, scores_BTNhw
            )
            budgets_BTN = torch.where(taken_B11, _budgets(ranking, context), budgets_BTN)
        return Ranking(scores_BTNhw=scores_BTNhw, budgets_BTN=budgets_BTN if uneven else None)


def _budgets(ranking: Ranking, context: MaskContext) -> torch.Tensor:
    """Return a ranking's budgets; if it has none, the context's budget for every frame."""
    if ranking.budgets_BTN is not None:
        return ranking.budgets_BTN
    return torch.full(context.clips.shape, context.budget, device=context.device)
