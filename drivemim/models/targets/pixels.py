"""Target: pixels of a hidden patch, normalised by the patch's own mean and variance.

Paper: https://arxiv.org/abs/2111.06377.

Letters: P numbers of a patch.
"""

from __future__ import annotations

from torch import Tensor

from drivemim.models.patches import PatchMask
from drivemim.models.targets.reconstruction_target import ReconstructionTarget, hidden_patches
from drivemim.registry import MODELS


@MODELS.register_module()
class NormalizedPixels(ReconstructionTarget):
    """Target and loss: pixels, with mean 0 and variance 1 over a patch's P numbers.

    A model that predicts only each patch's mean has a loss of 1.

    Args:
        eps: added to a patch's variance, in units of the normalised image; positive.
        weight: factor of the loss.

    Raises:
        ValueError: if ``eps`` is not positive.
    """

    name = "pixels"
    pixels_note = "each hidden patch with its true mean and contrast"

    def __init__(self, *, eps: float = 1e-6, weight: float = 1.0) -> None:
        super().__init__(weight=weight)
        if not eps > 0:
            raise ValueError(f"eps={eps} must be positive")
        self.eps = eps

    def channels(self, mask_patch_size: int) -> int:
        """Return P, the number of values to predict per patch."""
        return 3 * mask_patch_size**2

    def forward(self, images_BTNCHW: Tensor, mask: PatchMask) -> Tensor:
        """Compute the targets of the hidden patches, see ``ReconstructionTarget``."""
        patches = hidden_patches(images_BTNCHW, mask)
        mean, deviation = self._moments(patches)
        return (patches - mean) / deviation

    def to_pixels(
        self, predictions_BTNJP: Tensor, images_BTNCHW: Tensor, mask: PatchMask
    ) -> Tensor:
        """Convert predictions to units of the images with each patch's true mean and variance."""
        mean, deviation = self._moments(hidden_patches(images_BTNCHW, mask))
        return predictions_BTNJP.float() * deviation + mean

    def _moments(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        mean = patches.mean(dim=-1, keepdim=True)
        variance = (patches - mean).square().mean(dim=-1, keepdim=True)
        return mean, (variance + self.eps).sqrt()
