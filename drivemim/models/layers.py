"""Parts shared by the encoders and the decoders.

Letters: Q queries, S keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager

import torch
from mmengine import dist
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name all of PyTorch's users know

from drivemim.compat import BatchNorm


def initialize(module: nn.Module) -> None:
    """Set linear weights to Xavier-uniform and biases to zero; for ``nn.Module.apply``."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def attend(
    queries_BQD: Tensor, keys_BSD: Tensor, values_BSD: Tensor, heads: int, use_BS: Tensor | None
) -> Tensor:
    """Apply multi-head attention: (B, Q, D).

    Args:
        queries_BQD: queries.
        keys_BSD: keys.
        values_BSD: values.
        heads: number of heads, a divisor of D.
        use_BS: bool, False excludes a key for all queries of its row; None uses all keys.
    """

    def split(tokens: Tensor) -> Tensor:
        B, S, D = tokens.shape
        return tokens.reshape(B, S, heads, D // heads).transpose(1, 2)

    mask = None if use_BS is None else use_BS[:, None, None, :]
    mixed = F.scaled_dot_product_attention(
        split(queries_BQD), split(keys_BSD), split(values_BSD), attn_mask=mask
    )
    return mixed.transpose(1, 2).flatten(2)


def grid_positions(
    grid: tuple[int, int],
    dims: int,
    *,
    device: torch.device,
    dtype: torch.dtype,
    spacing: tuple[float, float] = (1.0, 1.0),
) -> Tensor:
    """Return a fixed sine-cosine embedding of each patch's column and row, from the top left.

    The first half of the channels encodes the column, the second the row (like in the position
    embedding of MAE, https://arxiv.org/abs/2111.06377). There is an embedding for every size of the
    grid, and a patch keeps its embedding if the image grows to the right or downwards.

    Args:
        grid: rows and columns.
        dims: channels, a multiple of 4.
        device: device of the result.
        dtype: dtype of the result.
        spacing: height and width of this grid's patches, in units of a reference grid's patches. A
            coarse grid over the same image thus gets the positions of its patches' centres in the
            reference grid.

    Returns:
        (L, dims).
    """
    (h, w), octaves = grid, dims // 4
    steps = torch.arange(octaves, device=device, dtype=torch.float32) / octaves
    frequencies = 10000.0**-steps

    def encode(length: int, size: float) -> Tensor:
        position = torch.arange(length, device=device, dtype=torch.float32)
        position = (position + 0.5) * size - 0.5
        phase = position[:, None] * frequencies
        return torch.cat([phase.sin(), phase.cos()], dim=1)

    columns = encode(w, spacing[1])[None].expand(h, -1, -1)
    rows = encode(h, spacing[0])[:, None].expand(-1, w, -1)
    return torch.cat([columns, rows], dim=2).reshape(h * w, dims).to(dtype)


@torch.no_grad()
def update_average(average: nn.Module, module: nn.Module, updates: Tensor, momentum: float) -> None:
    """Update a copy of a module to the exponential moving average of its weights, in place.

    The first update copies the module. Buffers, such as batch statistics, are always copied. With
    several processes, each of which has statistics of its own, all take those of rank 0: they are
    the ones that checkpoints have.

    Args:
        average: a module with the same parameters and buffers.
        module: module under training.
        updates: int64 scalar, number of updates so far; increased by one.
        momentum: weight of the old average, in [0, 1).
    """
    new_weight = torch.where(updates == 0, 1.0, 1.0 - momentum)
    parameters = dict(module.named_parameters())
    for name, parameter in average.named_parameters():
        parameter.lerp_(parameters[name], new_weight.to(parameter.dtype))
    buffers = dict(module.named_buffers())
    for name, buffer in average.named_buffers():
        buffer.copy_(buffers[name])
    _take_from_rank_zero([each for each in average.buffers() if each.is_floating_point()])
    updates += 1


def _take_from_rank_zero(tensors: Sequence[Tensor]) -> None:
    """Set tensors to those of rank 0, in place; one exchange for all."""
    if not tensors or not dist.is_distributed():
        return
    joined = torch.cat([each.flatten().float() for each in tensors])
    dist.broadcast(joined, src=0)
    parts = torch.split(joined, [each.numel() for each in tensors])
    for tensor, values in zip(tensors, parts, strict=True):
        tensor.copy_(values.reshape(tensor.shape))


class DropPath(nn.Module):
    """Drop a residual branch for a random part of the batch (stochastic depth).

    Paper: https://arxiv.org/abs/1603.09382.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, branch_BKD: Tensor) -> Tensor:
        """Drop the branch of random rows, and scale the others to keep the expectation."""
        if not self.training or self.rate == 0.0:
            return branch_BKD
        keep = 1.0 - self.rate
        kept_B11 = torch.rand(len(branch_BKD), 1, 1, device=branch_BKD.device) < keep
        return branch_BKD * (kept_B11 / keep).to(branch_BKD.dtype)


class MLP(nn.Module):
    """Two linear layers with a GELU between them."""

    def __init__(self, dims: int, hidden_dims: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dims, hidden_dims)
        self.fc2 = nn.Linear(hidden_dims, dims)

    def forward(self, tokens: Tensor) -> Tensor:
        """Apply the MLP; input and output have the same shape."""
        out: Tensor = self.fc2(F.gelu(self.fc1(tokens)))
        return out


class SelfAttention(nn.Module):
    """Self-attention between all tokens of each row of the batch."""

    def __init__(self, dims: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dims, 3 * dims)
        self.proj = nn.Linear(dims, dims)

    def forward(self, tokens_BKD: Tensor) -> Tensor:
        """Apply self-attention; input and output have the same shape."""
        queries, keys, values = self.qkv(tokens_BKD).chunk(3, dim=-1)
        out: Tensor = self.proj(attend(queries, keys, values, self.heads, None))
        return out


class Block(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, dims: int, heads: int, mlp_ratio: float, drop_path_rate: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dims, eps=1e-6)
        self.attn = SelfAttention(dims, heads)
        self.norm2 = nn.LayerNorm(dims, eps=1e-6)
        self.mlp = MLP(dims, int(dims * mlp_ratio))
        self.drop_path = DropPath(drop_path_rate)

    def forward(self, tokens_BKD: Tensor) -> Tensor:
        """Apply the block; input and output have the same shape."""
        tokens_BKD = tokens_BKD + self.drop_path(self.attn(self.norm1(tokens_BKD)))
        out: Tensor = tokens_BKD + self.drop_path(self.mlp(self.norm2(tokens_BKD)))
        return out


class KeepStatistics(AbstractContextManager[None]):
    """Keep the running statistics of batch normalisation unchanged inside this context.

    The layers update temporary copies. Otherwise they run like outside of the context, so autograd
    saves the same tensors. The context may be entered again, for a second backward pass.

    Args:
        module: module whose batch normalisation layers, itself included, keep their statistics.
    """

    def __init__(self, module: nn.Module) -> None:
        self._norms = [layer for layer in module.modules() if isinstance(layer, BatchNorm)]
        self._kept: list[tuple[nn.Module, str, Tensor]] = []

    def __enter__(self) -> None:
        """Replace the running statistics by copies."""
        for norm in self._norms:
            self._kept += [(norm, *item) for item in norm.named_buffers(recurse=False)]
        for layer, name, buffer in self._kept:
            setattr(layer, name, buffer.clone())

    def __exit__(self, *_: object) -> None:
        """Restore the original statistics."""
        while self._kept:
            setattr(*self._kept.pop())
