"""A killed worker of a data loader ends the run with an error of one line."""

from pathlib import Path

import pytest
from torch.utils.data import dataloader

from drivemim.process_ends import one_line_errors


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("DataLoader worker (pid 4711) is killed by signal: Killed. ", "killed by signal Killed,"),
        ("DataLoader worker (pid(s) 4711, 4712) exited unexpectedly", "was killed, probably"),
    ],
)
def test_a_killed_data_loader_worker_is_one_line(message, words):
    with pytest.raises(SystemExit) as caught, one_line_errors():
        raise RuntimeError(message)
    line = str(caught.value)
    assert words in line
    assert "--cfg-options train_dataloader.num_workers=N" in line
    assert "\n" not in line


def test_the_message_is_that_of_the_installed_pytorch():
    text = Path(dataloader.__file__).read_text()
    assert "DataLoader worker (pid(s) {pids_str}) exited unexpectedly" in text


def test_other_runtime_errors_keep_their_traceback():
    with pytest.raises(RuntimeError, match="sizes do not fit"), one_line_errors():
        raise RuntimeError("sizes do not fit")
