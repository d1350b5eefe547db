"""Guided masks: hide the patches with a high loss or a high attention."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from drivemim.clips import Clips
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

# Tiers of patches: every patch of a higher tier is hidden before those of a lower one.
_HINT, _OPEN, _FIRST = 0.0, 1.0, 2.0
_STEP = 0.999


@MASKS.register_module()
class GuidedMask(MaskStrategy):
    """Spend a share of the budget on the patches with the highest guide values.

    The guide is a map that the pretrainer's teacher computes before masking. With a
    ``LossPredictor``, and ``share`` growing from 0 by a schedule, masks go from easy to hard, like
    in HPM (Wang et al., 2023). With a ``TeacherAttention``, the most important patches are hidden,
    except for some hints, like in AttMask (Kakogeorgiou et al., 2022).

    Only the order of a frame's patches counts, so a guide may have any unit: each patch's value is
    replaced by the fraction of the frame's patches below it. Patches are drawn without replacement,
    with chances proportional to ``exp(guide / temperature)``. NaN counts as the lowest value.

    Args:
        ratio: mask ratio: fraction of every frame's patches that is hidden, in [0, 1].
        share: share of a frame's budget for the patches with the highest guide, in [0, 1].
        hints: probability, for each of the highest patches, that it is hidden last of all and the
            next highest takes its place, in [0, 1).
        temperature: amount of randomness, in [0, infinity). At 0 the highest patches are always
            chosen; at 1 the highest is e times as likely as the lowest.
        rest: strategy that ranks all other patches, or its config; ``RandomMask`` by default.

    Example:
        >>> clips = Clips.from_images(images)
        >>> mask_BTNhw = GuidedMask()(clips, guide_BTNhw=guide_BTNhw)

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
        """Rank the patches with the highest guide first, then all others, then the hints.

        Raises:
            ValueError: if there is no guide, or its shape is not that of the clips' patches.
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
        """Add Gumbel noise to the guide, so that its highest patches are a weighted draw."""
        guide_BTNL = _share_below(guide_BTNhw.flatten(-2))
        draws_BTNL = draws_BTNhw.flatten(-2)
        # Ties are broken by chance, not by the position in the image.
        tie_break_BTNL = draws_BTNL * (0.1 / guide_BTNL.shape[-1])
        blurred_BTNL = guide_BTNL + tie_break_BTNL + self.temperature * gumbel(draws_BTNL)
        return blurred_BTNL.reshape(guide_BTNhw.shape)


def _guide_of(context: MaskContext) -> Tensor:
    guide_BTNhw = context.guide_BTNhw
    if guide_BTNhw is None:
        raise ValueError(
            "GuidedMask has no map to follow: set the pretrainer's teacher, for example "
            "model.teacher=dict(type='LossPredictor'), or give guide_BTNhw when calling the mask"
        )
    expected = (*context.clips.shape, *context.grid)
    if tuple(guide_BTNhw.shape) != expected:
        raise ValueError(
            f"guide_BTNhw of shape {tuple(guide_BTNhw.shape)} must have a value for each cell of "
            f"the clips: {expected}"
        )
    return guide_BTNhw.detach().float().nan_to_num(-torch.inf, torch.inf, -torch.inf)


def _share_below(values_BTNL: Tensor) -> Tensor:
    """Return the fraction of the frame's patches with a lower value, in [0, 1)."""
    ordered_BTNL, order_BTNL = values_BTNL.sort(dim=-1)
    places_L = torch.arange(values_BTNL.shape[-1], device=values_BTNL.device)
    # Equal values get the rank of the first of them.
    repeats_BTNL = torch.zeros_like(ordered_BTNL, dtype=torch.bool)
    repeats_BTNL[..., 1:] = ordered_BTNL[..., 1:] == ordered_BTNL[..., :-1]
    below_BTNL = places_L.where(~repeats_BTNL, 0).cummax(dim=-1).values
    shares_BTNL = below_BTNL / values_BTNL.shape[-1]
    return torch.empty_like(shares_BTNL).scatter_(-1, order_BTNL, shares_BTNL)


def local_contrast(clips: Clips, grid: tuple[int, int]) -> Tensor:
    """Compute the standard deviation of each patch's grey levels: float (B, T, N, h, w).

    Guided strategies use it here instead of a trained guide.
    """
    (h, w), (H, W) = grid, clips.image_size
    grey_BTNHW = clips.images_BTNHWC.float().mean(dim=-1)
    rows, columns = H // h, W // w
    whole = grey_BTNHW[..., : rows * h, : columns * w]
    deviation: Tensor = whole.reshape(*clips.shape, h, rows, w, columns).std(dim=(4, 6))
    return deviation
