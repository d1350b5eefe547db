"""Object masks: hide tracked objects in all frames of a clip.

Letters: X rows or columns of patches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from drivemim.clips import Clips
from drivemim.errors import ConfigError, did_you_mean
from drivemim.masking.box_cover import patch_owners
from drivemim.masking.object_patches import (
    LAST,
    OPEN,
    PROTECTED,
    SortedObjectPatches,
    patch_levels,
    sort_patches,
)
from drivemim.masking.object_sampling import ObjectDraws, draw_objects
from drivemim.masking.strategy import (
    MaskContext,
    MaskScores,
    MaskStrategy,
    build_base,
    check_count,
    check_fraction,
    minmax_normalize,
    tier_scores,
)
from drivemim.registry import MASKS

Mode = Literal["prefer", "quota", "protect"]
BudgetFraction = float | Mapping[str, float]
"""Fraction of the budget for all objects, or a fraction per class name."""

_MODES = ("prefer", "quota", "protect")


@MASKS.register_module()
class ObjectMask(MaskStrategy):
    """Hide tracked objects through the whole clip, and keep a part of every object visible.

    The mode says which objects are hidden:

    - ``prefer``: tracks are drawn at random. A drawn track is hidden in every camera and at every
      time step, so that it cannot be copied from another frame. The patches of drawn tracks are
      hidden first, up to ``budget_fraction`` of the budget. ``base`` scores everything else,
      including the other tracks.
    - ``quota``: objects get exactly ``budget_fraction`` of the budget, if there are enough patches
      with and without objects for it. Tracks are hidden one after the other, in the same order in
      every frame, until the quota is used up.
    - ``protect``: patches of objects are hidden only after all others.

    A patch belongs to the nearest object whose box covers it. A hidden track keeps the same region
    of its box visible in every frame. In each frame, an object of n patches keeps at least
    ``max(min_visible, ceil(visible_fraction * n))`` of them visible, if the budget leaves that many
    patches. Otherwise, small objects lose their visible patches first: with ``min_visible`` above
    0, an object of at least 1 / (1 - mask_ratio) patches (4 at a mask ratio of 3/4) is never hidden
    completely, for any number of boxes. (If ``base`` gives frames different budgets, the
    frame's own mask ratio takes the place of ``mask_ratio``.)

    Args:
        mask_ratio: fraction of every frame's patches that is hidden, in [0, 1].
        mode: ``prefer``, ``quota`` or ``protect``.
        budget_fraction: fraction of a frame's hidden patches that belongs to objects, in [0, 1], or
            one per class of the clips with a sum of at most 1; a class that is left out gets none.
            Not used by ``protect``.
        visible_fraction: fraction of every object's patches that stays visible, in [0, 1]; rounded
            up.
        min_visible: least number of every object's patches that stay visible. An object with no
            more patches than this is not hidden at all.
        hide_probability: probability that ``prefer`` hides a track, in [0, 1].
        num_peek_frames: number of the clip's time steps, drawn for each track, at which a hidden
            track stays visible in all cameras.
        base: strategy that scores all other patches, or its config; ``RandomMask`` by default.

    Example:
        >>> clips = Clips.from_images(images, boxes=boxes)
        >>> mask_BTNhw = ObjectMask()(clips)

    Raises:
        ValueError: if an argument is outside its range; when masking, if ``budget_fraction`` names
            a class that the clips do not have.
    """

    reads: ClassVar[frozenset[str]] = frozenset({"boxes", "tracks"})

    def __init__(
        self,
        *,
        mask_ratio: float = 0.75,
        mode: Mode = "prefer",
        budget_fraction: BudgetFraction = 0.5,
        visible_fraction: float = 0.1,
        min_visible: int = 1,
        hide_probability: float = 0.75,
        num_peek_frames: int = 0,
        base: MaskStrategy | Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(mask_ratio=mask_ratio)
        if mode not in _MODES:
            raise ValueError(f"mode={mode!r} must be one of {', '.join(_MODES)}")
        for name, value in (
            ("visible_fraction", visible_fraction),
            ("hide_probability", hide_probability),
        ):
            check_fraction(name, value)
        for name, count in (("min_visible", min_visible), ("num_peek_frames", num_peek_frames)):
            check_count(name, count, minimum=0)
        _check_budget_fraction(budget_fraction)
        self.mode, self.budget_fraction = mode, budget_fraction
        self.visible_fraction, self.min_visible = visible_fraction, min_visible
        self.hide_probability, self.num_peek_frames = hide_probability, num_peek_frames
        self.base = build_base(base)

    def score(self, context: MaskContext) -> MaskScores:
        """Score hidden tracks, then other patches, then the kept patches of objects."""
        clips, (h, w) = context.clips, context.grid
        clips.require("ObjectMask", "boxes")
        if isinstance(self.budget_fraction, Mapping):
            clips.require("ObjectMask with a budget fraction per class", "labels")
            check_budget_classes(self.budget_fraction, clips.classes)
        draws = draw_objects(context, self.hide_probability, self.num_peek_frames)
        base_scores = self.base.score(context)
        base_BTNhw = minmax_normalize(base_scores.scores_BTNhw)
        M = clips.labels_BTNM.shape[-1]
        if M == 0:
            return MaskScores(scores_BTNhw=base_BTNhw, num_masked_BTN=base_scores.num_masked_BTN)
        owners_BTNhw = patch_owners(
            clips.boxes_BTNM4, clips.depths_BTNM, draws.present_BTNM, context.grid, clips.image_size
        )
        hide_first_BTNM, middle_level_BTNM = self._hide_first_mask(draws)
        # Objects that are hidden first have lower ranks than the others. Each of the two groups is
        # ordered by priority, which a track shares between all frames.
        ranks_FM = _ranks(draws.priority_BTNM + ~hide_first_BTNM).flatten(0, 2)
        removal_cost_BTNhw = _removal_cost(clips, draws, hide_first_BTNM, owners_BTNhw, base_BTNhw)
        patches = sort_patches(
            owners_BTNhw.reshape(-1, h * w), ranks_FM, removal_cost_BTNhw.reshape(-1, h * w)
        )
        num_kept_FM = self._num_kept(patches)
        num_hide_first_FM = self._num_hide_first(
            (patches.counts - num_kept_FM) * _sort_by_rank(hide_first_BTNM.long(), ranks_FM),
            _sort_by_rank(clips.labels_BTNM, ranks_FM),
            _num_masked_per_frame(context, base_scores),
            clips.classes,
        )
        middle_level_FM = _sort_by_rank(middle_level_BTNM, ranks_FM)
        levels_FL = patch_levels(
            patches, num_hide_first_FM, num_kept_FM, self.min_visible, middle_level_FM
        )
        levels_BTNhw = levels_FL.reshape(base_BTNhw.shape)
        scores_BTNhw = tier_scores(levels_BTNhw, base_BTNhw)
        # All levels from LAST down are squeezed into one, so that the others keep their precision.
        last_BTNhw = LAST + (levels_BTNhw - LAST) / (h * w + 1)
        scores_BTNhw = torch.where(levels_BTNhw < LAST, last_BTNhw, scores_BTNhw)
        return MaskScores(scores_BTNhw=scores_BTNhw, num_masked_BTN=base_scores.num_masked_BTN)

    def _hide_first_mask(self, draws: ObjectDraws) -> tuple[Tensor, Tensor]:
        """Return which objects are hidden first, and a middle level for each object.

        The middle level is that of an object's patches that are neither hidden first nor kept.
        """
        present_BTNM, peeked_BTNM = draws.present_BTNM, draws.peeked_BTNM
        if self.mode == "prefer":
            middle_level_BTNM = (draws.hidden_BTNM & peeked_BTNM) * (PROTECTED - OPEN) + OPEN
            return draws.hidden_BTNM & ~peeked_BTNM, middle_level_BTNM
        middle_level_BTNM = torch.full_like(present_BTNM, PROTECTED, dtype=torch.int64)
        if self.mode == "quota":
            return present_BTNM & ~peeked_BTNM, middle_level_BTNM
        return torch.zeros_like(present_BTNM), middle_level_BTNM

    def _num_kept(self, patches: SortedObjectPatches) -> Tensor:
        """Return the number of patches that each object keeps, budget permitting: int64 (F, M)."""
        counts_FM = patches.counts
        # The tolerance keeps a rounding error from adding a patch to a whole number.
        num_kept_FM = (
            (self.visible_fraction * counts_FM - 1e-4).ceil().long().clamp(min=self.min_visible)
        )
        return num_kept_FM.minimum(counts_FM)

    def _num_hide_first(
        self,
        requested_FM: Tensor,
        labels_FM: Tensor,
        num_masked_F: Tensor,
        classes: tuple[str, ...],
    ) -> Tensor:
        """Return how many patches of each object to hide first, within the objects' budget.

        Args:
            requested_FM: int64, patches of each object that are to be hidden first, by rank.
            labels_FM: int64, class of each object, by rank.
            num_masked_F: int64, number of hidden patches of each frame.
            classes: class names of the labels.

        Returns:
            int64 (F, M), as requested, until the budget of the object's class is used up.
        """
        if not isinstance(self.budget_fraction, Mapping):
            return _up_to(requested_FM, (self.budget_fraction * num_masked_F).round().long())
        num_hide_first_FM = torch.zeros_like(requested_FM)
        for name, fraction in self.budget_fraction.items():
            of_class_FM = requested_FM * (labels_FM == classes.index(name))
            num_hide_first_FM += _up_to(of_class_FM, (fraction * num_masked_F).round().long())
        return num_hide_first_FM


def check_budget_classes(budget_fraction: BudgetFraction, classes: Sequence[str]) -> None:
    """Check that the data has all classes for which budget fractions are given.

    Args:
        budget_fraction: fraction for all objects, which is not checked; or one per class.
        classes: class names of the data.

    Raises:
        ConfigError: if the data lacks a class; names it and the nearest valid one.
    """
    for name in budget_fraction if isinstance(budget_fraction, Mapping) else ():
        if name not in classes:
            raise ConfigError(
                f"budget_fraction: {name!r} is none of the data's classes, {', '.join(classes)}"
                f"{did_you_mean(str(name), classes)}"
            )


def _check_budget_fraction(budget_fraction: BudgetFraction) -> None:
    """Check that a budget fraction is in [0, 1].

    Raises:
        ValueError: if it is not; with one fraction per class, also if their sum is above 1.
    """
    if not isinstance(budget_fraction, Mapping):
        check_fraction("budget_fraction", budget_fraction)
        return
    for name, value in budget_fraction.items():
        check_fraction(f"budget_fraction of {name}", value)
    if sum(budget_fraction.values()) > 1 + 1e-6:
        raise ValueError(f"budget_fraction={dict(budget_fraction)} must have a sum of at most 1")


def _up_to(requested_FM: Tensor, quota_F: Tensor) -> Tensor:
    """Grant the requested numbers, in order, until the quota is used up."""
    granted_before_FM = requested_FM.cumsum(dim=-1) - requested_FM
    return (quota_F[:, None] - granted_before_FM).clamp(min=0).minimum(requested_FM)


def _ranks(values_BTNM: Tensor) -> Tensor:
    """Return the rank of each value in ascending order."""
    return values_BTNM.argsort(dim=-1, stable=True).argsort(dim=-1)


def _sort_by_rank(values_BTNM: Tensor, ranks_FM: Tensor) -> Tensor:
    """Sort the values of each frame's objects by the objects' ranks."""
    values_FM = values_BTNM.flatten(0, 2)
    return torch.empty_like(values_FM).scatter_(-1, ranks_FM, values_FM)


def _num_masked_per_frame(context: MaskContext, base_scores: MaskScores) -> Tensor:
    """Return the number of patches to hide in each frame: int64 (F,)."""
    if base_scores.num_masked_BTN is not None:
        return base_scores.num_masked_BTN.flatten()
    return torch.full((context.clips.valid_BTN.numel(),), context.num_masked, device=context.device)


def _removal_cost(
    clips: Clips,
    draws: ObjectDraws,
    hide_first_BTNM: Tensor,
    owners_BTNhw: Tensor,
    base_BTNhw: Tensor,
) -> Tensor:
    """Score how late each of an object's patches is hidden: float32 in [0, 1].

    Objects that are hidden first keep the patches around their anchor. The others keep those that
    the ``base`` strategy would hide last.
    """
    h, w = owners_BTNhw.shape[-2:]
    height, width = clips.image_size
    x1, y1, x2, y2 = clips.boxes_BTNM4.unbind(-1)
    anchor_x, anchor_y = draws.anchors_BTNM2.unbind(-1)
    across_BTNMw = _from_anchor(x1 * (w / width), x2 * (w / width), anchor_x, w)
    down_BTNMh = _from_anchor(y1 * (h / height), y2 * (h / height), anchor_y, h)
    owner_BTNhw = owners_BTNhw.clamp(min=0)
    columns_w = torch.arange(w, device=owner_BTNhw.device)
    rows_h1 = torch.arange(h, device=owner_BTNhw.device)[:, None]
    distance_BTNL = _take(across_BTNMw, owner_BTNhw * w + columns_w)
    distance_BTNL += _take(down_BTNMh, owner_BTNhw * h + rows_h1)
    hide_first_BTNL = hide_first_BTNM.gather(-1, owner_BTNhw.flatten(-2))
    return 1 - torch.where(hide_first_BTNL, distance_BTNL, base_BTNhw.flatten(-2))


def _from_anchor(low_BTNM: Tensor, high_BTNM: Tensor, anchor_BTNM: Tensor, length: int) -> Tensor:
    """Compute half the squared distance of patches from the anchor on one axis, in box lengths.

    Args:
        low_BTNM: lower edge of the box, in patches.
        high_BTNM: upper edge of the box, in patches.
        anchor_BTNM: position in [0, 1] between the two edges.
        length: number of patches along the axis.
    """
    middles = torch.arange(length, device=low_BTNM.device) + 0.5
    size_BTNM1 = (high_BTNM - low_BTNM).clamp(min=1e-3)[..., None]
    fraction = ((middles - low_BTNM[..., None]) / size_BTNM1).clamp(0, 1)
    return (fraction - anchor_BTNM[..., None]).square() / 2


def _take(values_BTNMX: Tensor, index_BTNhw: Tensor) -> Tensor:
    """Return the values at indices into the flattened last two axes: [B, T, N, L]."""
    return values_BTNMX.flatten(-2).gather(-1, index_BTNhw.flatten(-2))
