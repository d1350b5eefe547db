"""Object-aware masks: hide things, not pixels."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from drivemim.clips import Clips
from drivemim.masking.base import Generators, MaskStrategy, check_share, hidden_cells, uniform
from drivemim.masking.cells import cell_owners
from drivemim.registry import MASKS

_LAST, _KEPT, _OPEN, _FIRST = 0.0, 1.0, 2.0, 3.0


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
        self.rest: MaskStrategy = (
            rest
            if isinstance(rest, MaskStrategy)
            else MASKS.build({"type": "RandomMask"} if rest is None else rest)
        )

    def scores(self, clips: Clips, grid: tuple[int, int], generators: Generators) -> Tensor:
        """Rank hidden tracks, then open cells, then the kept cells of objects: scores_BTNhw."""
        salts_B4 = uniform((len(clips), 4), generators, clips.valid_BTN.device)
        rest_BTNL = _unit_range(self.rest.scores(clips, grid, generators).flatten(-2))
        if clips.tracks_BTNM.shape[-1] == 0:
            return rest_BTNL.reshape(*clips.shape, *grid)
        objects = _draw(clips, salts_B4, self.track_hidden)
        owners_BTNL = cell_owners(
            clips.boxes_BTNM4, clips.depths_BTNM, objects.present_BTNM, grid, clips.image_size
        ).flatten(-2)
        from_anchor_BTNL = _anchor_distances(clips, objects, owners_BTNL, grid)
        hidden_BTNL = _of_owner(objects.hidden_BTNM, owners_BTNL) & (owners_BTNL >= 0)
        wish_BTNL = torch.where(hidden_BTNL, from_anchor_BTNL, rest_BTNL)
        quota = round(self.share * hidden_cells(self.ratio, grid))
        tiers_BTNL = self._tiers(objects, owners_BTNL, wish_BTNL, quota)
        ranked_BTNL = torch.where(tiers_BTNL == _OPEN, rest_BTNL, wish_BTNL)
        return (tiers_BTNL + ranked_BTNL * 0.999).reshape(*clips.shape, *grid)

    def _tiers(
        self, objects: "_Objects", owners_BTNL: Tensor, wish_BTNL: Tensor, quota: int
    ) -> Tensor:
        """Sort cells into what is hidden first, what is open, and what objects keep.

        One sort puts the cells of each object next to each other, hidden tracks first and the
        background last, with each object's cells in the order in which they would be hidden.
        """
        M = objects.order_BTNM.shape[-1]
        groups_BTNL = torch.where(owners_BTNL >= 0, _of_owner(objects.order_BTNM, owners_BTNL), M)
        sorting_BTNL = (groups_BTNL + (1 - wish_BTNL) * 0.999).argsort(dim=-1, stable=True)
        groups_BTNL = groups_BTNL.gather(-1, sorting_BTNL)

        ones = torch.ones_like(groups_BTNL)
        shape = (*groups_BTNL.shape[:-1], M + 1)
        counts_BTNM = groups_BTNL.new_zeros(shape).scatter_add_(-1, groups_BTNL, ones)
        starts_BTNM = counts_BTNM.cumsum(dim=-1) - counts_BTNM
        rank_BTNL = ones.cumsum(dim=-1) - 1 - starts_BTNM.gather(-1, groups_BTNL)
        count_BTNL = counts_BTNM.gather(-1, groups_BTNL)

        keep_BTNL = (self.keep * count_BTNL - 1e-4).ceil().clamp(min=self.min_visible)
        background_BTNL = groups_BTNL == M
        hideable_BTNL = (rank_BTNL < count_BTNL - keep_BTNL) | background_BTNL
        last_BTNL = ~background_BTNL & (rank_BTNL >= count_BTNL - self.min_visible)
        chosen_BTNL = hideable_BTNL & (groups_BTNL < objects.hidden_BTNM.sum(-1)[..., None])
        first_BTNL = chosen_BTNL & (chosen_BTNL.cumsum(dim=-1) <= quota)

        tiers_BTNL = torch.full_like(wish_BTNL, _OPEN)
        tiers_BTNL = tiers_BTNL.masked_fill(~hideable_BTNL, _KEPT).masked_fill(last_BTNL, _LAST)
        tiers_BTNL = tiers_BTNL.masked_fill(first_BTNL, _FIRST)
        return torch.empty_like(tiers_BTNL).scatter_(-1, sorting_BTNL, tiers_BTNL)


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
    ahead_BTNM = torch.where(hidden_BTNM, priority, 1 + priority).masked_fill(~present_BTNM, 3.0)
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


def _of_owner(values_BTNM: Tensor, owners_BTNL: Tensor) -> Tensor:
    """Look up a value of each cell's owner (of the first object for background)."""
    return values_BTNM.gather(-1, owners_BTNL.clamp(min=0))


def _anchor_distances(
    clips: Clips, objects: _Objects, owners_BTNL: Tensor, grid: tuple[int, int]
) -> Tensor:
    """Distance of each cell's middle from its owner's anchor, relative to the box, in [0, 1]."""
    (h, w), (height, width) = grid, clips.image_size
    device = owners_BTNL.device
    middles = (
        ((torch.arange(w, device=device) + 0.5) * (width / w)).repeat(h),
        ((torch.arange(h, device=device) + 0.5) * (height / h)).repeat_interleave(w),
    )
    squared = torch.zeros((), device=device)
    for axis, middle_L in enumerate(middles):
        low_BTNM, high_BTNM = clips.boxes_BTNM4[..., axis], clips.boxes_BTNM4[..., axis + 2]
        length_BTNM = (high_BTNM - low_BTNM).clamp(min=1e-3)
        place_BTNL = (middle_L - _of_owner(low_BTNM, owners_BTNL)) / _of_owner(
            length_BTNM, owners_BTNL
        )
        anchor_BTNL = _of_owner(objects.anchors_BTNM2[..., axis], owners_BTNL)
        squared = squared + (place_BTNL.clamp(0, 1) - anchor_BTNL) ** 2
    return (squared / 2).sqrt()


def _unit_range(scores_BTNL: Tensor) -> Tensor:
    """Stretch the scores of each frame to [0, 1], keeping their order."""
    low, high = scores_BTNL.aminmax(dim=-1, keepdim=True)
    return (scores_BTNL - low) / (high - low).clamp(min=1e-12)
