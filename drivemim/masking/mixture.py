"""Mixtures: a strategy is drawn for each clip."""

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch

from drivemim.masking.strategy import (
    MaskContext,
    MaskScores,
    MaskStrategy,
    build_mask,
    check_numbers,
)
from drivemim.registry import MASKS


@MASKS.register_module()
class MixtureMask(MaskStrategy):
    """Draw one of several strategies for each clip.

    Every strategy scores the whole batch, so a mixture costs as much as all of its strategies
    together. In return, a clip's mask does not depend on other clips, and the CPU never waits for
    the GPU.

    Args:
        mask_ratio: fraction of a clip's patches that is hidden, in [0, 1]. The mask ratios of
            the strategies are ignored.
        strategies: at least one strategy or its config.
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
        mask_ratio: float = 0.75,
        strategies: Sequence[MaskStrategy | dict[str, Any]],
        weights: Sequence[float] | None = None,
    ) -> None:
        super().__init__(mask_ratio=mask_ratio)
        if len(strategies) < 1:
            raise ValueError(f"strategies={strategies} must hold at least 1 strategy")
        weights = [1.0] * len(strategies) if weights is None else list(weights)
        if len(weights) != len(strategies):
            raise ValueError(f"weights={weights} must hold {len(strategies)}, one per strategy")
        check_numbers(**{f"weights[{position}]": weight for position, weight in enumerate(weights)})
        if not all(0 < weight < math.inf for weight in weights):
            raise ValueError(f"weights={weights} must each be in (0, infinity)")
        self.strategies = [
            build_mask(strategy, f"strategies[{position}]")
            for position, strategy in enumerate(strategies)
        ]
        self.weights = weights

    def score(self, context: MaskContext) -> MaskScores:
        """Return each clip's scores, and its budgets if there are any, from the drawn strategy."""
        draw_B = context.draw_per_clip()
        all_scores = [strategy.score(context) for strategy in self.strategies]
        uneven = any(mask_scores.num_masked_BTN is not None for mask_scores in all_scores)
        scores_BTNhw = all_scores[0].scores_BTNhw
        num_masked_BTN = _num_masked_per_frame(all_scores[0], context)
        # Each clip starts with the first strategy, and takes the next one as long as its draw
        # reaches the cumulative probability of the strategies before.
        cumulative = 0.0
        for weight, mask_scores in zip(self.weights, all_scores[1:], strict=False):
            cumulative += weight / sum(self.weights)
            takes_next_B11 = (draw_B >= cumulative)[:, None, None]
            scores_BTNhw = torch.where(
                takes_next_B11[..., None, None], mask_scores.scores_BTNhw, scores_BTNhw
            )
            num_masked_BTN = torch.where(
                takes_next_B11, _num_masked_per_frame(mask_scores, context), num_masked_BTN
            )
        return MaskScores(
            scores_BTNhw=scores_BTNhw, num_masked_BTN=num_masked_BTN if uneven else None
        )


def _num_masked_per_frame(mask_scores: MaskScores, context: MaskContext) -> torch.Tensor:
    """Return the strategy's budgets; if it sets none, the context's budget for every frame."""
    if mask_scores.num_masked_BTN is not None:
        return mask_scores.num_masked_BTN
    return torch.full(context.clips.shape, context.num_masked, device=context.device)
