"""The first lines of a training on the console, and the lines only in its log file."""

import re
import warnings

import pytest
import torch
from mmengine.config import Config

from drivemim.training.run import train


@pytest.fixture(scope="module")
def toys(repository):
    return repository / "tests" / "toys" / "configs"


def test_the_console_begins_with_the_run_and_the_file_has_everything(toys, tmp_path, capsys):
    options = {"model.encoder.channels": 4, "train_cfg.max_iters": 12,
               "default_hooks.logger.interval": 10}  # fmt: skip
    train(toys / "toy.py", work_dir=tmp_path / "run", options=options)
    console = capsys.readouterr().out
    (log,) = (tmp_path / "run").glob("*/*.log")
    stored = log.read_text()
    for words in ("System environment:", "Config:\n", "Hooks will be executed"):
        assert words in stored
        assert words not in console
    lines = re.sub(r"\x1b\[\d+m", "", console).splitlines()
    # Convolution 3 x 4 x 4 x 4 + 4, batch norm 8, head 4 x 3 + 3: 219 parameters.
    shown = [
        "model: ToyPretrainer (encoder ToyEncoder), 0.0 M parameters",
        "training: batch size 4; 12 iterations; AdamW, learning rate 0.01 (LinearLR, then "
        "CosineAnnealingLR)",
    ]
    for line in shown:
        place = next(number for number, text in enumerate(lines) if line in text)
        assert place < 15
        assert line in stored
    losses = [line for line in lines if "Iter(train)" in line]
    assert [re.search(r"\[ *(\d+)/12\]", line)[1] for line in losses] == ["1", "10"]
    assert all("loss: " in line for line in losses)


def test_the_console_does_not_repeat_the_name_of_the_run_after_an_epoch(toys, tmp_path, capsys):
    """MMEngine logs the name of the run after each pass through the data."""
    train(toys / "toy.py", work_dir=tmp_path / "run", iterations=14)  # 13 batches of 50 clips
    (log,) = (tmp_path / "run").glob("*/*.log")
    assert "Exp name: run_" in log.read_text()
    assert "Exp name" not in capsys.readouterr().out


@pytest.mark.parametrize(("batch", "said"), [
    (4, "learning rate 0.01 ("),
    # 0.01 x 2 / 4 = 0.005
    (2, "learning rate 0.005, which is 0.01 scaled from a batch of 4 to 2 ("),
])  # fmt: skip
def test_the_console_has_the_scaled_learning_rate(toys, tmp_path, capsys, batch, said):
    scale = {"enable": True, "base_batch_size": 4}
    options = {"train_dataloader.batch_size": batch, "auto_scale_lr": scale,
               "default_hooks.logger.interval": 1}  # fmt: skip
    runner = train(toys / "toy.py", work_dir=tmp_path / "run", options=options)
    assert said in capsys.readouterr().out
    assert runner.optim_wrapper.param_groups[0]["initial_lr"] == 0.01 * batch / 4


def test_memory_is_pinned_only_for_an_accelerator(toys, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda *args, **kwargs: False)
    pinned = {"train_dataloader.pin_memory": True}
    with warnings.catch_warnings():
        warnings.filterwarnings("error", ".*pin_memory")
        runner = train(toys / "toy.py", work_dir=tmp_path / "run", options=pinned)
    assert runner.train_dataloader.pin_memory is False
    # The written config keeps True: the run may be resumed on a machine with an accelerator.
    assert Config.fromfile(tmp_path / "run" / "toy.py").train_dataloader.pin_memory is True
