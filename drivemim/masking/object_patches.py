"""Levels of patches: the order in which the patches of objects are hidden.

Letters: K sorted patches, E positions at which the level changes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# Levels of patches; a higher level is hidden before a lower one.
FIRST = 1
"""Of an object that is to be hidden."""
OPEN = 0
"""Of no object, or of one that is left to the base strategy."""
PROTECTED = -1
"""Of an object that is to stay visible."""
KEPT = -2
"""The part of an object that ``visible_fraction`` keeps."""
MINIMUM = -3
"""The last ``min_visible`` of the kept patches."""
LAST = -4
"""The very last patch of an object. From here down, there is one level per object size: the last
patch of a larger object is hidden after that of a smaller one."""

# Bit fields of an int64 sort key, from the right; its sign bit stays 0.
_PATCH_BITS, _COST_BITS, _RANK_BITS, _FRAME_BITS = 16, 20, 12, 15


@dataclass(frozen=True)
class SortedObjectPatches:
    """The patches of F frames of L patches, sorted by the objects that own them.

    Patches are sorted by frame, then by the rank of their owner, then by removal cost. A rank is
    the position of an object among the M objects of its frame, in an order that the caller chooses.
    On the CPU, the K patches are those with an owner. On a GPU they are all patches: those without
    an owner are the last of their frame and belong to no object.

    Attributes:
        patch_K: int64, index among the patches of all frames.
        starts_FM: int64, position in K where the patches of the object at each rank start.
        ends_FM: int64, position in K where they end.
        L: number of patches per frame.
    """

    patch_K: Tensor
    starts_FM: Tensor
    ends_FM: Tensor
    L: int

    @property
    def counts(self) -> Tensor:
        """Number of patches of each object, by rank."""
        return self.ends_FM - self.starts_FM


def sort_patches(
    owners_FL: Tensor, ranks_FM: Tensor, removal_cost_FL: Tensor
) -> SortedObjectPatches:
    """Sort patches by the object that owns them.

    Args:
        owners_FL: int64, position in M of each patch's owner, -1 for none.
        ranks_FM: int64, rank of each object.
        removal_cost_FL: float in [0, 1]; an object's patches with lower values are hidden first.

    Raises:
        ValueError: if there are more frames, or a frame has more patches or boxes, than the sort
            key can hold.
    """
    (F, L), M = owners_FL.shape, ranks_FM.shape[-1]
    if F > 1 << _FRAME_BITS or L > 1 << _PATCH_BITS or M >= 1 << _RANK_BITS:
        raise ValueError(
            f"{F} frames in a batch, {L} patches and {M} boxes in a frame; object masks take up to "
            f"{1 << _FRAME_BITS} frames, {1 << _PATCH_BITS} patches and {(1 << _RANK_BITS) - 1} "
            "boxes"
        )
    device = owners_FL.device
    frames_F1 = torch.arange(F, device=device)[:, None] << _RANK_BITS
    # Patches without an object have the last rank. It is column 0 here, because their owner is -1.
    with_none_FM = torch.cat([torch.full((F, 1), M, device=device), ranks_FM], dim=-1)
    keys_FL = ((with_none_FM + frames_F1) << _COST_BITS).gather(-1, owners_FL + 1)
    keys_FL += (removal_cost_FL * ((1 << _COST_BITS) - 1)).long()
    keys_FL = (keys_FL << _PATCH_BITS).add_(torch.arange(L, device=device))
    # Sorting fewer keys is faster, but on a GPU the selection would wait for the device.
    keys_K = keys_FL[owners_FL >= 0] if device.type == "cpu" else keys_FL.flatten()
    keys_K = keys_K.sort().values
    bounds_FM = frames_F1 + torch.arange(M + 1, device=device)
    bounds_FM = torch.searchsorted(keys_K, bounds_FM << (_COST_BITS + _PATCH_BITS))
    frame_K = keys_K >> (_RANK_BITS + _COST_BITS + _PATCH_BITS)
    patch_K = frame_K.mul_(L).add_(keys_K & ((1 << _PATCH_BITS) - 1))
    return SortedObjectPatches(patch_K, bounds_FM[:, :-1], bounds_FM[:, 1:], L)


def patch_levels(
    patches: SortedObjectPatches,
    num_hide_first_FM: Tensor,
    num_kept_FM: Tensor,
    min_visible: int,
    middle_level_FM: Tensor,
) -> Tensor:
    """Give every patch its level; that of patches without an object is ``OPEN``.

    An object's patches are hidden in this order: ``num_hide_first_FM`` patches of level ``FIRST``,
    then those of level ``middle_level_FM``, then ``num_kept_FM`` patches of level ``KEPT``. The
    last ``min_visible`` of the kept patches have the level ``MINIMUM`` instead. If any patch is to
    stay visible, the very last one has a level of ``LAST`` or below.

    Args:
        patches: patches of F frames.
        num_hide_first_FM: int64; the sum with ``num_kept_FM`` is at most the object's number of
            patches.
        num_kept_FM: int64, number of patches that each object keeps, budget permitting.
        min_visible: number of an object's kept patches that are hidden last.
        middle_level_FM: int64, level of an object's other patches: ``OPEN`` or ``PROTECTED``.

    Returns:
        float32 levels_FL.
    """
    F, ends_FM, counts_FM = len(num_hide_first_FM), patches.ends_FM, patches.counts
    num_minimum_FM = num_kept_FM.clamp(max=min_visible)
    num_last_FM = num_minimum_FM.clamp(max=1)
    # Levels change at only a few positions of the sorted order: write the steps, then sum them up.
    steps = [
        (patches.starts_FM, torch.full_like(middle_level_FM, FIRST - OPEN)),
        (patches.starts_FM + num_hide_first_FM, middle_level_FM - FIRST),
        (ends_FM - num_kept_FM, KEPT - middle_level_FM),
        (ends_FM - num_minimum_FM, torch.full_like(middle_level_FM, MINIMUM - KEPT)),
        (ends_FM - num_last_FM, LAST - counts_FM - MINIMUM),
        (ends_FM, OPEN - LAST + counts_FM),
    ]
    position_E = torch.stack([position_FM for position_FM, _ in steps]).flatten()
    step_E = torch.stack([step_FM for _, step_FM in steps]).flatten()
    K = len(patches.patch_K)
    steps_K = torch.zeros(K + 1, dtype=torch.int64, device=position_E.device)
    levels_K = steps_K.scatter_add_(-1, position_E, step_E).cumsum(dim=-1)[:K]
    levels_FL = torch.full((F, patches.L), float(OPEN), device=position_E.device)
    levels_FL.view(-1).scatter_(-1, patches.patch_K, levels_K.float())
    return levels_FL
