"""A runner of plans: it shows, logs and times the steps, and skips completed ones."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple

from drivemim.files import ensure_folder, write_bytes
from workflow.step_process import StepFailedError, StepProcess

SECONDS_BETWEEN_LINES = 5.0  # of progress

LogLine = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Step:
    """One command of a plan.

    Attributes:
        name: short name, also that of the log.
        title: description for the console.
        command: script and arguments, without the interpreter.
        reads: files and folders, relative to the repository, whose change makes the result stale.
        writes: files and folders that exist once the step is complete.
        folder: folder of this step alone. It is removed before a rerun, because leftovers beyond
            ``writes`` (a training's other checkpoints) would be picked up again.
        side_by_side: number of steps that the CPU cores are divided among, even if this one runs
            alone; None to divide them among the steps that run at the same time.
    """

    name: str
    title: str
    command: tuple[str, ...]
    reads: tuple[str, ...] = ()
    writes: tuple[Path, ...] = ()
    folder: Path | None = None
    side_by_side: int | None = None


Group = tuple[Step, ...]
"""Steps that run in parallel and share the CPU cores."""


@dataclass(frozen=True)
class StepResult:
    """The outcome of a step.

    Attributes:
        step: the step.
        seconds: duration of the step, including interrupted runs that it continued; of the earlier
            run if its result was kept.
        skipped: whether an earlier run's result was kept.
    """

    step: Step
    seconds: float
    skipped: bool


def run_cli(
    name: str,
    plan: Sequence[Group],
    work_dir: Path,
    *,
    repository: Path,
    fresh: bool = False,
    independent: bool = False,
) -> list[StepResult]:
    """Run a plan as a command line program: print progress, and exit with an error on failure.

    ``name`` is the name of the program, which prefixes its error messages. For the other arguments
    see :func:`run_plan`.

    Raises:
        SystemExit: 1 if a command failed or ``work_dir`` is a file or read-only, 130 or 143 if
            interrupted; running commands are terminated.
    """
    try:
        ensure_folder(repository / work_dir)
    except OSError as error:
        sys.exit(f"{name}: {error}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    log = partial(print, flush=True)
    try:
        return run_plan(
            plan, work_dir, repository=repository, fresh=fresh, independent=independent, log=log
        )
    except StepFailedError as error:
        sys.exit(f"{name}: {error}")
    except KeyboardInterrupt:
        print(f"{name}: stopped; run the same command again to continue", file=sys.stderr)
        sys.exit(130)


def run_plan(
    plan: Sequence[Group],
    work_dir: Path,
    *,
    repository: Path,
    fresh: bool = False,
    independent: bool = False,
    log: LogLine = print,
) -> list[StepResult]:
    """Run every step whose command, sources or predecessors changed since its last completion.

    Args:
        plan: groups, in order.
        work_dir: folder for ``logs/STEP.log`` and for ``stamps/STEP.json``, which records
            completed steps.
        repository: folder that the commands run in.
        fresh: run everything again.
        independent: make a step depend only on its command and on what it reads, not on earlier
            groups; so groups can be added, removed and reordered without rerunning steps.
        log: called with every line of progress.

    Returns:
        One entry per step, in the plan's order.

    Raises:
        StepFailedError: if a command fails.
    """
    results: list[StepResult] = []
    chain = ""  # hash of all earlier groups; stays empty if ``independent``
    number, total = 0, sum(len(group) for group in plan)
    hashes = _SourceHashes(repository)
    for group in plan:
        keys = [_key(step, chain, hashes) for step in group]
        stamps = _stamps([step.name for step in group], work_dir, repository)
        due: dict[Step, _Running] = {}
        with ExitStack() as locks:
            for step, key, stamp in zip(group, keys, stamps, strict=True):
                number += 1
                if _is_complete(step, key, stamp, repository) and not fresh:
                    log(f"[{number}/{total}] {step.title}: done earlier")
                    continue
                due[step] = _Running(locks.enter_context(_lock(step, stamp.path)), stamp)
                if stamp.exists() and (fresh or stamp.key != key):
                    _remove_results(step, work_dir, repository)
                stamp.begin(key, fresh=fresh)
                log(f"[{number}/{total}] {step.title}")
                log(f"      $ python {shlex.join(step.command)}")
            _run_side_by_side(due, work_dir, repository, log)
        for step, stamp in zip(group, stamps, strict=True):
            if step in due:
                stamp.finish()
            results.append(StepResult(step, stamp.seconds, step not in due))
        if not independent:
            chain = hashlib.sha256("".join([chain, *keys]).encode()).hexdigest()
    return results


def completed_steps(steps: Sequence[Step], work_dir: Path, *, repository: Path) -> set[str]:
    """Return the names of the steps whose results exist and are not stale.

    The steps are those of a plan that :func:`run_plan` ran with ``independent``, in the same
    ``work_dir`` and ``repository``.
    """
    hashes = _SourceHashes(repository)
    stamps = _stamps([step.name for step in steps], work_dir, repository)
    return {
        step.name
        for step, stamp in zip(steps, stamps, strict=True)
        if _is_complete(step, _key(step, "", hashes), stamp, repository)
    }


def seconds_of_completed(
    names: Sequence[str], work_dir: Path, *, repository: Path
) -> dict[str, float]:
    """Return how long the finished ones of some steps took, in seconds, by name.

    The steps are those of a plan that :func:`run_plan` ran in the same ``work_dir`` and
    ``repository``. A step that is being repeated is not finished.
    """
    stamps = _stamps(names, work_dir, repository)
    return {
        name: stamp.seconds for name, stamp in zip(names, stamps, strict=True) if stamp.finished
    }


class _SourceHashes:
    """A cache of content hashes of files and folders; each is read once."""

    def __init__(self, repository: Path) -> None:
        self.repository = repository
        self._known: dict[str, str] = {}

    def __getitem__(self, name: str) -> str:
        if name not in self._known:
            path = self.repository / name
            files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
            digest = hashlib.sha256()
            for file in files:
                digest.update(os.path.relpath(file, self.repository).encode())
                digest.update(file.read_bytes() if file.is_file() else b"absent")
            self._known[name] = digest.hexdigest()
        return self._known[name]


def _key(step: Step, chain: str, hashes: _SourceHashes) -> str:
    """Return the hash of what a step depends on: earlier groups, its command and its sources."""
    parts = [chain, *step.command, *(hashes[name] for name in step.reads)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


class _Stamp:
    """The record of a step's last run.

    Attributes:
        key: hash of what the run depended on: see ``_key``; empty if there was no run.
        seconds: duration of the run, including interrupted runs of the same key that it continued.
        finished: whether the run ended without an error.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.key = ""
        self.seconds = 0.0
        self.finished = False
        self._before = 0.0  # seconds of interrupted runs
        with suppress(FileNotFoundError, ValueError, KeyError, TypeError):
            recorded = json.loads(path.read_text())
            self.key, self.seconds = str(recorded["key"]), float(recorded["seconds"])
            self.finished = bool(recorded["finished"])

    def exists(self) -> bool:
        return self.path.exists()

    def done(self, key: str) -> bool:
        return self.finished and self.key == key

    def begin(self, key: str, *, fresh: bool) -> None:
        """Record that a run with ``key`` has started.

        It continues an interrupted run of the same key, unless ``fresh``, and adds its seconds.
        """
        continues = self.key == key and not self.finished and not fresh
        self._before = self.seconds if continues else 0.0
        self.key, self.finished = key, False
        self.spend(0.0)

    def spend(self, seconds: float) -> None:
        """Record how long this run has lasted."""
        self.seconds = self._before + seconds
        self._write()

    def finish(self) -> None:
        self.finished = True
        self._write()

    def _write(self) -> None:
        stamp = {"key": self.key, "seconds": self.seconds, "finished": self.finished}
        write_bytes(self.path, json.dumps(stamp).encode())


def _stamps(names: Sequence[str], work_dir: Path, repository: Path) -> list[_Stamp]:
    """Return the records of the last runs of the steps with these names, in the same order."""
    return [_Stamp(repository / work_dir / "stamps" / f"{name}.json") for name in names]


def _is_complete(step: Step, key: str, stamp: _Stamp, repository: Path) -> bool:
    """Return whether a step's last run had this key and ended, and its results still exist."""
    return stamp.done(key) and all((repository / path).exists() for path in step.writes)


class _Running(NamedTuple):
    """Lock and record of a running step."""

    lock: IO[bytes]
    stamp: _Stamp


def _lock(step: Step, stamp: Path) -> IO[bytes]:
    """Lock a file; the lock lasts while the file is open here or in a command that inherits it.

    Raises:
        StepFailedError: if the file is locked: another process runs the step. Two commands in one
            folder would mix their checkpoints.
    """
    path = stamp.with_suffix(".lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise StepFailedError(
            f"{step.name} is already running in another process, perhaps one left by a killed "
            f"run; wait for it, or end it (it holds {path} open)"
        ) from error
    return file


def _remove_results(step: Step, work_dir: Path, repository: Path) -> None:
    """Remove the results that an earlier run of this step left, and nothing else."""
    root = (repository / work_dir).resolve()
    for path in (step.folder,) if step.folder else step.writes:
        path = (repository / path).resolve()
        assert root in path.parents, f"{step.name} writes {path}, which is not in {root}"
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _run_side_by_side(
    steps: Mapping[Step, _Running], work_dir: Path, repository: Path, log: LogLine
) -> None:
    """Run steps in parallel, divide the cores among them, and record their seconds."""
    running = [
        StepProcess(
            step.name,
            step.command,
            log_path=work_dir / "logs" / f"{step.name}.log",
            repository=repository,
            threads=max(1, _cores() // (step.side_by_side or len(steps))),
            lock=lock,
        )
        for step, (lock, _) in steps.items()
    ]
    stamps = [stamp for _, stamp in steps.values()]
    try:
        shown = ["" for _ in running]
        next_line = time.monotonic() + SECONDS_BETWEEN_LINES
        while any(process.alive() for process in running):
            time.sleep(0.1)
            if any(process.failed() for process in running):
                break
            if time.monotonic() >= next_line:
                next_line += SECONDS_BETWEEN_LINES
                for i, process in enumerate(running):
                    if process.latest != shown[i] and process.alive():
                        shown[i] = process.latest
                        log(f"      {_clock(process.seconds())}  {process.name}: {process.latest}")
                    stamps[i].spend(process.seconds())  # now: this process may be killed later
        for process in running:
            process.check()
    finally:
        for process, stamp in zip(running, stamps, strict=True):
            process.stop()
            stamp.spend(process.seconds())
    for process in running:
        log(f"      {_clock(process.seconds())}  {process.name}: done")


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
