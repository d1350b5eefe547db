"""Every tool that reads checkpoints, with one that runs code in an unsafe reader."""

import os
import runpy
import sys
from collections import OrderedDict

import hostile
import pytest
import torch
from mmengine.registry import DefaultScope

from drivemim.trust import VARIABLE

FILES = [hostile.system_call, hostile.getattr_eval]
NAMED = {"system_call": "posix.system", "getattr_eval": "builtins.getattr(..., '__self__')"}


@pytest.fixture
def tool(repository, monkeypatch, tmp_path):
    """Run a tool in this process; give back how it ended."""
    monkeypatch.syspath_prepend(str(repository / "tests" / "toys"))
    monkeypatch.setenv(VARIABLE, "")
    # Each run is a process of its own otherwise, without the scope of the one before it.
    monkeypatch.setattr(DefaultScope, "_instance_dict", OrderedDict())

    def tool(name, *arguments):
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(repository / "tools" / name), run_name="__main__")
        return str(ended.value)

    return tool


def arguments(name, configs, file, folder):
    """Return the arguments that give the file to each tool, by tool and role of the file."""
    options = ["--work-dir", folder / "run", "--cfg-options"]
    frames = ["--index", "none.arrow", "--train", "a", "--val", "b"]
    return {
        "export_backbone.py": [file, folder / "out.safetensors"],
        "train.py --resume": [configs / "toy.py", "--resume", file, *options[:2]],
        "train.py load_from": [configs / "vit.py", *options, f"load_from={file}"],
        "train.py init_cfg": [configs / "vit.py", *options,
                              "model.encoder.init_cfg.type=Pretrained",
                              f"model.encoder.init_cfg.checkpoint={file}"],
        "train.py detector": [configs / "detector.py", *options, f"backbone_checkpoint={file}"],
        "train.py detector load_from": [configs / "detector.py", *options, f"load_from={file}",
                                        "model.backbone.init_cfg=None"],
        "train.py detector init_cfg": [configs / "detector.py", *options,
                                       f"model.backbone.init_cfg.checkpoint={file}"],
        "test.py": [configs / "detector.py", file, *options[:2]],
        "probe.py": [configs / "vit.py", "--checkpoint", file, *frames],
        "transfer.py": ["--config", configs / "detector.py", "--backbone", file],
        "visualize.py": [configs / "vit.py", file, "--out", folder / "pictures"],
    }[name]  # fmt: skip


@pytest.mark.parametrize("make", FILES, ids=lambda make: make.__name__)
@pytest.mark.parametrize(
    "name",
    ["export_backbone.py", "train.py --resume", "train.py load_from", "train.py init_cfg",
     "train.py detector", "train.py detector load_from", "train.py detector init_cfg", "test.py",
     "probe.py", "transfer.py", "visualize.py"],
)  # fmt: skip
def test_no_tool_runs_code_of_a_checkpoint(tool, repository, tmp_path, name, make):
    file, marker = tmp_path / "bad.pth", tmp_path / "marker"
    make(file, marker)
    configs = repository / "tests" / "toys" / "configs"
    ended = tool(name.split()[0], *arguments(name, configs, file, tmp_path))
    assert ended.startswith(f"CheckpointError: {file} holds more than weights and plain values: ")
    assert NAMED[make.__name__] in ended
    assert ended.endswith(f"--trust-checkpoint {file} (or {VARIABLE}={file})")
    assert not marker.exists()
    assert not list(tmp_path.rglob("iter_*.pth"))


def test_a_file_that_the_user_names_is_read(tool, tmp_path, monkeypatch):
    file, marker = tmp_path / "own.pth", tmp_path / "marker"
    hostile.system_call(file, marker, {"state_dict": {}})
    out = tmp_path / "out.safetensors"
    ended = tool("export_backbone.py", file, out, "--trust-checkpoint", file)
    assert ended == (
        f"CheckpointError: {file} is not of a pretraining run. It is not a checkpoint: it has no "
        "weights"
    )
    assert marker.exists()
    assert os.environ[VARIABLE] == str(file)


def test_a_trusted_file_must_be_there(tool, tmp_path, capsys):
    ended = tool("test.py", "a.py", "b.pth", "--trust-checkpoint", tmp_path / "none.pth")
    assert ended == "2"
    assert f"there is no file {tmp_path / 'none.pth'}" in capsys.readouterr().err


def test_resuming_does_not_run_a_config_in_the_file(repository, tmp_path):
    """MMEngine runs ``meta['config']`` to compare the number of GPUs."""
    from drivemim.training.run import train

    config = repository / "tests" / "toys" / "configs" / "toy.py"

    def length(iterations):
        return {
            "train_cfg.max_iters": iterations,
            "param_scheduler.0.end": 2,
            "param_scheduler.1.begin": 2,
            "param_scheduler.1.end": iterations,
        }

    train(config, work_dir=tmp_path / "run", options=length(4))
    content = torch.load(tmp_path / "run" / "iter_4.pth", weights_only=False)
    marker = tmp_path / "marker"
    content["meta"]["config"] = f"x = print(file=open({str(marker)!r}, 'w'))"
    torch.save(content, tmp_path / "bad.pth")
    train(config, work_dir=tmp_path / "again", resume=tmp_path / "bad.pth", options=length(5))
    assert not marker.exists()


def test_metadata_of_an_export_cannot_write_code(repository, tmp_path, monkeypatch):
    """tools/transfer.py writes parts of it into a config, which is a program."""
    from mmengine.config import Config

    from drivemim.transfer.detector_settings import ConfigOverride, format_overrides

    bad = {"x=print(file=open('marker', 'w')), y": 1, "class": 2}
    text = format_overrides(
        [ConfigOverride("model.backbone.style", bad, "")], Config({"model": {"backbone": {}}})
    )
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.py").write_text(text)
    assert Config.fromfile(tmp_path / "config.py").model.backbone.style == bad
    assert not (tmp_path / "marker").exists()
