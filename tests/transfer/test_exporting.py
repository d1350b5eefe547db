"""Exports of the project's own pretrainers, loaded into plain MMDetection models."""

import json
import re

import pytest
import safetensors
import safetensors.torch
import torch
from mmengine.registry import DefaultScope
from toy_exports import NORMALIZATION, RESNET, VIT, detector, pretrain

from drivemim.compat import read_checkpoint
from drivemim.errors import CheckpointError, ConfigError
from drivemim.training.run import train
from drivemim.transfer.exporting import (
    export_backbone,
    load_export,
    read_export,
)
from drivemim.transfer.feature_check import fixed_image
from drivemim.transfer.name_matching import describe_differences


@pytest.fixture(scope="module")
def resnet_run(repository, tmp_path_factory):
    return pretrain(repository, tmp_path_factory.mktemp("runs"), "resnet")


@pytest.fixture(scope="module")
def resnet(resnet_run):
    export_backbone(resnet_run, resnet_run.with_name("resnet.safetensors"))
    return resnet_run.with_name("resnet.safetensors")


@pytest.fixture(scope="module")
def vit(repository, tmp_path_factory):
    checkpoint = pretrain(repository, tmp_path_factory.mktemp("runs"), "vit")
    export_backbone(checkpoint, checkpoint.with_name("vit.safetensors"))
    return checkpoint.with_name("vit.safetensors")


@pytest.mark.parametrize("kind", ["LossPredictor", "TeacherAttention"])
def test_a_teachers_weights_stay_behind(repository, tmp_path, kind):
    """The averaged weights of this run contain the teacher's as well."""
    config = repository / "tests" / "toys" / "configs" / "vit.py"
    guided = {"model.teacher": {"type": kind}, "model.masking": {"type": "GuidedMask"}}
    train(config, work_dir=tmp_path, options=guided)
    checkpoint = tmp_path / "iter_2.pth"
    content = read_checkpoint(checkpoint)
    names = {
        name.removeprefix("encoder.")
        for name in content["state_dict"]
        if not name.startswith("teacher.")
    }
    assert any(name.startswith("teacher.") for name in content["state_dict"])
    for ema in (False, True):
        export_backbone(checkpoint, tmp_path / "vit.safetensors", ema=ema)
        state, metadata = read_export(tmp_path / "vit.safetensors")
        assert set(state) == {name for name in names if name.startswith(("patch", "block", "norm"))}
        assert "teacher" not in json.dumps(metadata["architecture"])
        model = detector(VIT)
        load_export(model, tmp_path / "vit.safetensors")
        assert all(torch.equal(model.backbone.state_dict()[name], state[name]) for name in state)


def test_metadata_says_how_to_use_the_weights(resnet, resnet_run):
    with safetensors.safe_open(resnet, framework="pt") as file:
        metadata = json.loads(file.metadata()["drivemim"])
    assert metadata["architecture"] == {**RESNET, "norm_eval": False}
    assert metadata["normalization"] == NORMALIZATION
    assert metadata["input_size"] == [64, 96]
    assert metadata["strides"] == [4, 8, 16, 32]
    assert metadata["channels"] == [8, 16, 32, 64]
    assert metadata["source"]["checkpoint"] == str(resnet_run)
    assert (metadata["source"]["iteration"], metadata["source"]["seed"]) == (2, 0)
    assert metadata["drivemim_version"]


def test_export_holds_the_trained_weights_or_the_averaged(resnet_run, resnet, tmp_path):
    content = read_checkpoint(resnet_run)
    name = "conv1.weight"
    trained = content["ema_state_dict"][f"module.encoder.backbone.{name}"]
    averaged = content["state_dict"][f"encoder.backbone.{name}"]
    assert not torch.equal(trained, averaged)
    assert torch.equal(read_export(resnet)[0][name], trained)
    metadata = export_backbone(resnet_run, tmp_path / "ema.safetensors", ema=True)
    assert torch.equal(read_export(tmp_path / "ema.safetensors")[0][name], averaged)
    assert metadata["source"]["ema"] is True


def test_exporting_averaged_weights_without_averages_is_refused(repository, tmp_path):
    config = repository / "tests" / "toys" / "configs" / "toy.py"
    train(
        config,
        work_dir=tmp_path / "noema",
        options={
            "train_cfg.max_iters": 4,
            "param_scheduler.0.end": 2,
            "param_scheduler.1.begin": 2,
            "param_scheduler.1.end": 4,
        },
    )
    with pytest.raises(CheckpointError, match=r"iter_4.pth has no averaged weights"):
        export_backbone(tmp_path / "noema" / "iter_4.pth", tmp_path / "x.safetensors", ema=True)
    assert not list(tmp_path.glob("x.*"))


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_detector_loads_every_tensor_and_sees_the_same(resnet, suffix):
    model = detector(RESNET)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    report = load_export(model, resnet.with_suffix(suffix), architecture=RESNET)
    state = read_export(resnet)[0]
    assert report.startswith(f"Loaded all {len(state)} tensors")
    assert set(model.backbone.state_dict()) == set(state)
    for name, value in model.state_dict().items():
        expected = state[name[9:]] if name.startswith("backbone.") else before[name]
        assert torch.equal(value, expected), name


def test_plain_mmdetection_loads_the_pth_fully(resnet):
    from mmdet.registry import MODELS

    checkpoint = str(resnet.with_suffix(".pth"))
    with DefaultScope.overwrite_default_scope("mmdet"):
        model = MODELS.build(
            {**RESNET, "init_cfg": {"type": "Pretrained", "checkpoint": checkpoint}}
        )
    model.init_weights()
    state = read_export(resnet)[0]
    assert set(model.state_dict()) == set(state)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_detector_features_are_the_pretrainers(resnet, resnet_run):
    # Independently of the fingerprint: normalise by hand, run MMDetection's ResNet.
    model = detector(RESNET)
    load_export(model, resnet)
    image = fixed_image((64, 96)).numpy()[None, :, :, ::-1].copy()
    rgb = torch.from_numpy(image).permute(0, 3, 1, 2).double()
    mean, std = (torch.tensor(NORMALIZATION[key]).view(3, 1, 1) for key in ("mean", "std"))
    model.eval()
    with torch.no_grad():
        maps = model.backbone.double()((rgb - mean) / std)
    for features, entry in zip(maps, read_export(resnet)[1]["fingerprint"], strict=True):
        assert list(features.shape[1:]) == entry["shape"]
        expected = torch.tensor(entry["means"]).double()
        torch.testing.assert_close(features.mean(dim=(0, 2, 3)), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    "wrong",
    [
        {"mean": [103.53, 116.28, 123.675]},
        {"std": [57.375, 57.12, 58.395]},
        {"bgr_to_rgb": False},
        {"mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0]},
    ],
)
@pytest.mark.parametrize("export", ["resnet", "vit"])
def test_wrong_normalisation_is_caught(request, export, wrong):
    path = request.getfixturevalue(export)
    backbone = RESNET if export == "resnet" else VIT
    with pytest.raises(CheckpointError, match="features are not the pretrainer's") as error:
        load_export(detector(backbone, **wrong), path)
    assert "set these in model.data_preprocessor" in str(error.value)


def test_same_names_but_another_network_is_caught(resnet):
    # A dilated ResNet has the very same parameters.
    other = {**RESNET, "strides": (1, 2, 2, 1), "dilations": (1, 1, 1, 2)}
    with pytest.raises(CheckpointError, match="level 3 has shape"):
        load_export(detector(other), resnet, architecture=other)


def test_other_architecture_is_named(resnet, vit):
    deeper = {**RESNET, "depth": 50}
    with pytest.raises(CheckpointError) as error:
        load_export(detector(deeper), resnet, architecture=deeper)
    message, _, names = str(error.value).partition(". Tensors: ")
    assert "does not fit the detector's ResNet: in the export depth is 18, here 50. Give" in message
    assert names.startswith("missing 198 (layer1.0.conv3.weight, layer1.0.bn3.weight, ")
    assert "layer1.0.bn3.num_batches_tracked" not in names  # the sixth
    assert "and 193 more); misshapen " in names
    with pytest.raises(CheckpointError, match="type is ViT, here ResNet"):
        load_export(detector(RESNET), vit, architecture=RESNET)


def test_vit_loads_with_other_out_indices(vit):
    load_export(detector(VIT), vit, architecture=VIT)
    load_export(detector({**VIT, "out_indices": [0, 2]}), vit)
    with pytest.raises(CheckpointError, match="the export has"):
        load_export(detector({**VIT, "out_indices": [0, 1]}), vit)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_truncated_export_is_named(resnet, tmp_path, suffix):
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(resnet.with_suffix(suffix).read_bytes()[:-1000])
    with pytest.raises(CheckpointError, match=rf"cut{suffix} is cut short"):
        read_export(path)


def test_other_files_are_refused(resnet_run, tmp_path):
    with pytest.raises(FileNotFoundError, match="write it with drivemim export"):
        read_export(tmp_path / "none.safetensors")
    with pytest.raises(CheckpointError, match="was not written by drivemim export"):
        read_export(resnet_run)
    with pytest.raises(ConfigError, match="must end in .safetensors"):
        export_backbone(resnet_run, tmp_path / "x.pth")
    torch.save({"state_dict": {}, "meta": {}}, tmp_path / "empty.pth")
    with pytest.raises(CheckpointError, match="It is not a checkpoint: it has no weights"):
        export_backbone(tmp_path / "empty.pth", tmp_path / "x.safetensors")


def test_a_checkpoint_without_meta_needs_the_runs_config(repository, resnet_run, resnet, tmp_path):
    """Other tools keep only the weights of a checkpoint."""
    content = read_checkpoint(resnet_run)
    bare, out = tmp_path / "bare.pth", tmp_path / "x.safetensors"
    torch.save({key: content[key] for key in ("state_dict", "ema_state_dict")}, bare)
    with pytest.raises(CheckpointError, match=r"bare.pth holds no config; give .* --config"):
        export_backbone(bare, out)
    config = repository / "tests" / "toys" / "configs" / "resnet.py"
    metadata = export_backbone(bare, out, config=config)
    assert metadata["source"]["iteration"] is None
    assert all(torch.equal(value, read_export(resnet)[0][name])
               for name, value in read_export(out)[0].items())  # fmt: skip
    torch.save(content["state_dict"], bare)
    with pytest.raises(CheckpointError, match=r"bare.pth is not a training checkpoint"):
        export_backbone(bare, out, config=config)


def test_export_first_checks_its_first_argument(tmp_path):
    export, run = tmp_path / "backbone.safetensors", tmp_path / "iter_2.pth"
    message = (
        "named like an export, .*it and .*iter_2.pth seem swapped: CHECKPOINT comes before OUT"
    )
    with pytest.raises(ConfigError, match=message):
        export_backbone(export, run)
    with pytest.raises(FileNotFoundError, match="there is no checkpoint at .*backbone.safetensors"):
        export_backbone(export, tmp_path / "out.safetensors")
    with pytest.raises(FileNotFoundError, match="there is no checkpoint at .*iter_2.pth"):
        export_backbone(run, tmp_path / "out.pth")


def test_export_does_not_replace_its_checkpoint(resnet_run):
    before = resnet_run.read_bytes()
    with pytest.raises(ConfigError, match=rf"{resnet_run.name}.*would replace the checkpoint"):
        export_backbone(resnet_run, resnet_run.with_suffix(".safetensors"))
    assert resnet_run.read_bytes() == before


def test_differences_between_configs_are_those_that_matter(resnet):
    backbone = detector(RESNET).backbone
    same = {**RESNET, "type": "ResNet", "style": "pytorch", "frozen_stages": 1,
            "norm_cfg": {"type": "SyncBN", "requires_grad": False}, "init_cfg": None}  # fmt: skip
    exported = {**RESNET, "norm_cfg": {"type": "BN", "requires_grad": True}}
    assert describe_differences(exported, same, backbone) == ""
    assert describe_differences(exported, {**same, "style": "caffe"}, backbone) == (
        "style is pytorch, here caffe"
    )


def test_the_transfer_guides_code_runs(repository, resnet, capsys):
    (code,) = re.findall(
        r"```python\n(.*?)```",
        (repository / "docs" / "guides" / "transfer.md").read_text(),
        re.DOTALL,
    )
    code = code.replace('"mae_pretrain_vit_base.pth"', repr(str(resnet)))
    exec(compile(code, "docs/guides/transfer.md", "exec"), {"detector": detector(RESNET)})
    assert "features equal" in capsys.readouterr().out
