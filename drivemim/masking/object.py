"""Object masks: hide tracked objects in all frames of a clip."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from drivemim.clips import CLASSES, Clips
from drivemim.errors import did_you_mean
from drivemim.masking.base import (
    MaskContext,
    MaskStrategy,
    Ranking,
    build_rest,
    check_count,
    check_share,
    unit_range,
)
from drivemim.masking.cells import cell_owners
from drivemim.masking.object_cells import LAST, OPEN, SPARED, ObjectCells, cell_levels, sort_cells
from drivemim.masking.object_draws import ObjectDraws, draw_objects
from drivemim.registry import MASKS

Objects = Literal["favour", "balance", "spare"]
Share = float | Mapping[str, float]

_MODES = ("favour", "balance", "spare")
_STEP = 0.999


@MASKS.register_module()
class ObjectMask(MaskStrategy):
    """Hide tracked objects through the whole clip, and keep a part of every object visible.

    ``objects`` is the mode:

    - ``favour``: a random part of the tracks is hidden in every camera and at every time, so that
      they cannot be copied from another frame, up to a share of the budget. Another strategy ranks
      everything else, including the other tracks.
    - ``balance``: objects get exactly a share of the budget, if objects and background have enough
      patches for it. Tracks are hidden one after the other, in the same order in every frame, until
      the share is used up.
    - ``spare``: patches of objects are hidden only after all others.

    A patch belongs to the nearest object whose box covers it. A hidden track keeps the same region
    of its box visible in every frame. In each frame, an object of n patches keeps at least
    ``max(min_visible, ceil(keep * n))`` of them visible, if the budget leaves that many patches.
    Otherwise, small objects lose their visible patches first: with ``min_visible`` above 0, an
    object of at least 1 / (1 - ratio) patches (4 at a ratio of 3/4) is never hidden completely,
    for any number of boxes. (If ``rest`` gives frames different budgets, the frame's own mask ratio
    takes the place of ``ratio``.)

    Args:
        ratio: mask ratio: fraction of every frame's patches that is hidden, in [0, 1].
        objects: mode: ``favour``, ``balance`` or ``spare``.
        share: share of the budget for objects, in [0, 1], or one per class with a sum of at most 1;
            a class that is left out gets none. Not used by ``spare``.
        keep: fraction of every object's patches that stays visible, in [0, 1]; rounded up.
        min_visible: least number of every object's patches that stay visible. An object that has
            no more than that is not hidden at all.
        track_hidden: probability that ``favour`` hides a track, in [0, 1].
        peek: number of the clip's time steps, drawn for each track, at which a hidden track stays
            visible in all cameras.
        rest: strategy that ranks all other patches, or its config; ``RandomMask`` by default.

    Example:
        >>> clips = Clips.from_images(images, boxes=boxes)
        >>> mask_BTNhw = ObjectMask()(clips)

    Raises:
        ValueError: if an argument is outside its range, or a class is unknown.
    """

    reads: ClassVar[frozenset[str]] = frozenset({"boxes", "tracks"})

    def __init__(
        self,
        *,
        ratio: float = 0.75,
        objects: Objects = "favour",
        share: Share = 0.5,
        keep: float = 0.1,
        min_visible: int = 1,
        track_hidden: float = 0.75,
        peek: int = 0,
        rest: MaskStrategy | Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(ratio=ratio)
        if objects not in _MODES:
            raise ValueError(f"objects={objects!r} must be one of {', '.join(_MODES)}")
        for name, value in (("keep", keep), ("track_hidden", track_hidden)):
            check_share(name, value)
        for name, count in (("min_visible", min_visible), ("peek", peek)):
            check_count(name, count, least=0)
        _check_shares(share)
        self.objects, self.share, self.keep, self.min_visible = objects, share, keep, min_visible
        self.track_hidden, self.peek = track_hidden, peek
        self.rest = build_rest(rest)

    def rank(self, context: MaskContext) -> Ranking:
        """Rank hidden tracks, then other patches, then the kept patches of objects."""
        clips, (h, w) = context.clips, context.grid
        clips.require("ObjectMask", "boxes")
        if isinstance(self.share, Mapping):
            clips.require("ObjectMask with a share per class", "labels")
        draws = draw_objects(context, self.track_hidden, self.peek)
        rest = self.rest.rank(context)
        rest_BTNhw = unit_range(rest.scores_BTNhw)
        M = clips.labels_BTNM.shape[-1]
        if M == 0:
            return Ranking(scores_BTNhw=rest_BTNhw, budgets_BTN=rest.budgets_BTN)
        owners_BTNhw = cell_owners(
            clips.boxes_BTNM4, clips.depths_BTNM, draws.present_BTNM, context.grid, clips.image_size
        )
        first_BTNM, then_BTNM = self._wanted(draws)
        # Objects to hide first, then the others; tracks in the same order in every frame.
        order_FM = _places(draws.priority_BTNM + ~first_BTNM).flatten(0, 2)
        reluctance_BTNhw = _reluctance(clips, draws, first_BTNM, owners_BTNhw, rest_BTNhw)
        cells = sort_cells(
            owners_BTNhw.reshape(-1, h * w), order_FM, reluctance_BTNhw.reshape(-1, h * w)
        )
        kept_FM = self._kept(cells)
        first_FM = self._first(
            (cells.counts - kept_FM) * _by_place(first_BTNM.long(), order_FM),
            _by_place(clips.labels_BTNM, order_FM),
            _frame_budgets(context, rest),
        )
        then_FM = _by_place(then_BTNM, order_FM)
        levels_FL = cell_levels(cells, first_FM, kept_FM, self.min_visible, then_FM)
        levels_BTNhw = levels_FL.reshape(rest_BTNhw.shape)
        scores_BTNhw = levels_BTNhw + rest_BTNhw * _STEP
        # All levels from LAST down are squeezed into one, so that the others keep their precision.
        last_BTNhw = LAST + (levels_BTNhw - LAST) / (h * w + 1)
        scores_BTNhw = torch.where(levels_BTNhw < LAST, last_BTNhw, scores_BTNhw)
        return Ranking(scores_BTNhw=scores_BTNhw, budgets_BTN=rest.budgets_BTN)

    def _wanted(self, draws: ObjectDraws) -> tuple[Tensor, Tensor]:
        """Return whether each object's patches are hidden first, and the level of all others."""
        present_BTNM, peeked_BTNM = draws.present_BTNM, draws.peeked_BTNM
        if self.objects == "favour":
            then_BTNM = (draws.hidden_BTNM & peeked_BTNM) * (SPARED - OPEN) + OPEN
            return draws.hidden_BTNM & ~peeked_BTNM, then_BTNM
        then_BTNM = torch.full_like(present_BTNM, SPARED, dtype=torch.int64)
        if self.objects == "balance":
            return present_BTNM & ~peeked_BTNM, then_BTNM
        return torch.zeros_like(present_BTNM), then_BTNM

    def _kept(self, cells: ObjectCells) -> Tensor:
        """Return the number of patches that each object keeps, budget permitting: int64 (F, M)."""
        counts_FM = cells.counts
        # The tolerance keeps a rounding error from adding a patch to a whole number.
        kept_FM = (self.keep * counts_FM - 1e-4).ceil().long().clamp(min=self.min_visible)
        return kept_FM.minimum(counts_FM)

    def _first(self, asked_FM: Tensor, labels_FM: Tensor, budgets_F: Tensor) -> Tensor:
        """Return how many patches of each object to hide first: in order, up to the share."""
        if not isinstance(self.share, Mapping):
            return _up_to(asked_FM, (self.share * budgets_F).round().long())
        first_FM = torch.zeros_like(asked_FM)
        for name, share in self.share.items():
            of_class_FM = asked_FM * (labels_FM == CLASSES.index(name))
            first_FM += _up_to(of_class_FM, (share * budgets_F).round().long())
        return first_FM


def _check_shares(share: Share) -> None:
    """Raise ``ValueError`` unless ``share`` is in [0, 1] or a valid share per known class."""
    if not isinstance(share, Mapping):
        check_share("share", share)
        return
    for name, value in share.items():
        if name not in CLASSES:
            raise ValueError(
                f"share: {name!r} is none of {', '.join(CLASSES)}{did_you_mean(str(name), CLASSES)}"
            )
        check_share(f"share of {name}", value)
    if sum(share.values()) > 1 + 1e-6:
        raise ValueError(f"share={dict(share)} must be 1 in all at most")


def _up_to(asked_FM: Tensor, quota_F: Tensor) -> Tensor:
    """Grant the numbers asked for, in order, until the quota is used up."""
    given_before_FM = asked_FM.cumsum(dim=-1) - asked_FM
    return (quota_F[:, None] - given_before_FM).clamp(min=0).minimum(asked_FM)


def _places(values_BTNM: Tensor) -> Tensor:
    """Return the rank of each value in ascending order."""
    return values_BTNM.argsort(dim=-1, stable=True).argsort(dim=-1)


def _by_place(values_BTNM: Tensor, order_FM: Tensor) -> Tensor:
    """Sort the values of each frame's objects by the objects' ranks."""
    values_FM = values_BTNM.flatten(0, 2)
    return torch.empty_like(values_FM).scatter_(-1, order_FM, values_FM)


def _frame_budgets(context: MaskContext, rest: Ranking) -> Tensor:
    """Return the budget of each frame: int64 (F,)."""
    if rest.budgets_BTN is not None:
        return rest.budgets_BTN.flatten()
    return torch.full((context.clips.valid_BTN.numel(),), context.budget, device=context.device)


def _reluctance(
    clips: Clips,
    draws: ObjectDraws,
    first_BTNM: Tensor,
    owners_BTNhw: Tensor,
    rest_BTNhw: Tensor,
) -> Tensor:
    """Score how late each of an object's patches is hidden: float32 in [0, 1].

    Objects that are hidden first keep the patches around their anchor. The others keep those that
    the ``rest`` strategy would hide last.
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
    first_BTNL = first_BTNM.gather(-1, owner_BTNhw.flatten(-2))
    return 1 - torch.where(first_BTNL, distance_BTNL, rest_BTNhw.flatten(-2))


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
    share = ((middles - low_BTNM[..., None]) / size_BTNM1).clamp(0, 1)
    return (share - anchor_BTNM[..., None]).square() / 2


def _take(values_BTNMX: Tensor, index_BTNhw: Tensor) -> Tensor:
    return values_BTNMX.flatten(-2).gather(-1, index_BTNhw.flatten(-2))
