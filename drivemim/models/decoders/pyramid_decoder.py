"""Decoder that completes the feature map and predicts hidden patches from a detector's pyramid.

1. Cross-attention fills in the hidden patches: their tokens attend to the encoder's features of the
   visible patches, which do not change (CrossMAE, https://arxiv.org/abs/2401.14391).
2. Hidden tokens and visible features together form the backbone's feature map, like in a detector.
   The detector's neck turns it into a pyramid (iTPN, https://arxiv.org/abs/2211.12735).
3. A hidden patch is predicted from every level: from all vectors inside it if the level is finer
   than the patches, or from the vector that covers it if the level is coarser.

Letters: P numbers of a patch, Q tokens of hidden patches, V tokens of the context or valid
frames, F channels of the result.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

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
from drivemim.models.encoders.masked_encoder import MaskedEncoder, MaskedFeatures, Stage
from drivemim.models.layers import MLP, KeepStatistics, attend, grid_positions, initialize
from drivemim.models.mimetic import AttentionInit, check_attention_init, mimetic_
from drivemim.models.patches import (
    PatchIndices,
    PatchMask,
    gather_patches,
    patchify,
    scatter_patches,
    scatter_rows,
    unpatchify,
)
from drivemim.registry import MODELS

# The scales of a neck's levels are found by running it on a map of this many patches per side. The
# side is divisible by 3 and 4, so that a third of the resolution differs from a quarter.
_TRIAL_GRID = 24
# Supported resolutions of a level, in multiples of the patches' resolution.
_SCALES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)


class CrossAttentionBlock(nn.Module):
    """Pre-norm transformer block: queries attend to a context that the block does not change."""

    def __init__(self, dims: int, heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(dims, eps=1e-6)
        self.norm_context = nn.LayerNorm(dims, eps=1e-6)
        self.queries = nn.Linear(dims, dims)
        self.keys_values = nn.Linear(dims, 2 * dims)
        self.proj = nn.Linear(dims, dims)
        self.norm2 = nn.LayerNorm(dims, eps=1e-6)
        self.mlp = MLP(dims, int(dims * mlp_ratio))

    def forward(self, tokens_BQD: Tensor, context_BVD: Tensor, use_BV: Tensor | None) -> Tensor:
        """Update the tokens.

        Args:
            tokens_BQD: tokens of hidden patches.
            context_BVD: tokens of visible patches.
            use_BV: bool, False = ignore this visible token; None uses all.
        """
        keys, values = self.keys_values(self.norm_context(context_BVD)).chunk(2, dim=-1)
        queries = self.queries(self.norm1(tokens_BQD))
        tokens_BQD = tokens_BQD + self.proj(attend(queries, keys, values, self.heads, use_BV))
        out: Tensor = tokens_BQD + self.mlp(self.norm2(tokens_BQD))
        return out


@dataclass(frozen=True, kw_only=True)
class Level:
    """Shape of a pyramid level relative to the grid of patches.

    Attributes:
        channels: C of the level's map.
        positions_per_patch: positions along the side of a patch; 1 if the level is coarser than
            the patches.
        patches_per_position: patches along the side of a position; 1 if the level is finer.
    """

    channels: int
    positions_per_patch: int
    patches_per_position: int

    def patch_vectors(self, map_XCHW: Tensor, grid: tuple[int, int]) -> Tensor:
        """Return the vectors that lie in, or cover, each patch: (X, L, C * positions**2)."""
        if self.patches_per_position == 1:
            return patchify(map_XCHW, self.positions_per_patch)
        rows, columns = (
            torch.arange(length, device=map_XCHW.device) // self.patches_per_position
            for length in grid
        )
        return map_XCHW[:, :, rows][:, :, :, columns].flatten(2).transpose(1, 2)


@MODELS.register_module()
class PyramidDecoder(BaseModule):
    """Predict the hidden patches from a pyramid over the completed feature map.

    If the encoder returns maps of several stages (a ResNet), one linear layer per stage maps the
    token of a hidden patch to the part of the stage's map that the patch covers.

    Args:
        encoder: encoder of the features; their shapes are read from it.
        neck: config of the detector's neck, which takes a list of maps, such as
            ``SimpleFeaturePyramid`` for a ViT or ``mmdet.FPN`` over the stages of a ResNet. Its
            ``in_channels`` may be left out; it is then taken from the encoder's maps.
        embed_dims: channels of the blocks, a multiple of 4 and of ``num_heads``; None for the
            encoder's number of channels. If the numbers differ, linear layers convert.
        depth: number of blocks, at least 1.
        num_heads: attention heads.
        mlp_ratio: hidden channels of a block's MLP, in multiples of ``embed_dims``.
        attention_scope: ``clip`` attends to the visible patches of all times and cameras, with
            embeddings of ray and time; ``frame`` to those of the patch's own image.
        attention_init: ``mimetic`` attends to neighbours sooner, see ``drivemim.models.mimetic``.

    Raises:
        ValueError: if sizes do not fit together, or a level's scale relative to the patches is not
            2^-3 to 2^3.
    """

    def __init__(
        self,
        *,
        encoder: MaskedEncoder,
        neck: dict[str, Any],
        embed_dims: int | None = None,
        depth: int = 2,
        num_heads: int = 8,
        mlp_ratio: float = 2.0,
        attention_scope: AttentionScope = "clip",
        attention_init: AttentionInit = "xavier",
    ) -> None:
        super().__init__()
        check_attention_init(attention_init)
        check_attention_scope(attention_scope)
        channels = encoder.patch_channels
        dims = channels if embed_dims is None else embed_dims
        if dims < 4 or dims % 4 or dims % num_heads or depth < 1:
            raise ValueError(
                f"PyramidDecoder: {dims} channels (embed_dims, or the encoder's) must be a "
                f"multiple of 4 and of num_heads {num_heads}, and depth {depth} at least 1"
            )
        self.embed_dims = dims
        self.project = nn.Identity() if dims == channels else nn.Linear(channels, dims)
        self.attention_scope: AttentionScope = attention_scope
        self.mask_token = nn.Parameter(torch.zeros(dims))
        self.ray_time = RayTimeEmbedding(dims) if attention_scope == "clip" else None
        blocks = [CrossAttentionBlock(dims, num_heads, mlp_ratio) for _ in range(depth)]
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(dims, eps=1e-6)
        self.stages = encoder.stages
        self.to_stages = nn.ModuleList(
            nn.Linear(dims, stage.channels * stage.positions_per_patch**2) for stage in self.stages
        )
        same = dims == channels or bool(self.stages)
        self.to_map = nn.Identity() if same else nn.Linear(dims, channels)
        self.apply(initialize)
        if attention_init == "mimetic":
            for block in blocks:
                keys_DD, values_DD = block.keys_values.weight.chunk(2)
                mimetic_(block.queries.weight, keys_DD, values_DD, block.proj.weight, num_heads)
        nn.init.normal_(self.mask_token, std=0.02)
        stages = self.stages or (Stage(channels=channels, positions_per_patch=1),)
        self.neck = _build_neck(neck, [stage.channels for stage in stages], bool(self.stages))
        self.levels = _levels_of(self.neck, stages)
        self.out_channels = sum(
            level.channels * level.positions_per_patch**2 for level in self.levels
        )

    def forward(self, features: MaskedFeatures, mask: PatchMask, clips: Clips) -> Tensor:
        """Gather the pyramid's features of each hidden patch.

        Args:
            features: features of the visible patches of every frame; X is B * T * N.
            mask: mask of every frame.
            clips: clips with calibration, poses, times and validity.

        Returns:
            (B, T, N, J, out_channels), the hidden patches in row-major order, padded where a frame
            hides fewer than J. Values in padding and invalid frames are finite but meaningless.

        Raises:
            ValueError: if every patch is hidden.
        """
        return self._vectors(features, mask, clips, mask.hidden)

    def all_patches(self, features: MaskedFeatures, mask: PatchMask, clips: Clips) -> Tensor:
        """Gather the pyramid's features of each patch: (B, T, N, L, out_channels).

        Arguments and errors are those of ``forward``.
        """
        return self._vectors(features, mask, clips, None)

    def _vectors(
        self, features: MaskedFeatures, mask: PatchMask, clips: Clips, chosen: PatchIndices | None
    ) -> Tensor:
        """Gather the pyramid's features of the chosen patches of every frame; None means all."""
        if mask.visible.length == 0:
            raise ValueError("every patch is hidden, so nothing can be predicted; lower the ratio")
        filled_XJD = self._fill(features.tokens_XKD, mask, clips)
        maps_XCHW = self._complete(features, mask, filled_XJD)
        vectors_XJF = self._pyramid(maps_XCHW, mask, chosen)
        return vectors_XJF.reshape(*clips.shape, *vectors_XJF.shape[1:])

    def _fill(self, tokens_XKD: Tensor, mask: PatchMask, clips: Clips) -> Tensor:
        """Predict tokens (X, J, D) of the hidden patches from visible ones of the frame or clip."""
        positions_XLD = self._positions(clips, mask.grid).expand(len(tokens_XKD), -1, -1)
        context = self.project(tokens_XKD) + gather_patches(positions_XLD, mask.visible)
        queries = self.mask_token + gather_patches(positions_XLD, mask.hidden)
        if self.attention_scope == "clip":
            B = len(clips)
            context, queries = (each.reshape(B, -1, self.embed_dims) for each in (context, queries))
        use = usable_keys(mask, len(clips), self.attention_scope)
        for block in self.blocks:
            queries = block(queries, context, use)
        out: Tensor = self.norm(queries)
        return out.reshape(len(tokens_XKD), mask.hidden.length, self.embed_dims)

    def _positions(self, clips: Clips, grid: tuple[int, int]) -> Tensor:
        """Embed the position, and in ``clip`` scope ray and time, of patches: (X or 1, L, D)."""
        token = self.mask_token
        positions_LD = grid_positions(grid, self.embed_dims, device=token.device, dtype=token.dtype)
        if self.ray_time is None:
            return positions_LD[None]
        embedding: Tensor = self.ray_time(clips, grid)
        return positions_LD + embedding.flatten(0, 2)

    def _complete(
        self, features: MaskedFeatures, mask: PatchMask, filled_XJD: Tensor
    ) -> list[Tensor]:
        """Return the backbone's maps with the hidden patches filled in."""
        if not self.stages:
            (h, w), filled_XJC = mask.grid, self.to_map(filled_XJD)
            map_XLC = filled_XJC.new_zeros(len(filled_XJC), h * w, filled_XJC.shape[2])
            map_XLC = scatter_patches(map_XLC, mask.visible, features.tokens_XKD)
            map_XLC = scatter_patches(map_XLC, mask.hidden, filled_XJC)
            return [unpatchify(map_XLC, mask.grid, 1)]
        completed = []
        stages = zip(self.stages, self.to_stages, features.maps_XCHW, strict=True)
        for stage, to_stage, map_XCHW in stages:
            patches_XLP = patchify(map_XCHW, stage.positions_per_patch)
            patches_XLP = scatter_patches(patches_XLP, mask.hidden, to_stage(filled_XJD))
            completed.append(unpatchify(patches_XLP, mask.grid, stage.positions_per_patch))
        return completed

    def _pyramid(
        self, maps_XCHW: list[Tensor], mask: PatchMask, chosen: PatchIndices | None
    ) -> Tensor:
        """Return vectors (X, J, F) of the chosen patches; the neck never sees an invalid frame.

        If there is no valid frame, the neck sees all frames, to keep every gradient defined, and
        its batch statistics do not change.
        """
        rows_V = mask.valid_rows
        if rows_V is not None:
            maps_XCHW = [each[rows_V] for each in maps_XCHW]
            chosen = None if chosen is None else chosen.select(rows_V)
        with nullcontext() if any(mask.valid) else KeepStatistics(self.neck):
            level_maps = self.neck(maps_XCHW)
        vectors = [
            level.patch_vectors(level_map, mask.grid)
            for level_map, level in zip(level_maps, self.levels, strict=True)
        ]
        if chosen is not None:
            vectors = [gather_patches(each, chosen) for each in vectors]
        vectors_VJF = torch.cat(vectors, dim=2)
        if rows_V is None:
            return vectors_VJF
        return scatter_rows(vectors_VJF, rows_V, len(mask.valid))


def _build_neck(neck: Mapping[str, Any], channels: list[int], takes_list: bool) -> nn.Module:
    """Build a neck for the encoder's maps.

    Args:
        neck: config of the neck.
        channels: channels of each of the encoder's maps.
        takes_list: whether the neck's ``in_channels`` is a list, not one number.

    Raises:
        ValueError: if the config has an ``in_channels`` that differs from the encoder's.
    """
    expected: list[int] | int = channels if takes_list else channels[0]
    in_channels = neck.get("in_channels", expected)
    if (list(in_channels) if isinstance(in_channels, (list, tuple)) else in_channels) != expected:
        raise ValueError(
            f"PyramidDecoder: neck.in_channels={in_channels}, but the encoder's maps have "
            f"{expected} channels; leave neck.in_channels out"
        )
    cls = MODELS.get(neck["type"])
    takes_channels = cls is not None and "in_channels" in inspect.signature(cls).parameters
    defaults = {"in_channels": expected} if takes_channels else {}
    module: nn.Module = MODELS.build({**defaults, **neck})
    return module


@torch.no_grad()
def _levels_of(neck: nn.Module, stages: Sequence[Stage]) -> tuple[Level, ...]:
    """Find the shapes of a neck's levels by running it on maps of zeros.

    Raises:
        ValueError: if a level's resolution is not 2^-3 to 2^3 times that of the patches.
    """
    was_training = neck.training
    maps = [
        torch.zeros(
            1,
            stage.channels,
            _TRIAL_GRID * stage.positions_per_patch,
            _TRIAL_GRID * stage.positions_per_patch,
        )
        for stage in stages
    ]
    outputs = neck.eval()(maps)
    neck.train(was_training)
    levels = []
    for output in outputs:
        scale = output.shape[2] / _TRIAL_GRID
        if scale not in _SCALES:
            allowed = ", ".join(f"{each:g}" for each in _SCALES)
            raise ValueError(
                f"{type(neck).__name__} makes a level of {scale:.3g} times the patches' "
                f"resolution; the decoder takes levels of {allowed} times it"
            )
        levels.append(
            Level(
                channels=output.shape[1],
                positions_per_patch=round(max(scale, 1)),
                patches_per_position=round(max(1 / scale, 1)),
            )
        )
    return tuple(levels)
