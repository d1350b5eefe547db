"""Small clips and pretrainers that need no data."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from mmengine.model import BaseModel
from torch import Tensor

import drivemim.models  # noqa: F401 - registers
from drivemim.clips import Clips
from drivemim.registry import MASKS, MODELS

STATISTICS = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])


@dataclass
class ShuffledMask:
    """Hide a random fraction of each frame, with as little code as that takes."""

    mask_ratio: float

    def __call__(
        self, clips: Clips, grid: tuple[int, int], generators: Sequence[torch.Generator]
    ) -> Tensor:
        (_, T, N), (h, w) = clips.shape, grid
        noise = torch.stack([torch.rand(T, N, h * w, generator=each) for each in generators])
        hidden = noise.argsort(dim=-1)[..., : round(self.mask_ratio * h * w)]
        mask = torch.zeros_like(noise, dtype=torch.bool).scatter(-1, hidden, True)
        return mask.unflatten(-1, grid)


MASKS.register_module(name="ShuffledMaskForTests", module=ShuffledMask, force=True)


def make_clips(B: int = 2, T: int = 2, N: int = 2, size: tuple[int, int] = (64, 96)) -> Clips:
    """Noise seen by cameras that face outwards and move 3 m a step."""
    generator = torch.Generator().manual_seed(B * 1000 + T * 100 + N)
    H, W = size
    intrinsics = torch.tensor([[0.8 * W, 0.0, W / 2], [0.0, 0.8 * W, H / 2], [0.0, 0.0, 1.0]])
    poses = torch.eye(4).repeat(B, T, N, 1, 1)
    poses[..., 0, 3] += 3.0 * torch.arange(T)[:, None]
    angle = torch.arange(N) * 1.0
    poses[..., 0, 0] = poses[..., 2, 2] = angle.cos()
    poses[..., 0, 2] = angle.sin()
    poses[..., 2, 0] = -angle.sin()
    times = 1_533_000_000_000_000 + 500_000 * torch.arange(T)[:, None] + 7_000 * torch.arange(N)
    return Clips(
        images_BTNHWC=torch.randint(
            0, 256, (B, T, N, H, W, 3), dtype=torch.uint8, generator=generator
        ),
        intrinsics_BTN33=intrinsics.expand(B, T, N, 3, 3).clone(),
        camera_to_clip_BTN44=poses,
        timestamps_BTN=times.expand(B, T, N).clone(),
        valid_BTN=torch.ones(B, T, N, dtype=torch.bool),
        boxes_BTNM4=torch.zeros(B, T, N, 0, 4),
        labels_BTNM=torch.zeros(B, T, N, 0, dtype=torch.int64),
        tracks_BTNM=torch.zeros(B, T, N, 0, dtype=torch.int64),
        depths_BTNM=torch.zeros(B, T, N, 0),
        points_BTNP3=torch.zeros(B, T, N, 0, 3),
        seeds_B=torch.arange(B) + 11,
        tokens=tuple(tuple(tuple("frame" for _ in range(N)) for _ in range(T)) for _ in range(B)),
    )


ENCODERS = {
    "vit": dict(type="ViT", embed_dims=32, depth=2, num_heads=2, patch_size=16),
    "resnet": dict(
        type="MaskedResNet",
        backbone=dict(type="mmdet.ResNet", depth=18, base_channels=8, norm_eval=False),
        patch_channels=32,
    ),
}


NECKS = {
    "vit": dict(
        type="SimpleFeaturePyramid", in_channels=32, out_channels=8, scales=(2.0, 1.0, 0.5)
    ),
    "resnet": dict(type="mmdet.FPN", in_channels=[16, 32, 64], out_channels=8, num_outs=3),
}


def make_decoder(name: str, encoder: str = "vit", **changes: Any) -> dict[str, Any]:
    """Config of a small decoder for one of ``ENCODERS``."""
    if name == "pyramid":
        return dict(type="PyramidDecoder", num_heads=2, neck=NECKS[encoder]) | changes
    return dict(type="ClipDecoder", embed_dims=24, depth=2, num_heads=2) | changes


def make_pretrainer(
    encoder: str = "vit",
    mask_ratio: float = 0.5,
    attention_scope: str = "clip",
    decoder: str = "clip",
    **others: Any,
) -> BaseModel:
    torch.manual_seed(0)
    model = MODELS.build(
        dict(
            type="MaskedPretrainer",
            encoder=ENCODERS[encoder],
            decoder=make_decoder(decoder, encoder, attention_scope=attention_scope),
            target=dict(type="NormalizedPixels"),
            masking=dict(type="ShuffledMaskForTests", mask_ratio=mask_ratio),
            data_preprocessor=dict(type="ClipPreprocessor", **STATISTICS),
        )
        | others
    )
    model.init_weights()
    return model


@pytest.fixture
def clips() -> Clips:
    return make_clips()


@pytest.fixture
def build_clips() -> Callable[..., Clips]:
    return make_clips


@pytest.fixture
def build_pretrainer() -> Callable[..., BaseModel]:
    return make_pretrainer
