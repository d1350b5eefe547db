from typing import Any

import pytest
import torch
from mmengine.registry import DefaultScope

from drivemim.models import ViT
from drivemim.models.patches import PatchMask
from drivemim.registry import MODELS

SMALL = dict(embed_dims=32, depth=3, num_heads=4, patch_size=8)


def encode(encoder: Any, images_XCHW: torch.Tensor, mask_Xhw: torch.Tensor) -> torch.Tensor:
    mask = PatchMask.from_tensor(mask_Xhw, 8)
    tokens_XKD: torch.Tensor = encoder.forward_masked(images_XCHW, mask).tokens_XKD
    return tokens_XKD


def build(**changes: object) -> ViT:
    torch.manual_seed(0)
    return MODELS.build(dict(type="ViT", **{**SMALL, **changes}))


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(2, 3, 32, 48, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def mask() -> torch.Tensor:
    noise = torch.rand(2, 24, generator=torch.Generator().manual_seed(2))
    return (noise.argsort(dim=1) < 15).reshape(2, 4, 6)


def test_empty_mask_is_the_plain_backbone(images: torch.Tensor) -> None:
    model = build()
    (plain,) = model(images)
    assert plain.shape == (2, 32, 4, 6)
    masked = encode(model, images, torch.zeros(2, 4, 6, dtype=torch.bool))
    torch.testing.assert_close(masked.transpose(1, 2).reshape(plain.shape), plain)


@pytest.mark.parametrize("training", [True, False])
def test_hidden_pixels_have_no_influence(
    images: torch.Tensor, mask: torch.Tensor, training: bool
) -> None:
    model = build().train(training)
    hidden_pixels = mask.repeat_interleave(8, 1).repeat_interleave(8, 2)[:, None]
    changed = torch.where(hidden_pixels, torch.full_like(images, torch.nan), images)
    before, after = (encode(model, each, mask) for each in (images, changed))
    assert before.shape == (2, 9, 32)
    assert torch.equal(before, after)


def test_visible_pixels_have_influence(images: torch.Tensor, mask: torch.Tensor) -> None:
    model = build()
    assert not torch.equal(
        encode(model, images, mask),
        encode(model, -images, mask),
    )


def test_order_is_row_major_and_positions_are_those_of_the_patches(images: torch.Tensor) -> None:
    model = build(depth=1, final_norm=False)
    model.blocks[0] = torch.nn.Identity()
    (plain,) = model(images)
    mask = torch.ones(2, 4, 6, dtype=torch.bool)
    mask[0, 1, 4] = mask[0, 3, 0] = mask[1, 0, 5] = mask[1, 2, 2] = False
    visible = encode(model, images, mask)
    torch.testing.assert_close(visible[0], torch.stack([plain[0, :, 1, 4], plain[0, :, 3, 0]]))
    torch.testing.assert_close(visible[1], torch.stack([plain[1, :, 0, 5], plain[1, :, 2, 2]]))


def test_images_that_show_more_or_less_are_encoded_as_if_alone(images: torch.Tensor) -> None:
    model = build()
    mask = torch.rand(5, 4, 6, generator=torch.Generator().manual_seed(2)) < 0.5
    mask[1] = True
    mask[3] = mask[0].flip(0)
    images = torch.randn(5, *images.shape[1:])
    together = encode(model, images, mask)
    assert together.shape[1] == int((~mask).flatten(1).sum(1).max())
    for number in (0, 2, 3, 4):
        one = slice(number, number + 1)
        alone = encode(model, images[one], mask[one])[0]
        torch.testing.assert_close(together[number, : len(alone)], alone)
        assert (together[number, len(alone) :] == 0).all()
    assert (together[1] == 0).all()


def test_any_multiple_of_the_patch_but_nothing_else() -> None:
    model = build()
    assert model(torch.zeros(1, 3, 8, 80))[0].shape == (1, 32, 1, 10)
    with pytest.raises(ValueError, match="30x48"):
        model(torch.zeros(1, 3, 30, 48))


def test_out_indices(images: torch.Tensor) -> None:
    model = build(out_indices=(0, -1), final_norm=True)
    first, last = model(images)
    torch.testing.assert_close(first, build(out_indices=(0,))(images)[0])
    torch.testing.assert_close(last, build()(images)[0])
    # Layer normalisation of the last map only.
    torch.testing.assert_close(last.mean(dim=1), torch.zeros(2, 4, 6), atol=1e-5, rtol=0)
    assert first.mean(dim=1).abs().max() > 0.01
    with pytest.raises(ValueError, match=r"\(3,\) must be blocks of a depth-3"):
        build(out_indices=(3,))


def test_layers_for_decay_rise_from_embedding_to_norm() -> None:
    model = build()
    layers = {name: model.layer_of(name) for name, _ in model.named_parameters()}
    assert model.num_layers == 5
    assert layers["patch_embed.proj.weight"] == 0
    assert layers["blocks.0.norm1.bias"] == 1
    assert layers["blocks.2.mlp.fc2.weight"] == 3
    assert layers["norm.weight"] == 4
    assert set(layers.values()) == set(range(5))
    with pytest.raises(ValueError, match="'backbone.norm.weight' is not"):
        model.layer_of("backbone.norm.weight")


@pytest.mark.parametrize("arch", ["tiny", "small"])
def test_sizes_run_forward_and_backward(arch: str) -> None:
    model = MODELS.build(dict(type="ViT", arch=arch))
    images = torch.randn(1, 3, 32, 48)
    mask = torch.tensor([[[True, False, True], [True, False, False]]])
    (encode(model, images, mask).square().mean() + model(images)[0].sum()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


@pytest.mark.parametrize(
    ("arch", "dims", "depth"), [("base", 768, 12), ("large", 1024, 24)]
)  # fmt: skip
def test_number_of_parameters_by_hand(arch: str, dims: int, depth: int) -> None:
    with torch.device("meta"):
        model = MODELS.build(dict(type="ViT", arch=arch, patch_size=16))
    block = (3 * dims * dims + 3 * dims) + (dims * dims + dims) + (8 * dims * dims + 5 * dims)
    expected = (3 * 256 * dims + dims) + depth * (block + 4 * dims) + 2 * dims
    assert sum(parameter.numel() for parameter in model.parameters()) == expected


def test_checkpointing_changes_memory_not_gradients(
    images: torch.Tensor, mask: torch.Tensor
) -> None:
    gradients = []
    for with_cp in (False, True):
        model = build(with_cp=with_cp)
        encode(model, images, mask).square().sum().backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    for plain, recomputed in zip(*gradients, strict=True):
        assert plain is not None
        torch.testing.assert_close(plain, recomputed)


def test_checkpointing_drops_the_same_paths_and_draws_no_other_numbers(
    images: torch.Tensor, mask: torch.Tensor
) -> None:
    found = []
    for with_cp in (False, True):
        model = build(with_cp=with_cp, drop_path_rate=0.5).train()
        torch.manual_seed(3)
        encode(model, images, mask).square().sum().backward()
        found.append([*(parameter.grad for parameter in model.parameters()), torch.rand(4)])
    for plain, recomputed in zip(*found, strict=True):
        torch.testing.assert_close(plain, recomputed)


@pytest.mark.parametrize(
    ("stages", "trained"),
    [
        (-1, {"patch_embed", "blocks.0", "blocks.1", "blocks.2", "norm"}),
        (0, {"blocks.0", "blocks.1", "blocks.2", "norm"}),
        (2, {"blocks.2", "norm"}),
        (3, set()),
    ],
)
def test_frozen_blocks_have_no_gradient_and_no_drop_path(
    images: torch.Tensor, stages: int, trained: set[str]
) -> None:
    model = build(frozen_stages=stages, drop_path_rate=0.5).train()
    found = {
        ".".join(name.split(".")[: 2 if name.startswith("blocks") else 1])
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }
    assert found == trained
    assert [block.training for block in model.blocks] == [n >= stages for n in range(3)]
    assert model(images)[0].requires_grad == bool(trained)
    assert not model.eval().blocks[2].training
    if stages == 3:
        assert torch.equal(model.train()(images)[0], model.eval()(images)[0])


@pytest.mark.parametrize("rate", [10, -0.1, 1.0])
def test_the_rate_of_stochastic_depth_is_below_one(rate: float) -> None:
    with pytest.raises(ValueError, match=rf"drop_path_rate={rate} must be in \[0, 1\)"):
        build(drop_path_rate=rate)


def test_stages_that_are_not_there_cannot_be_frozen() -> None:
    with pytest.raises(ValueError, match="frozen_stages 4 must be -1 to 3"):
        build(frozen_stages=4)


def test_drop_path_rises_to_the_given_rate() -> None:
    rates = [block.drop_path.rate for block in build(drop_path_rate=0.2).blocks]
    assert rates == [0.0, 0.1, 0.2]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (dict(arch="huge"), "unknown ViT arch 'huge'; choose one of micro, tiny, small"),
        (dict(embed_dims=32), "needs arch, or all of"),
        (dict(arch="tiny", num_heads=5), "192 must be a multiple of 4"),
    ],
)
def test_wrong_sizes_are_named(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ViT(**wrong)


def test_weights_load_into_an_mmdetection_detector(images: torch.Tensor) -> None:
    from mmdet.utils import register_all_modules

    register_all_modules(init_default_scope=False)
    encoder = build().eval()
    with DefaultScope.overwrite_default_scope("mmdet"):
        detector = MODELS.build(
            dict(
                type="mmdet.RetinaNet",
                backbone=dict(type="drivemim.ViT", **SMALL),
                neck=dict(
                    type="drivemim.SimpleFeaturePyramid",
                    in_channels=32,
                    out_channels=16,
                    scales=(2.0, 1.0),
                ),
                bbox_head=dict(
                    type="mmdet.RetinaHead",
                    num_classes=2,
                    in_channels=16,
                    feat_channels=16,
                    stacked_convs=1,
                    anchor_generator=dict(
                        type="mmdet.AnchorGenerator", scales=[4], ratios=[1.0], strides=[4, 8]
                    ),
                    bbox_coder=dict(type="mmdet.DeltaXYWHBBoxCoder"),
                ),
            )
        ).eval()
    detector.backbone.load_state_dict(encoder.state_dict(), strict=True)
    assert torch.equal(detector.backbone(images)[0], encoder(images)[0])
    assert [tuple(map_.shape) for map_ in detector.extract_feat(images)] == [
        (2, 16, 8, 12),
        (2, 16, 4, 6),
    ]


def test_learned_positions_start_as_the_fixed_ones(
    images: torch.Tensor, mask: torch.Tensor
) -> None:
    fixed, learned = build(), build(position="learned", position_grid=(4, 6))
    assert set(learned.state_dict()) - set(fixed.state_dict()) == {"pos_embed"}
    learned.load_state_dict(fixed.state_dict(), strict=False)
    torch.testing.assert_close(learned(images)[0], fixed(images)[0])
    torch.testing.assert_close(
        encode(learned, images, mask),
        encode(fixed, images, mask),
    )
    learned(images)[0].sum().backward()
    assert learned.pos_embed.grad is not None


def test_learned_positions_are_interpolated_to_any_grid() -> None:
    model = build(position="learned", position_grid=(2, 2), depth=1, final_norm=False)
    model.blocks[0] = torch.nn.Identity()
    torch.nn.init.zeros_(model.patch_embed.proj.weight)
    with torch.no_grad():
        # A slope from column to column, which bicubic interpolation keeps between the centres.
        model.pos_embed[:] = torch.tensor([0.0, 4.0, 0.0, 4.0])[None, :, None]
        (found,) = model(torch.zeros(1, 3, 24, 48))
    assert found.shape == (1, 32, 3, 6)
    assert torch.equal(found[0, 0], found[0, 31])
    assert torch.allclose(found[0, 0], found[0, 0, :1].expand(3, 6))
    middle = found[0, 0, 0]
    torch.testing.assert_close(middle + middle.flip(0), torch.full((6,), 4.0))
    assert bool((middle.diff() > -1e-6).all())


def test_learned_positions_belong_to_the_embedding() -> None:
    model = build(position="learned", position_grid=(4, 6), frozen_stages=0)
    assert model.layer_of("pos_embed") == 0
    assert not model.pos_embed.requires_grad


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"position": "rotary"}, "unknown position 'rotary'; choose 'sincos' or 'learned'"),
        ({"position": "learned", "position_grid": (14,)}, r"position_grid \(14,\) must be rows"),
        ({"position": "learned", "position_grid": (0, 4)}, r"position_grid \(0, 4\) must be rows"),
    ],
)
def test_wrong_positions_are_named(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(**wrong)
