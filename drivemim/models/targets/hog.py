"""Target: histograms of oriented gradients (HOG), which encode edges independently of brightness.

Papers: Dalal and Triggs, Histograms of oriented gradients for human detection, 2005; as the target
of masked prediction: Wei et al., Masked feature prediction for self-supervised visual
pre-training, 2022 (https://arxiv.org/abs/2112.09133).

A cell is a square of ``size`` x ``size`` pixels.

Letters: S cells, O orientations, I pixels of a cell, P numbers of a patch.
"""

from __future__ import annotations

from math import pi

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name all of PyTorch's users know

from drivemim.models.patches import PatchMask
from drivemim.models.targets.reconstruction_target import ReconstructionTarget, hidden_patches
from drivemim.registry import MODELS

_STROKE_WIDTH = 0.15
"""Width of the strokes in reconstructions, as a fraction of a cell's side."""


@MODELS.register_module()
class OrientedGradients(ReconstructionTarget):
    """Target and loss: a histogram of edge orientations per cell of a patch.

    A pixel's gradient is a central difference, in the colour channel with the largest gradient. It
    votes with its length for the two nearest of ``bins`` orientations in [0, pi). The votes of a
    cell are scaled to a length of at most 1; ``eps`` keeps them short where there is only noise.

    Args:
        size: pixels along the side of a cell; must divide the encoder's ``mask_patch_size``.
        bins: number of orientations.
        eps: mean gradient of a cell, in units of the normalised image, below which its votes
            approach 0.
        weight: factor of the loss.

    Raises:
        ValueError: if an argument is out of range.
    """

    name = "gradients"
    pixels_note = "strokes along the predicted edges, on mid grey"

    def __init__(
        self, *, size: int = 8, bins: int = 9, eps: float = 0.05, weight: float = 1.0
    ) -> None:
        super().__init__(weight=weight)
        if size < 1 or bins < 2 or eps <= 0:
            raise ValueError(
                f"size={size} must be at least 1, bins={bins} at least 2 and eps={eps} positive"
            )
        self.size = size
        self.bins = bins
        self.eps = eps

    def channels(self, mask_patch_size: int) -> int:
        """Return P, the number of values to predict per patch.

        Raises:
            ValueError: if ``size`` does not divide the patch.
        """
        if mask_patch_size % self.size:
            raise ValueError(f"size={self.size} must divide mask_patch_size={mask_patch_size}")
        return self.bins * (mask_patch_size // self.size) ** 2

    def forward(self, images_BTNCHW: Tensor, mask: PatchMask) -> Tensor:
        """Compute the targets of the hidden patches, see ``ReconstructionTarget``."""
        histograms = self.histograms(images_BTNCHW.flatten(0, 2).float())
        shape = (*images_BTNCHW.shape[:3], *histograms.shape[1:])
        return hidden_patches(histograms.reshape(shape), mask)

    def histograms(self, images_XCHW: Tensor) -> Tensor:
        """Compute the histogram of every cell, (X, bins, H / size, W / size)."""
        padded = F.pad(images_XCHW, (1, 1, 1, 1), mode="replicate")
        across = (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]) / 2
        down = (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]) / 2
        squared_length_X1HW, channel_X1HW = (across.square() + down.square()).max(
            dim=1, keepdim=True
        )
        angle_X1HW = torch.atan2(down.gather(1, channel_X1HW), across.gather(1, channel_X1HW))
        # Opposite directions are one orientation; bins wrap around from the last to the first.
        bin_XSI = self._by_cell(angle_X1HW.remainder(pi) * (self.bins / pi))
        length_XSI = self._by_cell(squared_length_X1HW.sqrt())
        lower_XSI = bin_XSI.floor()
        upper_fraction_XSI = bin_XSI - lower_XSI
        first_XSI = lower_XSI.long() % self.bins
        X, _, H, W = images_XCHW.shape
        votes_XSO = images_XCHW.new_zeros(*bin_XSI.shape[:2], self.bins)
        votes_XSO.scatter_add_(2, first_XSI, length_XSI * (1 - upper_fraction_XSI))
        votes_XSO.scatter_add_(2, (first_XSI + 1) % self.bins, length_XSI * upper_fraction_XSI)
        votes_XSO /= self.size**2
        scaled_XSO = votes_XSO / (votes_XSO.square().sum(dim=2, keepdim=True) + self.eps**2).sqrt()
        return scaled_XSO.mT.reshape(X, self.bins, H // self.size, W // self.size)

    def _by_cell(self, values_X1HW: Tensor) -> Tensor:
        """Group the pixels of each cell: (X, S, I), I = size * size."""
        return F.unfold(values_X1HW, self.size, stride=self.size).mT

    def to_pixels(
        self, predictions_BTNJP: Tensor, images_BTNCHW: Tensor, mask: PatchMask
    ) -> Tensor:
        """Draw predictions as pixels: a stroke along each edge, on mid grey.

        Args:
            predictions_BTNJP: predictions of the hidden patches.
            images_BTNCHW: not used, since the predictions are all that is drawn.
            mask: mask of every frame.

        Returns:
            (B, T, N, J, 3 * side * side), pixels of normalised images. 0 is the mean colour, shown
            as mid grey; strokes are brighter.
        """
        side = mask.patch_size // self.size
        shape = (*predictions_BTNJP.shape[:-1], self.bins, side, side)
        histograms = predictions_BTNJP.float().reshape(shape).clamp(min=0)
        strokes = self._strokes().to(histograms)
        grey = torch.einsum("...ors,oyx->...rysx", histograms, strokes)
        pixels = grey.flatten(-4, -3).flatten(-2)
        return pixels[..., None, :, :].expand(*pixels.shape[:-2], 3, -1, -1).flatten(-3)

    def _strokes(self) -> Tensor:
        """Draw, per orientation, a line through a cell's centre, normal to the gradient."""
        middle = (torch.arange(self.size) + 0.5) / self.size - 0.5
        angles = torch.arange(self.bins)[:, None, None] * (pi / self.bins)
        distance = angles.cos() * middle[None, None, :] + angles.sin() * middle[None, :, None]
        return torch.exp(-((distance / _STROKE_WIDTH) ** 2))
