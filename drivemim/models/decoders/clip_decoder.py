"""A light transformer decoder that predicts hidden patches from the visible patches of the clip.

Each token gets an embedding of its patch's viewing ray (origin and direction, in the clip frame)
and time, so it can find what another camera saw, or the same camera half a second earlier. Tokens
attend only to visible patches, because the token of a hidden patch has no further information.

Letters: S tokens of visible and hidden patches.
"""

from __future__ import annotations

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from drivemim.clips import Clips
from drivemim.models.decoders.context import (
    AttentionScope,
    RayTimeEmbedding,
    check_attention_scope,
    usable_keys,
)
from drivemim.models.encoders.masked_encoder import MaskedEncoder, MaskedFeatures
from drivemim.models.layers import MLP, attend, grid_positions, initialize
from drivemim.models.mimetic import AttentionInit, check_attention_init, mimetic_
from drivemim.models.patches import PatchMask, gather_patches
from drivemim.registry import MODELS


class DecoderBlock(nn.Module):
    """Pre-norm transformer block in which all tokens attend to those of visible patches only."""

    def __init__(self, dims: int, heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(dims, eps=1e-6)
        self.queries = nn.Linear(dims, dims)
        self.keys_values = nn.Linear(dims, 2 * dims)
        self.proj = nn.Linear(dims, dims)
        self.norm2 = nn.LayerNorm(dims, eps=1e-6)
        self.mlp = MLP(dims, int(dims * mlp_ratio))

    def forward(
        self, tokens_BSD: Tensor, visible: int, use_BV: Tensor | None, hidden_only: bool
    ) -> Tensor:
        """Update the tokens.

        Args:
            tokens_BSD: ``visible`` tokens of visible patches, then those of hidden patches.
            visible: V, number of tokens of visible patches.
            use_BV: bool, False = ignore this visible token; None uses all.
            hidden_only: update and return only the tokens of hidden patches.
        """
        normalized = self.norm1(tokens_BSD)
        keys, values = self.keys_values(normalized[:, :visible]).chunk(2, dim=-1)
        if hidden_only:
            tokens_BSD, normalized = tokens_BSD[:, visible:], normalized[:, visible:]
        mixed = attend(self.queries(normalized), keys, values, self.heads, use_BV)
        tokens_BSD = tokens_BSD + self.proj(mixed)
        out: Tensor = tokens_BSD + self.mlp(self.norm2(tokens_BSD))
        return out


@MODELS.register_module()
class ClipDecoder(BaseModule):
    """Predict features of the hidden patches.

    Args:
        encoder: encoder of the features; only their number of channels is read from it.
        embed_dims: channels of the decoder, a multiple of 4 and of ``num_heads``.
        depth: number of blocks, at least 1.
        num_heads: attention heads.
        mlp_ratio: hidden channels of a block's MLP, in multiples of ``embed_dims``.
        attention_scope: ``clip`` attends to the visible patches of all times and cameras, ``frame``
            only to those of the patch's own image, like MAE for single images.
        attention_init: ``mimetic`` attends to neighbours sooner, see ``drivemim.models.mimetic``.
    """

    def __init__(
        self,
        *,
        encoder: MaskedEncoder,
        embed_dims: int = 512,
        depth: int = 4,
        num_heads: int = 8,
        mlp_ratio: float = 4.0,
        attention_scope: AttentionScope = "clip",
        attention_init: AttentionInit = "xavier",
    ) -> None:
        super().__init__()
        check_attention_init(attention_init)
        check_attention_scope(attention_scope)
        if embed_dims % 4 or embed_dims % num_heads or depth < 1:
            raise ValueError(
                f"ClipDecoder embed_dims {embed_dims} must be a multiple of 4 and of num_heads "
                f"{num_heads}, and depth {depth} at least 1"
            )
        self.embed_dims = self.out_channels = embed_dims
        self.attention_scope: AttentionScope = attention_scope
        self.project = nn.Linear(encoder.patch_channels, embed_dims)
        self.mask_token = nn.Parameter(torch.zeros(embed_dims))
        self.geometry = RayTimeEmbedding(embed_dims)
        blocks = [DecoderBlock(embed_dims, num_heads, mlp_ratio) for _ in range(depth)]
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(embed_dims, eps=1e-6)
        self.apply(initialize)
        if attention_init == "mimetic":
            for block in blocks:
                keys_DD, values_DD = block.keys_values.weight.chunk(2)
                mimetic_(block.queries.weight, keys_DD, values_DD, block.proj.weight, num_heads)
        nn.init.normal_(self.mask_token, std=0.02)

    def forward(self, features: MaskedFeatures, mask: PatchMask, clips: Clips) -> Tensor:
        """Predict features of the hidden patches.

        Args:
            features: features of the visible patches of every frame; only the tokens are used.
            mask: mask of every frame.
            clips: clips with calibration, poses, times and validity.

        Returns:
            (B, T, N, J, embed_dims), the hidden patches in row-major order, padded where a frame
            hides fewer than J. Values in padding and invalid frames are finite but meaningless.

        Raises:
            ValueError: if every patch is hidden.
        """
        X, K = features.tokens_XKD.shape[:2]
        if K == 0:
            raise ValueError("every patch is hidden, so nothing can be predicted; lower the ratio")
        positions_XLD = self._positions(clips, mask.grid)
        visible = self.project(features.tokens_XKD) + gather_patches(positions_XLD, mask.visible)
        hidden = self.mask_token + gather_patches(positions_XLD, mask.hidden)
        groups = len(clips) if self.attention_scope == "clip" else X
        # Tokens per group: the frames that attend to each other, times the patches of a frame.
        V, Q = X // groups * K, X // groups * mask.hidden.length
        visible = visible.reshape(groups, V, self.embed_dims)
        tokens = torch.cat([visible, hidden.reshape(groups, Q, self.embed_dims)], dim=1)
        use = usable_keys(mask, len(clips), self.attention_scope)
        for index, block in enumerate(self.blocks):
            is_last = index == len(self.blocks) - 1
            tokens = block(tokens, V, use, hidden_only=is_last)
        out: Tensor = self.norm(tokens)
        return out.reshape(*clips.shape, mask.hidden.length, self.embed_dims)

    def _positions(self, clips: Clips, grid: tuple[int, int]) -> Tensor:
        """Embed the position, time and viewing ray of each patch: (X, L, D)."""
        token = self.mask_token
        positions = grid_positions(grid, self.embed_dims, device=token.device, dtype=token.dtype)
        embedding: Tensor = self.geometry(clips, grid) + positions
        return embedding.flatten(0, 2)
