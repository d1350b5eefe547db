"""Weights of hidden patches in the loss, by the objects that the patches show."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from drivemim.clips import Clips
from drivemim.errors import ConfigError
from drivemim.masking.box_cover import patch_owners
from drivemim.registry import MODELS


@MODELS.register_module()
class ObjectWeights(nn.Module):
    """Give the patches of objects a larger weight in the loss than the background.

    An object has the patches whose centre is in its box, and the one at the centre of its box, as
    in ``ObjectMask``. The boxes are those of the data, so pretraining with ``AnnotatedBoxes`` reads
    labels.

    Args:
        weight: weight of an object's patches, above 0; that of the background is 1.
        placebo: take the boxes of another clip of the batch, which say nothing about the image: the
            control of a study.

    Attributes:
        reads: inputs besides images, for the record of a pretraining.

    Raises:
        ConfigError: if ``weight`` is not positive.
    """

    reads: ClassVar[frozenset[str]] = frozenset({"boxes"})

    def __init__(self, *, weight: float = 4.0, placebo: bool = False) -> None:
        super().__init__()
        if not 0 < weight < torch.inf:
            raise ConfigError(f"ObjectWeights: weight={weight} must be positive")
        self.weight = weight
        self.placebo = placebo

    def forward(self, clips: Clips, grid: tuple[int, int]) -> Tensor:
        """Compute the weight of every patch: float (B, T, N, h, w).

        Args:
            clips: clips with boxes.
            grid: rows and columns of patches (h, w).

        Raises:
            ConfigError: if the clips have no boxes, or a placebo has a single clip.
        """
        clips.require("ObjectWeights", "boxes")
        owners_BTNhw = patch_owners(
            clips.boxes_BTNM4, clips.depths_BTNM, clips.labels_BTNM >= 0, grid, clips.image_size
        )
        weights_BTNhw = torch.where(owners_BTNhw >= 0, self.weight, 1.0)
        if not self.placebo:
            return weights_BTNhw
        if len(clips) < 2:
            raise ConfigError(
                "ObjectWeights: placebo=True takes the boxes of another clip, but a process has a "
                "batch of one; set train_dataloader.batch_size=2 or more"
            )
        return weights_BTNhw.roll(1, 0)
