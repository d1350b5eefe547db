import pytest
import torch
from mmengine.optim import build_optim_wrapper
from torch import nn

import drivemim.training  # noqa: F401 - registers LayerDecay
from drivemim.errors import ConfigError
from drivemim.models import ViT


class Detector(nn.Module):
    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(8, 2)


def build(model, rate, **optimizer):
    return build_optim_wrapper(
        model,
        {
            "type": "OptimWrapper",
            "optimizer": {"type": "AdamW", "lr": 0.8, "weight_decay": 0.05, **optimizer},
            "constructor": "drivemim.LayerDecay",
            "paramwise_cfg": {"decay_rate": rate},
        },
    )


def settings(model, wrapper):
    found = {}
    for group in wrapper.optimizer.param_groups:
        for parameter in group["params"]:
            found[id(parameter)] = (group["lr"], group["weight_decay"])
    return {name: found.get(id(parameter)) for name, parameter in model.named_parameters()}


def test_learning_rates_by_hand():
    # Layers: embedding, 2 blocks, final norm. With a decay rate of 1/2, the norm and everything
    # outside the backbone keep 0.8; the last block has 0.4, the first 0.2, the embedding 0.1.
    model = Detector(ViT(embed_dims=8, depth=2, num_heads=2, patch_size=4))
    model.backbone.blocks[0].requires_grad_(False)
    found = settings(model, build(model, 0.5))
    for name, value in found.items():
        if "blocks.0" in name:
            assert value is None
            continue
        layer = {"patch_embed": 0.1, "blocks": 0.4, "norm": 0.8}
        rate = layer[name.split(".")[1]] if name.startswith("backbone") else 0.8
        decay = 0.05 if model.get_parameter(name).ndim > 1 else 0.0
        assert value == (pytest.approx(rate), decay), name
    assert found["head.weight"] == (0.8, 0.05)
    assert found["head.bias"] == (0.8, 0.0)


def test_stages_of_a_residual_network_by_hand():
    from mmdet.models.backbones import ResNet

    model = Detector(ResNet(depth=18, base_channels=4, frozen_stages=0, norm_eval=False))
    found = settings(model, build(model, 0.5))
    # Layers: stem, four stages. With a decay rate of 1/2, the last stage and everything outside
    # the backbone keep 0.8.
    rates = {"layer4": 0.8, "layer3": 0.4, "layer2": 0.2, "layer1": 0.1, "conv1": None, "bn1": None}
    for name, value in found.items():
        rate = rates[name.split(".")[1]] if name.startswith("backbone") else 0.8
        assert value is None if rate is None else value[0] == pytest.approx(rate), name
    trained = Detector(ResNet(depth=18, base_channels=4, frozen_stages=-1, norm_eval=False))
    assert settings(trained, build(trained, 0.5))["backbone.conv1.weight"][0] == 0.05


def test_a_detectors_own_encoder_is_not_its_backbone():
    model = Detector(ViT(embed_dims=8, depth=1, num_heads=2, patch_size=4))
    model.encoder = nn.Linear(8, 8)
    found = settings(model, build(model, 0.5))
    assert found["encoder.weight"] == (0.8, 0.05)
    assert found["backbone.patch_embed.proj.weight"] == (pytest.approx(0.2), 0.05)


def test_first_step_moves_layers_in_proportion():
    model = Detector(ViT(embed_dims=8, depth=1, num_heads=2, patch_size=4))
    wrapper = build(model, 0.5, weight_decay=0.0)
    weights = (model.backbone.patch_embed.weight if hasattr(model.backbone.patch_embed, "weight")
               else next(model.backbone.patch_embed.parameters()), model.head.weight)  # fmt: skip
    before = [weight.detach().clone() for weight in weights]
    wrapper.update_params(sum(parameter.sum() for parameter in model.parameters()))
    # Adam's first step has the length of the learning rate for any gradient.
    for weight, old, rate in zip(weights, before, (0.2, 0.8), strict=True):
        torch.testing.assert_close(old - weight, torch.full_like(old, rate))


def test_rate_one_needs_no_layers_and_drops_decay_of_norms():
    model = Detector(nn.Sequential(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8)))
    found = settings(model, build(model, 1.0))
    assert found["backbone.0.weight"] == (0.8, 0.05)
    assert found["backbone.1.weight"] == found["head.bias"] == (0.8, 0.0)
    with pytest.raises(ConfigError, match="Sequential has no layer_of: use decay_rate=1"):
        build(model, 0.9)


@pytest.mark.parametrize("rate", ["abc", None, True])
def test_a_learning_rate_that_is_no_number_is_refused(rate):
    with pytest.raises(ConfigError, match=rf"a number as .*optimizer\.lr, not .?{rate}"):
        build(Detector(nn.Conv2d(3, 8, 1)), 1.0, lr=rate)


@pytest.mark.parametrize("rate", [0, 1.5, None])
def test_senseless_rate_is_refused(rate):
    with pytest.raises(ConfigError, match=r"decay_rate=number in \(0, 1\]"):
        build(Detector(nn.Conv2d(3, 8, 1)), rate)
