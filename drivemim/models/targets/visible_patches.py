"""Auxiliary target: the patches that the encoder sees, with a small weight.

In MAE (https://arxiv.org/abs/2111.06377, section 3), accuracy falls by about 0.5 % if visible
patches count as much as hidden ones.

Letters: P numbers of a patch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from drivemim.clips import Clips
from drivemim.models.patches import PatchMask
from drivemim.models.targets.reconstruction_target import ReconstructionTarget, Target
from drivemim.registry import MODELS


@MODELS.register_module()
class VisiblePatches(Target):
    """The loss of a reconstruction target at the visible patches.

    Args:
        target: config of a ``ReconstructionTarget`` that needs no encoder, such as
            ``NormalizedPixels``.
        weight: factor of the loss.

    Attributes:
        name, reads: see ``Target``.
    """

    name = "visible"

    def __init__(self, *, target: Mapping[str, Any], weight: float = 0.1) -> None:
        super().__init__(weight=weight)
        self.target: ReconstructionTarget = MODELS.build(dict(target))

    def channels(self, mask_patch_size: int) -> int:
        """Return the number of values to predict per patch, which is the inner target's."""
        return self.target.channels(mask_patch_size)

    def auxiliary_loss(
        self, predictions_XLP: Tensor, images_BTNCHW: Tensor, clips: Clips, mask: PatchMask
    ) -> Tensor:
        """Compute the loss of the visible patches, see ``Target``."""
        return self.weight * self.target.auxiliary_loss(
            predictions_XLP, images_BTNCHW, clips, mask.inverted()
        )

    def ema_update(self, encoder: nn.Module) -> None:
        """Update what the inner target keeps of the encoder."""
        self.target.ema_update(encoder)
