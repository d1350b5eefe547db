"""Plain vision transformer that drops hidden patches.

Papers: https://arxiv.org/abs/2010.11929 (ViT), https://arxiv.org/abs/2111.06377 (MAE: dropping
hidden tokens), https://arxiv.org/abs/2203.16527 (plain ViT as a detector's backbone). Parameters
have the usual names (``patch_embed.proj``, ``blocks.0.attn.qkv``, ..., ``norm``, and ``pos_embed``
if positions are learned). There is no class token.

Letters: P numbers of a patch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name all of PyTorch's users know
from torch.utils.checkpoint import checkpoint

from drivemim.clips import patch_grid
from drivemim.errors import ConfigError
from drivemim.models.encoders.masked_encoder import MaskedFeatures, Stage
from drivemim.models.encoders.windows import WindowBlock, Windows
from drivemim.models.layers import Block, grid_positions, initialize
from drivemim.models.mimetic import AttentionInit, check_attention_init, mimetic_
from drivemim.models.patches import PatchMask, gather_patches, patchify
from drivemim.registry import MODELS

SIZES = {
    "micro": (128, 6, 4),
    "tiny": (192, 12, 3),
    "small": (384, 12, 6),
    "base": (768, 12, 12),
    "large": (1024, 24, 16),
}
"""``embed_dims``, ``depth`` and ``num_heads`` of each ``arch``."""


class PatchEmbed(nn.Module):
    """Linear layer from a patch's pixels to a token, stored as a convolution."""

    def __init__(self, patch_size: int, channels: int, dims: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, dims, patch_size, stride=patch_size)
        nn.init.xavier_uniform_(self.proj.weight.view(dims, -1))
        assert self.proj.bias is not None
        nn.init.zeros_(self.proj.bias)

    def forward(self, patches_BKP: Tensor) -> Tensor:
        """Embed patches: (B, K, P) to (B, K, D)."""
        return F.linear(patches_BKP, self.proj.weight.flatten(1), self.proj.bias)


@MODELS.register_module()
class ViT(BaseModule):
    """Vision transformer: a pretraining encoder and an MMDetection backbone.

    The sides of an image may be any multiples of ``patch_size``. Positions are counted in patches,
    so a detector may use larger images than pretraining. A detector should set ``window_size``,
    because the cost of attention over all patches is quadratic in their number. Weights are the
    same with and without windows.

    Args:
        arch: ``micro`` (1.3 M parameters, for a CPU), ``tiny``, ``small``, ``base`` or ``large``:
            the defaults of embed_dims, depth and num_heads.
        embed_dims: D, a multiple of 4 and of ``num_heads``.
        depth: number of blocks.
        num_heads: attention heads.
        patch_size: side of a patch, pixels.
        in_channels: C of the images.
        mlp_ratio: hidden channels of a block's MLP, in multiples of D.
        drop_path_rate: stochastic depth rate of the last block; grows linearly from 0 at the first.
        out_indices: blocks whose maps ``forward`` returns; negative counts from the last.
        final_norm: normalise the last block's output.
        position: ``sincos``: fixed and counted in patches, like in MAE; ``learned``: one embedding
            per patch of ``position_grid``, interpolated bicubically to the grid of any other
            image, like in timm and DINO.
        position_grid: rows and columns of learned positions.
        attention_init: initialisation of attention weights: ``mimetic`` helps a short pretraining
            to attend to neighbours, see ``drivemim.models.mimetic``.
        window_size: largest side of a window in patches: all blocks except ``global_blocks`` attend
            within windows. None lets every block attend to the whole image, like in
            pretraining.
        global_blocks: number of blocks that attend to the whole image despite windows: evenly
            spaced, the last block included.
        frozen_stages: parts that are not trained, like in MMDetection's ResNet: -1 nothing, 0 the
            embedding, n also the first n blocks, ``depth`` everything. Frozen blocks have no
            stochastic depth.
        with_cp: trade time for memory by recomputing blocks in the backward pass.
        init_cfg: see MMEngine; for example a checkpoint to load.

    Raises:
        ValueError: if a name is unknown, an argument is out of range, or sizes do not fit together.
    """

    def __init__(
        self,
        *,
        arch: str | None = None,
        embed_dims: int | None = None,
        depth: int | None = None,
        num_heads: int | None = None,
        patch_size: int = 16,
        in_channels: int = 3,
        mlp_ratio: float = 4.0,
        drop_path_rate: float = 0.0,
        out_indices: Sequence[int] = (-1,),
        final_norm: bool = True,
        position: Literal["sincos", "learned"] = "sincos",
        position_grid: Sequence[int] = (14, 14),
        attention_init: AttentionInit = "xavier",
        window_size: int | None = None,
        global_blocks: int = 4,
        frozen_stages: int = -1,
        with_cp: bool = False,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        check_attention_init(attention_init)
        if not 0 <= drop_path_rate < 1:
            raise ValueError(f"drop_path_rate={drop_path_rate} must be in [0, 1)")
        dims, depth, heads = _sizes(arch, embed_dims, depth, num_heads)
        self.embed_dims = self.patch_channels = dims
        self.num_heads = heads
        self.patch_size = self.mask_patch_size = patch_size
        self.stages: tuple[Stage, ...] = ()
        self.out_indices = _positive_indices(out_indices, depth)
        self.window_size = window_size
        windowed = _windowed_blocks(window_size, global_blocks, depth)
        self.with_cp = with_cp
        self.patch_embed = PatchEmbed(patch_size, in_channels, dims)
        last = max(depth - 1, 1)
        blocks = [
            (WindowBlock if index in windowed else Block)(
                dims, heads, mlp_ratio, drop_path_rate * index / last
            )
            for index in range(depth)
        ]
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(dims, eps=1e-6) if final_norm else nn.Identity()
        self.position_grid = _position_grid(position, position_grid)
        if self.position_grid is not None:
            # Learned positions are initialised with the fixed ones.
            self.pos_embed = nn.Parameter(self._fixed_positions(self.position_grid)[None])
        self.blocks.apply(initialize)
        if attention_init == "mimetic":
            for block in blocks:
                queries_DD, keys_DD, values_DD = block.attn.qkv.weight.chunk(3)
                mimetic_(queries_DD, keys_DD, values_DD, block.attn.proj.weight, heads)
        if not -1 <= frozen_stages <= depth:
            raise ValueError(f"frozen_stages {frozen_stages} must be -1 to {depth}")
        self.frozen_stages = frozen_stages
        self._freeze()

    def _freeze(self) -> None:
        """Disable the gradients of the parts that ``frozen_stages`` selects."""
        if self.frozen_stages == len(self.blocks):
            self.requires_grad_(False)
        if self.frozen_stages >= 0:
            self.patch_embed.requires_grad_(False)
            if self.position_grid is not None:
                self.pos_embed.requires_grad_(False)
            self.blocks[: self.frozen_stages].requires_grad_(False)

    def train(self, mode: bool = True) -> ViT:
        """Set training or evaluation mode; frozen blocks stay in evaluation mode."""
        super().train(mode)
        self.blocks[: max(self.frozen_stages, 0)].eval()
        return self

    @contextmanager
    def full_attention(self) -> Iterator[None]:
        """Let every block attend to the whole image, like in pretraining.

        Inside this context, the features do not depend on the window size. If a detector then has
        the features of pretraining, its weights and its normalisation are the right ones.
        """
        size, self.window_size = self.window_size, None
        try:
            yield
        finally:
            self.window_size = size

    @property
    def backbone(self) -> ViT:
        """The encoder itself."""
        return self

    @property
    def num_layers(self) -> int:
        """Number of layers for layer-wise learning rate decay: embedding, blocks, final norm."""
        return len(self.blocks) + 2

    def layer_of(self, parameter_name: str) -> int:
        """Return a parameter's layer, 0 (the embedding) to ``num_layers - 1`` (the final norm).

        Args:
            parameter_name: name as in ``named_parameters`` of this module.

        Raises:
            ValueError: if no parameter of this module can have that name.
        """
        part, *rest = parameter_name.split(".")
        if part in ("patch_embed", "pos_embed"):
            return 0
        if part == "blocks":
            return int(rest[0]) + 1
        if part == "norm":
            return self.num_layers - 1
        raise ValueError(
            f"{parameter_name!r} is not a parameter of ViT; names start with patch_embed, "
            "pos_embed, blocks or norm (give the name without the prefix of the surrounding model)"
        )

    def forward(self, images_BCHW: Tensor) -> tuple[Tensor, ...]:
        """Encode whole images.

        Args:
            images_BCHW: float, normalised.

        Returns:
            One map (B, D, h, w) per index of ``out_indices``.
        """
        h, w = patch_grid((images_BCHW.shape[2], images_BCHW.shape[3]), self.patch_size)
        tokens_BLD = self.patch_embed(patchify(images_BCHW, self.patch_size))
        tokens_BLD = tokens_BLD + self._positions((h, w))
        windows = self._windows((h, w))
        maps = []
        for index, block in enumerate(self.blocks[: self.out_indices[-1] + 1]):
            tokens_BLD = self._run(block, tokens_BLD, windows)
            if index in self.out_indices:
                is_last = index == len(self.blocks) - 1
                out_BLD = self.norm(tokens_BLD) if is_last else tokens_BLD
                maps.append(out_BLD.transpose(1, 2).unflatten(2, (h, w)).contiguous())
        return tuple(maps)

    def forward_masked(self, images_XCHW: Tensor, mask: PatchMask) -> MaskedFeatures:
        """Encode only the visible patches; hidden ones cost nothing.

        Args:
            images_XCHW: float, normalised.
            mask: mask of these images.

        Returns:
            Tokens without maps; padding is zero.

        Raises:
            ConfigError: if ``window_size`` is set: the visible patches alone do not form windows.
        """
        if self.window_size is not None:
            raise ConfigError(
                f"ViT has window_size={self.window_size}, which is for detectors; leave it out of "
                "the encoder that is pretrained (the weights fit a detector with windows)"
            )
        grid = patch_grid((images_XCHW.shape[2], images_XCHW.shape[3]), self.patch_size)
        assert (len(images_XCHW), grid) == (len(mask.mask_Xhw), mask.grid), (grid, mask.grid)
        visible = mask.visible
        patches_XKP = gather_patches(patchify(images_XCHW, self.patch_size), visible)
        positions_XKD = self._positions(grid)[visible.indices_XK]
        tokens_XKD: Tensor = self.patch_embed(patches_XKP) + positions_XKD
        if visible.present_XK is None:
            return MaskedFeatures(tokens_XKD=self._encode(tokens_XKD))
        # Images with equally many visible patches are encoded together, without padding.
        out_XKD = tokens_XKD.new_zeros(tokens_XKD.shape)
        for count, rows_V in mask.rows_by_num_visible():
            if count > 0:
                encoded_VKD = self._encode(tokens_XKD[rows_V, :count])
                out_XKD = out_XKD.to(encoded_VKD.dtype)
                out_XKD[rows_V, :count] = encoded_VKD
        return MaskedFeatures(tokens_XKD=out_XKD)

    def _encode(self, tokens_BKD: Tensor) -> Tensor:
        for block in self.blocks:
            tokens_BKD = self._run(block, tokens_BKD)
        out: Tensor = self.norm(tokens_BKD)
        return out

    def _positions(self, grid: tuple[int, int]) -> Tensor:
        """Return the position embeddings (L, D) of the patches in row-major order."""
        if self.position_grid is None:
            return self._fixed_positions(grid)
        if grid == self.position_grid:
            return self.pos_embed[0]
        map_1Dhw = self.pos_embed.transpose(1, 2).reshape(1, -1, *self.position_grid)
        resized_1Dhw = F.interpolate(map_1Dhw, size=grid, mode="bicubic", align_corners=False)
        return resized_1Dhw[0].flatten(1).T

    def _fixed_positions(self, grid: tuple[int, int]) -> Tensor:
        weight = self.patch_embed.proj.weight
        return grid_positions(grid, self.embed_dims, device=weight.device, dtype=weight.dtype)

    def _windows(self, grid: tuple[int, int]) -> Windows | None:
        """Return the windows of an image's grid; None for attention to the whole image."""
        if self.window_size is None or max(grid) <= self.window_size:
            return None
        return Windows(grid, self.window_size, self.patch_embed.proj.weight.device)

    def _run(self, block: nn.Module, tokens_BKD: Tensor, windows: Windows | None = None) -> Tensor:
        """Run a block, in training with recomputation if ``with_cp`` is set."""
        inputs = (tokens_BKD, windows) if isinstance(block, WindowBlock) else (tokens_BKD,)
        out: Tensor
        if self.with_cp and self.training and tokens_BKD.requires_grad:
            out = checkpoint(block, *inputs, use_reentrant=False)
        else:
            out = block(*inputs)
        return out


def _sizes(
    arch: str | None, embed_dims: int | None, depth: int | None, num_heads: int | None
) -> tuple[int, int, int]:
    """Resolve embed_dims, depth and num_heads.

    Raises:
        ValueError: if a number is missing, the name is unknown, or the numbers do not fit together.
    """
    if arch is not None and arch not in SIZES:
        raise ValueError(f"unknown ViT arch {arch!r}; choose one of {', '.join(SIZES)}")
    defaults = SIZES[arch] if arch is not None else (None, None, None)
    given = zip((embed_dims, depth, num_heads), defaults, strict=True)
    chosen = [default if value is None else value for value, default in given]
    dims, blocks, heads = chosen
    if dims is None or blocks is None or heads is None:
        raise ValueError(
            f"ViT needs arch, or all of embed_dims, depth and num_heads; got embed_dims={dims}, "
            f"depth={blocks}, num_heads={heads}"
        )
    if dims % 4 or dims % heads:
        raise ValueError(
            f"embed_dims {dims} must be a multiple of 4 (sine-cosine positions) and of num_heads "
            f"{heads}"
        )
    return dims, blocks, heads


def _position_grid(position: str, grid: Sequence[int]) -> tuple[int, int] | None:
    """Return the rows and columns of learned positions; None for fixed ones.

    Raises:
        ValueError: if ``position`` is unknown, or the grid has no patches.
    """
    if position not in ("sincos", "learned"):
        raise ValueError(f"unknown position {position!r}; choose 'sincos' or 'learned'")
    if len(grid) != 2 or min(grid) < 1:
        raise ValueError(f"position_grid {tuple(grid)} must be rows and columns, e.g. (14, 14)")
    return (int(grid[0]), int(grid[1])) if position == "learned" else None


def _positive_indices(out_indices: Sequence[int], depth: int) -> tuple[int, ...]:
    """Convert block indices to non-negative ones in ascending order.

    Raises:
        ValueError: if an index is out of range, or there are none.
    """
    wrong = [index for index in out_indices if not -depth <= index < depth]
    if wrong or not out_indices:
        raise ValueError(f"out_indices {tuple(out_indices)} must be blocks of a depth-{depth} ViT")
    return tuple(sorted({index % depth for index in out_indices}))


def _windowed_blocks(window_size: int | None, global_blocks: int, depth: int) -> set[int]:
    """Return the indices of blocks with windows.

    Blocks are split into ``global_blocks`` equal parts; all but the last of each part have windows.

    Raises:
        ValueError: if the window is empty, or ``global_blocks`` is not 1 to ``depth``.
    """
    if window_size is None:
        return set()
    if window_size < 1:
        raise ValueError(f"window_size {window_size} must be at least one patch")
    if not 1 <= global_blocks <= depth:
        raise ValueError(
            f"global_blocks {global_blocks} must be 1 to {depth}, the number of blocks: without "
            "one, windows would never learn of each other"
        )
    without_windows = {(part + 1) * depth // global_blocks - 1 for part in range(global_blocks)}
    return set(range(depth)) - without_windows
