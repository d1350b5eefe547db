"""Mimetic initialisation: attention starts similar to trained attention.

If the product of queries and keys is near the identity, tokens attend to tokens of similar content
and, because positions are added to the tokens, to near ones. A transformer then learns to use its
neighbours within tens of iterations. Random attention, which is nearly uniform, needs thousands.

Paper: https://arxiv.org/abs/2305.09828 (mimetic initialisation).
"""

from __future__ import annotations

from math import sqrt
from typing import Literal

import torch
from torch import Tensor

AttentionInit = Literal["xavier", "mimetic"]
# The paper's numbers for a ViT: factors of the identity and of the noise in the product of queries
# and keys, and in the product of values and projection.
_QUERY_KEY_IDENTITY, _QUERY_KEY_NOISE = 0.7, 0.7
_VALUE_PROJECTION_IDENTITY, _VALUE_PROJECTION_NOISE = -0.4, 0.4


def check_attention_init(attention_init: str) -> None:
    """Raise ``ValueError`` unless the name is one of ``AttentionInit``."""
    if attention_init not in ("xavier", "mimetic"):
        raise ValueError(f"attention_init={attention_init!r} must be 'xavier' or 'mimetic'")


@torch.no_grad()
def mimetic_(
    queries_DD: Tensor, keys_DD: Tensor, values_DD: Tensor, projection_DD: Tensor, heads: int
) -> None:
    """Initialise the weights of an attention layer in place.

    In each head, the product of queries and keys is the identity and noise in equal parts, as
    closely as a head's rank allows. The product of values and projection is a small negative
    multiple of the identity, and noise.

    Args:
        queries_DD: weight of the queries, output channels first, like in ``nn.Linear``.
        keys_DD: weight of the keys.
        values_DD: weight of the values.
        projection_DD: weight of the layer after the heads.
        heads: number of heads, a divisor of D.
    """
    D = len(queries_DD)
    for queries, keys in zip(queries_DD.chunk(heads), keys_DD.chunk(heads), strict=True):
        product = _near_identity(D, _QUERY_KEY_IDENTITY, _QUERY_KEY_NOISE)
        left, right = _factors(product, rank=D // heads)
        queries.copy_(left.T)
        keys.copy_(right)
    product = _near_identity(D, _VALUE_PROJECTION_IDENTITY, _VALUE_PROJECTION_NOISE)
    left, right = _factors(product, rank=D)
    values_DD.copy_(right)
    projection_DD.copy_(left)


def _near_identity(dims: int, diagonal: float, noise: float) -> Tensor:
    """Return ``diagonal`` times the identity, plus noise whose rows have length ``noise``."""
    return noise / sqrt(dims) * torch.randn(dims, dims) + diagonal * torch.eye(dims)


def _factors(matrix: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Return two factors with equal norms whose rank-``rank`` product is nearest to a matrix."""
    left, values, right = torch.linalg.svd(matrix)
    roots = values[:rank].sqrt()
    return left[:, :rank] * roots, roots[:, None] * right[:rank]
