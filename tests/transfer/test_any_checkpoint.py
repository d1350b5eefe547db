"""Weights files of any origin, loaded into plain MMDetection models."""

from functools import partial

import pytest
import safetensors
import safetensors.torch
import torch
from toy_exports import RESNET, detector, pretrain

from drivemim.errors import CheckpointError
from drivemim.transfer import weights_file
from drivemim.transfer.exporting import (
    export_backbone,
    load_weights,
    read_export,
)
from drivemim.transfer.initial_weights import load_initial_weights


@pytest.fixture(scope="module")
def resnet_run(repository, tmp_path_factory):
    return pretrain(repository, tmp_path_factory.mktemp("runs"), "resnet")


@pytest.fixture(scope="module")
def resnet(resnet_run):
    export_backbone(resnet_run, resnet_run.with_name("resnet.safetensors"))
    return resnet_run.with_name("resnet.safetensors")


def external(resnet, path, wrap=dict, prefix="", **more):
    """Write the exported weights as a checkpoint of another project."""
    state = {f"{prefix}{name}": value for name, value in read_export(resnet)[0].items()}
    torch.save(wrap({**state, **more}), path)
    return path


@pytest.mark.parametrize(
    ("prefix", "more", "left_out"),
    [
        ("", {}, ""),
        ("", {"fc.weight": torch.zeros(5, 64), "fc.bias": torch.zeros(5)}, "2 tensors of fc"),
        ("backbone.", {"neck.a": torch.zeros(1), "encoder.b": torch.zeros(1),
                       "decoder.c": torch.zeros(1)}, "3 tensors of decoder, encoder, neck"),
        ("module.backbone.", {"module.head.fc.bias": torch.zeros(5)}, "1 tensors of head"),
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "wrap", [dict, lambda state: {"state_dict": state, "epoch": 3}, lambda state: {"model": state}]
)
def test_any_checkpoint_starts_a_detector(resnet, tmp_path, wrap, prefix, more, left_out):
    path = external(resnet, tmp_path / "other.pth", wrap, prefix, **more)
    model = detector(RESNET, mean=[1.0, 2.0, 3.0])  # nothing is known of its normalisation
    report = load_weights(model, path)
    state = read_export(resnet)[0]
    assert set(model.backbone.state_dict()) == set(state)
    assert all(torch.equal(model.backbone.state_dict()[name], state[name]) for name in state)
    assert report.startswith(f"Loaded all {len(state)} tensors of the backbone of {path}, which")
    kind = "a detector's checkpoint" if prefix else "not an export of DriveMIM"
    assert f"which is {kind}. The file does not say how images were normalised" in report
    assert report.endswith(f"Left out: {left_out}") if left_out else "Left out" not in report


def test_other_safetensors_and_files_without_counters(resnet, tmp_path):
    state = read_export(resnet)[0]
    old = {name: value for name, value in state.items() if "num_batches" not in name}
    assert len(old) < len(state)
    safetensors.torch.save_file(old, tmp_path / "old.safetensors")
    model = detector(RESNET)
    load_weights(model, tmp_path / "old.safetensors")
    assert all(torch.equal(model.backbone.state_dict()[name], old[name]) for name in old)


def test_any_checkpoint_is_still_strict(resnet_run, resnet, tmp_path):
    state = read_export(resnet)[0]
    incomplete = {name: value for name, value in state.items() if name != "layer2.0.conv1.weight"}
    torch.save(incomplete, tmp_path / "incomplete.pth")
    model = detector(RESNET)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(CheckpointError, match=r"missing 1 \(layer2.0.conv1.weight\)"):
        load_weights(model, tmp_path / "incomplete.pth")
    path = external(resnet, tmp_path / "more.pth", **{"layer9.weight": torch.zeros(1)})
    with pytest.raises(CheckpointError, match=r"unexpected 1 \(layer9.weight\)"):
        load_weights(model, path)
    with pytest.raises(CheckpointError, match="export its backbone with drivemim export"):
        load_weights(model, resnet_run)
    torch.save({"iter": 3, "optimizer": {}}, tmp_path / "none.pth")
    with pytest.raises(CheckpointError, match=r"none.pth holds no weights that are understood"):
        load_weights(model, tmp_path / "none.pth")
    assert all(torch.equal(model.state_dict()[name], before[name]) for name in before)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_initial_weights_are_read_once(resnet, monkeypatch, suffix):
    opened = []
    for module, name in (
        (weights_file.safetensors, "safe_open"), (weights_file, "read_checkpoint"),
    ):  # fmt: skip
        original = getattr(module, name)
        monkeypatch.setattr(
            module,
            name,
            lambda path, *given, original=original, **named: (
                opened.append(path) or original(path, *given, **named)
            ),
        )
    path = resnet.with_suffix(suffix)
    for load in (
        load_weights,
        partial(load_initial_weights, whole=False),
        partial(load_initial_weights, whole=True),
    ):
        assert "features equal" in load(detector(RESNET), path)
        assert opened == [path]
        opened.clear()


def test_the_record_of_initial_weights_is_read_without_tensors(resnet):
    content, metadata = weights_file.read_weights(resnet, tensors=False)
    assert content == {"state_dict": {}}
    assert metadata == read_export(resnet)[1]


def test_an_export_is_verified_however_it_is_loaded(resnet):
    assert "features equal" in load_weights(detector(RESNET), resnet.with_suffix(".pth"))
    with pytest.raises(CheckpointError, match="features are not the pretrainer's"):
        load_weights(detector(RESNET, bgr_to_rgb=False), resnet)
