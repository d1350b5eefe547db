"""Features of a teacher as a target: their values, the teacher's weights, weighted sums."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from mmengine.model import BaseModel

from drivemim.clips import Clips
from drivemim.errors import ConfigError
from drivemim.models import FeatureTarget

AVERAGE = dict(type="FeatureTarget", momentum=0.9)
BLOCKS = dict(type="ViT", embed_dims=32, depth=2, num_heads=2, patch_size=16, out_indices=(0, 1))


def changed(module: torch.nn.Module) -> None:
    """Move all weights by a fixed random amount."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)


@pytest.mark.parametrize(("encoder", "teacher", "channels"), [
    ("vit", None, 32), ("vit", BLOCKS, 64), ("resnet", None, 8 + 16 + 32 + 64),
])  # fmt: skip
def test_values_are_the_normalized_maps_at_the_hidden_patches(
    build_pretrainer: Callable[..., BaseModel],
    clips: Clips,
    encoder: str,
    teacher: dict[str, Any] | None,
    channels: int,
) -> None:
    """Computed patch by patch in float64 from the teacher's own maps."""
    model = build_pretrainer(encoder, target={**AVERAGE, "teacher": teacher})
    target = model.target
    assert model.head.out_features == target.channels(16) == channels
    changed(target.teacher)
    images = model.data_preprocessor.normalize(clips.images_BTNHWC)
    mask = model.patch_mask(model.mask(clips), clips)
    values = target(images, mask)
    assert not values.requires_grad
    with torch.no_grad():
        maps = [each.double() for each in target.teacher(images.flatten(0, 2))]
    h, w = mask.grid
    for x in range(len(mask.mask_Xhw)):
        rows = values.flatten(0, 2)[x]
        for j, patch in enumerate(mask.mask_Xhw[x].flatten().nonzero().flatten().tolist()):
            row, column = divmod(patch, w)
            expected = []
            for level in maps:
                H, W = level.shape[2:]
                # The positions of the map that the patch covers, or the one that covers the patch.
                ys, xs = (
                    slice(place * size // count, -(-(place + 1) * size // count))
                    for place, size, count in ((row, H, h), (column, W, w))
                )
                cell = level[x, :, ys, xs].mean(dim=(1, 2))
                variance = cell.var(correction=0)
                expected.append((cell - cell.mean()) / (variance + 1e-5).sqrt())
            assert torch.allclose(rows[j].double(), torch.cat(expected), atol=1e-4)


def test_an_average_of_the_encoder_by_hand(
    build_pretrainer: Callable[..., BaseModel], clips: Clips
) -> None:
    """The first step copies the encoder; later ones keep nine tenths of the average."""
    model = build_pretrainer("resnet", target=AVERAGE).train()
    names = ["backbone.conv1.weight", "backbone.bn1.running_mean"]
    states: list[dict[str, torch.Tensor]] = []
    for _ in range(2):
        changed(model.encoder)
        states.append({n: model.encoder.state_dict()[n].clone() for n in names})
        model(clips, mode="loss")["loss"].backward()
    teacher = model.target.teacher.state_dict()
    expected = 0.9 * states[0][names[0]] + 0.1 * states[1][names[0]]
    assert torch.allclose(teacher[names[0]], expected, atol=1e-6)
    assert torch.equal(teacher[names[1]], states[1][names[1]])
    assert all(each.grad is None for each in model.target.parameters())
    assert not model.target.teacher.training
    before = {name: value.clone() for name, value in teacher.items()}
    model.eval()(clips, mode="loss")
    after = model.target.teacher.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_a_teacher_changes_no_other_weights(build_pretrainer: Callable[..., BaseModel]) -> None:
    for encoder, teacher in (("vit", None), ("vit", BLOCKS), ("resnet", None)):
        plain = build_pretrainer(encoder, decoder="pyramid").state_dict()
        auxiliary = [{**AVERAGE, "teacher": teacher}]
        state = build_pretrainer(encoder, decoder="pyramid", auxiliary=auxiliary).state_dict()
        assert all(torch.equal(state[name], value) for name, value in plain.items())


def test_a_backbone_of_mmdetection_is_a_teacher(build_pretrainer: Callable[..., BaseModel]) -> None:
    """Its ``train`` returns None."""
    resnet = {"type": "mmdet.ResNet", "depth": 18, "out_indices": (1,), "frozen_stages": 1}
    target = {"type": "FeatureTarget", "checkpoint": "resnet.pth", "teacher": resnet}
    model = build_pretrainer("vit", target=target).train()
    assert not model.target.teacher.training
    assert not any(each.requires_grad for each in model.target.teacher.parameters())
    assert model.target.channels(16) == 128


def test_a_frozen_teacher_needs_its_weights(
    build_pretrainer: Callable[..., BaseModel], clips: Clips
) -> None:
    frozen = dict(type="FeatureTarget", checkpoint="teacher.safetensors")
    model = build_pretrainer("vit", target=frozen)
    with pytest.raises(ConfigError, match="no weights yet; drivemim train loads teacher.safet"):
        model(clips, mode="loss")
    # A checkpoint without the teacher gives it none, one of the whole run does.
    state = model.state_dict()
    parts = {name: value for name, value in state.items() if not name.startswith("target.")}
    model.load_state_dict(parts, strict=False)
    assert not model.target.has_weights
    changed(model.target)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    other = build_pretrainer("vit", target=frozen)
    other.load_state_dict(state)
    before = {name: value.clone() for name, value in other.target.state_dict().items()}
    loss = other.train()(clips, mode="loss")["loss"]
    assert loss > 0
    after = other.target.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_weights_of_a_sum(build_pretrainer: Callable[..., BaseModel], clips: Clips) -> None:
    """Auxiliary targets of hidden patches have the loss that they have as the only target."""
    pooled = dict(type="PooledPixels", size=2)
    auxiliary = [{**pooled, "weight": 0.5}, dict(type="OrientedGradients", weight=2.0)]
    model = build_pretrainer("vit", decoder="pyramid", auxiliary=auxiliary).eval()
    losses = model(clips, mode="loss")
    assert {name for name in losses if "loss" in name} == {
        "loss", "loss_pooled_pixels", "loss_gradients",
    }  # fmt: skip
    for number, (weight, config) in enumerate(
        [(0.5, pooled), (2.0, dict(type="OrientedGradients"))]
    ):
        alone = build_pretrainer("vit", decoder="pyramid", target=config).eval()
        alone.head = model.auxiliary_heads[number]
        expected = weight * alone(clips, mode="loss")["loss"]
        name = f"loss_{model.auxiliary[number].name}"
        assert torch.allclose(losses[name], expected, atol=1e-6)
    half = build_pretrainer("vit", target=dict(type="NormalizedPixels", weight=0.5))
    whole = build_pretrainer("vit", target=dict(type="NormalizedPixels"))
    assert torch.allclose(half(clips, mode="loss")["loss"], 0.5 * whole(clips, mode="loss")["loss"])


def test_ragged_masks_and_invalid_frames_have_no_weight(
    build_pretrainer: Callable[..., BaseModel], build_clips: Callable[..., Clips]
) -> None:
    clips = build_clips()
    model = build_pretrainer("vit", decoder="pyramid", auxiliary=[AVERAGE]).eval()
    torch.manual_seed(1)
    mask_BTNhw = torch.rand(*clips.shape, *(n // 16 for n in clips.image_size)) < 0.5
    mask = model.patch_mask(mask_BTNhw, clips)
    assert mask.hidden.present_XK is not None
    images = model.data_preprocessor.normalize(clips.images_BTNHWC)
    predictions = torch.randn(len(mask.mask_Xhw), mask.grid[0] * mask.grid[1], 32)
    found = model.auxiliary[0].auxiliary_loss(predictions, images, clips, mask)
    values = model.auxiliary[0](images, mask).flatten(0, 2)
    errors = []
    for x, valid in enumerate(mask.valid):
        chosen = mask.mask_Xhw[x].flatten().nonzero().flatten()
        if valid:
            difference = predictions[x, chosen] - values[x, : len(chosen)]
            errors += difference.square().mean(dim=1).tolist()
    assert found.item() == pytest.approx(sum(errors) / len(errors), rel=1e-5)


def test_reconstructions_are_grey(build_pretrainer: Callable[..., BaseModel], clips: Clips) -> None:
    model = build_pretrainer("vit", target=AVERAGE).eval()
    result = model(clips, mode="predict")
    hidden = result.mask_BTNhw.repeat_interleave(16, -2).repeat_interleave(16, -1)
    colours = result.images_BTNHWC[hidden & clips.valid_BTN[..., None, None]]
    assert len(colours.unique(dim=0)) == 1
    assert "grey" in result.pixels_note


@pytest.mark.parametrize(("settings", "said"), [
    ({}, "give either checkpoint=WEIGHTS"),
    (dict(momentum=0.9, checkpoint="x.pth"), "give either checkpoint=WEIGHTS"),
    (dict(momentum=1.0), r"momentum=1.0 must be in \[0, 1\)"),
    (dict(momentum=0.9, weight=0.0), "weight=0.0 must be positive"),
    (dict(momentum=0.9, teacher={**BLOCKS, "depth": 3}), "needs the encoder's architecture"),
])  # fmt: skip
def test_wrong_settings(
    build_pretrainer: Callable[..., BaseModel], settings: dict[str, Any], said: str
) -> None:
    encoder = build_pretrainer("vit").encoder
    with pytest.raises(ConfigError, match=said):
        FeatureTarget(encoder=encoder, **settings)
