"""ViTs of other projects: names and shapes as each documents them, features by its own forward.

Each reference below is that project's computation in plain PyTorch on the file's own tensors, but
for the class token, which ``drivemim.ViT`` does not have: no patch attends to it.
"""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - the name all of PyTorch's users know

from drivemim.errors import CheckpointError
from drivemim.models.encoders.vit import ViT
from drivemim.models.patches import PatchMask
from drivemim.transfer.exporting import load_weights

DIMS, DEPTH, HEADS, PATCH = 16, 3, 2, 8
GRID = (4, 4)
TIMM = {"norm1": "norm1", "norm2": "norm2", "qkv": "attn.qkv", "proj": "attn.proj",
        "fc1": "mlp.fc1", "fc2": "mlp.fc2", "blocks": "blocks", "embed": "patch_embed.proj",
        "norm": "norm"}  # fmt: skip
MMPRETRAIN = {"norm1": "ln1", "norm2": "ln2", "qkv": "attn.qkv", "proj": "attn.proj",
              "fc1": "ffn.layers.0.0", "fc2": "ffn.layers.1", "blocks": "layers",
              "embed": "patch_embed.projection", "norm": "ln1"}  # fmt: skip


def encode(encoder: Any, images_XCHW: torch.Tensor, mask_Xhw: torch.Tensor) -> torch.Tensor:
    mask = PatchMask.from_tensor(mask_Xhw, PATCH)
    tokens_XKD: torch.Tensor = encoder.forward_masked(images_XCHW, mask).tokens_XKD
    return tokens_XKD


def draw(*shape):
    return torch.randn(*shape) * 0.3


def vit_state(names, positions, depth=DEPTH):
    """A ViT's tensors under a project's names, with a class token."""
    shapes = {"norm1": (DIMS,), "norm2": (DIMS,), "qkv": (3 * DIMS, DIMS), "proj": (DIMS, DIMS),
              "fc1": (4 * DIMS, DIMS), "fc2": (DIMS, 4 * DIMS)}  # fmt: skip
    state = {"cls_token": draw(1, 1, DIMS), "pos_embed": positions}
    state[f"{names['embed']}.weight"] = draw(DIMS, 3, PATCH, PATCH)
    state[f"{names['embed']}.bias"] = draw(DIMS)
    for block in range(depth):
        for part, shape in shapes.items():
            name = f"{names['blocks']}.{block}.{names[part]}"
            state |= {f"{name}.weight": draw(*shape), f"{name}.bias": draw(shape[0])}
    for kind in ("weight", "bias"):
        state[f"{names['norm']}.{kind}"] = draw(DIMS)
    return state


def reference(names, state, images, positions_LD):
    """The forward that all these projects share, without its class token."""

    def linear(name, x):
        return F.linear(x, state[f"{name}.weight"], state[f"{name}.bias"])

    def norm(name, x):
        return F.layer_norm(x, (DIMS,), state[f"{name}.weight"], state[f"{name}.bias"], eps=1e-6)

    weight, bias = (state[f"{names['embed']}.{kind}"] for kind in ("weight", "bias"))
    maps = F.conv2d(images, weight, bias, stride=PATCH)
    x = maps.flatten(2).transpose(1, 2) + positions_LD
    for block in range(DEPTH):
        part = {each: f"{names['blocks']}.{block}.{names[each]}" for each in TIMM}
        B, N, C = x.shape
        qkv = linear(part["qkv"], norm(part["norm1"], x))
        q, k, v = qkv.reshape(B, N, 3, HEADS, C // HEADS).permute(2, 0, 3, 1, 4)
        attention = ((q @ k.transpose(-2, -1)) / math.sqrt(C // HEADS)).softmax(dim=-1)
        x = x + linear(part["proj"], (attention @ v).transpose(1, 2).reshape(B, N, C))
        hidden = linear(part["fc1"], norm(part["norm2"], x))
        hidden = hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2)))
        x = x + linear(part["fc2"], hidden)
    return norm(names["norm"], x).transpose(1, 2).reshape(maps.shape)


def mae_positions(grid, cls=True):
    """Positions as in MAE: columns in the first half of the channels; zeros for the class token."""
    table = np.zeros((grid[0] * grid[1], DIMS))
    for row in range(grid[0]):
        for column in range(grid[1]):
            for octave in range(DIMS // 4):
                speed = 1 / 10000 ** (octave / (DIMS / 4))
                values = np.sin(column * speed), np.cos(column * speed)
                values += np.sin(row * speed), np.cos(row * speed)
                table[row * grid[1] + column, octave :: DIMS // 4] = values
    table = np.concatenate([np.zeros((int(cls), DIMS)), table])
    return torch.tensor(table, dtype=torch.float32)[None]


def rows_first(positions, cls=1):
    """Positions as in MoCo v3 and mmpretrain's MAE: rows in the first half of the channels."""
    first, second = positions[:, cls:].chunk(2, dim=2)
    return torch.cat([positions[:, :cls], torch.cat([second, first], dim=2)], dim=1)


class Detector(nn.Module):
    def __init__(self, **settings):
        super().__init__()
        self.backbone = ViT(embed_dims=DIMS, depth=DEPTH, num_heads=HEADS, patch_size=PATCH,
                            **settings)  # fmt: skip


def load(tmp_path, content, **settings):
    torch.save(content, tmp_path / "other.pth")
    model = Detector(**settings).eval()
    return model.backbone, load_weights(model, tmp_path / "other.pth")


def prefixed(prefix, state):
    return {f"{prefix}{name}": value for name, value in state.items()}


LEARNED = {"position": "learned", "position_grid": GRID}


def mae(state):
    """Official: a decoder beside the encoder, under ``model``."""
    decoder = {"mask_token": draw(1, 1, 8), "decoder_pos_embed": draw(1, 17, 8),
               "decoder_embed.weight": draw(8, DIMS), "decoder_embed.bias": draw(8),
               "decoder_blocks.0.norm1.weight": draw(8), "decoder_norm.weight": draw(8),
               "decoder_pred.weight": draw(192, 8), "decoder_pred.bias": draw(192)}  # fmt: skip
    return {"model": {**state, **decoder}}


def dino(state):
    """DINO v1's training checkpoint: a student and its teacher, each with a head."""
    student = {f"module.backbone.{name}": value + 1.0 for name, value in state.items()}
    teacher = prefixed("backbone.", state) | {"head.mlp.0.weight": draw(8, DIMS)}
    return {"student": student, "teacher": teacher, "epoch": 3}


def moco(state):
    """MoCo v3's training checkpoint: two encoders, each with a projection as its head."""
    head = {"head.0.weight": draw(8, DIMS), "head.1.weight": draw(8), "head.1.bias": draw(8),
            "head.1.running_mean": draw(8), "head.1.running_var": draw(8),
            "head.1.num_batches_tracked": torch.tensor(3), "head.3.weight": draw(8, 8)}  # fmt: skip
    momentum = {name: value + 1.0 for name, value in state.items()}
    weights = {
        **prefixed("module.base_encoder.", state | head),
        **prefixed("module.momentum_encoder.", momentum | head),
        "module.predictor.0.weight": draw(8, 8), "module.predictor.3.weight": draw(8, 8),
    }  # fmt: skip
    return {"epoch": 300, "arch": "vit_base", "state_dict": weights, "optimizer": {}, "scaler": {}}


def mmpretrain(state):
    head = {"head.layers.head.weight": draw(10, DIMS), "head.layers.head.bias": draw(10)}
    return {"meta": {"epoch": 1}, "state_dict": {**prefixed("backbone.", state), **head}}


def timm(state):
    return {**state, "head.weight": draw(10, DIMS), "head.bias": draw(10)}


SOURCES = [
    pytest.param(TIMM, mae, mae_positions, {}, id="mae"),
    pytest.param(TIMM, mae, mae_positions, LEARNED, id="mae as learned"),
    pytest.param(TIMM, timm, lambda grid: draw(1, 17, DIMS), LEARNED, id="timm"),
    pytest.param(TIMM, dino, lambda grid: draw(1, 17, DIMS), LEARNED, id="dino"),
    pytest.param(TIMM, moco, lambda grid: rows_first(mae_positions(grid)), LEARNED, id="moco v3"),
    pytest.param(MMPRETRAIN, mmpretrain, lambda grid: draw(1, 17, DIMS), LEARNED, id="mmpretrain"),
    pytest.param(MMPRETRAIN, mmpretrain, lambda grid: rows_first(mae_positions(grid)), LEARNED,
                 id="mmpretrain's mae"),
]  # fmt: skip


@pytest.mark.parametrize(("names", "wrap", "positions", "settings"), SOURCES)
def test_features_are_those_of_the_source(tmp_path, names, wrap, positions, settings):
    torch.manual_seed(0)
    state = vit_state(names, positions(GRID))
    vit, report = load(tmp_path, wrap(state), **settings)
    images = torch.randn(2, 3, PATCH * GRID[0], PATCH * GRID[1])
    expected = reference(names, state, images, state["pos_embed"][0, 1:])
    with torch.no_grad():
        (found,) = vit(images)
        visible = encode(vit, images, torch.zeros(2, *GRID, dtype=torch.bool))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(visible, expected.flatten(2).transpose(1, 2), rtol=1e-4, atol=1e-4)
    assert "cls_token dropped: patches no longer attend to it" in report.lower()


def test_fixed_positions_go_on_over_larger_images(tmp_path):
    torch.manual_seed(1)
    state = vit_state(TIMM, mae_positions(GRID))
    vit, report = load(tmp_path, mae(state))
    images = torch.randn(1, 3, PATCH * 3, PATCH * 6)
    expected = reference(TIMM, state, images, mae_positions((3, 6), cls=False)[0])
    with torch.no_grad():
        torch.testing.assert_close(vit(images)[0], expected, rtol=1e-4, atol=1e-4)
    assert "fixed positions in the file (4 x 4) are drivemim.ViT's own" in report
    assert "decoder_blocks" in report
    assert "They lie under 'model' in the file" in report


def test_learned_positions_are_interpolated_as_deit_does(tmp_path):
    torch.manual_seed(2)
    state = vit_state(TIMM, draw(1, 17, DIMS))
    vit, _ = load(tmp_path, state, **LEARNED)
    images = torch.randn(1, 3, PATCH * 3, PATCH * 6)
    table = state["pos_embed"][:, 1:].reshape(1, 4, 4, DIMS).permute(0, 3, 1, 2)
    table = F.interpolate(table, size=(3, 6), mode="bicubic", align_corners=False)
    expected = reference(TIMM, state, images, table[0].permute(1, 2, 0).flatten(0, 1))
    with torch.no_grad():
        torch.testing.assert_close(vit(images)[0], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("prefix", "key"),
    [("module.", "state_dict"), ("_orig_mod.", "model"), ("model.", "state_dict"),
     ("encoder.", None), ("module._orig_mod.model.", "model_ema"), ("module.", "ema_state_dict"),
     ("backbone.", "teacher"), ("teacher.backbone.", None), ("", "model_state_dict")],
)  # fmt: skip
def test_prefixes_and_wrappers(tmp_path, prefix, key):
    state = vit_state(TIMM, mae_positions(GRID))
    content = prefixed(prefix, state)
    vit, report = load(tmp_path, content if key is None else {key: content, "epoch": 1})
    assert set(vit.state_dict()) == set(state) - {"cls_token", "pos_embed"}
    assert all(torch.equal(value, state[name]) for name, value in vit.state_dict().items())
    assert (f"Names in the file -> here: {prefix}* -> *." in report) == bool(prefix)


def test_a_momentum_encoder_alone_is_not_taken(tmp_path):
    state = vit_state(TIMM, mae_positions(GRID))
    with pytest.raises(CheckpointError, match=r"unexpected \d+ \(momentum_encoder\.cls_token"):
        load(tmp_path, {"state_dict": prefixed("module.momentum_encoder.", state)})


def test_of_a_student_and_a_teacher_the_teacher_is_taken(tmp_path):
    teacher = vit_state(TIMM, mae_positions(GRID))
    student = vit_state(TIMM, mae_positions(GRID))
    content = prefixed("student.", student) | prefixed("teacher.", teacher)
    vit, _ = load(tmp_path, {"state_dict": content})
    assert torch.equal(vit.norm.weight, teacher["norm.weight"])


def test_of_an_encoder_and_a_decoder_the_encoder_is_taken(tmp_path):
    state = prefixed("encoder.", vit_state(TIMM, mae_positions(GRID)))
    simmim = {"encoder.mask_token": draw(1, 1, DIMS), "decoder.0.weight": draw(8, DIMS, 1, 1)}
    load(tmp_path, {"model": state | simmim})
    with pytest.raises(CheckpointError, match="pretraining run; export its backbone"):
        load(tmp_path, {"state_dict": state | {"decoder.mask_token": draw(1)}})


def test_new_names_are_printed_beside_the_old(tmp_path):
    state = vit_state(MMPRETRAIN, mae_positions(GRID))
    _, report = load(tmp_path, mmpretrain(state))
    rows = dict(line.split(" -> ") for line in report.splitlines() if line.startswith("  "))
    assert {old.strip(): new for old, new in rows.items()} == {
        "backbone.patch_embed.projection": "patch_embed.proj (2)",
        "backbone.layers.*.ln1": "blocks.*.norm1 (6)",
        "backbone.layers.*.ln2": "blocks.*.norm2 (6)",
        "backbone.layers.*.attn.qkv": "blocks.*.attn.qkv (6)",
        "backbone.layers.*.attn.proj": "blocks.*.attn.proj (6)",
        "backbone.layers.*.ffn.layers.0.0": "blocks.*.mlp.fc1 (6)",
        "backbone.layers.*.ffn.layers.1": "blocks.*.mlp.fc2 (6)",
        "backbone.ln1": "norm (2)",
    }


@pytest.mark.parametrize(
    ("name", "part"),
    [("blocks.0.ls1.gamma", "LayerScale"), ("blocks.0.gamma_1", "LayerScale"),
     ("blocks.0.attn.gamma1.weight", "LayerScale"), ("blocks.0.ffn.gamma2.weight", "LayerScale"),
     ("register_tokens", "register tokens"), ("reg_token", "register tokens"),
     ("blocks.0.attn.rel_pos_h", "relative positions"),
     ("blocks.0.attn.relative_position_bias_table", "relative positions"),
     ("blocks.0.attn.q_norm.weight", "a norm of queries and keys"),
     ("blocks.0.mlp.w12.weight", "a gated MLP"), ("norm_pre.weight", "a norm before the blocks")],
)  # fmt: skip
def test_parts_that_the_vit_lacks_are_refused_by_name(tmp_path, name, part):
    state = vit_state(TIMM, mae_positions(GRID)) | {name: draw(DIMS)}
    with pytest.raises(CheckpointError, match=rf"has {part} \(1 tensors, module\.{name} the first"):
        load(tmp_path, prefixed("module.", state))


@pytest.mark.parametrize(
    ("positions", "settings", "message"),
    [
        (lambda: draw(1, 17, DIMS), {}, r"\(4 x 4\) that are learned; set position='learned', "
                                        r"position_grid=\(4, 4\)"),
        (lambda: rows_first(mae_positions(GRID)), {}, "fixed, but with the row in the first half"),
        (lambda: draw(1, 10, DIMS), LEARNED, r"positions of 3 x 3 patches, here position_grid is "
                                             r"\(4, 4\); set position_grid=\(3, 3\)"),
        (lambda: draw(1, 13, DIMS), {}, "learned positions of 12 patches, not those of a square"),
        (lambda: draw(1, 17, 8), {}, "positions of 8 channels, here embed_dims is 16"),
    ],
)  # fmt: skip
def test_other_positions_are_refused_by_name(tmp_path, positions, settings, message):
    with pytest.raises(CheckpointError, match=message):
        load(tmp_path, vit_state(TIMM, positions()), **settings)


def test_positions_without_one_for_the_class_token(tmp_path):
    for positions in (mae_positions(GRID, cls=False), mae_positions((2, 8), cls=True)):
        load(tmp_path, vit_state(TIMM, positions))
    state = vit_state(TIMM, draw(1, 16, DIMS))
    vit, _ = load(tmp_path, state, **LEARNED)
    assert torch.equal(vit.pos_embed, state["pos_embed"])
    state = vit_state(TIMM, draw(1, 13, DIMS))
    vit, _ = load(tmp_path, state, position="learned", position_grid=(2, 6))
    assert torch.equal(vit.pos_embed, state["pos_embed"][:, 1:])


def test_two_names_for_one_layer_are_named(tmp_path):
    state = vit_state(TIMM, mae_positions(GRID))
    state["ln1.weight"] = state["norm.weight"]
    with pytest.raises(CheckpointError) as error:
        load(tmp_path, state)
    assert "has two names for one layer: norm.weight and ln1.weight are both norm.weight" in str(
        error.value
    )
    assert len(str(error.value)) < 400 + len(str(tmp_path))


def test_missing_and_unexpected_tensors_are_still_refused(tmp_path):
    state = vit_state(TIMM, mae_positions(GRID))
    with pytest.raises(CheckpointError, match=r"missing 1 \(blocks.1.mlp.fc1.bias\)"):
        load(tmp_path, {k: v for k, v in state.items() if k != "blocks.1.mlp.fc1.bias"})
    with pytest.raises(CheckpointError, match=r"unexpected 12 \(blocks.3.norm1.weight"):
        load(tmp_path, vit_state(TIMM, mae_positions(GRID), depth=4))
    mean = {k.replace("norm.", "fc_norm.") if k.startswith("norm.") else k: v
            for k, v in state.items()}  # fmt: skip
    with pytest.raises(CheckpointError, match="no patch: set final_norm=False"):
        load(tmp_path, mean)
    load(tmp_path, mean, final_norm=False)
