"""A light transformer that fills in hidden cells from the visible cells of the whole clip.

Every token carries where its cell looks from and to, in metres of one frame of reference, and
when; so what another camera saw, or the same one half a second earlier, can be found. Only visible
cells are looked at: a hidden cell's token holds nothing that they do not.
"""

from __future__ import annotations

from math import pi
from typing import Literal

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from drivemim.clips import Clips
from drivemim.geometry.rays import cell_rays
from drivemim.models.cells import ChosenCells, choose_cells, take_cells
from drivemim.models.layers import MLP, attend, grid_positions, initialize
from drivemim.models.mimetic import AttentionInit, check_attention_init, mimetic_
from drivemim.registry import MODELS

LONGEST_METRES = 64.0
LONGEST_DIRECTION = 4.0
LONGEST_SECONDS = 16.0
OCTAVES = 7


class GeometryEmbedding(nn.Module):
    """Fourier features of origin (metres), direction and time (seconds), then a linear map.

    Each quantity has ``OCTAVES`` wavelengths, from the longest given above downwards by halves.
    """

    longest_7: Tensor
    frequencies: Tensor

    def __init__(self, dims: int) -> None:
        super().__init__()
        longest = [LONGEST_METRES] * 3 + [LONGEST_DIRECTION] * 3 + [LONGEST_SECONDS]
        self.register_buffer("longest_7", torch.tensor(longest), persistent=False)
        frequencies = torch.tensor([2 * pi * 2.0**octave for octave in range(OCTAVES)])
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.linear = nn.Linear(7 * (1 + 2 * OCTAVES), dims)

    def forward(self, clips: Clips, grid: tuple[int, int]) -> Tensor:
        """Embedding of every cell, (B, T, N, L, D)."""
        (B, T, N), (h, w) = clips.shape, grid
        # Camera matrices hold thousands of pixels: half precision would bend the rays.
        with torch.autocast(clips.images_BTNHWC.device.type, enabled=False):
            rays_BTNhw6 = cell_rays(
                clips.intrinsics_BTN33.float(),
                clips.camera_to_clip_BTN44.float(),
                grid,
                clips.image_size,
            )
            seconds_BTN = seconds_since_first(clips.timestamps_BTN, clips.valid_BTN)
            seconds_BTNL1 = seconds_BTN[..., None, None].expand(-1, -1, -1, h * w, -1)
            values = torch.cat([rays_BTNhw6.reshape(B, T, N, h * w, 6), seconds_BTNL1], dim=-1)
            values = values / self.longest_7
            phases = (values[..., None] * self.frequencies).flatten(-2)
            features = torch.cat([values, phases.sin(), phases.cos()], dim=-1)
        out: Tensor = self.linear(features.to(self.linear.weight.dtype))
        return out


def seconds_since_first(timestamps_BTN: Tensor, valid_BTN: Tensor) -> Tensor:
    """Float seconds since each clip's first valid frame; 0 for invalid frames."""
    latest = torch.iinfo(torch.int64).max
    first_B = timestamps_BTN.masked_fill(~valid_BTN, latest).flatten(1).amin(dim=1)
    elapsed_BTN = (timestamps_BTN - first_B[:, None, None]).masked_fill(~valid_BTN, 0)
    return elapsed_BTN.float() * 1e-6


class DecoderBlock(nn.Module):
    """Pre-norm transformer block whose tokens look at the visible ones only."""

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
            tokens_BSD: ``visible`` tokens of visible cells, then those of hidden cells.
            visible: V, how many tokens are of visible cells.
            use_BV: bool, False = ignore this visible token; None uses all.
            hidden_only: update, and return, only the hidden cells' tokens.
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
    """Predict features of the hidden cells.

    Args:
        in_channels: D of the encoder's cells.
        embed_dims: channels of the decoder, a multiple of 4 and of ``num_heads``.
        depth: number of blocks, at least 1.
        num_heads: attention heads.
        mlp_ratio: hidden channels of a block's MLP, in multiples of ``embed_dims``.
        attend: ``clip`` looks at the visible cells of all times and cameras, ``frame`` at those
            of the cell's own image only, as a masked autoencoder for single images does.
        attention_init: ``mimetic`` finds neighbours sooner, see ``drivemim.models.mimetic``.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        embed_dims: int = 512,
        depth: int = 4,
        num_heads: int = 8,
        mlp_ratio: float = 4.0,
        attend: Literal["clip", "frame"] = "clip",
        attention_init: AttentionInit = "xavier",
    ) -> None:
        super().__init__()
        check_attention_init(attention_init)
        if attend not in ("clip", "frame"):
            raise ValueError(f"ClipDecoder attend={attend!r} must be 'clip' or 'frame'")
        if embed_dims % 4 or embed_dims % num_heads or depth < 1:
            raise ValueError(
                f"ClipDecoder embed_dims {embed_dims} must be a multiple of 4 and of num_heads "
                f"{num_heads}, and depth {depth} at least 1"
            )
        self.embed_dims = embed_dims
        self.attend = attend
        self.project = nn.Linear(in_channels, embed_dims)
        self.mask_token = nn.Parameter(torch.zeros(embed_dims))
        self.geometry = GeometryEmbedding(embed_dims)
        blocks = [DecoderBlock(embed_dims, num_heads, mlp_ratio) for _ in range(depth)]
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(embed_dims, eps=1e-6)
        self.apply(initialize)
        if attention_init == "mimetic":
            for block in blocks:
                keys_DD, values_DD = block.keys_values.weight.chunk(2)
                mimetic_(block.queries.weight, keys_DD, values_DD, block.proj.weight, num_heads)
        nn.init.normal_(self.mask_token, std=0.02)

    def forward(self, visible_BTNKD: Tensor, mask_BTNhw: Tensor, clips: Clips) -> Tensor:
        """Features of hidden cells.

        Args:
            visible_BTNKD: the encoder's features of the visible cells, row-major, padded where a
                frame shows fewer than K.
            mask_BTNhw: bool, True = hidden.
            clips: gives calibration, poses, times and validity.

        Returns:
            (B, T, N, J, embed_dims), the hidden cells in row-major order, padded where a frame
            hides fewer than J. Padding and what is in invalid frames is finite and means nothing.
        """
        B, T, N, h, w = mask_BTNhw.shape
        K, X = visible_BTNKD.shape[3], B * T * N
        if K == 0:
            raise ValueError("every cell is hidden, so nothing can be predicted; lower the ratio")
        visible = choose_cells(~mask_BTNhw.reshape(X, h, w))
        hidden = choose_cells(mask_BTNhw.reshape(X, h, w))
        places_XLD = self._places(clips, (h, w)).reshape(X, h * w, self.embed_dims)
        seen = self.project(visible_BTNKD).reshape(X, K, -1) + take_cells(places_XLD, visible)
        asked = self.mask_token + take_cells(places_XLD, hidden)
        groups = B if self.attend == "clip" else X
        # How many of a group's tokens: the frames that are looked at together, times the cells.
        V, Q = X // groups * K, X // groups * hidden.most
        seen = seen.reshape(groups, V, self.embed_dims)
        tokens = torch.cat([seen, asked.reshape(groups, Q, self.embed_dims)], dim=1)
        use = self._usable(clips.valid_BTN, visible, groups)
        for index, block in enumerate(self.blocks):
            is_last = index == len(self.blocks) - 1
            tokens = block(tokens, V, use, hidden_only=is_last)
        out: Tensor = self.norm(tokens)
        return out.reshape(B, T, N, hidden.most, self.embed_dims)

    def _places(self, clips: Clips, grid: tuple[int, int]) -> Tensor:
        """Where and when each cell is: (B, T, N, L, D)."""
        token = self.mask_token
        positions = grid_positions(grid, self.embed_dims, device=token.device, dtype=token.dtype)
        places: Tensor = self.geometry(clips, grid) + positions
        return places

    def _usable(self, valid_BTN: Tensor, visible: ChosenCells, groups: int) -> Tensor | None:
        """Which visible tokens of each group may be looked at; None if all may.

        A group without a single one looks at all of its tokens, since attention to nothing is not
        a number in some of PyTorch's kernels; what comes of it is not meant to be used.
        """
        valid_X1 = valid_BTN.reshape(-1, 1)
        # A frame that looks at itself alone is valid, or nothing reads what it sees.
        all_valid = self.attend == "frame" or bool(valid_BTN.all())
        if visible.present_XK is None:
            if all_valid:
                return None
            use_XK = valid_X1.expand(-1, visible.most)
        else:
            use_XK = visible.present_XK if all_valid else visible.present_XK & valid_X1
        use_GV = use_XK.reshape(groups, -1)
        return use_GV | ~use_GV.any(dim=1, keepdim=True)
