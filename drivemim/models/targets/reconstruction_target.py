"""Base classes of targets, and their loss: a mean over the patches of all processes.

Letters: P numbers of a patch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from mmengine import dist
from torch import Tensor, nn

from drivemim.clips import Clips
from drivemim.errors import ConfigError
from drivemim.models.patches import PatchMask, gather_patches, patchify


class Target(nn.Module, ABC):
    """Base class of targets: what a pretrainer predicts, and the loss of the predictions.

    Args:
        weight: factor of the loss, above 0.

    Attributes:
        name: as an auxiliary target, its loss is logged as ``loss_NAME``.
        reads: inputs besides images, such as ``lidar``; the record of a pretraining lists them.

    Raises:
        ConfigError: if ``weight`` is not above 0.
    """

    name: ClassVar[str]
    reads: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, *, weight: float = 1.0) -> None:
        super().__init__()
        if not 0 < weight < torch.inf:
            raise ConfigError(f"{type(self).__name__}: weight={weight} must be positive")
        self.weight = weight

    @abstractmethod
    def channels(self, mask_patch_size: int) -> int:
        """Return P, the number of values to predict per patch.

        Args:
            mask_patch_size: side of a patch, pixels.
        """

    @abstractmethod
    def auxiliary_loss(
        self, predictions_XLP: Tensor, images_BTNCHW: Tensor, clips: Clips, mask: PatchMask
    ) -> Tensor:
        """Compute the loss of predictions for all patches, times ``weight``, over all processes.

        Args:
            predictions_XLP: predictions of all patches; X is B * T * N.
            images_BTNCHW: float, the clips' images, normalised.
            clips: clips with their other data.
            mask: mask of every frame.
        """

    def ema_update(self, encoder: nn.Module) -> None:
        """Update the target's copy of the encoder, if it has one; called before each step."""
        return None


class ReconstructionTarget(Target):
    """Base class: error and loss of predictions of P numbers per hidden patch.

    Attributes:
        pixels_note: explanation of the pixels that ``to_pixels`` draws, for the label of a picture;
            empty if they are the plain predictions in the image's own colours.
    """

    pixels_note: str = ""

    @abstractmethod
    def forward(self, images_BTNCHW: Tensor, mask: PatchMask) -> Tensor:
        """Compute the targets of the hidden patches.

        Args:
            images_BTNCHW: float, normalised like the encoder's input.
            mask: mask of every frame.

        Returns:
            (B, T, N, J, P), the hidden patches in row-major order, padded if a frame hides fewer.
        """

    @abstractmethod
    def to_pixels(
        self, predictions_BTNJP: Tensor, images_BTNCHW: Tensor, mask: PatchMask
    ) -> Tensor:
        """Draw predictions as pixels of normalised images: (B, T, N, J, C * side * side)."""

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
        """Compute the mean error of hidden patches in valid frames, times the target's ``weight``.

        The mean is that of all processes, and equal in each. Gradients averaged over the processes
        (like in distributed training) equal those of one process with all the clips.

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
        mean = global_mean(errors_BTNJ.masked_fill(weights == 0, 0.0), weights)
        return mean if self.weight == 1 else self.weight * mean

    def auxiliary_loss(
        self, predictions_XLP: Tensor, images_BTNCHW: Tensor, clips: Clips, mask: PatchMask
    ) -> Tensor:
        """Compute the loss of the hidden patches, see ``Target``."""
        predictions_XJP = gather_patches(predictions_XLP, mask.hidden)
        return self.loss(
            predictions_XJP.reshape(*clips.shape, *predictions_XJP.shape[1:]),
            self(images_BTNCHW, mask),
            clips.valid_BTN,
            mask.hidden_present(clips.shape),
        )


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
