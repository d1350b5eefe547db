"""Target: mean colours of the squares of a hidden patch, which a decoder learns first.

Letters: P numbers of a patch.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name all of PyTorch's users know

from drivemim.models.patches import PatchMask
from drivemim.models.targets.reconstruction_target import ReconstructionTarget, hidden_patches
from drivemim.registry import MODELS


@MODELS.register_module()
class PooledPixels(ReconstructionTarget):
    """Target and loss: mean colours of the ``size`` x ``size`` squares of each patch.

    Unlike ``NormalizedPixels``, this keeps brightness and colour but not fine texture: the part of
    a patch that a short training can predict. Units are those of the normalised image.

    Args:
        size: number of squares per side of a patch; must divide the encoder's ``mask_patch_size``.
        weight: factor of the loss.

    Raises:
        ValueError: if ``size`` is less than 1.
    """

    name = "pooled_pixels"
    pixels_note = "one predicted mean colour per square of a hidden patch"

    def __init__(self, *, size: int = 4, weight: float = 1.0) -> None:
        super().__init__(weight=weight)
        if size < 1:
            raise ValueError(f"size={size} must be at least 1")
        self.size = size

    def channels(self, mask_patch_size: int) -> int:
        """Return P, the number of values to predict per patch.

        Raises:
            ValueError: if ``size`` does not divide the patch.
        """
        if mask_patch_size % self.size:
            raise ValueError(f"size={self.size} must divide mask_patch_size={mask_patch_size}")
        return 3 * self.size**2

    def forward(self, images_BTNCHW: Tensor, mask: PatchMask) -> Tensor:
        """Compute the targets of the hidden patches, see ``ReconstructionTarget``."""
        square = mask.patch_size // self.size
        pooled = F.avg_pool2d(images_BTNCHW.flatten(0, 2), square)
        return hidden_patches(pooled.reshape(*images_BTNCHW.shape[:3], *pooled.shape[1:]), mask)

    def to_pixels(
        self, predictions_BTNJP: Tensor, images_BTNCHW: Tensor, mask: PatchMask
    ) -> Tensor:
        """Draw predictions as pixels, each square in one colour."""
        square = mask.patch_size // self.size
        shape = (*predictions_BTNJP.shape[:-1], 3, self.size, self.size)
        colours = predictions_BTNJP.float().reshape(shape)
        pixels = colours.repeat_interleave(square, dim=-1).repeat_interleave(square, dim=-2)
        return pixels.flatten(-3)
