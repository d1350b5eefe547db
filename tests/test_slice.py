"""The whole pipeline on very little data, from the town to the report."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
import torch
from in_process import run_script
from nuscenes import NuScenes
from safetensors.torch import load_file

from drivemim.data import FrameIndex
from workflow.commands import two_phase_schedule


def demo(repository, work_dir):
    command = [sys.executable, "tools/demo.py", "--quick", "--work-dir", str(work_dir)]
    finished = subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=600)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


@pytest.fixture(scope="module")
def slice_dir(repository, tmp_path_factory):
    work_dir = tmp_path_factory.mktemp("slice")
    demo(repository, work_dir)
    return work_dir


def test_index_has_every_camera_frame_and_box_of_the_devkit(slice_dir):
    nusc = NuScenes("v1.0-mini", str(slice_dir / "town"), verbose=False)
    index = FrameIndex.open(slice_dir / "town.arrow")
    cameras = {each["token"] for each in nusc.sample_data if each["sensor_modality"] == "camera"}
    assert set(index.frames.token[row] for row in range(len(index.frames))) == cameras
    assert len(index.boxes) == len(nusc.sample_annotation)


def test_exported_weights_are_the_pretrained_ones(slice_dir):
    state = torch.load(slice_dir / "pretrain" / "iter_6.pth", weights_only=False)["state_dict"]
    encoder = {
        name.removeprefix("encoder."): tensor
        for name, tensor in state.items()
        if name.startswith("encoder.")
    }
    exported = load_file(slice_dir / "backbone.safetensors")
    assert exported.keys() == encoder.keys()
    assert all(torch.equal(exported[name], encoder[name]) for name in exported)


def test_only_one_detector_starts_from_the_exported_backbone(slice_dir):
    def log(init):
        return (slice_dir / "logs" / f"finetune-{init}.log").read_text()

    count = len(load_file(slice_dir / "backbone.safetensors"))
    assert f"Loaded all {count} tensors" in log("pretrained")
    assert "backbone.safetensors" not in log("random")


def test_both_initialisations_are_scored_on_the_same_objects(slice_dir):
    pretrained, random = (
        json.loads((slice_dir / f"results-{init}.json").read_text())
        for init in ("pretrained", "random")
    )
    assert pretrained.keys() == random.keys()
    counts = [key for key in pretrained if "_count" in key]
    assert [pretrained[key] for key in counts] == [random[key] for key in counts]
    assert pretrained["drivemim/pedestrian_count"] > 0
    assert pretrained["drivemim/vehicle_count"] > 0
    assert "drivemim/pedestrian_AP[distance 0-20 m]" in pretrained


def test_report_refers_to_no_other_file(slice_dir):
    html = (slice_dir / "report.html").read_text()
    assert html.count("data:image/") >= 4
    assert not re.search(r"""(?:src|href)=["'](?!data:|#)""", html)


def test_a_second_run_keeps_everything(repository, slice_dir):
    before = (slice_dir / "backbone.safetensors").stat().st_mtime_ns
    out = demo(repository, slice_dir)
    assert out.count("done earlier") == 9
    assert (slice_dir / "backbone.safetensors").stat().st_mtime_ns == before


def training(slice_dir, work_dir, *options, batch_size=2, iterations=3):
    """Return a command that pretrains the small ViT on the town and logs every iteration."""
    given = [
        f"train_dataloader.dataset.index={slice_dir / 'town.arrow'}",
        f"train_dataloader.batch_size={batch_size}",
        *two_phase_schedule(iterations),
        "default_hooks.logger.interval=1",
        "env_cfg.dist_cfg.backend=gloo",
        *options,
    ]
    config = "tools/studies/configs/pretrain/vit_micro_object_town.py"
    return ["tools/train.py", config, "--work-dir", str(work_dir), "--cfg-options", *given]


def same_threads():
    """Return an environment with as many threads as here, so that sums are rounded equally."""
    return {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}


def losses(work_dir, finished):
    """Return the losses by iteration; if several runs logged an iteration, the latest run's."""
    assert finished.returncode == 0, finished.stdout[-3000:] + finished.stderr[-3000:]
    return {
        entry["step"]: entry["loss"]
        for scalars in sorted(work_dir.glob("*/vis_data/scalars.json"))
        for entry in map(json.loads, scalars.read_text().splitlines())
    }


def test_two_processes_have_the_losses_of_one_with_the_doubled_batch(
    repository, slice_dir, tmp_path
):
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    one = training(slice_dir, tmp_path / "one", batch_size=2)
    two = training(slice_dir, tmp_path / "two", batch_size=1)
    two[2:2] = ["--launcher", "pytorch"]
    expected = losses(tmp_path / "one", run_script(*one))
    finished = subprocess.run(
        [*torchrun, "--nproc-per-node=2", *two], cwd=repository, env=same_threads(),
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    found = losses(tmp_path / "two", finished)
    assert len(set(expected.values())) == 3
    assert found == pytest.approx(expected, rel=1e-5)


def test_killed_and_resumed_has_the_losses_of_a_run_that_was_not(repository, slice_dir, tmp_path):
    def command(name, *more):
        options = ("default_hooks.checkpoint.interval=2",)
        arguments = training(slice_dir, tmp_path / name, *options, iterations=12)
        arguments[2:2] = more
        return arguments

    expected = losses(tmp_path / "whole", run_script(*command("whole")))
    with subprocess.Popen(
        [sys.executable, *command("killed")], cwd=repository, env=same_threads(),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    ) as run:  # fmt: skip
        until = time.monotonic() + 300
        while not (tmp_path / "killed" / "iter_4.pth").exists():
            assert run.poll() is None
            assert time.monotonic() < until
            time.sleep(0.01)
        os.killpg(run.pid, signal.SIGKILL)
    assert run.returncode == -signal.SIGKILL
    assert not (tmp_path / "killed" / "iter_12.pth").exists()
    found = losses(tmp_path / "killed", run_script(*command("killed", "--resume")))
    assert len(set(expected.values())) == 12
    assert found == expected
