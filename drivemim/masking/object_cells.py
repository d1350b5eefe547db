"""Levels of patches: the order in which the patches of objects are hidden."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

FIRST, OPEN, SPARED, KEPT, MINIMUM, LAST = 1, 0, -1, -2, -3, -4
"""Levels of patches; a higher level is hidden before a lower one. From ``LAST`` down, there is one
level per object size: the last patch of a larger object is hidden after that of a smaller one."""

# Bit fields of a 64-bit sort key, from the right: patch, reluctance, place, and frame.
_CELL_BITS, _RELUCTANCE_BITS, _PLACE_BITS = 16, 20, 12


@dataclass(frozen=True)
class ObjectCells:
    """The K patches that objects own in F frames of L patches.

    Patches are sorted by frame, then by the place of their owner, then by reluctance. A place is
    the rank of an object among the M objects of its frame, in an order that the caller chooses.

    Attributes:
        cell_K: int64, index among the patches of all frames.
        starts_FM: int64, position in K where the patches of the object at each place start.
        ends_FM: int64, position in K where they end.
        L: number of patches per frame.
    """

    cell_K: Tensor
    starts_FM: Tensor
    ends_FM: Tensor
    L: int

    @property
    def counts(self) -> Tensor:
        """Number of patches of each object, by place."""
        return self.ends_FM - self.starts_FM


def sort_cells(owners_FL: Tensor, order_FM: Tensor, reluctance_FL: Tensor) -> ObjectCells:
    """Sort patches by the object that owns them.

    Args:
        owners_FL: int64, position in M of each patch's owner, -1 for background.
        order_FM: int64, place of each object.
        reluctance_FL: float in [0, 1]; an object's patches with lower values are hidden first.

    Raises:
        ValueError: if a frame has more patches or boxes than the sort key can hold.
    """
    (F, L), M = owners_FL.shape, order_FM.shape[-1]
    if L > 1 << _CELL_BITS or M >= 1 << _PLACE_BITS:
        raise ValueError(
            f"{L} cells and {M} boxes in a frame; object masks take up to {1 << _CELL_BITS} cells "
            f"and {(1 << _PLACE_BITS) - 1} boxes"
        )
    device = owners_FL.device
    frames_F1 = torch.arange(F, device=device)[:, None] << _PLACE_BITS
    # The background has the last place. It is column 0 here, because its owner is -1.
    places_FM = torch.cat([torch.full((F, 1), M, device=device), order_FM], dim=-1)
    keys_FL = ((places_FM + frames_F1) << _RELUCTANCE_BITS).gather(-1, owners_FL + 1)
    keys_FL += (reluctance_FL * ((1 << _RELUCTANCE_BITS) - 1)).long()
    keys_FL = (keys_FL << _CELL_BITS).add_(torch.arange(L, device=device))
    # Sorting fewer keys is faster, but on a GPU the selection would wait for the device.
    keys_K = keys_FL[owners_FL >= 0] if device.type == "cpu" else keys_FL.flatten()
    keys_K = keys_K.sort().values
    bounds_FM = frames_F1 + torch.arange(M + 1, device=device)
    bounds_FM = torch.searchsorted(keys_K, bounds_FM << (_RELUCTANCE_BITS + _CELL_BITS))
    frame_K = keys_K >> (_PLACE_BITS + _RELUCTANCE_BITS + _CELL_BITS)
    cell_K = frame_K.mul_(L).add_(keys_K & ((1 << _CELL_BITS) - 1))
    return ObjectCells(cell_K, bounds_FM[:, :-1], bounds_FM[:, 1:], L)


def cell_levels(
    cells: ObjectCells, first_FM: Tensor, kept_FM: Tensor, min_visible: int, then_FM: Tensor
) -> Tensor:
    """Give every patch its level; the level of the background is ``OPEN``.

    In the order in which they are hidden, an object's patches are ``first_FM`` of level ``FIRST``,
    then those of level ``then_FM``, and at the end ``kept_FM`` of level ``KEPT``. Of the kept ones,
    the last ``min_visible`` are ``MINIMUM`` instead, and the very last one, if any is to stay
    visible, is at or below ``LAST``.

    Args:
        cells: patches of F frames.
        first_FM: int64; the sum with ``kept_FM`` is at most the object's number of patches.
        kept_FM: int64.
        min_visible: number of patches.
        then_FM: int64, ``OPEN`` or ``SPARED``.

    Returns:
        float32 levels_FL.
    """
    F, ends_FM, counts_FM = len(first_FM), cells.ends_FM, cells.counts
    minimum_FM = kept_FM.clamp(max=min_visible)
    last_FM = minimum_FM.clamp(max=1)
    # Levels change at only a few positions of the sorted order: write the steps, then sum them up.
    steps = [
        (cells.starts_FM, torch.full_like(then_FM, FIRST - OPEN)),
        (cells.starts_FM + first_FM, then_FM - FIRST),
        (ends_FM - kept_FM, KEPT - then_FM),
        (ends_FM - minimum_FM, torch.full_like(then_FM, MINIMUM - KEPT)),
        (ends_FM - last_FM, LAST - counts_FM - MINIMUM),
        (ends_FM, OPEN - LAST + counts_FM),
    ]
    where_E = torch.stack([place_FM for place_FM, _ in steps]).flatten()
    step_E = torch.stack([step_FM for _, step_FM in steps]).flatten()
    K = len(cells.cell_K)
    steps_K = torch.zeros(K + 1, dtype=torch.int64, device=where_E.device)
    levels_K = steps_K.scatter_add_(-1, where_E, step_E).cumsum(dim=-1)[:K]
    levels_FL = torch.full((F, cells.L), float(OPEN), device=where_E.device)
    levels_FL.view(-1).scatter_(-1, cells.cell_K, levels_K.float())
    return levels_FL
