"""Moving between images, cells, and the visible and hidden cells of a mask.

Cells are in row-major order; a cell's P = C * stride * stride numbers are channel first, as in
the weight of a convolution. X stands for any number of leading axes joined into one.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from drivemim.errors import ConfigError


def grid_of(image_size: tuple[int, int], stride: int) -> tuple[int, int]:
    """Rows and columns of cells in an image.

    Args:
        image_size: height and width, pixels.
        stride: side of a cell, pixels.

    Raises:
        ConfigError: if either side is not a multiple of ``stride``, or nothing.
    """
    height, width = image_size
    if height < 1 or width < 1:
        raise ConfigError(f"image size {height}x{width} (height x width) has no pixels")
    if height % stride or width % stride:
        raise ConfigError(
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


@dataclass(frozen=True, kw_only=True)
class ChosenCells:
    """Cells chosen from each image, as a list for each, padded to the longest.

    Attributes:
        indices_XK: int64, positions in the flattened grid, ascending; 0 where padded.
        present_XK: bool, False where padded; None if nothing is.
    """

    indices_XK: Tensor
    present_XK: Tensor | None

    @property
    def most(self) -> int:
        """K, the length of the lists."""
        return int(self.indices_XK.shape[1])

    def of_images(self, wanted_X: Tensor) -> ChosenCells:
        """Those of some of the images, padded as before.

        Args:
            wanted_X: bool.
        """
        present_XK = None if self.present_XK is None else self.present_XK[wanted_X]
        return ChosenCells(indices_XK=self.indices_XK[wanted_X], present_XK=present_XK)


def choose_cells(chosen_Xhw: Tensor) -> ChosenCells:
    """List the cells of each image that are True."""
    chosen_XL = chosen_Xhw.flatten(1)
    counts_X = chosen_XL.sum(dim=1)
    least, most = torch.stack([counts_X.min(), counts_X.max()]).tolist()
    if least == most:
        indices_XK = chosen_XL.nonzero()[:, 1].reshape(len(chosen_XL), most)
        return ChosenCells(indices_XK=indices_XK, present_XK=None)
    present_XK = torch.arange(most, device=chosen_XL.device) < counts_X[:, None]
    indices_XK = (~chosen_XL).byte().argsort(dim=1, stable=True)[:, :most]
    return ChosenCells(indices_XK=indices_XK.masked_fill(~present_XK, 0), present_XK=present_XK)


def take_cells(cells_XLD: Tensor, chosen: ChosenCells) -> Tensor:
    """Pick cells: (X, L, D) to (X, K, D); what is in the padding means nothing."""
    return cells_XLD.gather(1, chosen.indices_XK[..., None].expand(-1, -1, cells_XLD.shape[2]))


def put_cells(cells_XLD: Tensor, chosen: ChosenCells, values_XKD: Tensor) -> Tensor:
    """Copy of ``cells_XLD`` with ``values_XKD`` at the chosen cells."""
    index_XKD = chosen.indices_XK[..., None].expand(-1, -1, cells_XLD.shape[2])
    values_XKD = values_XKD.to(cells_XLD.dtype)
    if chosen.present_XK is None:
        return cells_XLD.scatter(1, index_XKD, values_XKD)
    # Padding goes to a cell past the last one, which is cut off again.
    L = cells_XLD.shape[1]
    index_XKD = index_XKD.masked_fill(~chosen.present_XK[..., None], L)
    longer = torch.cat([cells_XLD, cells_XLD.new_zeros(len(cells_XLD), 1, cells_XLD.shape[2])], 1)
    return longer.scatter(1, index_XKD, values_XKD)[:, :L]
