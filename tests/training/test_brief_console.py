"""The first lines of a training on the console, and the lines only in its log file."""

import re

import pytest

from drivemim.training.run import train


@pytest.fixture(scope="module")
def toys(repository):
    return repository / "tests" / "toys" / "configs"


def test_the_console_begins_with_the_run_and_the_file_has_everything(toys, tmp_path, capsys):
    options = {"model.encoder.channels": 4, "train_cfg.max_iters": 12}
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
