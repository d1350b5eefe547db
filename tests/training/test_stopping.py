"""Processes that a signal stops, and what several processes of a run report."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from drivemim.errors import ConfigError
from drivemim.training.run import train
from drivemim.training.stopping import command_to_go_on

TOYS = Path(__file__).resolve().parents[1] / "toys"
HARD = TOYS / "configs" / "toy_validated.py"  # two workers, averages, accumulated gradients
AVERAGES = {"type": "EMAHook", "momentum": 0.1, "update_buffers": True}


def start(repository, arguments, processes=1):
    """Run a command in a new process group; check that no process of the group is left."""
    command = [sys.executable]
    if processes > 1:
        command += ["-m", "torch.distributed.run", "--nproc-per-node", str(processes)]
        command += ["--master-port", str(29500 + os.getpid() % 1000)]
    path = os.pathsep.join([str(repository), str(TOYS), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [*command, *map(str, arguments)], env=environment, cwd=repository, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    ) as process:  # fmt: skip
        out, err = process.communicate(timeout=300)
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
    return process.returncode, out, [line for line in err.splitlines() if line.strip()]


def options(name, iteration, **settings):
    hook = {"type": "drivemim.SendSignal", "name": name, "iteration": iteration, **settings}
    pairs = [f"custom_hooks.0.{key}={value}" for key, value in hook.items()]
    return ["--cfg-options", *pairs]


def state(path):
    content = torch.load(path, weights_only=False)
    return {**content["state_dict"], **content["ema_state_dict"]}


def losses(run):
    logs = sorted(run.glob("*/vis_data/scalars.json"), key=lambda log: log.stat().st_mtime)
    lines = [json.loads(line) for log in logs for line in log.read_text().splitlines()]
    return {line["step"]: line["loss"] for line in lines if "loss" in line}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    train(HARD, work_dir=folder)
    return folder


@pytest.mark.parametrize(("name", "status", "settings", "at"), [
    ("SIGINT", 130, {"iteration": 5}, 6),
    # With "group", all processes get the signal, also data loader workers, as they do from Ctrl-C
    # in a terminal, and from torchrun's and Slurm's SIGTERM.
    ("SIGINT", 130, {"iteration": 5, "group": True}, 6),
    ("SIGTERM", 143, {"iteration": 5, "group": True}, 6),
    ("SIGTERM", 143, {"iteration": 8, "group": True, "place": "val"}, 8),
])  # fmt: skip
def test_a_stopped_run_goes_on_with_the_command_that_it_prints(
    repository, tmp_path, whole, name, status, settings, at
):
    run = tmp_path / "a run"
    code, out, err = start(repository, ["tools/train.py", HARD, "--work-dir", run,
                                        *options(name, **settings)])  # fmt: skip
    said = "Ctrl-C" if name == "SIGINT" else name
    begin = f"Stopped by {said} at iteration {at} of 12; {run}/iter_{at}.pth is written. "
    assert code == status
    assert err[-1].startswith(begin + "Go on with: python tools/train.py ")
    assert "Traceback" not in out + "\n".join(err)
    assert err[-1] not in out
    command = shlex.split(err[-1].partition("Go on with: ")[2])[1:]
    assert command[-1] == "--resume"
    assert command[1:4] == [str(HARD), "--work-dir", str(run)]
    if "group" in settings:  # resume in this process, which is faster
        train(HARD, work_dir=run, resume=True)
    else:
        # The printed command without its options, which would send the signal again.
        code, out, err = start(repository, [*command[:4], "--resume"])
        assert code == 0, err[-1]
    found, expected = (state(each / "iter_12.pth") for each in (run, whole))
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], expected[key]) for key in expected)
    assert losses(run) == losses(whole)


def test_a_second_interrupt_stops_at_once(repository, tmp_path):
    code, out, err = start(repository, ["tools/train.py", HARD, "--work-dir", tmp_path / "run",
                                        *options("SIGINT", 5, times=2)])  # fmt: skip
    assert code == 130
    assert err[-1].startswith("Stopped by Ctrl-C at once; the iterations since the last checkpoint")
    assert err[-1].endswith("--resume")
    assert "Traceback" not in out + "\n".join(err)
    assert not (tmp_path / "run" / "iter_6.pth").exists()


def test_a_run_that_is_stopped_while_it_starts_leaves_nothing(repository, tmp_path):
    signals = options("SIGTERM", 0, place="begin")
    code, out, err = start(
        repository, ["-m", "drivemim", "train", HARD, "--work-dir", tmp_path / "run", *signals]
    )
    assert code == 143
    assert err[-1] == "Stopped by SIGTERM before the first iteration; nothing was saved"
    assert "Traceback" not in out + "\n".join(err)
    assert list(tmp_path.iterdir()) == []


def test_two_processes_stop_at_the_same_iteration(repository, tmp_path):
    """They ask each other at iteration 10, and before and after the validations at 4, 8 and 12."""
    arguments = ["tools/train.py", HARD, "--launcher", "pytorch", "--work-dir"]
    # No workers: one that is forked beside gloo's threads may inherit a lock that never opens.
    alone = [
        "train_dataloader.num_workers=0", "train_dataloader.persistent_workers=False",
        "val_dataloader.num_workers=0",
    ]  # fmt: skip
    for run, at, signals, more in (
        ("meeting", 10, options("SIGTERM", 9, rank=1), []),
        ("cut", 8, options("SIGTERM", 5, rank=1), []),
        ("cut", 12, options("SIGTERM", 12, rank=1, place="val"), ["--resume"]),
    ):
        run = tmp_path / run
        code, _, err = start(repository, [*arguments, run, *more, *signals, *alone], processes=2)
        assert code == 1  # the exit status of torchrun
        line, report = [line for line in err if "Stopped by" in line]
        assert report.strip() == f"traceback : {line}"  # in the report of torchrun
        begin = f"Stopped by SIGTERM at iteration {at} of 12; {run}/iter_{at}.pth is written. "
        assert line.startswith(begin + "Go on with: torchrun --nproc_per_node 2 tools/train.py ")
        assert "RuntimeError" not in "\n".join(err)
        assert "exitcode  : 143" in "\n".join(err)
    whole = [*arguments, tmp_path / "whole", "--cfg-options", *alone]
    code, _, err = start(repository, whole, processes=2)
    assert code == 0, err[-1]
    found, expected = (state(tmp_path / run / "iter_12.pth") for run in ("cut", "whole"))
    assert all(torch.equal(found[key], expected[key]) for key in expected)
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")


@pytest.mark.parametrize(("mistake", "said"), [
    (["--workdir", "x"], "train.py: error: there is no option --workdir; did you mean"),
    (["--cfg-options", "model.encoder.chanels=3"], "ConfigError: ToyEncoder has no argument"),
    (["--cfg-options", "model.poison=frame"], "NonFiniteLossError: the loss is not finite at iter"),
])  # fmt: skip
def test_a_mistake_is_one_line_of_rank_zero(repository, tmp_path, mistake, said):
    arguments = ["tools/train.py", TOYS / "configs" / "toy.py", "--launcher", "pytorch"]
    code, out, err = start(
        repository, [*arguments, "--work-dir", tmp_path / "run", *mistake], processes=2
    )
    assert code == 1
    place, report = [number for number, line in enumerate(err) if said in line]
    assert err[place].startswith(said)
    assert "torch/distributed/elastic" in err[place + 1]  # the report of torchrun begins
    assert err[report].strip().startswith("traceback : ")  # the report ends with the reason
    assert report >= len(err) - 2
    assert "rank 1: " not in "\n".join(err)


def test_torchrun_without_launcher_pytorch_is_refused(tmp_path, monkeypatch):
    """Otherwise, two runs would write into one folder."""
    # The variables that torchrun sets.
    for name, value in {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as error:
        train(TOYS / "configs" / "toy.py", work_dir=tmp_path / "run")
    assert str(error.value) == (
        "torchrun started 2 processes, and with --launcher none each of them would do the whole "
        "run in the same folder; add --launcher pytorch"
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("arguments", "expected"), [
    (["tools/train.py", "c.py"], "python tools/train.py c.py --resume"),
    (["drivemim train", "c.py"], "drivemim train c.py --resume"),
    (["drivemim train", "c.py", "--overwrite", "--amp"], "drivemim train c.py --amp --resume"),
    (["drivemim train", "c.py", "--over"], "drivemim train c.py --resume"),
    (["drivemim train", "--resume", "a b.pth", "c.py"], "drivemim train c.py --resume"),
    (["drivemim train", "c.py", "--resume=x.pth", "--seed", "3"],
     "drivemim train c.py --seed 3 --resume"),
    (["drivemim train", "c.py", "--res", "--seed=3"], "drivemim train c.py --seed=3 --resume"),
    (["drivemim train", "c.py", "--work-dir", "a b", "--cfg-options", "a.b=(1, 2)", "c='x'"],
     "drivemim train c.py --work-dir 'a b' --cfg-options 'a.b=(1, 2)' 'c='\"'\"'x'\"'\"'' "
     "--resume"),
])  # fmt: skip
def test_the_printed_command_to_resume(arguments, expected):
    assert command_to_go_on(arguments) == expected


def test_the_printed_command_to_resume_several_processes(monkeypatch):
    arguments = ["drivemim train", "c.py", "--launcher", "pytorch"]
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert command_to_go_on(arguments, "pytorch") == (
        "torchrun --nproc_per_node 4 -m drivemim train c.py --launcher pytorch --resume"
    )
    assert command_to_go_on(["tools/train.py", "c.py"], "pytorch") == (
        "torchrun --nproc_per_node 4 tools/train.py c.py --resume"
    )
    monkeypatch.setenv("WORLD_SIZE", "8")  # on two machines
    for launcher in ("pytorch", "slurm"):
        assert command_to_go_on(arguments, launcher).startswith(
            "the same command with --resume (drivemim train c.py "
        )


def test_the_process_group_is_destroyed_before_the_process_exits():
    """Otherwise the threads of gloo may abort the process; torchrun would report a failed run."""
    script = """
import atexit
from torch import distributed
atexit.register(lambda: print("initialized:", distributed.is_initialized()))  # runs last
from drivemim.training.device import start_process_group
start_process_group("pytorch")
print("initialized:", distributed.is_initialized())
"""
    group = {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "0"}
    command = [sys.executable, "-c", script]
    environment = {**os.environ, **group, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["initialized: True", "initialized: False"]
