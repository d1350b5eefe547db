"""Masking by predicted reconstruction loss, learned during pretraining."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name all of PyTorch's users know

from drivemim.models.targets.reconstruction_target import global_mean
from drivemim.models.teachers.masking_teacher import MaskingTeacher
from drivemim.registry import MODELS

# Pixels per side of a downscaled patch.
_SIDE = 4
# Each hidden patch is compared with this many other patches of its frame.
_PAIRS = 8


@MODELS.register_module()
class LossPredictor(MaskingTeacher):
    """A small convolutional network that predicts which patches are reconstructed worst.

    Each patch is reduced to 4 x 4 means and standard deviations of its colours; the network sees a
    few patches around it. It learns from the pretrainer's errors in hidden patches. Like HPM (Wang
    et al., 2023), it learns which of two patches of a frame has the larger error, because errors
    shrink during training but their order does not change. Unlike HPM, it needs no decoder.

    Args:
        encoder: encoder that defines the side of a patch.
        channels: channels of the network.
        depth: number of 3 x 3 convolutions. The network sees as many patches in each direction.
        loss_weight: weight of this network's loss, above 0. A small weight keeps the network's part
            of the total gradient norm small, so that it hardly affects the clipping of the
            encoder's gradient. The length of Adam's steps does not depend on the weight.

    Raises:
        ValueError: if an argument is outside its range, or the side of a patch is not a multiple of
            4.
    """

    def __init__(
        self, *, encoder: Any, channels: int = 32, depth: int = 3, loss_weight: float = 0.01
    ) -> None:
        super().__init__()
        stride = encoder.mask_patch_size
        if stride % _SIDE:
            raise ValueError(
                f"LossPredictor needs patches whose side is a multiple of {_SIDE} pixels, not "
                f"mask_patch_size={stride}"
            )
        if channels < 1 or depth < 1 or not loss_weight > 0:
            raise ValueError(
                f"LossPredictor channels={channels} and depth={depth} must be at least 1, and "
                f"loss_weight={loss_weight} above 0"
            )
        self.pool = stride // _SIDE
        self.loss_weight = loss_weight
        self.stem = nn.Conv2d(6, channels, _SIDE, stride=_SIDE)
        self.layers = nn.ModuleList(
            nn.Conv2d(channels, channels, 3, padding=1) for _ in range(depth)
        )
        self.head = nn.Conv2d(channels, 1, 1)
        # At first all patches have the same prediction, so that the mask is random.
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]  # it has one

    def forward(self, images_BTNCHW: Tensor, grid: tuple[int, int]) -> Tensor:
        """Predict each patch's hardness: (B, T, N, h, w), with gradients only for its own weights.

        Args:
            images_BTNCHW: float, normalised.
            grid: patches down and across (h, w).
        """
        features = self.stem(self._reduced(images_BTNCHW.flatten(0, 2)))
        for layer in self.layers:
            features = features + layer(F.gelu(features))
        hardness_X1hw: Tensor = self.head(F.gelu(features))
        return hardness_X1hw.float().reshape(*images_BTNCHW.shape[:3], *grid)

    def loss(
        self, teacher_map_BTNhw: Tensor, errors_BTNhw: Tensor, mask_BTNhw: Tensor, valid_BTN: Tensor
    ) -> Tensor:
        """Compute the ranking loss of pairs of hidden patches.

        The loss of a pair is the cross entropy of which patch has the larger error; the logit is
        the difference of the two predictions. Each patch is paired with patches of its frame at
        fixed distances in row-major order. Pairs with equal errors are ignored.

        Args:
            teacher_map_BTNhw: result of ``forward``.
            errors_BTNhw: float, detached; errors of the hidden patches.
            mask_BTNhw: bool, True = hidden.
            valid_BTN: bool; invalid frames are ignored.

        Returns:
            Scalar, the weighted mean over the pairs of all processes; zero with zero gradients if
            there are none.
        """
        use_BTNL = (mask_BTNhw & valid_BTN[..., None, None]).flatten(-2)
        errors_BTNL = errors_BTNhw.detach().float().flatten(-2)
        teacher_map_BTNL = teacher_map_BTNhw.flatten(-2)
        losses, weights = [], []
        for distance in _distances(teacher_map_BTNL.shape[-1]):
            larger_BTNL = (errors_BTNL - errors_BTNL.roll(distance, -1)).sign()
            logits_BTNL = (teacher_map_BTNL - teacher_map_BTNL.roll(distance, -1)) * larger_BTNL
            is_pair_BTNL = use_BTNL & use_BTNL.roll(distance, -1) & (larger_BTNL != 0)
            losses.append(F.softplus(-logits_BTNL))
            weights.append(is_pair_BTNL.to(logits_BTNL.dtype))
        if not losses:  # A single patch has no pair: a value of weight 0 keeps gradients defined.
            losses, weights = [teacher_map_BTNL], [torch.zeros_like(teacher_map_BTNL)]
        return global_mean(torch.stack(losses), torch.stack(weights)) * self.loss_weight

    def _reduced(self, images_XCHW: Tensor) -> Tensor:
        """Return mean and standard deviation per downscaled pixel: (X, 6, 4h, 4w)."""
        if self.pool == 1:
            return torch.cat([images_XCHW, torch.zeros_like(images_XCHW)], dim=1)
        mean = F.avg_pool2d(images_XCHW, self.pool)
        variance = F.avg_pool2d(images_XCHW.square(), self.pool) - mean.square()
        return torch.cat([mean, variance.clamp(min=0).sqrt()], dim=1)


def _distances(num_patches: int) -> list[int]:
    """Return the distances of pairs in row-major order, spread evenly over half of the frame."""
    return sorted(
        {max(1, num_patches * step // (2 * _PAIRS)) for step in range(1, _PAIRS + 1)}
        & {*range(1, num_patches)}
    )
