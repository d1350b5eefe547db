"""Guided masks: hide what a map says, the hard cells or those that are looked at."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from drivemim.masking.base import (
    MaskContext,
    MaskStrategy,
    Ranking,
    build_rest,
    check_share,
    gumbel,
    hide_top,
    share_of_budget,
    unit_range,
)
from drivemim.registry import MASKS

# Tiers of cells; a higher tier is hidden before a lower one, whatever the ranking within.
_HINT, _OPEN, _FIRST = 0.0, 1.0, 2.0
_STEP = 0.999


@MASKS.register_module()
class GuidedMask(MaskStrategy):
    """Spend a share of the budget on the cells of the highest guide, the rest as others rank them.

    The guide is a map that the pretrainer computes before it masks. With a ``LossPredictor``, and
    ``share`` growing from 0 by a schedule, cells are hidden easy to hard, as in HPM (Wang et al.,
    2023). With a ``TeacherAttention`` the cells that matter most are hidden, but for some hints, as
    in AttMask (Kakogeorgiou et al., 2022).

    Only the order of a frame's cells counts, so guides of any unit will do: a cell's guide is the
    share of the frame's cells that it is above. Cells are drawn without replacement, with chances
    proportional to ``exp(guide / temperature)``. NaN is the lowest guide.

    Args:
        ratio: share of every frame's cells that is hidden, in [0, 1].
        share: share of a frame's budget that goes to the cells of the highest guide, in [0, 1].
        hints: chance of each of the highest cells to be hidden last of all, so that the next
            highest takes its place, in [0, 1).
        temperature: how much chance blurs the guide, in [0, infinity). At 0 the highest cells are
            always the ones; at 1 the highest is e times as likely as the lowest.
        rest: strategy that ranks all other cells, or its config.

    Raises:
        ValueError: if an argument is outside its range.
    """

    reads: ClassVar[frozenset[str]] = frozenset()

    def __init__(
        self,
        *,
        ratio: float = 0.75,
        share: float = 0.5,
        hints: float = 0.0,
        temperature: float = 0.1,
        rest: MaskStrategy | dict[str, Any] | None = None,
    ) -> None:
        super().__init__(ratio=ratio)
        check_share("share", share)
        if not 0 <= hints < 1:
            raise ValueError(f"hints={hints} must be in [0, 1)")
        if not 0 <= temperature < float("inf"):
            raise ValueError(f"temperature={temperature} must be in [0, infinity)")
        self.share, self.hints, self.temperature = share, hints, temperature
        self.rest = build_rest(rest)

    def rank(self, context: MaskContext) -> Ranking:
        """Rank the cells of the highest guide, then all others, then the hints.

        Raises:
            ValueError: if there is no guide, or it is of another shape than the clips' cells.
        """
        guide_BTNhw = _guide_of(context)
        rest = self.rest.rank(context)
        blurred_BTNhw = self._blurred(guide_BTNhw, context.per_frame(*context.grid))
        chance_BTNhw = context.per_frame(*context.grid)
        spared_BTNhw = chance_BTNhw < self.hints
        wanted_BTNhw = blurred_BTNhw.masked_fill(spared_BTNhw, -torch.inf)
        first_BTNhw = (
            hide_top(wanted_BTNhw, share_of_budget(self.share, context, rest)) & ~spared_BTNhw
        )
        lowest_BTN11 = (
            blurred_BTNhw.masked_fill(~first_BTNhw, torch.inf).flatten(-2).amin(-1)[..., None, None]
        )
        hint_BTNhw = spared_BTNhw & (blurred_BTNhw > lowest_BTN11)

        scores_BTNhw = _OPEN + unit_range(rest.scores_BTNhw) * _STEP
        scores_BTNhw = torch.where(hint_BTNhw, _HINT + chance_BTNhw * _STEP, scores_BTNhw)
        first_scores_BTNhw = _FIRST + unit_range(blurred_BTNhw)
        scores_BTNhw = torch.where(first_BTNhw, first_scores_BTNhw, scores_BTNhw)
        return Ranking(scores_BTNhw=scores_BTNhw, budgets_BTN=rest.budgets_BTN)

    def _blurred(self, guide_BTNhw: Tensor, draws_BTNhw: Tensor) -> Tensor:
        """Guide plus Gumbel noise, whose highest cells are a weighted draw of cells."""
        guide_BTNL = _share_below(guide_BTNhw.flatten(-2))
        draws_BTNL = draws_BTNhw.flatten(-2)
        # Where guides are equal, chance decides, and not the place in the image.
        tie_break_BTNL = draws_BTNL * (0.1 / guide_BTNL.shape[-1])
        blurred_BTNL = guide_BTNL + tie_break_BTNL + self.temperature * gumbel(draws_BTNL)
        return blurred_BTNL.reshape(guide_BTNhw.shape)


def _guide_of(context: MaskContext) -> Tensor:
    guide_BTNhw = context.guide_BTNhw
    if guide_BTNhw is None:
        raise ValueError(
            "GuidedMask has no guide to follow: set the pretrainer's guide, for example "
            "model.guide=dict(type='LossPredictor'), or give guide_BTNhw when calling the strategy"
        )
    expected = (*context.clips.shape, *context.grid)
    if tuple(guide_BTNhw.shape) != expected:
        raise ValueError(
            f"guide_BTNhw of shape {tuple(guide_BTNhw.shape)} must have a value for each cell of "
            f"the clips: {expected}"
        )
    return guide_BTNhw.detach().float().nan_to_num(-torch.inf, torch.inf, -torch.inf)


def _share_below(values_BTNL: Tensor) -> Tensor:
    """Share of the frame's cells that each cell is above, in [0, 1)."""
    ordered_BTNL, order_BTNL = values_BTNL.sort(dim=-1)
    places_L = torch.arange(values_BTNL.shape[-1], device=values_BTNL.device)
    # Equal values have the place of the first of them.
    repeats_BTNL = torch.zeros_like(ordered_BTNL, dtype=torch.bool)
    repeats_BTNL[..., 1:] = ordered_BTNL[..., 1:] == ordered_BTNL[..., :-1]
    below_BTNL = places_L.where(~repeats_BTNL, 0).cummax(dim=-1).values
    shares_BTNL = below_BTNL / values_BTNL.shape[-1]
    return torch.empty_like(shares_BTNL).scatter_(-1, order_BTNL, shares_BTNL)
