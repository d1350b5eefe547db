"""Pixels of a hidden cell, normalised by the cell's own mean and variance.

Paper: https://arxiv.org/abs/2111.06377.
"""

from __future__ import annotations

import torch
from mmengine import dist
from torch import Tensor, nn

from drivemim.models.patches import PatchMask, gather_patches, patchify
from drivemim.registry import MODELS


class CellTarget(nn.Module):
    """Error and loss of predictions of P numbers for each hidden cell."""

    def errors(self, predictions_BTNJP: Tensor, targets_BTNJP: Tensor) -> Tensor:
        """Mean squared error of each hidden cell, (B, T, N, J)."""
        return (predictions_BTNJP.float() - targets_BTNJP).square().mean(dim=-1)

    def loss(
        self,
        predictions_BTNJP: Tensor,
        targets_BTNJP: Tensor,
        valid_BTN: Tensor,
        weights_BTNJ: Tensor | None = None,
    ) -> Tensor:
        """Weighted mean of the errors over the hidden cells of all valid frames of all processes.

        The value is the same in every process, and gradients averaged over the processes (as
        distributed training does) are those of one process that has all the clips.

        Args:
            predictions_BTNJP: of the hidden cells.
            targets_BTNJP: what ``forward`` gave.
            valid_BTN: bool; invalid frames count for nothing.
            weights_BTNJ: not negative, weight of each cell; None is 1.

        Returns:
            Scalar; zero if nothing is valid, with gradients that are zero.
        """
        errors_BTNJ = self.errors(predictions_BTNJP, targets_BTNJP)
        weights = valid_BTN[..., None].expand_as(errors_BTNJ).to(errors_BTNJ.dtype)
        if weights_BTNJ is not None:
            weights = weights * weights_BTNJ
        return global_mean(errors_BTNJ.masked_fill(weights == 0, 0.0), weights)


@MODELS.register_module()
class NormalizedPixels(CellTarget):
    """Target and loss: each cell has mean 0 and variance 1 over its P numbers.

    A prediction of nothing but each cell's mean has a loss of 1.

    Args:
        eps: added to a cell's variance, in units of the normalised image.
    """

    def __init__(self, *, eps: float = 1e-6) -> None:
        super().__init__()
        self.eps = eps

    def channels(self, mask_stride: int) -> int:
        """P, numbers to predict for a cell."""
        return 3 * mask_stride**2

    def forward(self, images_BTNCHW: Tensor, mask: PatchMask) -> Tensor:
        """Targets of the hidden cells.

        Args:
            images_BTNCHW: float, normalised as the encoder sees them.
            mask: of every frame.

        Returns:
            (B, T, N, J, P), the hidden cells in row-major order, padded where a frame hides fewer.
        """
        cells = hidden_cells(images_BTNCHW, mask)
        mean, deviation = self._moments(cells)
        return (cells - mean) / deviation

    def to_pixels(
        self, predictions_BTNJP: Tensor, images_BTNCHW: Tensor, mask: PatchMask
    ) -> Tensor:
        """Predictions in the unit of ``images``, given the true mean and variance of each cell."""
        mean, deviation = self._moments(hidden_cells(images_BTNCHW, mask))
        return predictions_BTNJP.float() * deviation + mean

    def _moments(self, cells: Tensor) -> tuple[Tensor, Tensor]:
        mean = cells.mean(dim=-1, keepdim=True)
        variance = (cells - mean).square().mean(dim=-1, keepdim=True)
        return mean, (variance + self.eps).sqrt()


def global_mean(values: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean over all processes.

    Its gradient in each process is that of the process's own share, times the number of
    processes, so that the average over processes is the gradient of the mean.

    Returns:
        Scalar, equal in every process; zero if the weights sum to zero.
    """
    total = (values * weights).sum()
    sums = torch.stack([total.detach(), weights.sum().to(total.dtype)])
    dist.all_reduce(sums, op="mean")
    weight = torch.where(sums[1] > 0, sums[1], torch.ones_like(sums[1]))
    if not dist.is_distributed():
        return total / weight
    share = total / weight
    return sums[0] / weight + (share - share.detach())


def hidden_cells(images_BTNCHW: Tensor, mask: PatchMask) -> Tensor:
    """Cut the hidden cells out of images: (B, T, N, J, P), padded where a frame hides fewer.

    Args:
        images_BTNCHW: of any size that the grid of the mask divides.
        mask: of every frame.
    """
    images_XCHW = images_BTNCHW.flatten(0, 2)
    side = images_XCHW.shape[2] // mask.grid[0]
    patches_XJP = gather_patches(patchify(images_XCHW, side), mask.hidden)
    return patches_XJP.reshape(*images_BTNCHW.shape[:3], *patches_XJP.shape[1:])
