"""Assignment of patches to the objects whose boxes cover them.

Rectangles are tested row by row and column by column, and sets of rectangles are stored as the bits
of one integer. So no tensor of size (boxes x patches) is ever created.

Letters: K rectangles.
"""

import torch
from torch import Tensor

_BITS = 60
"""Rectangles whose set is stored in one int64, a bit per rectangle; int64 has room for 63."""


def patch_owners(
    boxes_BTNM4: Tensor,
    depths_BTNM: Tensor,
    present_BTNM: Tensor,
    grid: tuple[int, int],
    image_size: tuple[int, int],
) -> Tensor:
    """Find the object that owns each patch: the nearest one whose box covers the patch.

    A box covers the rows and columns whose centre it contains, and always the row and the column
    of its own centre, so that even an object smaller than a patch owns one. Of boxes with equal or
    unknown depth, the smaller one counts as nearer.

    Args:
        boxes_BTNM4: float, (x1, y1, x2, y2) pixels.
        depths_BTNM: float, metres; ``inf`` where unknown.
        present_BTNM: bool, False for padding.
        grid: patches down and across (h, w).
        image_size: (height, width) in pixels.

    Returns:
        owners_BTNhw: int64, position in M of the owner, -1 for none.
    """
    (h, w), (height, width) = grid, image_size
    if boxes_BTNM4.shape[-2] == 0:
        return torch.full((*boxes_BTNM4.shape[:-2], h, w), -1, device=boxes_BTNM4.device)
    nearest_BTNM = _front_to_back(boxes_BTNM4, depths_BTNM, present_BTNM)
    boxes_BTNM4 = boxes_BTNM4.gather(-2, nearest_BTNM[..., None].expand_as(boxes_BTNM4))
    present_BTNM = present_BTNM.gather(-1, nearest_BTNM)
    x1, y1, x2, y2 = boxes_BTNM4.unbind(-1)
    rows_BTNMh = _covered(y1 * h / height, y2 * h / height, h) & present_BTNM[..., None]
    columns_BTNMw = _covered(x1 * w / width, x2 * w / width, w)
    first_BTNhw = first_cover(rows_BTNMh, columns_BTNMw)
    owners_BTNL = nearest_BTNM.gather(-1, first_BTNhw.clamp(min=0).flatten(-2))
    return torch.where(first_BTNhw >= 0, owners_BTNL.reshape(first_BTNhw.shape), -1)


def span(start_K: Tensor, stop_K: Tensor, length: int) -> Tensor:
    """Mark the integer positions p with ``start <= p < stop``: bool [..., K, length]."""
    positions = torch.arange(length, device=start_K.device)
    return (positions >= start_K[..., None]) & (positions < stop_K[..., None])


def first_cover(rows_Kh: Tensor, columns_Kw: Tensor) -> Tensor:
    """Find the first of K rectangles that covers each patch.

    Args:
        rows_Kh: bool [..., K, h], rows that each rectangle covers.
        columns_Kw: bool [..., K, w], columns that each rectangle covers.

    Returns:
        int64 [..., h, w], position in K, -1 where no rectangle covers the patch.
    """
    first_hw = _first_of_few(rows_Kh[..., :_BITS, :], columns_Kw[..., :_BITS, :])
    for start in range(_BITS, rows_Kh.shape[-2], _BITS):
        part = slice(start, start + _BITS)
        next_hw = _first_of_few(rows_Kh[..., part, :], columns_Kw[..., part, :])
        first_hw = torch.where((first_hw < 0) & (next_hw >= 0), next_hw + start, first_hw)
    return first_hw


def _first_of_few(rows_Kh: Tensor, columns_Kw: Tensor) -> Tensor:
    """Return ``first_cover`` of at most ``_BITS`` rectangles."""
    weights_K1 = (1 << torch.arange(rows_Kh.shape[-2], device=rows_Kh.device))[:, None]
    row_bits_h = (rows_Kh * weights_K1).sum(dim=-2)
    column_bits_w = (columns_Kw * weights_K1).sum(dim=-2)
    bits_hw = row_bits_h[..., :, None] & column_bits_w[..., None, :]
    lowest_hw = bits_hw & -bits_hw
    # The exponent bits of a floating-point power of two are its exact logarithm plus 1023. Those of
    # 0, where no rectangle covers the patch, are 0.
    return (lowest_hw.double().view(torch.int64) >> 52).sub_(1023).clamp_(min=-1)


def _front_to_back(boxes_BTNM4: Tensor, depths_BTNM: Tensor, present_BTNM: Tensor) -> Tensor:
    """Return the positions of the boxes in order of depth, then of area; padding comes last."""
    areas_BTNM = (boxes_BTNM4[..., 2:] - boxes_BTNM4[..., :2]).prod(dim=-1)
    by_area = areas_BTNM.argsort(dim=-1, stable=True)
    by_depth = depths_BTNM.gather(-1, by_area).argsort(dim=-1, stable=True)
    order = by_area.gather(-1, by_depth)
    absent_last = (~present_BTNM).gather(-1, order).byte().argsort(dim=-1, stable=True)
    return order.gather(-1, absent_last)


def _covered(low_M: Tensor, high_M: Tensor, length: int) -> Tensor:
    """Mark the patches of one axis that a box covers: bool [..., M, length].

    A patch is covered if the box contains the patch's centre, or the patch contains the box's.

    Args:
        low_M: float, lower edge of the box, in patches.
        high_M: float, upper edge of the box, in patches.
        length: number of patches along the axis.
    """
    own_M = ((low_M + high_M) / 2).floor().clamp(0, length - 1)
    start_M, stop_M = (low_M - 0.5).ceil(), (high_M - 0.5).ceil()
    contains_none_M = start_M >= stop_M
    # The end of a box is exclusive. So a box that ends at the centre of its own patch (the one with
    # the box's centre) may contain only a neighbour's centre.
    start_M = torch.where(contains_none_M, own_M, torch.minimum(start_M, own_M))
    stop_M = torch.where(contains_none_M, own_M + 1, torch.maximum(stop_M, own_M + 1))
    return span(start_M, stop_M, length)
