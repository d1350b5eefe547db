"""Command lines of training and testing: options arrive, and errors are one line."""

import json
import os
import subprocess
import sys

import pytest
from in_process import run_script


def tool(name, *arguments):
    return run_script(f"tools/{name}", *arguments)


def test_train_export_test(repository, tmp_path):
    configs = repository / "tests" / "toys" / "configs"
    run = tmp_path / "run"
    trained = tool("train.py", configs / "vit.py", "--work-dir", run, "--amp", "--seed", 3,
                   "--cfg-options", "train_dataloader.batch_size=2")  # fmt: skip
    assert trained.returncode == 0, trained.stderr[-2000:]
    assert list(run.glob("*/vis_data/events.out.tfevents.*"))

    out = tmp_path / "vit.safetensors"
    exported = tool("export_backbone.py", run / "iter_2.pth", out, "--ema", "--input-size", 32, 40)
    assert exported.returncode == 0, exported.stderr[-2000:]
    assert exported.stdout.strip().endswith("drivemim.ViT, strides [8], iteration 2")
    header = out.read_bytes()
    length = int.from_bytes(header[:8], "little")
    metadata = json.loads(json.loads(header[8 : 8 + length])["__metadata__"]["drivemim"])
    assert metadata["input_size"] == [32, 40]
    assert metadata["source"]["seed"] == 3
    assert metadata["fingerprint"][0]["shape"] == [16, 4, 5]

    named_by_the_run = tool("export_backbone.py", run)
    assert named_by_the_run.returncode == 0, named_by_the_run.stderr[-2000:]
    assert named_by_the_run.stdout.startswith(f"{run / 'backbone.safetensors'}: ")

    other = tool("test.py", configs / "detector.py", run / "iter_2.pth", "--work-dir", tmp_path)
    assert other.returncode == 1
    assert "iter_2.pth is of another model than the config's" in other.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("name", "arguments", "line"),
    [
        ("train.py", ["gone.py"], "ConfigError: there is no config gone.py"),
        ("test.py", ["gone.py", "x.pth"], "ConfigError: there is no config gone.py"),
        (
            "export_backbone.py",
            ["gone.pth", "x.safetensors"],
            "FileNotFoundError: there is no checkpoint at gone.pth",
        ),
    ],
)
def test_errors_are_one_line(name, arguments, line):
    finished = tool(name, *arguments)
    assert finished.returncode == 1
    assert finished.stderr.strip().splitlines()[-1] == line
    assert "Traceback" not in finished.stderr


def test_pretraining_a_vit_needs_no_mmdetection(repository):
    # Neither package can be imported in this process, and the pretrainer is built and run.
    code = """
import sys
sys.modules['mmdet'] = sys.modules['mmcv'] = None
import engine_toys
from drivemim.training.run import train
train(sys.argv[1], work_dir=sys.argv[2])
"""
    toys = repository / "tests" / "toys"
    path = os.pathsep.join([str(repository), str(toys), os.environ.get("PYTHONPATH", "")])
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        finished = subprocess.run(
            [sys.executable, "-c", code, str(toys / "configs" / "vit.py"), folder],
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert finished.returncode == 0, finished.stderr[-3000:]
