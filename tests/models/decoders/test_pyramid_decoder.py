from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from drivemim.clips import Clips
from drivemim.config.loading import load_config
from drivemim.models import PyramidDecoder
from drivemim.models.decoders.pyramid_decoder import CrossAttentionBlock, Level
from drivemim.models.encoders.masked_encoder import MaskedFeatures, Stage
from drivemim.models.patches import PatchMask
from drivemim.registry import MODELS


@MODELS.register_module(force=True)
class UntouchedMaps(nn.Module):
    """A neck that hands on what it gets, and remembers it."""

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        self.seen = maps
        return maps


@MODELS.register_module(force=True)
class ThirdOfTheSize(nn.Module):
    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        return [nn.functional.avg_pool2d(maps[0], 3)]


def build(stages: tuple[Stage, ...] = (), **changes: Any) -> PyramidDecoder:
    torch.manual_seed(0)
    encoder = SimpleNamespace(patch_channels=8, stages=stages)
    settings = dict(neck=dict(type="UntouchedMaps"), num_heads=2) | changes
    return PyramidDecoder(encoder=encoder, **settings)


def test_visible_features_are_unchanged_and_hidden_ones_filled_in(
    clips: Clips, mask: Tensor
) -> None:
    decoder = build()
    tokens = torch.randn(2, 2, 2, 2, 8)
    out = decoder(
        MaskedFeatures(tokens_XKD=tokens.flatten(0, 2)),
        PatchMask.from_tensor(mask, 16, clips.valid_BTN),
        clips,
    )
    map_8 = decoder.neck.seen[0].reshape(2, 2, 2, 8, 2, 3)
    for place in np.ndindex(2, 2, 2):
        shown, hidden = (~mask[place]).flatten(), mask[place].flatten()
        vectors = map_8[place].flatten(1).T
        assert torch.equal(vectors[shown], tokens[place])
        assert torch.equal(vectors[hidden], out[place])
        # Layer-normalised, and different from patch to patch.
        torch.testing.assert_close(vectors[hidden].mean(dim=1), torch.zeros(4), atol=1e-5, rtol=0)
        assert len(vectors[hidden].unique(dim=0)) == 4


def test_blocks_of_another_width_leave_visible_features_unchanged(
    clips: Clips, mask: Tensor
) -> None:
    assert not any("project" in name or "to_map" in name for name in build().state_dict())
    decoder = build(embed_dims=12)
    assert {each.shape for each in (decoder.project.weight, decoder.to_map.weight.T)} == {(12, 8)}
    tokens = torch.randn(8, 2, 8)
    masks = PatchMask.from_tensor(mask, 16, clips.valid_BTN)
    filled: list[Tensor] = []
    decoder.norm.register_forward_hook(lambda *each: filled.append(each[2]))
    out = decoder(MaskedFeatures(tokens_XKD=tokens), masks, clips)
    shown = ~mask.flatten(0, 2).flatten(1)
    vectors = decoder.neck.seen[0].flatten(2).transpose(1, 2)
    assert torch.equal(vectors[shown], tokens.flatten(0, 1))
    expected = filled[0].reshape(2, 2, 2, 4, 12) @ decoder.to_map.weight.T + decoder.to_map.bias
    torch.testing.assert_close(out, expected)
    assert (
        "to_map.weight"
        not in build((Stage(channels=3, positions_per_patch=1),), embed_dims=12).state_dict()
    )


def test_stages_are_completed_patch_by_patch(clips: Clips, mask: Tensor) -> None:
    stages = (Stage(channels=3, positions_per_patch=2), Stage(channels=5, positions_per_patch=1))
    decoder = build(stages=stages)
    shown = ~mask.repeat_interleave(2, 3).repeat_interleave(2, 4)
    fine = torch.randn(2, 2, 2, 3, 4, 6) * shown[:, :, :, None]
    coarse = torch.randn(2, 2, 2, 5, 2, 3) * ~mask[:, :, :, None]
    features = MaskedFeatures(
        tokens_XKD=torch.randn(8, 2, 8), maps_XCHW=(fine.flatten(0, 2), coarse.flatten(0, 2))
    )
    filled: list[Tensor] = []
    decoder.norm.register_forward_hook(lambda *each: filled.append(each[2]))
    out = decoder(features, PatchMask.from_tensor(mask, 16, clips.valid_BTN), clips)
    completed = [each.unflatten(0, (2, 2, 2)) for each in decoder.neck.seen]
    for before, after in ((fine, completed[0]), (coarse, completed[1])):
        visible = before != 0
        assert torch.equal(after[visible], before[visible])
    tokens_J = filled[0].reshape(2, 2, 2, 4, 8)[1, 0, 1]
    rows = mask[1, 0, 1].nonzero().tolist()
    for number, (row, column) in enumerate(rows):
        numbers = decoder.to_stages[0](tokens_J[number]).reshape(3, 2, 2)
        place = (slice(None), slice(2 * row, 2 * row + 2), slice(2 * column, 2 * column + 2))
        torch.testing.assert_close(completed[0][1, 0, 1][place], numbers)
        one = decoder.to_stages[1](tokens_J[number])
        torch.testing.assert_close(completed[1][1, 0, 1][:, row, column], one)
        torch.testing.assert_close(out[1, 0, 1, number], torch.cat([numbers.flatten(), one]))
    assert decoder.out_channels == 3 * 4 + 5


def test_the_neck_takes_the_channels_of_the_encoders_maps() -> None:
    pyramid = dict(type="SimpleFeaturePyramid", out_channels=4, scales=(1.0,))
    assert build(neck=pyramid).levels == build(neck=dict(pyramid, in_channels=8)).levels
    with pytest.raises(ValueError, match=r"neck\.in_channels=16, but the encoder's maps have 8 "):
        build(neck=dict(pyramid, in_channels=16))
    stages = (Stage(channels=6, positions_per_patch=2), Stage(channels=10, positions_per_patch=1))
    fpn = dict(type="mmdet.FPN", out_channels=4, num_outs=2)
    assert build(stages, neck=fpn).neck.in_channels == [6, 10]
    with pytest.raises(ValueError, match=r"in_channels=\[6, 12\], but .* have \[6, 10\] channels"):
        build(stages, neck=dict(fpn, in_channels=[6, 12]))


@pytest.mark.parametrize(
    ("config", "options"),
    [
        ("resnet50_nuscenes", {"model.encoder.backbone.depth": 18}),
        ("vit_base_nuscenes", {"model.encoder.arch": "small"}),
    ],
)
def test_another_backbone_needs_no_other_neck(config: str, options: dict[str, Any]) -> None:
    decoder = MODELS.build(load_config(config, options).model).decoder
    assert len(decoder.levels) == 3


def test_levels_by_hand() -> None:
    grid = (3, 5)
    fine = torch.arange(6 * 10.0).reshape(1, 1, 6, 10)
    inside = Level(channels=1, positions_per_patch=2, patches_per_position=1).patch_vectors(
        fine, grid
    )
    assert inside.shape == (1, 15, 4)
    assert inside[0, 7].tolist() == [24.0, 25.0, 34.0, 35.0]  # row 1, column 2
    # An odd map's last row and column have a position of their own.
    coarse = torch.arange(2 * 3.0).reshape(1, 1, 2, 3)
    covering = Level(channels=1, positions_per_patch=1, patches_per_position=2).patch_vectors(
        coarse, grid
    )
    assert covering[0, :, 0].tolist() == [0, 0, 1, 1, 2, 0, 0, 1, 1, 2, 3, 3, 4, 4, 5]


def test_a_detectors_pyramid_gives_its_levels() -> None:
    neck = dict(type="SimpleFeaturePyramid", in_channels=8, out_channels=4, scales=(2.0, 1.0, 0.25))
    decoder = build(neck=neck)
    assert decoder.levels == (
        Level(channels=4, positions_per_patch=2, patches_per_position=1),
        Level(channels=4, positions_per_patch=1, patches_per_position=1),
        Level(channels=4, positions_per_patch=1, patches_per_position=4),
    )
    assert decoder.out_channels == 4 * 4 + 4 + 4
    assert decoder.neck.training


def test_a_level_that_does_not_fit_the_patches_is_refused() -> None:
    with pytest.raises(ValueError, match="ThirdOfTheSize makes a level of 0.333 times the patches"):
        build(neck=dict(type="ThirdOfTheSize"))


def test_block_by_hand() -> None:
    torch.manual_seed(0)
    block = CrossAttentionBlock(8, 2, 1.0).double()
    tokens, context = torch.randn(1, 2, 8).double(), torch.randn(1, 3, 8).double()
    use = torch.tensor([[True, False, True]])
    out = block(tokens, context, use).detach().numpy()[0]

    w = {name: value.detach().numpy() for name, value in block.named_parameters()}

    def norm(rows: np.ndarray) -> np.ndarray:
        centred = rows - rows.mean(axis=1, keepdims=True)
        return centred / np.sqrt(centred.var(axis=1, keepdims=True) + 1e-6)

    def linear(rows: np.ndarray, name: str) -> np.ndarray:
        return rows @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    x = tokens.numpy()[0]
    queries = linear(norm(x), "queries")
    both = linear(norm(context.numpy()[0][[0, 2]]), "keys_values")
    mixed = np.zeros((2, 8))
    for head in (slice(0, 4), slice(4, 8)):
        scores = queries[:, head] @ both[:, :8][:, head].T / 2.0
        weights = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
        mixed[:, head] = weights @ both[:, 8:][:, head]
    x = x + linear(mixed, "proj")
    inner = torch.nn.functional.gelu(torch.from_numpy(linear(norm(x), "mlp.fc1"))).numpy()
    np.testing.assert_allclose(out, x + linear(inner, "mlp.fc2"))


def test_a_single_frame_needs_no_calibration(clips: Clips, mask: Tensor) -> None:
    """Within a frame, rays and times say nothing that positions do not."""
    decoder = build(attention_scope="frame")
    assert decoder.ray_time is None
    features = MaskedFeatures(tokens_XKD=torch.randn(8, 2, 8))
    patch_mask = PatchMask.from_tensor(mask, 16, clips.valid_BTN)
    before = decoder(features, patch_mask, clips)
    clips.intrinsics_BTN33.fill_(torch.nan)
    clips.camera_to_clip_BTN44.fill_(torch.nan)
    assert torch.equal(decoder(features, patch_mask, clips), before)
