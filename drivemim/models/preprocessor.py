"""What happens to clips between the data loader and the model."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from drivemim.clips import Clips
from drivemim.registry import MODELS


@MODELS.register_module()
class ClipPreprocessor(BaseDataPreprocessor):
    """Move clips to the device, and normalise images as MMDetection's own preprocessor does.

    Images travel as uint8; the model asks for the normalised ones on the device.

    Args:
        mean: of each channel, in [0, 255], in the order the backbone is given.
        std: of each channel, same unit and order.
        bgr_to_rgb: give the backbone RGB (images of clips are BGR).
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
        """Clips as the data loader gives them, to the arguments of the model."""
        clips = data if isinstance(data, Clips) else data["clips"]
        return {"clips": clips.to(self.device)}

    def normalize(self, images_BTNHWC: Tensor) -> Tensor:
        """Uint8 images as loaded, to float images (B, T, N, C, H, W) as the backbone sees them."""
        images = images_BTNHWC.movedim(-1, -3)
        if self.bgr_to_rgb:
            images = images.flip(-3)
        return (images.to(self.mean.dtype) - self.mean) / self.std

    def restore(self, images_BTNCHW: Tensor) -> Tensor:
        """The reverse of ``normalize``, rounded and clipped to uint8."""
        images = images_BTNCHW * self.std + self.mean
        if self.bgr_to_rgb:
            images = images.flip(-3)
        return images.round().clamp(0, 255).to(torch.uint8).movedim(-3, -1)
