"""Errors as one line, also in runs of several processes."""

import json
import signal
import sys

import pytest

import drivemim.cli
import drivemim.process_ends
from drivemim.arguments import ArgumentParser
from drivemim.errors import ConfigError, RunStopped
from drivemim.process_ends import one_line_errors, one_line_stops, process_rank


@pytest.fixture
def waits(monkeypatch):
    """Return a list that receives the seconds of every ``time.sleep``, which does not wait."""
    waited = []
    monkeypatch.setattr(drivemim.process_ends.time, "sleep", waited.append)
    return waited


@pytest.fixture(autouse=True)
def _handlers(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def leave(error, launcher="none"):
    with pytest.raises(SystemExit) as end, one_line_errors(launcher):
        raise error
    return end.value.code


def test_ranks_are_known_before_the_processes_are_connected(monkeypatch):
    assert process_rank() == 0
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("SLURM_PROCID", "5")
    assert [process_rank(each) for each in ("none", "pytorch", "slurm")] == [3, 3, 5]
    monkeypatch.setenv("RANK", "")
    assert process_rank() == 0


def test_only_rank_zero_reports_at_once(monkeypatch, waits):
    assert leave(ConfigError("wrong")) == "ConfigError: wrong"
    monkeypatch.setenv("RANK", "0")
    assert leave(ConfigError("wrong"), "pytorch") == "ConfigError: wrong"
    assert waits == []
    monkeypatch.setenv("RANK", "1")
    # Other ranks report after 30 s. If rank 0 has the same error, torchrun ends them before.
    assert leave(ConfigError("wrong"), "pytorch") == "rank 1: ConfigError: wrong"
    assert waits == [30.0]
    with pytest.raises(KeyError), one_line_errors("pytorch"):
        raise KeyError("a mistake of ours")
    assert waits == [30.0, 30.0]


def test_a_wrong_option_is_reported_by_rank_zero(monkeypatch, waits, capsys):
    monkeypatch.setenv("RANK", "2")
    with pytest.raises(SystemExit):
        ArgumentParser(prog="train.py").parse_args(["--zzz"])
    assert waits == [30.0]
    assert "error: rank 2: there is no option --zzz" in capsys.readouterr().err


@pytest.mark.parametrize(("error", "status", "line"), [
    (KeyboardInterrupt(), 130, "Stopped by Ctrl-C"),
    (RunStopped("Stopped", number=signal.SIGTERM, advice="Go on"), 143, "Stopped. Go on"),
    (RunStopped("Stopped", number=signal.SIGINT), 130, "Stopped"),
])  # fmt: skip
def test_stops_have_the_status_that_shells_give_them(monkeypatch, waits, capsys, tmp_path, error,
                                                     status, line):  # fmt: skip
    error_file = tmp_path / "error.json"
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(error_file))
    assert leave(error) == status
    assert capsys.readouterr().err == f"{line}\n"
    assert json.loads(error_file.read_text())["message"] == line
    monkeypatch.setenv("RANK", "1")
    assert leave(error, "pytorch") == status
    assert capsys.readouterr().err == ""


def test_an_interrupt_during_the_imports_is_one_line(monkeypatch, capsys):
    def interrupted(name):
        raise KeyboardInterrupt

    monkeypatch.setattr(sys, "argv", ["drivemim", "train", "c.py"])
    monkeypatch.setattr(drivemim.cli, "import_module", interrupted)
    with pytest.raises(SystemExit) as end:
        drivemim.cli.main()
    assert end.value.code == 130
    assert capsys.readouterr().err == "Stopped by Ctrl-C\n"


def _hide_an_interrupt():
    try:
        raise KeyboardInterrupt
    except BaseException:
        raise SyntaxError("Failed to format the config file")  # noqa: B904 - as MMEngine does


def test_an_interrupt_that_another_error_hides_is_one_line(monkeypatch, capsys):
    """Two nested contexts print it once."""
    monkeypatch.setattr(signal, "signal", lambda number, handler: None)
    with pytest.raises(SystemExit) as stop, one_line_stops(), one_line_errors():
        _hide_an_interrupt()
    assert stop.value.code == 130
    assert capsys.readouterr().err == "Stopped by Ctrl-C\n"
