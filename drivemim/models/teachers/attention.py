"""Masking by the attention of an EMA teacher."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name all of PyTorch's users know

from drivemim.models.encoders.vit import ViT
from drivemim.models.layers import grid_positions, update_average
from drivemim.models.patches import patchify
from drivemim.models.teachers.masking_teacher import MaskingTeacher
from drivemim.registry import MODELS


@MODELS.register_module()
class TeacherAttention(MaskingTeacher):
    """Attention that each patch receives in the last block of a teacher, like in AttMask.

    AttMask is the method of Kakogeorgiou et al., 2022. The teacher's weights are an exponential
    moving average of the encoder's and have no gradient. AttMask uses the attention of the class
    token. This encoder has no class token, so the attention from all patches is averaged, over all
    heads. The teacher works on downscaled images; position embeddings are those of the full image.

    Args:
        encoder: the pretrainer's encoder, a ``ViT``; the teacher keeps a copy.
        scale: side of the downscaled images relative to the full ones, in (0, 1]. A training step
            takes about a tenth longer at 0.3, and about a quarter longer at 0.5.
        momentum: weight of the old average at each training step, in [0, 1).

    Raises:
        ValueError: if an argument is outside its range, or the encoder has no attention.
    """

    updates: Tensor

    def __init__(self, *, encoder: Any, scale: float = 0.3, momentum: float = 0.996) -> None:
        super().__init__()
        if not isinstance(encoder, ViT):
            raise ValueError(
                f"TeacherAttention needs an encoder with attention (drivemim.ViT), which "
                f"{type(encoder).__name__} is not; use LossPredictor"
            )
        if not 0 < scale <= 1:
            raise ValueError(f"scale={scale} must be in (0, 1]")
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum={momentum} must be in [0, 1)")
        self.scale, self.momentum = scale, momentum
        self.averaged_encoder = copy.deepcopy(encoder).requires_grad_(False).eval()
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    def train(self, mode: bool = True) -> TeacherAttention:
        """Set the mode; the averaged copy stays in evaluation mode, without drop path."""
        super().train(mode)
        self.averaged_encoder.eval()
        return self

    def ema_update(self, encoder: nn.Module) -> None:
        """Update the teacher's moving average; the first call copies the encoder."""
        update_average(self.averaged_encoder, encoder, self.updates, self.momentum)

    @torch.no_grad()
    def forward(self, images_BTNCHW: Tensor, grid: tuple[int, int]) -> Tensor:
        """Compute the mean attention that each patch receives, 1 on average: (B, T, N, h, w).

        Args:
            images_BTNCHW: float, normalised.
            grid: patches down and across (h, w).
        """
        coarse = (max(1, round(grid[0] * self.scale)), max(1, round(grid[1] * self.scale)))
        tokens_XLD = self._tokens(images_BTNCHW.flatten(0, 2), grid, coarse)
        *blocks, last = self.averaged_encoder.blocks
        for block in blocks:
            tokens_XLD = block(tokens_XLD)
        received_XL = _received(last.attn, last.norm1(tokens_XLD))
        received_X1hw: Tensor = received_XL.reshape(-1, 1, *coarse)
        if coarse != grid:
            received_X1hw = F.interpolate(received_X1hw, grid, mode="bilinear")
        return received_X1hw.reshape(*images_BTNCHW.shape[:3], *grid)

    def _tokens(
        self, images_XCHW: Tensor, grid: tuple[int, int], coarse: tuple[int, int]
    ) -> Tensor:
        """Embed downscaled images as tokens with positions in the full images: (X, L, D)."""
        encoder, stride = self.averaged_encoder, self.averaged_encoder.patch_size
        if coarse != grid:
            size = (coarse[0] * stride, coarse[1] * stride)
            images_XCHW = F.interpolate(images_XCHW, size, mode="area")
        tokens_XLD: Tensor = encoder.patch_embed(patchify(images_XCHW, stride))
        positions_LD = grid_positions(
            coarse,
            encoder.embed_dims,
            device=tokens_XLD.device,
            dtype=tokens_XLD.dtype,
            spacing=(grid[0] / coarse[0], grid[1] / coarse[1]),
        )
        return tokens_XLD + positions_LD


def _received(attention: Any, tokens_XLD: Tensor) -> Tensor:
    """Compute attention received per token, averaged over heads and queries, times L: (X, L)."""
    heads: int = attention.heads
    queries, keys, _ = attention.qkv(tokens_XLD).chunk(3, dim=-1)
    received_XL: Tensor = torch.zeros(tokens_XLD.shape[:2], device=tokens_XLD.device)
    # One head at a time: all heads at once would be the largest tensor of the step.
    for query, key in zip(queries.chunk(heads, dim=-1), keys.chunk(heads, dim=-1), strict=True):
        logits_XLL = query @ key.transpose(1, 2) * query.shape[-1] ** -0.5
        received_XL += logits_XLL.float().softmax(dim=-1).sum(dim=1)
    return received_XL / heads
