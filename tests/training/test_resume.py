"""A killed and resumed run equals an uninterrupted one."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from drivemim.training.run import train

TOYS = Path(__file__).resolve().parents[1] / "toys"


def start(repository, config, work_dir, *arguments, processes=1):
    command = [sys.executable]
    if processes > 1:
        command += ["-m", "torch.distributed.run", "--nproc-per-node", str(processes)]
        command += ["--master-port", str(29500 + os.getpid() % 1000)]
    command += [
        str(repository / "tools" / "train.py"),
        str(TOYS / "configs" / config),
    ]
    command += ["--work-dir", str(work_dir), *arguments]
    path = os.pathsep.join([str(repository), str(TOYS), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


def losses(work_dir):
    found = {}
    for log in sorted(
        work_dir.glob("*/vis_data/scalars.json"), key=lambda log: log.stat().st_mtime
    ):
        for line in log.read_text().splitlines():
            entry = json.loads(line)
            found[entry["step"]] = entry["loss"]
    return found


def weights(path):
    content = torch.load(path, weights_only=False)
    return {**content["state_dict"], **content.get("ema_state_dict", {})}


def test_killed_and_resumed_equals_uninterrupted(repository, tmp_path):
    config = "toy_hard.py"  # two workers, averaged weights, accumulated gradients, dropout
    whole = start(repository, config, tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr[-2000:]
    killed = start(
        repository, config, tmp_path / "cut", "--cfg-options", "custom_hooks.0.iteration=10"
    )
    assert killed.returncode == -signal.SIGKILL
    assert sorted(losses(tmp_path / "cut")) == list(range(1, 11))
    # What a kill in the middle of writing leaves behind must not be mistaken for a checkpoint.
    complete = (tmp_path / "cut" / "iter_8.pth").read_bytes()
    (tmp_path / "cut" / "iter_9.pth").write_bytes(complete[:-100])
    (tmp_path / "cut" / ".iter_9.pth.1.partial").write_bytes(complete[:100])

    resumed = start(repository, config, tmp_path / "cut", "--resume")

    assert resumed.returncode == 0, resumed.stderr[-2000:]
    assert "resumed epoch: 0, iter: 8" in resumed.stdout + resumed.stderr
    expected, found = losses(tmp_path / "whole"), losses(tmp_path / "cut")
    assert len(set(expected.values())) == 12
    assert found == expected
    expected, found = (weights(tmp_path / run / "iter_12.pth") for run in ("whole", "cut"))
    assert all(torch.equal(expected[name], found[name]) for name in {*expected, *found})
    assert not list((tmp_path / "cut").glob(".*.partial"))


def test_two_processes_equal_one_with_the_doubled_batch(repository, tmp_path):
    # Dropout and batch norm differ between processes; without them, the two runs are equal.
    plain = ["--cfg-options", "model.dropout=0", "model.encoder.batch_norm=False"]
    one = start(repository, "toy.py", tmp_path / "one", *plain, "train_dataloader.batch_size=8")
    two = start(
        repository, "toy.py", tmp_path / "two", "--launcher", "pytorch", *plain, processes=2
    )
    assert one.returncode == 0, one.stderr[-2000:]
    assert two.returncode == 0, two.stderr[-2000:]
    expected, found = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert sorted(expected) == sorted(found) == list(range(1, 13))
    for step in expected:
        assert found[step] == pytest.approx(expected[step], rel=1e-5)


def test_resuming_a_missing_checkpoint_is_one_line(repository, tmp_path):
    missing = start(repository, "toy.py", tmp_path, "--resume", str(tmp_path / "iter_3.pth"))
    assert missing.returncode == 1
    assert missing.stderr.strip().splitlines()[-1] == (
        f"CheckpointError: --resume: there is no checkpoint at {tmp_path / 'iter_3.pth'}"
    )


def test_a_run_goes_on_with_another_batch_size(tmp_path):
    """The learning rate is scaled with the batch: 0.01 for 4 images is 0.02 for 8."""
    toy = Path(__file__).resolve().parents[1] / "toys" / "configs" / "toy.py"
    options = {
        "auto_scale_lr": {"enable": True, "base_batch_size": 4},
        "optim_wrapper.constructor": "DefaultOptimWrapperConstructor",
        "optim_wrapper.paramwise_cfg": {"norm_decay_mult": 0.0},
        "optim_wrapper.optimizer.weight_decay": 0.01,
    }
    for batch, iterations in ((4, 2), (8, 4)):
        more = {**options, "train_dataloader.batch_size": batch}
        runner = train(
            toy, work_dir=tmp_path, iterations=iterations, options=more, resume=batch == 8
        )
    assert runner.iter == 4
    assert runner.optim_wrapper.param_groups[0]["initial_lr"] == pytest.approx(0.02)
    assert runner.optim_wrapper.base_param_settings["initial_lr"] == pytest.approx(0.02)
