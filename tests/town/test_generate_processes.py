"""Processes of a town's generation: workers, failures, and runs that were killed."""

import contextlib
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from in_process import run_script

from drivemim.errors import ConfigError
from drivemim.town import generate, generate_town

SMALLEST = {"scenes": 2, "seconds": 0.5, "image_size": (48, 80), "pedestrians": 3, "vehicles": 3}


@pytest.mark.slow
def test_workers_are_not_forked(tmp_path, monkeypatch):
    """A process that is forked while another thread holds a lock would wait for it forever."""

    def fork():
        raise AssertionError("os.fork")

    monkeypatch.setattr(os, "fork", fork)
    generate_town(tmp_path / "town", workers=2, **SMALLEST)


def test_a_folder_that_is_not_a_town_is_refused_and_unchanged(tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("precious")
    with pytest.raises(FileExistsError, match=r"mine exists and is not a generated town"):
        generate_town(mine, workers=1, **SMALLEST)
    assert [path.name for path in tmp_path.rglob("*")] == ["mine", "thesis.txt"]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_failure_leaves_the_old_town_and_nothing_else(tmp_path, workers):
    out = tmp_path / "town"
    out.mkdir()
    (out / generate.MARKER).write_text("{}")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, limits[1]))  # bytes of a file; workers, too
    try:
        with pytest.raises(OSError, match="File too large"):
            generate_town(out, workers=workers, **SMALLEST)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in tmp_path.rglob("*")] == ["town", generate.MARKER]


@pytest.mark.slow
def test_the_module_generates_in_several_processes(tmp_path):
    """``python -m drivemim`` is imported by its workers, which must not begin again."""
    command = [sys.executable, "-m", "drivemim", "town", "--out", "town", "--workers", "2"]
    options = ["--scenes", "2", "--seconds", "0.5", "--image-size", "48", "80"]
    done = subprocess.run(
        [*command, *options], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["town"]


def test_folders_of_killed_processes_are_removed_by_the_next_run(tmp_path):
    dead = subprocess.Popen(["true"])
    dead.wait()
    left = [tmp_path / f".town.{spec}-{dead.pid}" for spec in ("unfinished", "old")]
    kept = [
        tmp_path / f".town.unfinished-{os.getppid()}",  # its process is alive
        tmp_path / f".town.unfinished-{dead.pid}.txt",
        tmp_path / f".other.unfinished-{dead.pid}",
    ]
    for folder in [*left, *kept]:
        (folder / "samples").mkdir(parents=True)
    generate_town(tmp_path / "town", workers=1, **SMALLEST)
    assert sorted(tmp_path.iterdir()) == sorted([tmp_path / "town", *kept])


@pytest.mark.slow
def test_a_killed_run_leaves_no_process_and_the_next_run_no_folder(tmp_path):
    out = tmp_path / "town"
    code = (
        "from drivemim.town import generate_town; "
        f"generate_town({str(out)!r}, scenes=2, seconds=60.0, workers=2)"
    )
    run = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    try:
        unfinished = tmp_path / f".town.unfinished-{run.pid}"
        _wait_until(lambda: len(list(unfinished.glob("samples/*/*.jpg"))) > 4)
        run.kill()
        run.wait()
        _wait_until(lambda: not _group_lives(run.pid))
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)
    assert unfinished.is_dir()
    generate_town(out, workers=1, **SMALLEST)
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.slow
@pytest.mark.parametrize("end", ["worker killed", "Ctrl-C"])
def test_a_run_that_is_ended_says_so_in_one_line(tmp_path, end):
    command = [sys.executable, "-m", "drivemim", "town", "--out", "town", "--workers", "2"]
    run = subprocess.Popen(
        [*command, "--scenes", "2", "--seconds", "60"], cwd=tmp_path, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        if end == "Ctrl-C":
            _wait_until(lambda: len(_workers(run.pid)) == 2)  # they may still import
            os.killpg(run.pid, signal.SIGINT)
        else:
            _wait_until(lambda: list(tmp_path.glob(f".town.unfinished-{run.pid}/samples/*/*.jpg")))
            os.kill(_workers(run.pid)[0], signal.SIGKILL)
        error = run.communicate(timeout=120)[1]
        _wait_until(lambda: not _group_lives(run.pid))
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)
    if end == "Ctrl-C":
        assert (run.returncode, error) == (130, "stopped: town is as it was before\n")
    else:
        assert run.returncode == 1
        assert error.startswith(
            "ChildProcessError: one of 2 worker processes ended early. If it was killed, "
        )
        assert "take fewer --workers" in error
        assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_option_is_one_line_and_our_own_mistake_is_not(tmp_path, monkeypatch):
    command = ("tools/generate_town.py", "--out", tmp_path / "town", "--scenes")
    done = run_script(*command, 1)
    assert (done.returncode, done.stderr) == (1, "ConfigError: scenes=1: take 2 to 850\n")
    monkeypatch.setenv("DRIVEMIM_TRACEBACK", "1")
    with pytest.raises(ConfigError, match="scenes=1"):
        run_script(*command, 1)
    monkeypatch.delenv("DRIVEMIM_TRACEBACK")

    def fail(*args, **options):
        raise ValueError("operands could not be broadcast together")

    monkeypatch.setattr("drivemim.cli.town.generate_town", fail)
    with pytest.raises(ValueError, match="broadcast"):
        run_script(*command, 2)
    assert list(tmp_path.iterdir()) == []


def _workers(parent):
    """Return the processes that generate scenes for another one."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            _, _, rest = (folder / "stat").read_text().rpartition(") ")
            is_child = int(rest.split()[1]) == parent
            if is_child and b"spawn_main" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return found


def _wait_until(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def _group_lives(group):
    """Return whether a process of the group is alive; zombies are not."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            _, _, rest = (folder / "stat").read_text().rpartition(") ")
        except (FileNotFoundError, ProcessLookupError):
            continue
        state, _, own = rest.split()[:3]
        if int(own) == group and state != "Z":
            return True
    return False


def test_a_failure_keeps_the_old_town_that_a_killed_process_moved_aside(tmp_path, monkeypatch):
    dead = subprocess.Popen(["true"])
    dead.wait()
    aside = tmp_path / f".town.old-{dead.pid}"
    aside.mkdir()

    def fail(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(generate, "write_scene", fail)
    with pytest.raises(OSError, match="No space left"):
        generate_town(tmp_path / "town", workers=1, **SMALLEST)
    assert list(tmp_path.iterdir()) == [aside]
