import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from drivemim.models import MaskedResNet
from drivemim.models.encoders.resnet import SparseMask
from drivemim.models.patches import PatchMask
from drivemim.registry import MODELS


def encode(encoder: Any, images_XCHW: torch.Tensor, mask_Xhw: torch.Tensor) -> torch.Tensor:
    mask = PatchMask.from_tensor(mask_Xhw, 32)
    tokens_XKD: torch.Tensor = encoder.forward_masked(images_XCHW, mask).tokens_XKD
    return tokens_XKD


def build(depth: int = 18, kind: str = "mmdet.ResNet", **backbone: object) -> MaskedResNet:
    torch.manual_seed(0)
    config = dict(
        type=kind, depth=depth, base_channels=8, norm_eval=False, zero_init_residual=False
    )
    model = MODELS.build(
        dict(type="MaskedResNet", backbone={**config, **backbone}, patch_channels=24)
    )
    model.init_weights()
    # Statistics away from their initial values, so that using them shows.
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.running_mean, -0.5, 0.5)
            nn.init.uniform_(layer.running_var, 0.5, 2.0)
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.uniform_(layer.bias, -0.5, 0.5)
    return model


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(2, 3, 96, 128, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def mask() -> torch.Tensor:
    noise = torch.rand(2, 12, generator=torch.Generator().manual_seed(2))
    return (noise.argsort(dim=1) < 7).reshape(2, 3, 4)


KINDS = pytest.mark.parametrize(
    ("depth", "kind"),
    [(18, "mmdet.ResNet"), (50, "mmdet.ResNet"), (50, "mmdet.ResNetV1d")],
    ids=["basic", "bottleneck", "v1d"],
)


@KINDS
@pytest.mark.parametrize("training", [True, False])
def test_empty_mask_is_the_plain_backbone(
    images: torch.Tensor, depth: int, kind: str, training: bool
) -> None:
    model = build(depth, kind).double().train(training)
    plain_backbone = copy.deepcopy(model.backbone)
    maps = model.masked_maps(images.double(), torch.zeros(2, 3, 4, dtype=torch.bool))
    for ours, plain in zip(maps, plain_backbone(images.double()), strict=True):
        torch.testing.assert_close(ours, plain)
    for name, statistic in plain_backbone.named_buffers():
        torch.testing.assert_close(model.backbone.get_buffer(name), statistic)


@KINDS
@pytest.mark.parametrize("training", [True, False])
def test_hidden_pixels_have_no_influence(
    images: torch.Tensor, mask: torch.Tensor, depth: int, kind: str, training: bool
) -> None:
    model = build(depth, kind).train(training)
    other = copy.deepcopy(model)
    hidden_pixels = mask.repeat_interleave(32, 1).repeat_interleave(32, 2)[:, None]
    changed = torch.where(hidden_pixels, torch.full_like(images, torch.nan), images)
    before, after = (
        encode(model, images, mask),
        encode(other, changed, mask),
    )
    assert before.shape == (2, 5, 24)
    assert torch.equal(before, after)
    assert before.isfinite().all()
    for name, statistic in model.named_buffers():
        assert torch.equal(statistic, other.get_buffer(name)), name


def test_every_map_is_zero_at_hidden_positions_and_not_elsewhere(
    images: torch.Tensor, mask: torch.Tensor
) -> None:
    for level, features in enumerate(build().masked_maps(images, mask)):
        scale = 8 // 2**level
        hidden = mask.repeat_interleave(scale, 1).repeat_interleave(scale, 2)
        assert (features.permute(0, 2, 3, 1)[hidden] == 0).all()
        assert (features.permute(0, 2, 3, 1)[~hidden] != 0).float().mean() > 0.3


def test_statistics_are_those_of_visible_positions_by_hand(mask: torch.Tensor) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 4, 6, 8).double() * 3 + 5
    norm = nn.BatchNorm2d(4, momentum=0.3).double().train()
    nn.init.uniform_(norm.weight)
    nn.init.uniform_(norm.bias)
    out = SparseMask(mask).normalize(norm, x).detach().numpy()

    hidden = mask.numpy().repeat(2, axis=1).repeat(2, axis=2)
    rows = x.numpy().transpose(0, 2, 3, 1)[~hidden]
    assert rows.shape == (2 * 5 * 4, 4)
    mean, variance = rows.mean(axis=0), rows.var(axis=0)
    scaled = (rows - mean) / np.sqrt(variance + norm.eps)
    expected = scaled * norm.weight.detach().numpy() + norm.bias.detach().numpy()
    np.testing.assert_allclose(out.transpose(0, 2, 3, 1)[~hidden], expected)
    assert (out.transpose(0, 2, 3, 1)[hidden] == 0).all()
    np.testing.assert_allclose(norm.running_mean, 0.3 * mean)
    np.testing.assert_allclose(norm.running_var, 0.7 + 0.3 * rows.var(axis=0, ddof=1))


def test_norm_eval_and_frozen_stages_are_the_backbones_own(
    images: torch.Tensor, mask: torch.Tensor
) -> None:
    frozen = build(norm_eval=False, frozen_stages=1).train()
    before = copy.deepcopy(dict(frozen.backbone.named_buffers()))
    encode(frozen, images, mask).square().sum().backward()
    for name, statistic in frozen.backbone.named_buffers():
        is_frozen = name.startswith(("bn1", "layer1"))
        assert torch.equal(statistic, before[name]) == is_frozen, name
    assert frozen.backbone.layer1[0].conv1.weight.grad is None
    assert frozen.backbone.layer2[0].conv1.weight.grad is not None

    evaluated = build(norm_eval=True).train()
    before = copy.deepcopy(dict(evaluated.backbone.named_buffers()))
    encode(evaluated, images, mask)
    for name, statistic in evaluated.backbone.named_buffers():
        assert torch.equal(statistic, before[name]), name


def test_gradients_reach_everything_and_checkpointing_keeps_them(
    images: torch.Tensor, mask: torch.Tensor
) -> None:
    gradients = []
    for with_cp in (False, True):
        model = build(with_cp=with_cp).train()
        (encode(model, images, mask) ** 3).sum().backward()
        gradients.append({name: each.grad for name, each in model.named_parameters()})
    for name, gradient in gradients[0].items():
        assert gradient is not None, name
        torch.testing.assert_close(gradient, gradients[1][name])


def train_step(
    images: torch.Tensor,
    mask: torch.Tensor,
    *,
    depth: int,
    kind: str,
    norm: str,
    with_cp: bool,
    amp: bool = False,
    backwards: int = 1,
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor | None], torch.Tensor]:
    """Buffers, gradients and features of two training steps."""
    model = build(depth, kind, with_cp=with_cp, norm_cfg=dict(type=norm)).train()
    for _ in range(2):
        with torch.autocast("cpu", torch.bfloat16, enabled=amp):
            features = encode(model, images, mask)
        for left in reversed(range(backwards)):
            (features.float() ** 3).sum().backward(retain_graph=left > 0)
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    return dict(model.named_buffers()), gradients, features


@pytest.mark.parametrize(
    "settings",
    [
        dict(depth=18, kind="mmdet.ResNet", norm="BN"),
        dict(depth=50, kind="mmdet.ResNet", norm="SyncBN"),
        dict(depth=50, kind="mmdet.ResNetV1d", norm="BN"),
        dict(depth=18, kind="mmdet.ResNet", norm="BN", amp=True),
        dict(depth=18, kind="mmdet.ResNet", norm="BN", backwards=2),
    ],
    ids=["basic", "bottleneck-sync", "v1d", "mixed-precision", "two-backward-passes"],
)
def test_checkpointing_keeps_running_statistics(
    images: torch.Tensor, mask: torch.Tensor, settings: dict[str, Any]
) -> None:
    plain, recomputed = (train_step(images, mask, with_cp=on, **settings) for on in (False, True))
    for name, buffer in plain[0].items():
        assert torch.equal(buffer, recomputed[0][name]), name
        if name.endswith("num_batches_tracked"):
            assert buffer == 2, name
    for name, gradient in plain[1].items():
        assert gradient is not None, name
        torch.testing.assert_close(gradient, recomputed[1][name])
    assert torch.equal(plain[2], recomputed[2])


def test_checkpointing_leaves_the_buffers_themselves_in_place(
    images: torch.Tensor, mask: torch.Tensor
) -> None:
    """A reference to a buffer, like DistributedDataParallel's, stays valid after a step."""
    model = build(with_cp=True).train()
    before = dict(model.named_buffers())
    encode(model, images, mask).square().sum().backward()
    for name, buffer in model.named_buffers():
        assert buffer is before[name], name


def test_running_averages_of_all_batches_count_each_once(
    images: torch.Tensor, mask: torch.Tensor
) -> None:
    """With ``momentum=None`` the running mean is that of the two steps' means, each half."""
    means = []
    for with_cp in (False, True):
        model = build(with_cp=with_cp, norm_cfg=dict(type="BN", momentum=None)).train()
        for scale in (1.0, 3.0):
            encode(model, images * scale, mask).square().sum().backward()
        means.append(model.backbone.layer4[1].bn2.running_mean)
    assert torch.equal(*means)


def test_fusion_sums_a_linear_map_of_each_stages_patch(
    images: torch.Tensor, mask: torch.Tensor
) -> None:
    model = build().eval()
    features = encode(model, images, mask)
    maps = model.masked_maps(images, mask)
    frame, (row, column) = 1, (~mask[1]).nonzero()[2].tolist()
    total = torch.zeros(24)
    for stage, side in ((1, 4), (2, 2), (3, 1)):
        rows, columns = (slice(place * side, (place + 1) * side) for place in (row, column))
        total = total + model.fusers[f"stage{stage}"](
            maps[stage][frame, :, rows, columns].flatten()
        )
    torch.testing.assert_close(features[frame, 2], model.norm(total))


def test_parameter_names_are_mmdetections(images: torch.Tensor) -> None:
    model = build().eval()
    plain = MODELS.build(dict(type="mmdet.ResNet", depth=18, base_channels=8))
    plain.eval()  # does not return the module
    plain.load_state_dict(model.backbone.state_dict(), strict=True)
    for ours, theirs in zip(model(images), plain(images), strict=True):
        assert torch.equal(ours, theirs)


def test_a_single_visible_position_falls_back_on_running_statistics() -> None:
    model = build().train()
    mask = torch.ones(1, 1, 2, dtype=torch.bool)
    mask[0, 0, 1] = False
    features = encode(model, torch.randn(1, 3, 32, 64), mask)
    assert features.shape == (1, 1, 24)
    features.square().sum().backward()
    assert all(each.grad.isfinite().all() for each in model.parameters() if each.grad is not None)


def test_bottleneck_strides_give_the_mask_patch_size() -> None:
    assert build().mask_patch_size == 32
    assert build(strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2)).mask_patch_size == 16


@pytest.mark.parametrize(
    ("backbone", "message"),
    [
        (dict(type="mmdet.MobileNetV2"), "cannot wrap MobileNetV2"),
        (dict(type="mmdet.Res2Net", depth=50), "Bottle2neck, with plugins or a forward of"),
        (dict(type="mmdet.ResNet", depth=50, norm_cfg=dict(type="GN", num_groups=8)), "GroupNorm"),
        (dict(type="mmdet.ResNet", depth=18, norm_cfg=dict(type="IN")), "InstanceNorm2d"),
        (
            dict(
                type="mmdet.ResNet",
                depth=50,
                dcn=dict(type="DCN", deform_groups=1),
                stage_with_dcn=(False, False, False, True),
            ),
            "deformable",
        ),
    ],
)
def test_unsupported_layers_are_refused(backbone: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MODELS.build(dict(type="MaskedResNet", backbone=backbone))


def test_fused_stages_must_exist() -> None:
    backbone = dict(type="mmdet.ResNet", depth=18)
    with pytest.raises(ValueError, match=r"fuse_stages \(4,\) must name stages of ResNet: 0 to 3"):
        MODELS.build(dict(type="MaskedResNet", backbone=backbone, fuse_stages=(4,)))


def test_an_uncounted_batch_is_normalised_by_running_averages_that_stay(
    images: torch.Tensor, mask: torch.Tensor
) -> None:
    """In training as in evaluation, where running averages are what is used."""
    model = build().train()
    before = {name: value.clone() for name, value in model.named_buffers()}
    maps = model.masked_maps(images, mask, counts=False)
    invalid = PatchMask.from_tensor(mask, 32, torch.zeros(len(mask), dtype=torch.bool))
    features = model.forward_masked(images, invalid).tokens_XKD
    for name, value in model.named_buffers():
        assert torch.equal(value, before[name]), name
    features.square().sum().backward()
    assert all(each.grad is not None for each in model.backbone.parameters())
    for ours, expected in zip(maps, model.eval().masked_maps(images, mask), strict=True):
        torch.testing.assert_close(ours, expected)


def test_an_uncounted_batch_adds_nothing_to_shared_statistics(
    images: torch.Tensor, mask: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other processes wait for this one at every layer, in both passes."""
    parts: list[tuple[str, int]] = []

    class RecordSizes(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, rows: torch.Tensor) -> torch.Tensor:
            parts.append(("forward", rows.shape[2]))
            return rows.clone()

        @staticmethod
        def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
            parts.append(("backward", gradient.shape[2]))
            return gradient

    def forward(self: nn.SyncBatchNorm, x: torch.Tensor) -> torch.Tensor:
        self.running_mean.add_(1)
        return RecordSizes.apply(x)

    model = build(norm_cfg=dict(type="SyncBN")).train()
    monkeypatch.setattr("drivemim.models.encoders.resnet.get_world_size", lambda group: 2)
    monkeypatch.setattr(nn.SyncBatchNorm, "forward", forward)
    before = {name: value.clone() for name, value in model.named_buffers()}
    invalid = PatchMask.from_tensor(mask, 32, torch.zeros(len(mask), dtype=torch.bool))
    model.forward_masked(images, invalid).tokens_XKD.square().sum().backward()
    layers = sum(isinstance(layer, nn.SyncBatchNorm) for layer in model.modules())
    assert sorted(parts) == [("backward", 0)] * layers + [("forward", 0)] * layers
    for name, value in model.named_buffers():
        assert torch.equal(value, before[name]), name
