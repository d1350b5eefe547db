"""Guided masks: hide the patches with a high loss or a high attention."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from drivemim.masking.strategy import (
    MaskContext,
    MaskScores,
    MaskStrategy,
    build_base,
    check_fraction,
    check_numbers,
    fraction_of_budget,
    gumbel,
    minmax_normalize,
    tier_scores,
    topk_mask,
)
from drivemim.registry import MASKS

_HINT, _OPEN, _FIRST = 0, 1, 2
"""Tiers of patches; a higher tier is hidden before a lower one. ``_FIRST``: patches that the map
selects; ``_HINT``: patches with high values that are hidden last; ``_OPEN``: all others, scored by
``base``."""


@MASKS.register_module()
class GuidedMask(MaskStrategy):
    """Spend a fraction of the budget on the patches to which the teacher gives the highest values.

    The pretrainer's teacher computes a map of values before masking. With a
    ``LossPredictor``, and ``budget_fraction`` growing from 0 by a schedule, masks go from easy to
    hard, like in HPM (Wang et al., 2023). With a ``TeacherAttention``, the most important patches
    are hidden, except for some hints, like in AttMask (Kakogeorgiou et al., 2022).

    Only the order of a frame's patches counts, so the map may have any unit: each patch's value is
    replaced by its quantile, the fraction of the frame's patches with a lower value. Patches are
    drawn without replacement, with chances proportional to ``exp(quantile / temperature)``. NaN
    counts as the lowest value.

    Args:
        mask_ratio: fraction of every frame's patches that is hidden, in [0, 1].
        budget_fraction: fraction of a frame's hidden patches that is chosen by the map, in [0, 1].
        hint_probability: probability, for each patch that the map would select, that it becomes a
            hint, in [0, 1). Hints are hidden after all other patches, and the patch with the next
            highest value is selected instead.
        temperature: amount of randomness, in [0, infinity). At 0 the patches with the highest
            values are always selected; at 1 the patch with the highest value is e times as likely
            as that with the lowest.
        base: strategy that scores all other patches, or its config; ``RandomMask`` by
            default.

    Example:
        >>> clips = Clips.from_images(images)
        >>> mask_BTNhw = GuidedMask()(clips, teacher_map_BTNhw=teacher_map_BTNhw)

    Raises:
        ValueError: if an argument is outside its range.
    """

    reads: ClassVar[frozenset[str]] = frozenset()

    def __init__(
        self,
        *,
        mask_ratio: float = 0.75,
        budget_fraction: float = 0.5,
        hint_probability: float = 0.0,
        temperature: float = 0.1,
        base: MaskStrategy | dict[str, Any] | None = None,
    ) -> None:
        super().__init__(mask_ratio=mask_ratio)
        check_fraction("budget_fraction", budget_fraction)
        check_numbers(hint_probability=hint_probability, temperature=temperature)
        if not 0 <= hint_probability < 1:
            raise ValueError(f"hint_probability={hint_probability} must be in [0, 1)")
        if not 0 <= temperature < float("inf"):
            raise ValueError(f"temperature={temperature} must be in [0, infinity)")
        self.budget_fraction = budget_fraction
        self.hint_probability, self.temperature = hint_probability, temperature
        self.base = build_base(base)

    def score(self, context: MaskContext) -> MaskScores:
        """Score the patches that the map selects first, then all others, then the hints.

        Raises:
            ValueError: if there is no map, or its shape is not that of the clips' patches.
        """
        teacher_map_BTNhw = _teacher_map_of(context)
        base_scores = self.base.score(context)
        noisy_BTNhw = self._noisy(teacher_map_BTNhw, context.draw_per_frame(*context.grid))
        draws_BTNhw = context.draw_per_frame(*context.grid)
        hint_candidate_BTNhw = draws_BTNhw < self.hint_probability
        ranked_BTNhw = noisy_BTNhw.masked_fill(hint_candidate_BTNhw, -torch.inf)
        first_BTNhw = (
            topk_mask(ranked_BTNhw, fraction_of_budget(self.budget_fraction, context, base_scores))
            & ~hint_candidate_BTNhw
        )
        lowest_selected_BTN11 = (
            noisy_BTNhw.masked_fill(~first_BTNhw, torch.inf).flatten(-2).amin(-1)[..., None, None]
        )
        # Other candidates have such low values that they would not have been selected anyway.
        hint_BTNhw = hint_candidate_BTNhw & (noisy_BTNhw > lowest_selected_BTN11)

        scores_BTNhw = tier_scores(_OPEN, minmax_normalize(base_scores.scores_BTNhw))
        scores_BTNhw = torch.where(hint_BTNhw, tier_scores(_HINT, draws_BTNhw), scores_BTNhw)
        first_scores_BTNhw = _FIRST + minmax_normalize(noisy_BTNhw)
        scores_BTNhw = torch.where(first_BTNhw, first_scores_BTNhw, scores_BTNhw)
        return MaskScores(scores_BTNhw=scores_BTNhw, num_masked_BTN=base_scores.num_masked_BTN)

    def _noisy(self, teacher_map_BTNhw: Tensor, draws_BTNhw: Tensor) -> Tensor:
        """Add Gumbel noise to the map's quantiles, so that the highest values are a weighted draw.

        See ``gumbel`` for the chances.
        """
        teacher_map_BTNL = _quantile(teacher_map_BTNhw.flatten(-2))
        draws_BTNL = draws_BTNhw.flatten(-2)
        # Ties are broken by chance, not by the position in the image.
        tie_break_BTNL = draws_BTNL * (0.1 / teacher_map_BTNL.shape[-1])
        noisy_BTNL = teacher_map_BTNL + tie_break_BTNL + self.temperature * gumbel(draws_BTNL)
        return noisy_BTNL.reshape(teacher_map_BTNhw.shape)


def _teacher_map_of(context: MaskContext) -> Tensor:
    """Return the teacher's map as float32, with NaN replaced by minus infinity.

    Raises:
        ValueError: if there is no map, or its shape is not that of the clips' patches.
    """
    teacher_map_BTNhw = context.teacher_map_BTNhw
    if teacher_map_BTNhw is None:
        raise ValueError(
            "GuidedMask has no map to follow: set the pretrainer's teacher, for example "
            "model.teacher=dict(type='LossPredictor'), or give teacher_map_BTNhw when calling the "
            "mask"
        )
    expected = (*context.clips.shape, *context.grid)
    if tuple(teacher_map_BTNhw.shape) != expected:
        raise ValueError(
            f"teacher_map_BTNhw of shape {tuple(teacher_map_BTNhw.shape)} must have a value for "
            f"each patch of the clips: {expected}"
        )
    return teacher_map_BTNhw.detach().float().nan_to_num(-torch.inf, torch.inf, -torch.inf)


def _quantile(values_BTNL: Tensor) -> Tensor:
    """Return the fraction of the frame's patches with a lower value, in [0, 1)."""
    ordered_BTNL, order_BTNL = values_BTNL.sort(dim=-1)
    ranks_L = torch.arange(values_BTNL.shape[-1], device=values_BTNL.device)
    # Equal values share the lowest of their ranks.
    repeats_BTNL = torch.zeros_like(ordered_BTNL, dtype=torch.bool)
    repeats_BTNL[..., 1:] = ordered_BTNL[..., 1:] == ordered_BTNL[..., :-1]
    below_BTNL = ranks_L.where(~repeats_BTNL, 0).cummax(dim=-1).values
    quantile_BTNL = below_BTNL / values_BTNL.shape[-1]
    return torch.empty_like(quantile_BTNL).scatter_(-1, order_BTNL, quantile_BTNL)
