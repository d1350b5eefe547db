"""tools/transfer.py and the files that it writes."""

import pytest
from in_process import run_script


def tool(name, *arguments, **more):
    return run_script(f"tools/{name}", *arguments, **more)


@pytest.fixture(scope="module")
def export(repository, tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    configs = repository / "tests" / "toys" / "configs"
    trained = tool("train.py", configs / "resnet.py", "--work-dir", folder / "run")
    assert trained.returncode == 0, trained.stderr[-2000:]
    out = folder / "backbone.safetensors"
    exported = tool("export_backbone.py", folder / "run" / "iter_2.pth", out)
    assert exported.returncode == 0, exported.stderr[-2000:]
    assert sorted(path.name for path in folder.glob("backbone.*")) == [
        "backbone.md", "backbone.pth", "backbone.safetensors"
    ]  # fmt: skip
    return out


@pytest.mark.parametrize("plain", [False, True], ids=["hook", "plain"])
def test_the_config_written_trains(repository, export, tmp_path, plain):
    theirs = repository / "tests" / "toys" / "configs" / "detector.py"
    small = tmp_path / "small.py"
    arguments = ["--config", theirs, "--backbone", export, "--out", small]
    finished = tool("transfer.py", *arguments, *(["--plain"] if plain else []))
    assert finished.returncode == 0, finished.stderr[-2000:]
    lines = finished.stdout.splitlines()
    assert lines[0].split() == ["part", "tensors", "matched", "numbers"]
    assert lines[1].split() == ["conv1", "1", "1", "1,176"]  # 7 x 7 x 3 x 8
    assert lines[2].split()[:3] == ["bn1", "5", "5"]
    assert lines[7].split()[:3] == [
        "all",
        "120",
        "120",
    ]  # 20 convolutions, 20 x 5 of normalisations
    trained = tool("train.py", small, "--work-dir", tmp_path / "run", folder=tmp_path)
    assert trained.returncode == 0, trained.stderr[-2000:]
    log = trained.stdout + trained.stderr
    # Without the hook as well: tools/train.py loads a Pretrained file strictly by itself.
    assert "features equal the pretrainer's" in log
    assert ("LoadBackbone" in small.read_text()) != plain

    # The learning rate is 0, so the checkpoint holds the backbone as it was loaded.
    import torch

    state = torch.load(tmp_path / "run" / "iter_2.pth", weights_only=False)["state_dict"]
    for name, value in torch.load(export.with_suffix(".pth"))["state_dict"].items():
        if "running" not in name and "num_batches" not in name:
            assert torch.equal(state[f"backbone.{name}"], value), name


def test_without_out_it_is_printed(repository, export, tmp_path):
    theirs = repository / "tests" / "toys" / "configs" / "detector.py"
    finished = tool("transfer.py", "--config", theirs, "--backbone", export)
    assert finished.returncode == 0, finished.stderr[-2000:]
    assert f"_base_ = '{theirs}'" in finished.stdout
    assert "dict(type='drivemim.LoadBackbone'" in finished.stdout


def test_a_refusal_is_one_line(export, tmp_path):
    theirs = tmp_path / "theirs.py"
    theirs.write_text(
        "_base_ = 'mmdet::retinanet/retinanet_r18_fpn_1x_coco.py'\n"
        "custom_imports = dict(imports=['engine_toys'])\n"
    )
    arguments = ["--config", theirs, "--backbone", export, "--out", tmp_path / "small.py"]
    finished = tool("transfer.py", *arguments)
    assert finished.returncode == 1
    line = finished.stderr.strip().splitlines()[-1]
    assert line.startswith(f"CheckpointError: {export} does not fit {theirs}: in the export ")
    # The export's channels are an eighth of theirs.
    assert "base_channels is 8, here 64" in line
    _, _, names = line.partition(". Tensors: ")
    # Every tensor of a ResNet-18 but the 20 counters of its normalisations; five are named.
    assert names.startswith("misshapen 100 (conv1.weight (8, 3, 7, 7) for (64, 3, 7, 7), ")
    assert names.count(" for ") == 5
    assert " and 95 more); all names are in " in names
    assert len(line) < 1500
    assert "Traceback" not in finished.stderr
    assert not (tmp_path / "small.py").exists()
