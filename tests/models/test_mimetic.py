from types import SimpleNamespace

import pytest
import torch

from drivemim.models import ViT
from drivemim.models.layers import grid_positions
from drivemim.models.mimetic import mimetic_
from drivemim.registry import MODELS


def layer(dims: int, heads: int) -> list[torch.Tensor]:
    weights = [torch.zeros(dims, dims) for _ in range(4)]
    mimetic_(*weights, heads)
    return weights


def test_a_single_head_multiplies_to_the_identity_and_noise() -> None:
    torch.manual_seed(0)
    dims = 64
    queries, keys, values, projection = layer(dims, heads=1)
    for product, diagonal, noise in (
        (queries.T @ keys, 0.7, 0.7),
        (projection @ values, -0.4, 0.4),
    ):
        rest = product - diagonal * torch.eye(dims)
        # Rows of noise have the length 0.7 or 0.4; on the diagonal there is noise as elsewhere.
        assert rest.norm(dim=1).mean().item() == pytest.approx(noise, rel=0.05)
        assert rest.diagonal().mean().abs() < 0.05
        assert rest.mean().abs() < 0.01
    # The factors share the size evenly.
    assert queries.norm().item() == pytest.approx(keys.norm().item(), rel=1e-4)


def test_every_head_is_as_near_as_its_rank_allows() -> None:
    torch.manual_seed(0)
    queries, keys, _, _ = layer(12, heads=3)
    products = [a.T @ b for a, b in zip(queries.chunk(3), keys.chunk(3), strict=True)]
    for product in products:
        assert torch.linalg.matrix_rank(product) == 4
        # Four of twelve directions, those that are largest, each about as long as 0.7 or more.
        assert product.trace() > 4 * 0.5
    assert not torch.allclose(products[0], products[1])


@pytest.mark.parametrize("kind", ["xavier", "mimetic"])
def test_attention_of_a_patch_before_training(kind: str) -> None:
    torch.manual_seed(0)
    vit = ViT(embed_dims=96, depth=2, num_heads=3, patch_size=8, attention_init=kind)
    grid = (8, 12)
    tokens = grid_positions(grid, 96, device=torch.device("cpu"), dtype=torch.float32)[None]
    block = vit.blocks[0]
    queries, keys, _ = block.attn.qkv(block.norm1(tokens)).chunk(3, dim=-1)
    queries, keys = (each.reshape(96, 3, 32).transpose(0, 1) for each in (queries, keys))
    weights = (queries @ keys.transpose(1, 2) / 32**0.5).softmax(dim=-1).mean(dim=0)
    rows, columns = torch.meshgrid(torch.arange(8), torch.arange(12), indexing="ij")
    places = torch.stack([rows.flatten(), columns.flatten()], dim=1).float()
    near = (torch.cdist(places, places) < 2.5).float()
    on_neighbours = (weights * near).sum(dim=1).mean()
    fraction = near.mean(dim=1).mean()
    assert on_neighbours > 1.5 * fraction if kind == "mimetic" else on_neighbours < 1.5 * fraction


def test_an_unknown_initialisation_is_an_error() -> None:
    with pytest.raises(ValueError, match="attention_init='best' must be 'xavier' or 'mimetic'"):
        ViT(arch="tiny", attention_init="best")


@pytest.mark.parametrize(
    "settings",
    [
        dict(type="ClipDecoder", embed_dims=48),
        dict(type="PyramidDecoder", neck=dict(type="SimpleFeaturePyramid", in_channels=48)),
    ],
    ids=["clip", "pyramid"],
)
def test_the_decoders_queries_are_paired_with_its_keys(settings: dict[str, object]) -> None:
    torch.manual_seed(0)
    encoder = SimpleNamespace(patch_channels=48, stages=())
    decoder = MODELS.build(
        dict(encoder=encoder, depth=1, num_heads=1, attention_init="mimetic", **settings)
    )
    block = decoder.blocks[0]
    keys, values = block.keys_values.weight.chunk(2)
    alike = block.queries.weight.T @ keys
    assert alike.diagonal().mean().item() == pytest.approx(0.7, abs=0.1)
    assert (block.proj.weight @ values).diagonal().mean().item() == pytest.approx(-0.4, abs=0.1)
