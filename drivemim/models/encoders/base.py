"""What the pretrainer needs of an encoder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class MaskedFeatures:
    """Features of the visible patches of images; the leading axes are those of the images.

    Attributes:
        tokens: (..., K, D), the visible patches in row-major order. Of images that show fewer than
            K, the most that one shows, the rest is padding that means nothing.
        maps: (..., C, H, W) for each of the encoder's ``stages``, zero at hidden positions; empty
            where the tokens are all that the backbone has.
    """

    tokens: Tensor
    maps: tuple[Tensor, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Shape of a feature map.

    Attributes:
        channels: C of the map.
        side: positions of the map along the side of a patch.
    """

    channels: int
    side: int


@contextmanager
def uncounted(encoder: Any) -> Iterator[None]:
    """Let what is encoded leave batch statistics as they are, in encoders that keep any.

    Args:
        encoder: with ``counts_batches``, if it keeps statistics.
    """
    if not hasattr(encoder, "counts_batches"):
        yield
        return
    counted, encoder.counts_batches = encoder.counts_batches, False
    try:
        yield
    finally:
        encoder.counts_batches = counted


class MaskedEncoder(Protocol):
    """A backbone that can also encode only the visible part of an image.

    Contract: with nothing hidden, both ways of encoding agree; hidden pixels never influence a
    visible cell's feature, in training and in evaluation mode.

    Attributes:
        mask_stride: side of a cell, pixels.
        cell_channels: D, channels of a visible cell's feature.
        stages: of the maps that ``forward_masked`` gives beside the tokens, finest first.
        backbone: the module a detector uses, with the detector's own parameter names; the
            encoder itself where nothing is wrapped around it.
    """

    mask_stride: int
    cell_channels: int
    stages: tuple[Stage, ...]

    @property
    def backbone(self) -> nn.Module:
        """The part that is exported."""
        ...

    def forward(self, images_BCHW: Tensor) -> tuple[Tensor, ...]:
        """The plain backbone: normalised images to feature maps (B, D, h, w)."""
        ...

    def forward_masked(self, images_BCHW: Tensor, mask_Bhw: Tensor) -> MaskedFeatures:
        """Encode what is visible.

        Args:
            images_BCHW: float, normalised.
            mask_Bhw: bool, True = hidden.
        """
        ...
