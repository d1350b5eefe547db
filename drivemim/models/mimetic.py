"""Attention that begins where trained attention ends up: tokens look at those that are like them.

Queries and keys whose product is near the identity make tokens attend to tokens of similar content
and, since positions are added to the tokens, to near ones. From there a transformer learns to use
its neighbours within tens of iterations, where random attention, nearly uniform, takes thousands.

Paper: https://arxiv.org/abs/2305.09828 (mimetic initialisation).
"""

from __future__ import annotations

from math import sqrt
from typing import Literal

import torch
from torch import Tensor

AttentionInit = Literal["xavier", "mimetic"]
_ALIKE, _ALIKE_NOISE = 0.7, 0.7
_MIXED, _MIXED_NOISE = -0.4, 0.4


def check_attention_init(attention_init: str) -> None:
    """Raise ``ValueError`` unless the name is one of ``AttentionInit``."""
    if attention_init not in ("xavier", "mimetic"):
        raise ValueError(f"attention_init={attention_init!r} must be 'xavier' or 'mimetic'")


@torch.no_grad()
def mimetic_(
    queries_DD: Tensor, keys_DD: Tensor, values_DD: Tensor, projection_DD: Tensor, heads: int
) -> None:
    """Fill the weights of an attention layer in place.

    The paper's numbers for a ViT: in each head the product of queries and keys is the identity and
    noise in equal parts, as near as a head's rank allows; values and projection multiply to a small
    negative identity and noise.

    Args:
        queries_DD: weight of the queries, output channels first, as ``nn.Linear`` has it.
        keys_DD: of the keys.
        values_DD: of the values.
        projection_DD: of the layer after the heads.
        heads: number of heads, a divisor of D.
    """
    D = len(queries_DD)
    for queries, keys in zip(queries_DD.chunk(heads), keys_DD.chunk(heads), strict=True):
        left, right = _factors(_near_identity(D, _ALIKE, _ALIKE_NOISE), rank=D // heads)
        queries.copy_(left.T)
        keys.copy_(right)
    left, right = _factors(_near_identity(D, _MIXED, _MIXED_NOISE), rank=D)
    values_DD.copy_(right)
    projection_DD.copy_(left)


def _near_identity(dims: int, diagonal: float, noise: float) -> Tensor:
    """The identity times ``diagonal``, and noise whose rows have the length ``noise``."""
    return noise / sqrt(dims) * torch.randn(dims, dims) + diagonal * torch.eye(dims)


def _factors(matrix: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """The two factors, of equal size, whose product is nearest to a matrix."""
    left, values, right = torch.linalg.svd(matrix)
    roots = values[:rank].sqrt()
    return left[:, :rank] * roots, roots[:, None] * right[:rank]
