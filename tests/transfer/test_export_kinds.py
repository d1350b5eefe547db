"""Export of checkpoints of other programs and of other kinds."""

import pytest
import torch
from mmengine.registry import MODELS

from drivemim.compat import read_checkpoint
from drivemim.errors import CheckpointError
from drivemim.training.run import train
from drivemim.transfer.exporting import export_backbone, load_weights, read_export

RESNET = {"type": "mmdet.ResNet", "depth": 18, "base_channels": 8}


@pytest.fixture(scope="module")
def resnet_run(repository, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    train(repository / "tests" / "toys" / "configs" / "resnet.py", work_dir=folder)
    return folder / "iter_2.pth"


@pytest.fixture(scope="module")
def resnet(resnet_run):
    export_backbone(resnet_run, resnet_run.with_name("resnet.safetensors"))
    return resnet_run.with_name("resnet.safetensors")


def detector():
    """Return a checkpoint with some names of a detector's weights."""
    model = torch.nn.Module()
    model.backbone = MODELS.build(RESNET)
    model.bbox_head = torch.nn.Linear(1, 1)
    return model


@pytest.mark.parametrize(
    "wrap",
    [
        lambda name: f"module.{name}",
        lambda name: f"_orig_mod.{name}",
        lambda name: f"model.{name}",
        lambda name: f"module._orig_mod.{name}",
        lambda name: name.replace("encoder.", "encoder._orig_mod.", 1),
    ],
    ids=["parallel", "compiled", "framework", "both", "compiled-part"],
)
def test_prefixes_of_training_are_removed(resnet_run, resnet, tmp_path, wrap):
    content = read_checkpoint(resnet_run)
    trained = content.pop("ema_state_dict")
    plain = {name.removeprefix("module."): value for name, value in trained.items()}
    plain.pop("steps")
    content["state_dict"] = {wrap(name): value for name, value in plain.items()}
    torch.save(content, tmp_path / "wrapped.pth")
    export_backbone(tmp_path / "wrapped.pth", tmp_path / "out.safetensors")
    expected, found = (read_export(each)[0] for each in (resnet, tmp_path / "out.safetensors"))
    assert expected.keys() == found.keys()
    assert all(torch.equal(value, found[name]) for name, value in expected.items())


def test_a_detectors_checkpoint_is_refused(resnet, tmp_path):
    model = detector()
    config = "model = dict(type='RetinaNet', backbone=dict(type='ResNet'), encoder=dict())"
    torch.save({"state_dict": model.state_dict(), "meta": {"cfg": config}}, tmp_path / "a.pth")
    torch.save({"state_dict": model.state_dict()}, tmp_path / "b.pth")
    for name in ("a.pth", "b.pth"):
        with pytest.raises(CheckpointError) as error:
            export_backbone(tmp_path / name, tmp_path / "x.safetensors")
        assert f"{name} is not of a pretraining run" in str(error.value)
        assert "a detector's checkpoint; drivemim test evaluates it" in str(error.value)
        assert "backbone_checkpoint=FILE starts a detector from its backbone" in str(error.value)
    with pytest.raises(CheckpointError, match="It is an exported backbone; a detector takes it"):
        export_backbone(resnet.with_suffix(".pth"), tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match="is an exported backbone; a detector takes it as"):
        export_backbone(resnet, tmp_path / "x.safetensors")
    assert not list(tmp_path.glob("x.*"))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_named(resnet_run, resnet, tmp_path, value):
    content = read_checkpoint(resnet_run)
    content["ema_state_dict"]["module.encoder.backbone.conv1.weight"][0, 0, 0, 0] = value
    torch.save(content, tmp_path / "broken.pth")
    match = (
        r"broken.pth holds numbers that are NaN or infinite in 1 \(encoder.backbone.conv1.weight"
    )
    with pytest.raises(CheckpointError, match=match):
        export_backbone(tmp_path / "broken.pth", tmp_path / "x.safetensors")
    assert not list(tmp_path.glob("x.*"))
    state = read_export(resnet)[0]
    state["conv1.weight"][0, 0, 0, 0] = value
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=r"other.pth .* infinite in 1 \(conv1.weight\)"):
        load_weights(detector(), tmp_path / "other.pth")


@pytest.mark.parametrize("ema", [True, False])
def test_empty_averages_count_as_no_averages(resnet_run, resnet, tmp_path, ema):
    content = read_checkpoint(resnet_run)
    name = "encoder.backbone.conv1.weight"
    torch.save({**content, "ema_state_dict": {}}, tmp_path / "empty.pth")
    out = tmp_path / "x.safetensors"
    if ema:
        with pytest.raises(CheckpointError, match=r"empty.pth has no averaged weights"):
            export_backbone(tmp_path / "empty.pth", out, ema=True)
        assert not out.exists()
    else:
        export_backbone(tmp_path / "empty.pth", out)
        assert torch.equal(read_export(out)[0]["conv1.weight"], content["state_dict"][name])


@pytest.mark.parametrize("ema", [True, False])
def test_averages_in_part_are_refused(resnet_run, tmp_path, ema):
    """Otherwise only some of the exported weights would be averages."""
    content = read_checkpoint(resnet_run)
    kept, name = content["ema_state_dict"], "encoder.backbone.conv1.weight"
    kept[name] = kept.pop(f"module.{name}")
    torch.save(content, tmp_path / "part.pth")
    with pytest.raises(CheckpointError) as error:
        export_backbone(tmp_path / "part.pth", tmp_path / "x.safetensors", ema=ema)
    assert "part.pth has an ema_state_dict that, among its names" in str(error.value)
    assert f"lacks 1 ({name}) of its state_dict" in str(error.value)
    assert not list(tmp_path.glob("x.*"))


@pytest.mark.parametrize("ema", [True, False])
@pytest.mark.parametrize("kept", ["unnamed", "list"])
def test_averages_of_another_origin_are_refused(resnet_run, tmp_path, ema, kept):
    content = read_checkpoint(resnet_run)
    content["ema_state_dict"] = dict(content["state_dict"]) if kept == "unnamed" else [1]
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(
        CheckpointError, match=r"other.pth has an ema_state_dict without names that"
    ):
        export_backbone(tmp_path / "other.pth", tmp_path / "x.safetensors", ema=ema)
    assert not list(tmp_path.glob("x.*"))


@pytest.mark.parametrize(("change", "named"), [
    (lambda value: value.to(torch.int8), "int8"),
    (lambda value: value.to(torch.complex64), "complex64"),
    (lambda value: value.to(torch.float8_e4m3fn), "float8_e4m3fn"),
    (lambda value: value.to_sparse(), "float32, sparse_coo"),
    (lambda value: "x", "str"),
])  # fmt: skip
def test_weights_of_another_type_are_named(resnet_run, resnet, tmp_path, change, named):
    content = read_checkpoint(resnet_run)
    name = "encoder.backbone.conv1.weight"
    del content["ema_state_dict"]
    content["state_dict"][name] = change(content["state_dict"][name])
    torch.save(content, tmp_path / "broken.pth")
    with pytest.raises(CheckpointError) as error:
        export_backbone(tmp_path / "broken.pth", tmp_path / "x.safetensors")
    assert f"broken.pth holds values that cannot fill a model in 1 ({name}: {named})" in str(
        error.value
    )
    assert not list(tmp_path.glob("x.*"))
    state = read_export(resnet)[0]
    state["conv1.weight"] = change(state["conv1.weight"])
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(CheckpointError) as error:
        load_weights(detector(), tmp_path / "other.pth")
    # Weights of any origin are looked for among tensors alone.
    expected = "no weights that are understood" if named == "str" else f"(conv1.weight: {named})"
    assert expected in str(error.value)
