"""Interface between masking teachers and the pretrainer."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from drivemim.models.patches import PatchMask, scatter_patches


class MaskingTeacher(nn.Module, ABC):
    """Predict, before anything is hidden, how much each patch is worth hiding.

    The result is a map of one value per patch, which the pretrainer passes to its mask strategy.
    Afterwards it passes the errors of the hidden patches back to the teacher. No gradient may reach
    the encoder or the decoder: maps are detached before masking, and errors before the teacher
    learns from them. A teacher is built with the argument ``encoder``, the pretrainer's encoder, of
    which it may keep only copies. Its weights are never exported.
    """

    @abstractmethod
    def forward(self, images_BTNCHW: Tensor, grid: tuple[int, int]) -> Tensor:
        """Compute the map of whole clips.

        Args:
            images_BTNCHW: float, normalised.
            grid: patches down and across (h, w).

        Returns:
            teacher_map_BTNhw: float32; patches with higher values are more worth hiding. Only the
            order of the patches within a frame matters.
        """

    def loss(
        self, teacher_map_BTNhw: Tensor, errors_BTNhw: Tensor, mask_BTNhw: Tensor, valid_BTN: Tensor
    ) -> Tensor | None:
        """Return the teacher's own loss over all processes, or None if it does not learn.

        Args:
            teacher_map_BTNhw: result of ``forward``, with its gradient.
            errors_BTNhw: float, detached; reconstruction error of hidden patches.
            mask_BTNhw: bool, True = hidden.
            valid_BTN: bool; invalid frames are ignored.
        """
        return None

    def ema_update(self, encoder: nn.Module) -> None:
        """Update the teacher from the encoder's weights; called before each training step."""
        return None


def scatter_errors(errors_BTNJ: Tensor, mask: PatchMask) -> Tensor:
    """Put the errors of hidden patches at their positions in the grid.

    Args:
        errors_BTNJ: errors of hidden patches, in row-major order, padded where a frame hides fewer.
        mask: mask of every frame.

    Returns:
        errors_BTNhw; 0 in visible patches.
    """
    h, w = mask.grid
    errors_XJ1 = errors_BTNJ.flatten(0, 2)[..., None]
    zeros_XL1 = errors_XJ1.new_zeros(len(errors_XJ1), h * w, 1)
    errors_XL1 = scatter_patches(zeros_XL1, mask.hidden, errors_XJ1)
    return errors_XL1.reshape(*errors_BTNJ.shape[:3], h, w)
