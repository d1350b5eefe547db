"""Decoders of every kind, and encoder features of ``clips``."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import drivemim.models  # noqa: F401 - registers
from drivemim.models.encoders.masked_encoder import MaskedFeatures, Stage
from drivemim.registry import MODELS

GRID = (2, 3)
STAGES = (Stage(channels=6, positions_per_patch=2), Stage(channels=10, positions_per_patch=1))
DECODERS: dict[str, tuple[tuple[Stage, ...], dict[str, Any]]] = {
    "clip": ((), dict(type="ClipDecoder", embed_dims=24, depth=2)),
    "pyramid": (
        (),
        dict(
            type="PyramidDecoder",
            neck=dict(
                type="SimpleFeaturePyramid", in_channels=8, out_channels=4, scales=(2.0, 1.0, 0.5)
            ),
        ),
    ),
    "wide pyramid": (
        (),
        dict(
            type="PyramidDecoder",
            embed_dims=12,
            neck=dict(type="SimpleFeaturePyramid", in_channels=8, out_channels=4, scales=(1.0,)),
        ),
    ),
    "narrow pyramid over stages": (
        STAGES,
        dict(
            type="PyramidDecoder",
            embed_dims=4,
            neck=dict(type="mmdet.FPN", in_channels=[6, 10], out_channels=4, num_outs=2),
        ),
    ),
    "pyramid over stages": (
        STAGES,
        dict(
            type="PyramidDecoder",
            neck=dict(type="mmdet.FPN", in_channels=[6, 10], out_channels=4, num_outs=3),
        ),
    ),
}


@pytest.fixture(params=list(DECODERS))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def build(kind: str) -> Callable[..., Any]:
    stages, config = DECODERS[kind]

    def make(**changes: Any) -> nn.Module:
        torch.manual_seed(0)
        encoder = SimpleNamespace(patch_channels=8, stages=stages)
        decoder = MODELS.build({"encoder": encoder, "num_heads": 2, **config, **changes})
        decoder.init_weights()
        return decoder

    return make


@pytest.fixture
def mask() -> Tensor:
    """B=2, T=2, N=2; 2 of 6 patches visible in each frame."""
    noise = torch.rand(2, 2, 2, 6, generator=torch.Generator().manual_seed(5))
    hidden = noise.argsort(dim=-1)[..., :4]
    return torch.zeros_like(noise, dtype=torch.bool).scatter(-1, hidden, True).unflatten(-1, GRID)


@pytest.fixture
def visible(kind: str, mask: Tensor) -> MaskedFeatures:
    generator = torch.Generator().manual_seed(6)
    maps = []
    for stage in DECODERS[kind][0]:
        shown = ~mask.repeat_interleave(stage.positions_per_patch, 3).repeat_interleave(
            stage.positions_per_patch, 4
        )
        noise = torch.randn(2, 2, 2, stage.channels, *shown.shape[3:], generator=generator)
        maps.append((noise * shown[:, :, :, None]).flatten(0, 2))
    tokens = torch.randn(2, 2, 2, 2, 8, generator=generator)
    return MaskedFeatures(tokens_XKD=tokens.flatten(0, 2), maps_XCHW=tuple(maps))
