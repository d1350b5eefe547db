"""Preprocessing of clips between the data loader and the model."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from drivemim.clips import Clips
from drivemim.registry import MODELS


@MODELS.register_module()
class ClipPreprocessor(BaseDataPreprocessor):
    """Move clips to the device, and normalise images like MMDetection's own preprocessor.

    Images are transferred as uint8. The model calls ``normalize`` on the device.

    Args:
        mean: mean of each channel, in [0, 255], in the channel order of the backbone's input.
        std: standard deviation of each channel, in the same unit and order.
        bgr_to_rgb: convert images to RGB for the backbone (images of clips are BGR).
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, *, mean: Sequence[float], std: Sequence[float], bgr_to_rgb: bool = True
    ) -> None:
        super().__init__(non_blocking=True)
        if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
            raise ValueError(
                f"mean {tuple(mean)} and std {tuple(std)} need three numbers each, std above 0"
            )
        self.bgr_to_rgb = bgr_to_rgb
        self.register_buffer("mean", torch.tensor([*map(float, mean)]).view(3, 1, 1), False)
        self.register_buffer("std", torch.tensor([*map(float, std)]).view(3, 1, 1), False)

    def forward(self, data: Clips | dict[str, Clips], training: bool = False) -> dict[str, Clips]:
        """Convert clips from the data loader to the arguments of the model."""
        clips = data if isinstance(data, Clips) else data["clips"]
        return {"clips": clips.to(self.device)}

    def normalize(self, images_BTNHWC: Tensor) -> Tensor:
        """Normalise loaded uint8 images to the backbone's float input (B, T, N, C, H, W)."""
        images = images_BTNHWC.movedim(-1, -3)
        if self.bgr_to_rgb:
            images = images.flip(-3)
        # ``contiguous`` reorders bytes here, which is twice as fast as reordering floats.
        return (images.contiguous().to(self.mean.dtype) - self.mean).div_(self.std)

    def restore(self, images_BTNCHW: Tensor) -> Tensor:
        """Undo ``normalize``, with rounding and clipping to uint8."""
        images = images_BTNCHW * self.std + self.mean
        if self.bgr_to_rgb:
            images = images.flip(-3)
        return images.round().clamp(0, 255).to(torch.uint8).movedim(-3, -1)
