"""What the pretrainer needs of a guide."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn


class Guide(nn.Module, ABC):
    """Says, before anything is hidden, how much each cell is worth hiding.

    The pretrainer hands the map to its mask strategy, and afterwards the errors of the hidden cells
    back to the guide. Nothing of that may reach the encoder or the decoder: maps are detached
    before they mask, errors before they teach. A guide is built with ``encoder``, the pretrainer's
    own, of which it may keep nothing but copies; its weights are never exported.
    """

    @abstractmethod
    def forward(self, images_BTNCHW: Tensor, grid: tuple[int, int]) -> Tensor:
        """Look at whole clips.

        Args:
            images_BTNCHW: float, normalised.
            grid: cells down and across (h, w).

        Returns:
            guide_BTNhw: float32, the higher the more a cell is worth hiding. Only the order of the
            cells of a frame means anything.
        """

    def loss(
        self, guide_BTNhw: Tensor, errors_BTNhw: Tensor, mask_BTNhw: Tensor, valid_BTN: Tensor
    ) -> Tensor | None:
        """The guide's own loss, if it learns; of all processes, as the pretrainer's own is.

        Args:
            guide_BTNhw: what ``forward`` returned, with its gradient.
            errors_BTNhw: float, detached; the reconstruction's error in hidden cells.
            mask_BTNhw: bool, True = hidden.
            valid_BTN: bool; invalid frames teach nothing.
        """
        return None

    def follow(self, encoder: nn.Module) -> None:
        """Take note of the encoder's weights; called before each training step."""
        return None


def error_map(errors_BTNJ: Tensor, mask_BTNhw: Tensor) -> Tensor:
    """Put errors where they were made: 0 in visible cells.

    Args:
        errors_BTNJ: of the hidden cells, row-major; where frames hide different numbers of cells,
            padded at the end.
        mask_BTNhw: bool, True = hidden.

    Returns:
        errors_BTNhw.
    """
    mask_BTNL = mask_BTNhw.flatten(-2)
    if errors_BTNJ.shape[-1] == 0:
        return torch.zeros(mask_BTNhw.shape, dtype=errors_BTNJ.dtype, device=errors_BTNJ.device)
    place_BTNL = (mask_BTNL.cumsum(dim=-1) - 1).clamp(min=0)
    errors_BTNL = errors_BTNJ.gather(-1, place_BTNL).masked_fill(~mask_BTNL, 0.0)
    return errors_BTNL.reshape(mask_BTNhw.shape)
