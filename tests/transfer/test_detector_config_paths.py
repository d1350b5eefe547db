"""Paths of detector configs: their weights, moved configs, and existing files."""

import shutil
from pathlib import Path

import pytest
import torch
from detector_configs import build

from drivemim.errors import CheckpointError, ConfigError
from drivemim.transfer.detector_config import _near, write_detector_config
from drivemim.transfer.exporting import read_export


@pytest.mark.parametrize("plain", [False, True])
def test_config_and_weights_can_be_moved_together(small, theirs, tmp_path, monkeypatch, plain):
    project, moved = tmp_path / "project", tmp_path / "moved"
    for name in ("weights", "configs"):
        (project / name).mkdir(parents=True)
    base = shutil.copy(theirs(), project / "configs" / "theirs.py")
    for suffix in (".safetensors", ".pth"):
        shutil.copy(small.with_suffix(suffix), project / "weights" / f"small{suffix}")
    monkeypatch.chdir(project)
    found = write_detector_config(
        "configs/theirs.py", "weights/small.safetensors", out="configs/out.py", plain=plain
    )
    assert str(tmp_path) not in (project / "configs" / "out.py").read_text() == found.text
    monkeypatch.chdir(tmp_path)
    project.rename(moved)
    assert not Path(base).exists()
    cfg, model = build(moved / "configs" / "out.py")
    named = cfg.model.backbone.init_cfg if plain else cfg.custom_hooks[-1]
    suffix = ".pth" if plain else ".safetensors"
    assert Path(named.checkpoint).resolve() == moved / "weights" / f"small{suffix}"
    # Of a config that inherits it from another folder as well.
    (tmp_path / "child.py").write_text("_base_ = 'moved/configs/out.py'")
    assert build(tmp_path / "child.py")[0].model.backbone == cfg.model.backbone
    if plain:
        model.init_weights()
        state = read_export(moved / "weights" / "small.safetensors")[0]
        assert all(torch.equal(model.backbone.state_dict()[name], state[name]) for name in state)


def test_weights_without_a_common_folder_keep_their_absolute_path():
    assert str(_near(Path("/data/a.pth"), Path("/home/configs"))) == "/data/a.pth"
    near = _near(Path("/home/weights/a.pth"), Path("/home/configs"))
    assert str(near) == "{{ fileDirname }}/../weights/a.pth"


def test_config_and_backbone_may_be_swapped(tmp_path):
    config, backbone = tmp_path / "theirs.py", tmp_path / "backbone.safetensors"
    config.write_text("model = dict()\n")
    with pytest.raises(ConfigError) as error:
        write_detector_config(str(backbone), config)
    assert str(error.value) == (
        f"--backbone {config} is a config, not an exported backbone; --config and --backbone may "
        "be swapped"
    )
    with pytest.raises(ConfigError, match="holds weights and is not a config; --config and"):
        write_detector_config(str(backbone), backbone)
    assert config.read_text() == "model = dict()\n"


def test_paths_that_cannot_be_used_are_refused(small, theirs, tmp_path):
    path = theirs()
    with pytest.raises(ConfigError, match="there is no config gone.py"):
        write_detector_config("gone.py", small)
    with pytest.raises(ConfigError, match="mmdet::gone.py cannot be read"):
        write_detector_config("mmdet::gone.py", small)
    with pytest.raises(ConfigError, match="would replace the config it inherits"):
        write_detector_config(str(path), small, out=path)
    with pytest.raises(ConfigError, match="must end in .py"):
        write_detector_config(str(path), small, out=tmp_path / "small")
    with pytest.raises(IsADirectoryError, match=f"{tmp_path} is a folder"):
        write_detector_config(str(path), small, out=tmp_path)
    with pytest.raises(NotADirectoryError, match=f"{path} is a file"):
        write_detector_config(str(path), small, out=path / "small.py")
    with pytest.raises(FileNotFoundError, match="no weights file at"):
        write_detector_config(str(path), tmp_path / "gone.safetensors")


def test_only_its_own_configs_are_replaced(small, theirs, tmp_path):
    out = tmp_path / "base.py"
    out.write_text("model = dict()\n")
    with pytest.raises(ConfigError, match=r"base\.py exists and was not written by drivemim"):
        write_detector_config(str(theirs()), small, out=out)
    assert out.read_text() == "model = dict()\n"
    out.unlink()
    first = write_detector_config(str(theirs()), small, out=out).text
    assert write_detector_config(str(theirs()), small, out=out).text == first == out.read_text()


def test_the_pth_file_beside_an_export_must_have_the_same_weights(small, theirs, tmp_path):
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(small.read_bytes())
    with pytest.raises(FileNotFoundError, match=r"no weights file at .*copy.pth"):
        write_detector_config(str(theirs()), copy, plain=True)
    content = torch.load(small.with_suffix(".pth"))
    content["state_dict"]["conv1.weight"] += 1
    torch.save(content, tmp_path / "copy.pth")
    with pytest.raises(CheckpointError, match="has other weights than copy.safetensors"):
        write_detector_config(str(theirs()), copy, plain=True)
