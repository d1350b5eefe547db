"""Base class of targets: errors, and a loss over all processes.

Letters: P numbers of a patch.
"""

from __future__ import annotations

import torch
from mmengine import dist
from torch import Tensor, nn

from drivemim.models.patches import PatchMask, gather_patches, patchify


class ReconstructionTarget(nn.Module):
    """Base class: error and loss of predictions of P numbers per hidden patch.

    Attributes:
        pixels_note: explanation of the pixels that ``to_pixels`` draws, for the label of a picture;
            empty if they are the plain predictions in the image's own colours.
    """

    pixels_note: str = ""

    def errors(self, predictions_BTNJP: Tensor, targets_BTNJP: Tensor) -> Tensor:
        """Return the mean squared error of each hidden patch, (B, T, N, J)."""
        return (predictions_BTNJP.float() - targets_BTNJP).square().mean(dim=-1)

    def loss(
        self,
        predictions_BTNJP: Tensor,
        targets_BTNJP: Tensor,
        valid_BTN: Tensor,
        weights_BTNJ: Tensor | None = None,
    ) -> Tensor:
        """Compute the weighted mean error of hidden patches in valid frames of all processes.

        The value is the same in every process. Gradients averaged over the processes (like in
        distributed training) equal those of one process with all the clips.

        Args:
            predictions_BTNJP: predictions of the hidden patches.
            targets_BTNJP: result of ``forward``.
            valid_BTN: bool; invalid frames are ignored.
            weights_BTNJ: non-negative weight of each patch; None means 1.

        Returns:
            Scalar; zero with zero gradients if nothing is valid.
        """
        errors_BTNJ = self.errors(predictions_BTNJP, targets_BTNJP)
        weights = valid_BTN[..., None].expand_as(errors_BTNJ).to(errors_BTNJ.dtype)
        if weights_BTNJ is not None:
            weights = weights * weights_BTNJ
        return global_mean(errors_BTNJ.masked_fill(weights == 0, 0.0), weights)


def global_mean(values: Tensor, weights: Tensor) -> Tensor:
    """Compute the weighted mean over all processes.

    The gradient in each process is that of the process's own part, times the number of processes.
    So the average over processes is the gradient of the mean.

    Returns:
        Scalar, equal in every process; zero if the weights sum to zero.
    """
    total = (values * weights).sum()
    sums = torch.stack([total.detach(), weights.sum().to(total.dtype)])
    dist.all_reduce(sums, op="mean")
    weight = torch.where(sums[1] > 0, sums[1], torch.ones_like(sums[1]))
    if not dist.is_distributed():
        return total / weight
    own_part = total / weight
    return sums[0] / weight + (own_part - own_part.detach())


def hidden_patches(images_BTNCHW: Tensor, mask: PatchMask) -> Tensor:
    """Cut the hidden patches out of images: (B, T, N, J, P), padded where a frame hides fewer.

    Args:
        images_BTNCHW: images of any size that the grid of the mask divides.
        mask: mask of every frame.
    """
    images_XCHW = images_BTNCHW.flatten(0, 2)
    side = images_XCHW.shape[2] // mask.grid[0]
    patches_XJP = gather_patches(patchify(images_XCHW, side), mask.hidden)
    return patches_XJP.reshape(*images_BTNCHW.shape[:3], *patches_XJP.shape[1:])
