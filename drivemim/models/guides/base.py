"""What the pretrainer needs of a guide."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from drivemim.models.patches import PatchMask, scatter_patches


class Guide(nn.Module, ABC):
    """Predict, before anything is hidden, how much each patch is worth hiding.

    The pretrainer hands the map to its mask strategy. Afterwards it hands the errors of the hidden
    patches back to the guide. No gradient may reach the encoder or the decoder: maps are detached
    before they mask, errors before they teach. A guide is built with ``encoder``, the pretrainer's
    own, of which it may keep nothing but copies; its weights are never exported.
    """

    @abstractmethod
    def forward(self, images_BTNCHW: Tensor, grid: tuple[int, int]) -> Tensor:
        """Look at whole clips.

        Args:
            images_BTNCHW: float, normalised.
            grid: patches down and across (h, w).

        Returns:
            guide_BTNhw: float32, the higher the more a patch is worth hiding. Only the order of the
            patches of a frame means anything.
        """

    def loss(
        self, guide_BTNhw: Tensor, errors_BTNhw: Tensor, mask_BTNhw: Tensor, valid_BTN: Tensor
    ) -> Tensor | None:
        """The guide's own loss, if it learns; of all processes, as the pretrainer's own is.

        Args:
            guide_BTNhw: what ``forward`` returned, with its gradient.
            errors_BTNhw: float, detached; the reconstruction's error in hidden patches.
            mask_BTNhw: bool, True = hidden.
            valid_BTN: bool; invalid frames teach nothing.
        """
        return None

    def follow(self, encoder: nn.Module) -> None:
        """Take note of the encoder's weights; called before each training step."""
        return None


def scatter_errors(errors_BTNJ: Tensor, mask: PatchMask) -> Tensor:
    """Put the errors of hidden patches at their places in the grid.

    Args:
        errors_BTNJ: of the hidden patches, in row-major order, padded where a frame hides fewer.
        mask: of every frame.

    Returns:
        errors_BTNhw; 0 in visible patches.
    """
    h, w = mask.grid
    errors_XJ1 = errors_BTNJ.flatten(0, 2)[..., None]
    zeros_XL1 = errors_XJ1.new_zeros(len(errors_XJ1), h * w, 1)
    errors_XL1 = scatter_patches(zeros_XL1, mask.hidden, errors_XJ1)
    return errors_XL1.reshape(*errors_BTNJ.shape[:3], h, w)
