"""Object-aware masks: hide things, not pixels."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from drivemim.clips import Clips
from drivemim.masking.base import (
    MaskContext,
    MaskStrategy,
    Ranking,
    build_mask,
    check_share,
    unit_range,
)
from drivemim.masking.cells import cell_owners
from drivemim.registry import MASKS

# Tiers of cells; a higher tier is hidden before a lower one, whatever the ranking within.
_LAST, _KEPT, _OPEN, _FIRST = 0.0, 1.0, 2.0, 3.0
_STEP = 0.999


@MASKS.register_module()
class ObjectMask(MaskStrategy):
    """Hide tracked objects through the whole clip, and leave a part of every object visible.

    A drawn share of the tracks is hidden in every camera and at every time, so that they cannot be
    copied from another frame: of each, the same part of its box stays visible everywhere. All
    other cells are hidden as another strategy ranks them. Every object keeps some of its cells in
    every frame, unless the budget is so high that there are no other cells left to hide.

    Args:
        ratio: share of every frame's cells that is hidden, in [0, 1].
        share: share of the budget that may go to hidden tracks, in [0, 1]. What they do not use,
            or what they have beyond it, goes the way of the other cells.
        keep: share of every object's cells left visible, in [0, 1]; rounded up.
        min_visible: cells of every object left visible even where ``keep`` asks for fewer.
        track_hidden: probability that a track is hidden throughout the clip, in [0, 1].
        rest: strategy that ranks all other cells, or its config.

    Raises:
        ValueError: if an argument is outside its range.
    """

    def __init__(
        self,
        *,
        ratio: float = 0.75,
        share: float = 0.5,
        keep: float = 0.3,
        min_visible: int = 1,
        track_hidden: float = 0.5,
        rest: MaskStrategy | dict[str, Any] | None = None,
    ) -> None:
        super().__init__(ratio=ratio)
        for name, value in (("share", share), ("keep", keep), ("track_hidden", track_hidden)):
            check_share(name, value)
        if min_visible < 0:
            raise ValueError(f"min_visible={min_visible} must be in [0, infinity)")
        self.share, self.keep, self.min_visible = share, keep, min_visible
        self.track_hidden = track_hidden
        self.rest = build_mask({"type": "RandomMask"} if rest is None else rest)

    def rank(self, context: MaskContext) -> Ranking:
        """Rank hidden tracks, then open cells, then the kept cells of objects."""
        clips, grid = context.clips, context.grid
        salts_B4 = context.per_clip(4)
        rest = self.rest.rank(context)
        rest_BTNhw = unit_range(rest.scores_BTNhw)
        objects = _draw(clips, salts_B4, self.track_hidden)
        owners_BTNhw = cell_owners(
            clips.boxes_BTNM4, clips.depths_BTNM, objects.present_BTNM, grid, clips.image_size
        )
        cells = _owned_cells(clips, objects, owners_BTNhw, rest_BTNhw)
        quota = round(self.share * context.budget)
        tiers_E = self._tiers(cells, quota, clips.valid_BTN.numel(), clips.tracks_BTNM.shape[-1])
        ranked_E = torch.where(tiers_E == _OPEN, rest_BTNhw.flatten()[cells.cell_E], cells.wish_E)
        scores_F = (_OPEN + rest_BTNhw * _STEP).flatten()
        scores_F[cells.cell_E] = tiers_E + ranked_E * _STEP
        return Ranking(
            scores_BTNhw=scores_F.reshape(rest_BTNhw.shape), budgets_BTN=rest.budgets_BTN
        )

    def _tiers(self, cells: "_OwnedCells", quota: int, frames: int, M: int) -> Tensor:
        """Sort objects' cells into those hidden first, those left open and those kept: tiers_E."""
        object_E = cells.frame_E * M + cells.order_E
        counts_O = object_E.bincount(minlength=frames * M)
        starts_O = counts_O.cumsum(dim=0) - counts_O
        rank_E = torch.arange(len(object_E), device=object_E.device) - starts_O[object_E]
        count_E = counts_O[object_E]
        left_E = count_E - rank_E

        keep_E = (self.keep * count_E - 1e-4).ceil().clamp(min=self.min_visible)
        chosen_E = cells.hidden_E & (left_E > keep_E)
        chosen_before_E = chosen_E.cumsum(dim=0)
        chosen_in_frame = cells.frame_E[chosen_E].bincount(minlength=frames)
        offsets = chosen_in_frame.cumsum(dim=0) - chosen_in_frame
        chosen_E = chosen_E & (chosen_before_E - offsets[cells.frame_E] <= quota)

        tiers_E = torch.full_like(cells.wish_E, _OPEN)
        tiers_E = tiers_E.masked_fill(left_E <= keep_E, _KEPT)
        tiers_E = tiers_E.masked_fill(left_E <= self.min_visible, _LAST)
        return tiers_E.masked_fill(chosen_E, _FIRST)


@dataclass(frozen=True)
class _Objects:
    """What was drawn for the objects of the clips.

    Attributes:
        present_BTNM: bool, False for padding.
        hidden_BTNM: bool, present and of a track that is hidden throughout.
        order_BTNM: int64, each frame's objects counted off, hidden ones first, tracks in the same
            order in every frame.
        anchors_BTNM2: float32 (x, y) in [0, 1], the place in the box around which it stays visible.
    """

    present_BTNM: Tensor
    hidden_BTNM: Tensor
    order_BTNM: Tensor
    anchors_BTNM2: Tensor


def _draw(clips: Clips, salts_B4: Tensor, track_hidden: float) -> _Objects:
    """Draw per track, so that a track gets the same in every frame of its clip."""
    tracks_BTNM = clips.tracks_BTNM
    T, N, M = tracks_BTNM.shape[1:]
    device = tracks_BTNM.device
    present_BTNM = (clips.labels_BTNM >= 0) & clips.valid_BTN[..., None]
    # Boxes without a track are objects of their own, told apart by frame and position.
    single_TNM = -2 - torch.arange(T * N, device=device).reshape(T, N, 1) * 65536
    single_TNM = single_TNM - torch.arange(M, device=device)
    keys_BTNM = torch.where(tracks_BTNM >= 0, tracks_BTNM, single_TNM)
    chance, priority, x, y = (
        hashed_uniform(keys_BTNM, salt_B[:, None, None, None]) for salt_B in salts_B4.unbind(-1)
    )
    hidden_BTNM = present_BTNM & (chance < track_hidden)
    ahead_BTNM = torch.where(hidden_BTNM, priority, 1 + priority)
    order_BTNM = ahead_BTNM.argsort(dim=-1, stable=True).argsort(dim=-1)
    return _Objects(present_BTNM, hidden_BTNM, order_BTNM, torch.stack([x, y], dim=-1))


def hashed_uniform(keys: Tensor, salts: Tensor) -> Tensor:
    """Numbers in [0, 1) that depend on nothing but a key and a salt.

    Args:
        keys: int64, any shape.
        salts: float in [0, 1), broadcast against ``keys``.

    Returns:
        float32, shape of ``keys``.
    """
    low = 0xFFFFFFFF
    bits = (keys ^ (keys >> 32)) & low
    bits = _scramble(bits ^ (salts.double() * 2**32).long())
    # The top 24 bits are what float32 holds exactly.
    return (_scramble(bits ^ 0x5BD1E995) >> 8).float() / 2**24


def _scramble(bits: Tensor) -> Tensor:
    """Mix 32 bits; the multipliers are odd and below 2**31, so that int64 does not overflow."""
    for multiplier in (0x2C1B3C6D, 0x297A2D39):
        bits = (bits ^ (bits >> 16)) * multiplier & 0xFFFFFFFF
    return bits ^ (bits >> 15)


@dataclass(frozen=True)
class _OwnedCells:
    """The E cells of all frames that belong to objects, frame by frame.

    Within a frame: hidden tracks first, the cells of each object next to each other, in the order
    in which they would be hidden.

    Attributes:
        cell_E: int64, position among the cells of all frames.
        frame_E: int64, position of the cell's frame among all frames.
        order_E: int64, the owner's place in ``_Objects.order_BTNM``.
        hidden_E: bool, whether the owner's track is hidden.
        wish_E: float32 in [0, 1], the higher the sooner its owner gives it up: the distance from
            the anchor for hidden tracks, what the rest strategy says for the others.
    """

    cell_E: Tensor
    frame_E: Tensor
    order_E: Tensor
    hidden_E: Tensor
    wish_E: Tensor


def _owned_cells(
    clips: Clips, objects: _Objects, owners_BTNhw: Tensor, rest_BTNhw: Tensor
) -> _OwnedCells:
    h, w = owners_BTNhw.shape[-2:]
    M = clips.tracks_BTNM.shape[-1]
    owners_F = owners_BTNhw.flatten()
    cell_E = (owners_F >= 0).nonzero()[:, 0]
    frame_E = cell_E // (h * w)
    owner_E = frame_E * M + owners_F[cell_E]

    boxes_E4 = clips.boxes_BTNM4.reshape(-1, 4)[owner_E]
    height, width = clips.image_size
    middle_E2 = torch.stack(
        [(cell_E % w + 0.5) * (width / w), (cell_E % (h * w) // w + 0.5) * (height / h)], dim=-1
    )
    place_E2 = (middle_E2 - boxes_E4[:, :2]) / (boxes_E4[:, 2:] - boxes_E4[:, :2]).clamp(min=1e-3)
    offset_E2 = place_E2.clamp(0, 1) - objects.anchors_BTNM2.reshape(-1, 2)[owner_E]
    from_anchor_E = (offset_E2.square().sum(dim=-1) / 2).sqrt()

    hidden_E = objects.hidden_BTNM.flatten()[owner_E]
    wish_E = torch.where(hidden_E, from_anchor_E, rest_BTNhw.flatten()[cell_E])
    order_E = objects.order_BTNM.flatten()[owner_E]
    # One integer to sort by: frame and object above, reluctance in the lower 31 bits.
    reluctance_E = ((1 - wish_E).double() * (2**31 - 1)).long()
    sorting_E = (((frame_E * M + order_E) << 31) + reluctance_E).argsort(stable=True)
    fields = (cell_E, frame_E, order_E, hidden_E, wish_E)
    return _OwnedCells(*(values_E[sorting_E] for values_E in fields))
