"""The progress bar of a terminal, and the estimate of a run's time and memory."""

import fcntl
import os
import pty
import re
import struct
import termios
import threading
import time
from contextlib import redirect_stdout

import numpy as np
import pytest
from mmengine.hooks import Hook
from mmengine.logging import MMLogger

from drivemim.errors import NonFiniteLossError
from drivemim.training.hooks.estimate_run import _peak_memory, describe_estimate
from drivemim.training.run import train


@pytest.fixture(scope="module")
def toy(repository):
    return repository / "tests" / "toys" / "configs" / "toy.py"


END = "\0"


def train_on_terminal(*arguments, size=(40, 110), **options):
    """Train on a terminal of these rows and columns; return what it shows, and the error if any."""
    screen, keyboard = pty.openpty()
    fcntl.ioctl(keyboard, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
    error, shown = None, []
    reader = threading.Thread(target=read_all, args=(screen, shown))
    reader.start()
    with open(keyboard, "w") as terminal, redirect_stdout(terminal):
        try:
            train(*arguments, **options)
        except NonFiniteLossError as raised:
            error = raised
        terminal.write(END)
    reader.join()
    os.close(screen)
    text = b"".join(shown).decode().removesuffix(END)
    return text.replace("\r\n", "\n"), error


def read_all(screen, shown):
    """Read until ``END``: a forked process may keep the terminal open, so no end of file comes."""
    while not (shown and shown[-1].endswith(END.encode())):
        shown.append(os.read(screen, 4096))


def log_of(folder):
    (log,) = folder.glob("*/*.log")
    return log.read_text()


def test_a_terminal_shows_a_bar_and_the_file_has_the_lines(toy, tmp_path):
    shown, _ = train_on_terminal(toy, work_dir=tmp_path / "run")
    assert "Iter(train)" not in shown
    stored = log_of(tmp_path / "run")
    assert stored.count("Iter(train)") == 12
    last = shown.rpartition("\r")[2]
    assert "100%" in last
    assert "12/12" in last
    loss = re.findall(r"loss: ([\d.]+)", stored)[-1]
    assert f"loss {loss}" in last
    # Other lines stand above the bar, each on a line of its own.
    (line,) = [line for line in shown.replace("\r", "\n").splitlines() if "model: Toy" in line]
    assert "12/12" not in line
    assert all("emit" not in vars(each) for each in MMLogger.get_current_instance().handlers)


@pytest.mark.parametrize("size", [(0, 0), (0, 110)])
def test_a_terminal_without_a_size_has_the_lines(toy, tmp_path, size):
    """For example that of ``docker exec -t``, where tqdm would draw nothing."""
    shown, _ = train_on_terminal(toy, work_dir=tmp_path / "run", size=size)
    assert shown.count("Iter(train)") == 12
    assert "it/s" not in shown


def test_a_resumed_run_begins_where_it_was(toy, tmp_path):
    train(toy, work_dir=tmp_path / "run", options={"default_hooks.checkpoint.max_keep_ckpts": -1})
    for number in (8, 12):
        (tmp_path / "run" / f"iter_{number}.pth").unlink()
    shown, _ = train_on_terminal(toy, work_dir=tmp_path / "run", resume=True)
    assert " 4/12 " in shown
    assert " 3/12 " not in shown


def test_an_error_leaves_the_terminal_as_it_was(toy, tmp_path):
    shown, error = train_on_terminal(
        toy, work_dir=tmp_path / "run", options={"model.poison": "frame"}
    )
    assert error is not None
    assert shown.endswith("\n")
    for handler in MMLogger.get_current_instance().handlers:
        assert "emit" not in vars(handler)


def test_a_file_has_no_bar(toy, tmp_path, capsys):
    train(toy, work_dir=tmp_path / "run")
    printed = capsys.readouterr()
    assert printed.out.count("Iter(train)") == 12
    assert "\r" not in printed.out + printed.err


def test_the_estimate_comes_once_after_ten_iterations(toy, tmp_path, capsys):
    train(toy, work_dir=tmp_path / "run", iterations=14)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "estimate: " in line]
    # The first iteration is not measured, so the estimate comes after iteration 11 of 14.
    assert re.search(
        r"estimate: \d+\.\d\d s per iteration \(\d+% waiting for data\), about 0:00:0\d for the "
        r"remaining 3, without validations; peak memory \d\.\d GiB without data loader workers",
        line,
    )


def test_hooks_and_validations_are_not_waits_for_data(toy, tmp_path, capsys):
    """In each iteration, a hook takes 0.1 s. There are validations, too."""

    class Slow(Hook):
        def after_train_iter(self, runner, *args, **kwargs):
            time.sleep(0.1)

    toy = toy.with_name("toy_validated.py")
    train(toy, work_dir=tmp_path / "run", iterations=14, hooks=[Slow()], options={
        "custom_hooks": [], "train_cfg.val_interval": 4, "train_dataloader.num_workers": 0,
        "train_dataloader.persistent_workers": False,
    })  # fmt: skip
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "estimate: " in line]
    seconds, waiting = re.search(r"estimate: ([\d.]+) s .*\((\d+)% waiting", line).groups()
    assert float(seconds) > 0.1
    assert int(waiting) < 50


def test_the_numbers_of_the_estimate(monkeypatch):
    monkeypatch.setattr("drivemim.training.hooks.estimate_run._peak_memory", lambda: 3 * 2**29)
    # 0.5 s x 7,300 = 3,650 s
    assert describe_estimate(0.5, 0.251, 7300) == (
        "estimate: 0.50 s per iteration (25% waiting for data), about 1:00:50 for the remaining "
        "7,300, without validations; peak memory 1.5 GiB without data loader workers"
    )


def test_peak_memory_is_in_bytes():
    block = np.ones(2**28 // 8)
    assert _peak_memory() > 2**28
    assert _peak_memory() < 2**36
    assert block.sum() == len(block)
