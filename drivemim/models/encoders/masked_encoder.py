"""Interface between encoders and the pretrainer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

from drivemim.errors import ConfigError
from drivemim.models.patches import PatchMask

_NEEDED = ("mask_patch_size", "patch_channels", "stages", "backbone", "forward_masked")


@dataclass(frozen=True, kw_only=True)
class MaskedFeatures:
    """Features of the visible patches of X images.

    Attributes:
        tokens_XKD: the visible patches in row-major order, padded where an image shows fewer than
            K. Values in the padding are meaningless.
        maps_XCHW: one map per stage of the encoder's ``stages``, zero at hidden positions; empty
            if the backbone has only tokens.
    """

    tokens_XKD: Tensor
    maps_XCHW: tuple[Tensor, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Shape of a feature map.

    Attributes:
        channels: C of the map.
        positions_per_patch: positions of the map along the side of a patch, which is
            ``mask_patch_size`` / stride; at least 1.
    """

    channels: int
    positions_per_patch: int


class MaskedEncoder(Protocol):
    """A backbone that can also encode only the visible part of an image.

    Contract: with nothing hidden, the maps of ``forward_masked`` (the tokens of a backbone that has
    only tokens) equal those of ``forward``. Hidden pixels never influence a visible patch's
    feature, in training or in evaluation mode.

    Attributes:
        mask_patch_size: side of a patch, pixels.
        patch_channels: D, channels of a visible patch's feature.
        stages: stages of the maps that ``forward_masked`` returns besides the tokens, finest first.
        backbone: module for the detector, with the detector's own parameter names; the encoder
            itself if it does not wrap another module.
    """

    mask_patch_size: int
    patch_channels: int
    stages: tuple[Stage, ...]

    @property
    def backbone(self) -> nn.Module:
        """Module that is exported."""
        ...

    def forward(self, images_BCHW: Tensor) -> tuple[Tensor, ...]:
        """Encode normalised images with the plain backbone.

        Returns:
            One feature map (B, C, H / stride, W / stride) per output of the backbone.
        """
        ...

    def forward_masked(self, images_XCHW: Tensor, mask: PatchMask) -> MaskedFeatures:
        """Encode the visible patches.

        Args:
            images_XCHW: float, normalised, of valid (not missing) frames. If the batch has no valid
                frame, they are those of all its frames, which must not enter batch statistics.
            mask: mask of these images.
        """
        ...


def check_encoder(encoder: nn.Module) -> None:
    """Refuse a module that lacks attributes of a ``MaskedEncoder``.

    Raises:
        ConfigError: if an attribute is missing; the message names it.
    """
    lacking = [name for name in _NEEDED if not hasattr(encoder, name)]
    if lacking:
        raise ConfigError(
            f"model.encoder: {type(encoder).__name__} lacks {', '.join(lacking)}; an encoder needs "
            f"the attributes {', '.join(_NEEDED[:-1])} and the method {_NEEDED[-1]}, see "
            "drivemim.models.MaskedEncoder and docs/guides/pretraining.md"
        )
