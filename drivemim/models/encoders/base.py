"""What the pretrainer needs of an encoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

from drivemim.models.patches import PatchMask


@dataclass(frozen=True, kw_only=True)
class MaskedFeatures:
    """Features of the visible patches of X images.

    Attributes:
        tokens_XKD: the visible patches in row-major order, padded where an image shows fewer than
            K. Values in the padding have no meaning.
        maps_XCHW: for each of the encoder's ``stages``, zero at hidden positions; empty if the
            backbone has no features beside the tokens.
    """

    tokens_XKD: Tensor
    maps_XCHW: tuple[Tensor, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Shape of a feature map.

    Attributes:
        channels: C of the map.
        side: positions of the map along the side of a patch.
    """

    channels: int
    side: int


class MaskedEncoder(Protocol):
    """A backbone that can also encode only the visible part of an image.

    Contract: with nothing hidden, both ways of encoding agree; hidden pixels never influence a
    visible patch's feature, in training and in evaluation mode.

    Attributes:
        mask_stride: side of a patch, pixels.
        cell_channels: D, channels of a visible patch's feature.
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

    def forward_masked(self, images_XCHW: Tensor, mask: PatchMask) -> MaskedFeatures:
        """Encode the visible patches; batch statistics count them if any image is valid.

        Args:
            images_XCHW: float, normalised.
            mask: of these images; either all of them are valid or none is.
        """
        ...
