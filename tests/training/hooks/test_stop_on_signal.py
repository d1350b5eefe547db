"""A run that a signal stops, in this process: what is saved, and what a resumed run does."""

import errno
import itertools
import multiprocessing
import os
import signal
from types import SimpleNamespace

import pytest
import torch

import drivemim
from drivemim.errors import CheckpointError, RunStopped
from drivemim.training.hooks import stop_on_signal
from drivemim.training.hooks.stop_on_signal import StopOnSignal
from drivemim.training.run import train
from drivemim.training.stopping import StopSignals

EPOCHS = {
    "model.backbone.init_cfg": None,
    "optim_wrapper.optimizer.lr": 0.01,
    "train_cfg": {"_delete_": True, "type": "EpochBasedTrainLoop", "max_epochs": 4,
                  "val_begin": 1, "val_interval": 1},
    "default_hooks.checkpoint.by_epoch": True,
    "default_hooks.checkpoint.interval": 2,
    "train_dataloader.sampler.type": "DefaultSampler",
    "val_dataloader": {"batch_size": 1, "num_workers": 0,
                       "sampler": {"type": "DefaultSampler", "shuffle": False},
                       "dataset": {"type": "drivemim.ToyDetection"}},
    "val_evaluator": {"type": "drivemim.CountImages"},
    "val_cfg": {"type": "ValLoop"},
    "param_scheduler": [{"type": "ReduceOnPlateauLR", "monitor": "images", "rule": "less",
                         "patience": 0, "factor": 0.5}],
}  # fmt: skip
BY_ITERATION = {**EPOCHS, "default_hooks.checkpoint.by_epoch": False,
                "default_hooks.checkpoint.interval": 1,
                "default_hooks.checkpoint.max_keep_ckpts": -1}  # fmt: skip
# tests/training/test_stopping.py has runs with data loader workers.
ALONE = {"train_dataloader.num_workers": 0, "train_dataloader.persistent_workers": False}
VALIDATED = {**ALONE, "val_dataloader.num_workers": 0}


@pytest.fixture(scope="module")
def toys(repository):
    return repository / "tests" / "toys" / "configs"


@pytest.fixture(scope="module")
def validated(toys, tmp_path_factory):
    """Folder of a run that validates and is not stopped."""
    folder = tmp_path_factory.mktemp("whole") / "validated"
    train(toys / "toy_validated.py", work_dir=folder, options=VALIDATED)
    return folder


@pytest.fixture(scope="module")
def epochs(toys, tmp_path_factory):
    """Folder of a run of four epochs that is not stopped, with a checkpoint of every iteration."""
    folder = tmp_path_factory.mktemp("whole") / "epochs"
    train(toys / "detector.py", work_dir=folder, options=BY_ITERATION)
    return folder


def stopped(config, work_dir, place, iteration, options=None, number="SIGTERM", **arguments):
    """Train until a hook sends a signal; return the raised error.

    Args:
        config: path of the config.
        work_dir: folder of the run.
        place: where the hook sends the signal: "begin", "train" or "val".
        iteration: iteration at which it does.
        options: dotted config keys to replace.
        number: name of the signal.
        arguments: further arguments of ``train``; ``hooks`` are custom hooks of the config.
    """
    sender = {"type": "drivemim.SendSignal", "name": number, "place": place,
              "iteration": iteration}  # fmt: skip
    hooks = [sender, *arguments.pop("hooks", [])]
    with pytest.raises(RunStopped) as stop:
        train(config, work_dir=work_dir, options={**(options or {}), "custom_hooks": hooks},
              **arguments)  # fmt: skip
    return stop.value


def state(path):
    content = torch.load(path, weights_only=False)
    tensors = {**content["state_dict"], **content.get("ema_state_dict", {})}
    for number, each in content["optimizer"]["state"].items():
        tensors |= {f"{number}.{key}": torch.as_tensor(value) for key, value in each.items()}
    return tensors


def same(path, other):
    found, expected = state(path), state(other)
    return found.keys() == expected.keys() and all(
        torch.equal(found[name], expected[name]) for name in expected
    )


def test_the_checkpoint_is_what_the_interval_would_write(toys, tmp_path):
    train(toys / "toy.py", work_dir=tmp_path / "whole",
          options={"default_hooks.checkpoint.interval": 1,
                   "default_hooks.checkpoint.max_keep_ckpts": -1})  # fmt: skip
    stop = stopped(toys / "toy.py", tmp_path / "cut", "train", 6)
    path = tmp_path / "cut" / "iter_6.pth"
    assert str(stop) == (
        f"Stopped by SIGTERM at iteration 6 of 12; {path} is written. Go on with --resume"
    )
    assert (stop.number, stop.status) == (signal.SIGTERM, 143)
    assert same(path, tmp_path / "whole" / "iter_6.pth")
    metas = [torch.load(tmp_path / run / "iter_6.pth", weights_only=False)["meta"]
             for run in ("whole", "cut")]  # fmt: skip
    assert metas[0].keys() == metas[1].keys()
    assert [(meta["iter"], meta["epoch"]) for meta in metas] == [(6, 0), (6, 0)]
    train(toys / "toy.py", work_dir=tmp_path / "cut", resume=True)
    assert same(tmp_path / "cut" / "iter_12.pth", tmp_path / "whole" / "iter_12.pth")


def test_a_checkpoint_that_the_interval_has_written_is_not_written_again(toys, tmp_path):
    path = tmp_path / "run" / "iter_4.pth"
    writes = []
    real = os.replace

    def count(source, target):
        writes.append(str(target))
        real(source, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", count)
        stop = stopped(toys / "toy.py", tmp_path / "run", "train", 4)
    assert writes.count(str(path)) == 1
    assert f"{path} is written" in str(stop)


def test_python_gets_an_interrupt_that_names_its_argument(toys, tmp_path):
    options = {"custom_hooks": [{"type": "drivemim.SendSignal", "name": "SIGINT", "iteration": 3}]}
    handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(KeyboardInterrupt) as stop:
        drivemim.pretrain(toys / "toy.py", work_dir=tmp_path / "run", options=options)
    assert str(stop.value).startswith("Stopped by Ctrl-C at iteration 3 of 12; ")
    assert str(stop.value).endswith("iter_3.pth is written. Go on with resume=True")
    assert stop.value.status == 130
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == handlers
    (log,) = (tmp_path / "run").glob("*/*.log")
    assert "Stopped by Ctrl-C at iteration 3 of 12" in log.read_text()
    run = drivemim.pretrain(toys / "toy.py", work_dir=tmp_path / "run", resume=True)
    assert run.iteration == 12


def test_a_handler_of_the_callers_own_stays(toys, tmp_path, monkeypatch):
    """A scheduler such as submitit sets a handler for SIGTERM."""
    heard = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        options = {"custom_hooks": [{"type": "drivemim.SendSignal", "name": "SIGTERM",
                                     "iteration": 3}]}  # fmt: skip
        assert train(toys / "toy.py", work_dir=tmp_path / "run", options=options).iter == 12
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heard == [signal.SIGTERM]


def _interrupted_twice():
    with StopSignals() as signals:
        signals.is_training = True
        os.kill(os.getpid(), signal.SIGINT)
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except BaseException as error:
            raise SyntaxError("Failed to format the config file") from error


def test_a_second_interrupt_is_not_lost_in_an_error_that_it_causes():
    """MMEngine turns any error while it formats a checkpoint's config into a SyntaxError."""
    with pytest.raises(RunStopped, match="Stopped by Ctrl-C at once") as stop:
        _interrupted_twice()
    assert stop.value.status == 130
    with pytest.raises(ValueError, match="of another kind"), StopSignals():
        raise ValueError("of another kind")


def _receive_one():
    with StopSignals() as signals:
        signals.is_training = True
        os.kill(os.getpid(), signal.SIGTERM)
        os._exit(signals.received)


def test_a_run_in_a_forked_process_receives_signals():
    process = multiprocessing.get_context("fork").Process(target=_receive_one)
    process.start()
    process.join()
    assert process.exitcode == signal.SIGTERM


# Seconds between two times at which the processes ask each other for a received signal.
FAST, SLOW, SLOWER = 0.4, 20.0, 100.0


@pytest.mark.parametrize(("config", "length", "seconds", "options", "expected"), [
    ("toy.py", 25, FAST, {}, [10, 20]),
    ("toy.py", 13, SLOW, {}, [10, 12, 13]),  # 2 seconds per iteration, and then 10
    ("toy.py", 12, SLOWER, {}, [10, 11, 12]),
    ("toy_hard.py", 22, FAST, ALONE, [10, 20]),
    ("toy_hard.py", 24, FAST, {**ALONE, "optim_wrapper.accumulative_counts": 4}, [12, 20]),
    # They also ask before and after each validation, and in every tenth batch of it (None).
    ("toy_validated.py", 12, FAST, VALIDATED, [4, None, 8, None, 10, 12, None]),
    ("toy_validated.py", 8, FAST, {**VALIDATED, "val_dataloader.batch_size": 1,
                                   "train_cfg.val_interval": 8}, [8, None, None]),
])  # fmt: skip
def test_several_processes_ask_each_other_every_ten_iterations_or_five_seconds(
    toys, tmp_path, monkeypatch, config, length, seconds, options, expected
):
    asked = []
    agree = StopOnSignal._agree

    def ask(hook, iteration=None):
        asked.append(iteration)
        return agree(hook, iteration)

    def all_reduce(shared, op):
        if len(asked) == len(expected):  # then the other process has received a signal
            shared[0] = signal.SIGTERM

    two = SimpleNamespace(
        get_world_size=lambda: 2, all_reduce=all_reduce, barrier=lambda: None,
        all_gather_object=lambda own: [own, own], is_main_process=lambda: True,
    )  # fmt: skip
    monkeypatch.setattr(stop_on_signal, "dist", two)
    monkeypatch.setattr(stop_on_signal, "monotonic", itertools.count(0, seconds).__next__)
    monkeypatch.setattr(StopOnSignal, "_agree", ask)
    last = [each for each in expected if each][-1]
    with pytest.raises(RunStopped, match=f"SIGTERM at iteration {last} of {length}; .*is written"):
        train(toys / config, work_dir=tmp_path / "run", iterations=length, options=options)
    assert asked == expected


def test_incomplete_gradients_are_completed_first(toys, tmp_path):
    """toy_hard.py updates the weights in every second iteration."""
    stop = stopped(toys / "toy_hard.py", tmp_path / "run", "train", 5, ALONE)
    assert "at iteration 6 of 12" in str(stop)
    assert (tmp_path / "run" / "iter_6.pth").is_file()


def test_only_the_latest_checkpoints_are_kept_over_several_stops(toys, tmp_path):
    keep = {"default_hooks.checkpoint.max_keep_ckpts": 2}
    for iteration in (2, 5, 7):
        stopped(toys / "toy.py", tmp_path / "run", "train", iteration, keep, resume=True)
    found = sorted(path.name for path in (tmp_path / "run").glob("*.pth"))
    assert found == ["iter_5.pth", "iter_7.pth"]  # iter_2 and the interval's iter_4 are gone
    assert (tmp_path / "run" / "last_checkpoint").read_text().endswith("iter_7.pth")


def test_a_full_disk_keeps_the_previous_checkpoint(toys, tmp_path, monkeypatch):
    real = os.fsync

    def fills_up(file):
        if "iter_6" in os.readlink(f"/proc/self/fd/{file}"):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(file)

    monkeypatch.setattr(os, "fsync", fills_up)
    hook = {"type": "drivemim.SendSignal", "name": "SIGTERM", "iteration": 6}
    with pytest.raises(CheckpointError, match=r"iter_6.pth could not .*previous .*iter_4.pth is"):
        train(toys / "toy.py", work_dir=tmp_path / "run", options={"custom_hooks": [hook]})
    found = sorted(path.name for path in (tmp_path / "run").glob("*.pth"))
    assert found == ["iter_4.pth"]


def test_a_run_without_checkpoints_says_so(toys, tmp_path):
    stop = stopped(toys / "toy.py", tmp_path / "run", "train", 3,
                   {"default_hooks.checkpoint": None})  # fmt: skip
    assert "nothing was saved, since the config has no default_hooks.checkpoint" in str(stop)


def test_before_the_first_iteration_nothing_is_left(toys, tmp_path):
    stop = stopped(toys / "toy.py", tmp_path / "new" / "run", "begin", 0, number="SIGINT")
    assert str(stop) == "Stopped by Ctrl-C before the first iteration; nothing was saved"
    assert stop.status == 130
    assert list(tmp_path.iterdir()) == []


AVERAGES = {"type": "EMAHook", "momentum": 0.1, "update_buffers": True}


@pytest.mark.parametrize(("place", "iteration"), [
    ("val", 8),  # in a validation
    ("train", 8),  # before this validation
    ("val", 12),  # in the last validation
])  # fmt: skip
def test_a_cut_validation_comes_first_in_the_resumed_run(
    toys, tmp_path, capsys, validated, place, iteration
):
    config, cut = toys / "toy_validated.py", tmp_path / "cut"
    stop = stopped(config, cut, place, iteration, VALIDATED, hooks=[AVERAGES])
    assert f"at iteration {iteration} of 12; " in str(stop)
    train(config, work_dir=cut, resume=True, options=VALIDATED)
    assert same(cut / "iter_12.pth", validated / "iter_12.pth")
    assert values(cut) == values(validated)
    assert len(values(validated)) == 3
    before = (cut / "iter_12.pth").read_bytes()
    train(config, work_dir=cut, resume=True, options=VALIDATED)
    assert "The run is complete" in capsys.readouterr().out.splitlines()[-1]
    assert (cut / "iter_12.pth").read_bytes() == before


def values(run):
    """Return the results of all validations, in order; validations use the averaged weights."""
    logs = sorted(run.glob("*/*.log"))
    lines = [line for log in logs for line in log.read_text().splitlines()]
    return [line.split("value: ")[1].split()[0] for line in lines if "value: " in line]


@pytest.mark.parametrize(("place", "iteration", "said"), [
    ("val", 4, "iteration 4 of 8; {run}/epoch_2.pth is written"),  # after epoch 2
    ("train", 6, "iteration 6 of 8; {run}/epoch_3.pth is written"),  # the interval skips epoch 3
    ("val", 6, "iteration 6 of 8; {run}/epoch_3.pth is written"),
])  # fmt: skip
def test_a_run_of_epochs_goes_on_with_the_validation(
    toys, tmp_path, epochs, place, iteration, said
):
    """The learning rate depends on every validation: without one, the weights would differ."""
    config = toys / "detector.py"
    stop = stopped(config, tmp_path / "cut", place, iteration, EPOCHS)
    assert said.format(run=tmp_path / "cut") in str(stop)
    train(config, work_dir=tmp_path / "cut", resume=True, options=EPOCHS)
    assert same(tmp_path / "cut" / "epoch_4.pth", epochs / "iter_8.pth")


def test_checkpoints_by_iteration_go_on_within_an_epoch(toys, tmp_path, epochs):
    """Resume after a signal (5) and from checkpoints inside (3) and at the end (6) of an epoch."""
    config = toys / "detector.py"
    rare = {**BY_ITERATION, "default_hooks.checkpoint.interval": 4}
    stop = stopped(config, tmp_path / "cut", "train", 5, rare)
    assert f"iteration 5 of 8; {tmp_path}/cut/iter_5.pth is written" in str(stop)
    runs = {"cut": "newest", "from3": epochs / "iter_3.pth", "from6": epochs / "iter_6.pth"}
    for name, resume in runs.items():
        runner = train(config, work_dir=tmp_path / name, resume=resume, options=rare)
        assert (runner.iter, runner.epoch) == (8, 4)
        assert same(tmp_path / name / "iter_8.pth", epochs / "iter_8.pth"), name
    logs = {name: "".join(log.read_text() for log in (tmp_path / name).glob("*/*.log"))
            for name in runs}  # fmt: skip
    for name, seen, epoch in (("cut", 1, 3), ("from3", 1, 2), ("from6", 2, 3)):
        line = f"written after {seen} of 2 iterations of epoch {epoch}: their batches are loaded"
        assert line in logs[name]
    # The checkpoint at the end of epoch 3 is written before the validation of epoch 3, so the
    # validations of epochs 3 and 4 follow.
    assert [logs[name].count("images: 4.0000") for name in ("from3", "from6")] == [3, 2]


def test_a_stop_within_an_epoch_writes_no_checkpoint_by_epoch(toys, tmp_path):
    stop = stopped(toys / "detector.py", tmp_path / "run", "train", 5, EPOCHS)
    newest = tmp_path / "run" / "epoch_2.pth"
    assert str(stop) == (
        "Stopped by SIGTERM at iteration 5 of 8; checkpoints are written at ends of epochs only, "
        f"the newest is {newest}. Go on with --resume"
    )
    assert [path.name for path in (tmp_path / "run").glob("*.pth")] == ["epoch_2.pth"]
