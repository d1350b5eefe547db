"""What the pretrainer needs of an encoder."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn


class MaskedEncoder(Protocol):
    """A backbone that can also encode only the visible part of an image.

    Contract: with nothing hidden, both ways of encoding agree; hidden pixels never influence a
    visible cell's feature, in training and in evaluation mode.

    Attributes:
        mask_stride: side of a cell, pixels.
        cell_channels: D, channels of a visible cell's feature.
        backbone: the module a detector uses, with the detector's own parameter names; the
            encoder itself where nothing is wrapped around it.
    """

    mask_stride: int
    cell_channels: int

    @property
    def backbone(self) -> nn.Module:
        """The part that is exported."""
        ...

    def forward(self, images_BCHW: Tensor) -> tuple[Tensor, ...]:
        """The plain backbone: normalised images to feature maps (B, D, h, w)."""
        ...

    def forward_masked(self, images_BCHW: Tensor, mask_Bhw: Tensor) -> Tensor:
        """Encode what is visible.

        Args:
            images_BCHW: float, normalised.
            mask_Bhw: bool, True = hidden.

        Returns:
            (B, K, D), features of the visible cells, row-major. Of images that show fewer than
            K, the most that one shows, the rest is padding that means nothing.
        """
        ...
