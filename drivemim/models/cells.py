"""Moving between images, cells, and the visible and hidden cells of a mask.

Cells are in row-major order; a cell's P = C * stride * stride numbers are channel first, as in
the weight of a convolution. X stands for any number of leading axes joined into one.
"""

from __future__ import annotations

import torch
from torch import Tensor


def grid_of(image_size: tuple[int, int], stride: int) -> tuple[int, int]:
    """Rows and columns of cells in an image.

    Args:
        image_size: height and width, pixels.
        stride: side of a cell, pixels.

    Raises:
        ValueError: if either side is not a multiple of ``stride``.
    """
    height, width = image_size
    if height % stride or width % stride:
        raise ValueError(
            f"image size {height}x{width} (height x width) is not a multiple of the mask stride "
            f"{stride}; resize or pad to "
            f"{-(-height // stride) * stride}x{-(-width // stride) * stride}"
        )
    return height // stride, width // stride


def image_to_cells(images_XCHW: Tensor, stride: int) -> Tensor:
    """Cut images into cells: (X, C, H, W) to (X, L, P)."""
    X, C, H, W = images_XCHW.shape
    h, w = grid_of((H, W), stride)
    cells = images_XCHW.reshape(X, C, h, stride, w, stride)
    return cells.permute(0, 2, 4, 1, 3, 5).reshape(X, h * w, C * stride * stride)


def cells_to_image(cells_XLP: Tensor, grid: tuple[int, int], stride: int) -> Tensor:
    """Put cells back together: (X, L, P) to (X, C, H, W)."""
    (h, w), X = grid, cells_XLP.shape[0]
    C = cells_XLP.shape[2] // stride**2
    cells = cells_XLP.reshape(X, h, w, C, stride, stride)
    return cells.permute(0, 3, 1, 4, 2, 5).reshape(X, C, h * stride, w * stride)


def indices_of(chosen_Xhw: Tensor) -> Tensor:
    """Which cells of each image are chosen.

    Args:
        chosen_Xhw: bool, the same number of True in every image.

    Returns:
        int64 (X, K), positions in the flattened grid, ascending.

    Raises:
        ValueError: if the images differ in how many cells are chosen.
    """
    chosen_XL = chosen_Xhw.flatten(1)
    counts_X = chosen_XL.sum(dim=1)
    least, most = torch.stack([counts_X.min(), counts_X.max()]).tolist()
    if least != most:
        raise ValueError(
            f"images of one batch must hide equally many cells, but between {least} and {most} of "
            f"{chosen_XL.shape[1]} cells are chosen; use a mask that meets its budget exactly"
        )
    return chosen_XL.nonzero()[:, 1].reshape(chosen_XL.shape[0], most)


def take_cells(cells_XLD: Tensor, indices_XK: Tensor) -> Tensor:
    """Pick cells by position: (X, L, D) and (X, K) to (X, K, D)."""
    return cells_XLD.gather(1, indices_XK[..., None].expand(-1, -1, cells_XLD.shape[2]))


def put_cells(cells_XLD: Tensor, indices_XK: Tensor, values_XKD: Tensor) -> Tensor:
    """Copy of ``cells_XLD`` with ``values_XKD`` at the positions ``indices_XK``."""
    index = indices_XK[..., None].expand(-1, -1, cells_XLD.shape[2])
    return cells_XLD.scatter(1, index, values_XKD.to(cells_XLD.dtype))
