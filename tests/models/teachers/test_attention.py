import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from mmengine.model import BaseModel
from torch import Tensor

from drivemim.clips import Clips
from drivemim.models import MaskedResNet, ViT
from drivemim.models.teachers import TeacherAttention

TEACHER = dict(
    teacher=dict(type="TeacherAttention"), masking=dict(type="GuidedMask", mask_ratio=0.5)
)
Build = Callable[..., BaseModel]


def small_vit(**changes: object) -> ViT:
    torch.manual_seed(0)
    encoder = ViT(**{**dict(embed_dims=8, depth=2, num_heads=2, patch_size=4), **changes})
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.normal_(std=0.5)
    return encoder


def test_attention_by_hand() -> None:
    """At full size: softmax of the last block's queries and keys, summed over the queries."""
    encoder = small_vit()
    images = torch.randn(1, 2, 1, 3, 8, 12)
    entered: list[Tensor] = []
    encoder.blocks[-1].register_forward_pre_hook(lambda _, inputs: entered.append(inputs[0]))
    encoder(images.flatten(0, 2))
    block = encoder.blocks[-1]
    with torch.no_grad():
        both = block.attn.qkv(block.norm1(entered[0])).double().numpy()[..., :16]
    found = TeacherAttention(encoder=encoder, scale=1.0)(images, (2, 3)).numpy()
    for frame in range(2):
        expected = np.zeros(6)
        for head in range(2):
            queries = both[frame, :, head * 4 : head * 4 + 4]
            keys = both[frame, :, 8 + head * 4 : 8 + head * 4 + 4]
            for query in queries:
                chances = np.exp(keys @ query / 2.0)  # the root of 4 channels a head
                expected += chances / chances.sum() / 2
        np.testing.assert_allclose(found[0, frame, 0].ravel(), expected, rtol=1e-4)
    assert found.mean() == pytest.approx(1.0, rel=1e-5)


def test_the_average_by_hand() -> None:
    encoder = small_vit()
    teacher = TeacherAttention(encoder=encoder, momentum=0.75)
    weight = encoder.blocks[0].attn.qkv.weight
    expected = [(1.0, 1.0), (5.0, 0.75 * 1 + 0.25 * 5), (-2.0, 0.75 * 2 + 0.25 * -2)]
    for value, average in expected:
        with torch.no_grad():
            weight.fill_(value)
        teacher.ema_update(encoder)
        assert (teacher.averaged_encoder.blocks[0].attn.qkv.weight == average).all()
    assert teacher.updates.item() == 3
    assert teacher.averaged_encoder.norm.bias.equal(encoder.norm.bias)
    assert weight.requires_grad


def test_reduced_images_lie_in_the_same_places() -> None:
    """Four rows and six columns at half size: tokens are 2 x 3 means, at the middles of four."""
    encoder = small_vit()
    teacher = TeacherAttention(encoder=encoder, scale=0.5)
    entered: list[Tensor] = []
    teacher.averaged_encoder.blocks[0].register_forward_pre_hook(
        lambda _, inputs: entered.append(inputs[0])
    )
    images = torch.randn(1, 1, 1, 3, 16, 24)
    assert teacher(images, (4, 6)).shape == (1, 1, 1, 4, 6)
    halved = images[0, 0].unfold(2, 2, 2).unfold(3, 2, 2).mean((-2, -1))
    with torch.no_grad():
        contents = torch.nn.functional.conv2d(
            halved, encoder.patch_embed.proj.weight, encoder.patch_embed.proj.bias, stride=4
        )
    places = (entered[0] - contents.flatten(2).transpose(1, 2))[0].reshape(2, 3, 8)
    columns, rows = np.array([0.5, 2.5, 4.5]), np.array([0.5, 2.5])
    np.testing.assert_allclose(places[0, :, 0], np.sin(columns), atol=1e-4)
    np.testing.assert_allclose(places[:, 0, 4], np.sin(rows), atol=1e-4)


@pytest.mark.parametrize("scale", [0.01, 0.3, 1.0])
def test_any_scale_has_a_value_for_every_patch(scale: float) -> None:
    teacher = TeacherAttention(encoder=small_vit(), scale=scale)
    attention = teacher(torch.randn(2, 1, 1, 3, 20, 28), (5, 7))
    assert attention.shape == (2, 1, 1, 5, 7)
    assert attention.isfinite().all()
    assert attention.mean().item() == pytest.approx(1.0, abs=0.2)


def test_no_parameter_of_the_teacher_is_trained(build_pretrainer: Build, clips: Clips) -> None:
    model = build_pretrainer(**TEACHER).train()
    assert not model.teacher.averaged_encoder.training
    assert not any(parameter.requires_grad for parameter in model.teacher.parameters())
    losses = model(clips, mode="loss")
    assert set(losses) == {"loss", "mask_ratio"}
    losses["loss"].backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is None) == name.startswith("teacher."), name


def test_blocks_are_never_dropped() -> None:
    teacher = TeacherAttention(encoder=small_vit(drop_path_rate=0.9)).train()
    images = torch.randn(2, 1, 1, 3, 16, 16)
    assert teacher(images, (4, 4)).equal(teacher(images, (4, 4)))


def test_only_training_losses_update_the_teacher(build_pretrainer: Build, clips: Clips) -> None:
    model = build_pretrainer(**TEACHER)
    for training, mode, updates in (
        (False, "loss", 0),
        (False, "predict", 0),
        (True, "tensor", 0),
        (True, "loss", 1),
        (True, "loss", 2),
    ):
        model.train(training)(clips, mode=mode)
        assert model.teacher.updates.item() == updates


def test_a_resumed_teacher_is_the_same(build_pretrainer: Build, clips: Clips) -> None:
    def step(model: BaseModel, value: float) -> None:
        with torch.no_grad():
            for parameter in model.encoder.parameters():
                parameter.mul_(value)
        model(clips, mode="loss")

    whole = build_pretrainer(**TEACHER).train()
    step(whole, 1.0)
    step(whole, 1.2)
    resumed = build_pretrainer(**TEACHER).train()
    resumed.load_state_dict(copy.deepcopy(whole.state_dict()))
    assert resumed.mask(clips).equal(whole.mask(clips))
    for model in (whole, resumed):
        step(model, 0.7)
    found, expected = resumed.state_dict(), whole.state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert found["teacher.updates"].item() == 3
    assert not torch.equal(
        found["teacher.averaged_encoder.norm.weight"], found["encoder.norm.weight"]
    )


def test_mistakes_are_named() -> None:
    resnet = MaskedResNet(backbone=dict(type="mmdet.ResNet", depth=18, base_channels=8))
    with pytest.raises(ValueError, match="MaskedResNet is not; use LossPredictor"):
        TeacherAttention(encoder=resnet)
    with pytest.raises(ValueError, match=r"scale=0 must be in \(0, 1\]"):
        TeacherAttention(encoder=small_vit(), scale=0)
    with pytest.raises(ValueError, match=r"momentum=1 must be in \[0, 1\)"):
        TeacherAttention(encoder=small_vit(), momentum=1)
