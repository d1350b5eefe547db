"""A command under way: its log, how far it is, and what it leaves when it fails."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

LAST_LINES = 15
_LOG_PREFIX = re.compile(r"^[\d/-]+ [\d:,]+ - \S+ - [A-Z]+ - ")
_COUNT = re.compile(r"\d+/\d+ [a-z]")
_NUMBER_OF = re.compile(r"\b(eta|loss):\s*(\S+)")
_POSITION = re.compile(r"\[\s*(\d+)/\s*(\d+)\]")


class StepFailedError(RuntimeError):
    """A command of a plan failed; the message has the end of its log."""


class Running:
    """A command under way, its output going to its log.

    Args:
        name: what it is called in messages.
        command: script and arguments, without the interpreter.
        log: relative to the repository.
        repository: folder that it runs in.
        threads: that it may use.
        lock: an open file that stays open as long as the command runs, whatever becomes of us.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        repository: Path,
        threads: int,
        lock: IO[bytes],
    ) -> None:
        self.name = name
        self.command = command
        self.log = log
        self.latest = "starting"
        self._began = time.monotonic()
        self._ended: float | None = None
        whole = repository / log
        whole.parent.mkdir(parents=True, exist_ok=True)
        environment = {
            # On cores that are shared, threads that spin while they wait are many times slower.
            "OMP_WAIT_POLICY": "PASSIVE",
            **os.environ,
            "OMP_NUM_THREADS": str(threads),
            "MKL_NUM_THREADS": str(threads),
            "PYTHONUNBUFFERED": "1",
        }
        self._process = subprocess.Popen(
            [sys.executable, *command],
            cwd=repository,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            pass_fds=(lock.fileno(),),
        )
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read, args=(whole,), daemon=True)
        self._reader.start()

    def _read(self, log: Path) -> None:
        assert self._process.stdout is not None
        with log.open("w") as file:
            file.write(f"$ python {shlex.join(self.command)}\n")
            for line in self._process.stdout:
                file.write(line)
                file.flush()
                self._lines = [*self._lines[-LAST_LINES:], line.rstrip()]
                self.latest = progress_of(line) or self.latest

    def seconds(self) -> float:
        """How long it has run, or ran."""
        return (self._ended or time.monotonic()) - self._began

    def alive(self) -> bool:
        """Whether it runs."""
        if self._process.poll() is None:
            return True
        self._ended = self._ended or time.monotonic()
        return False

    def failed(self) -> bool:
        """Whether it ended with an exit code other than 0."""
        return self._process.poll() not in (None, 0)

    def check(self) -> None:
        """Say what became of it.

        Raises:
            StepFailedError: if it failed, with the end of its log.
        """
        if self.failed():
            self._reader.join(timeout=5)
            end = "\n".join(f"    {line}" for line in self._lines[-LAST_LINES:])
            raise StepFailedError(
                f"{self.name} failed with exit code {self._process.returncode}; its log "
                f"ends:\n{end}\n  whole log: {self.log}\n"
                f"  to run it alone: python {shlex.join(self.command)}"
            )

    def stop(self) -> None:
        """End the command if it is still there, and its log in any case."""
        if self._process.poll() is None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=10)
            if self._process.poll() is None:
                self._process.kill()
        self._process.wait()
        self._reader.join(timeout=5)


def progress_of(line: str) -> str:
    """What a line of a log says about progress, short; empty if it says nothing of the kind.

    A line of MMEngine's becomes position, time left and loss; a counting line stays as it is.
    """
    text = _LOG_PREFIX.sub("", line.replace("\r", "\n").strip().split("\n")[-1])
    position = _POSITION.search(text)
    if position is not None:
        numbers = [f"{name} {value}" for name, value in _NUMBER_OF.findall(text)]
        return "  ".join([f"{position[1]}/{position[2]}", *numbers])
    return text[:90] if _COUNT.match(text) else ""
