"""A running command: its log, its progress, and its error message if it fails."""

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

LAST_LINES = 15  # of the log, in the message of a failed command
_LOG_PREFIX = re.compile(r"^[\d/-]+ [\d:,]+ - \S+ - [A-Z]+ - ")
_COUNT = re.compile(r"\d+/\d+ [a-z]")
_NUMBER_OF = re.compile(r"\b(eta|loss):\s*(\S+)")
_POSITION = re.compile(r"\[\s*(\d+)/\s*(\d+)\]")


class StepFailedError(RuntimeError):
    """A failed command of a plan; the message contains the end of its log."""


class StepProcess:
    """A running command whose output goes to its log.

    Args:
        name: name for messages.
        command: script and arguments, without the interpreter.
        log_path: path of the log, relative to the repository.
        repository: folder to run in.
        threads: number of threads that the command may use.
        lock: open and locked file. The command inherits it, so it stays locked until the command
            ends, even if this process dies.

    Attributes:
        latest: latest progress that the command reported.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log_path: Path,
        repository: Path,
        threads: int,
        lock: IO[bytes],
    ) -> None:
        self.name = name
        self.command = command
        self.log_path = log_path
        self.latest = "starting"
        self._began = time.monotonic()
        self._ended: float | None = None
        full_path = repository / log_path
        full_path.parent.mkdir(parents=True, exist_ok=True)
        environment = {
            # On shared cores, threads that spin while they wait are many times slower.
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
        self._reader = threading.Thread(target=self._read, args=(full_path,), daemon=True)
        self._reader.start()

    def _read(self, log: Path) -> None:
        """Copy the command's output to its log, and remember the last lines and the progress."""
        assert self._process.stdout is not None
        with log.open("w") as file:
            file.write(f"$ python {shlex.join(self.command)}\n")
            for line in self._process.stdout:
                file.write(line)
                file.flush()
                self._lines = [*self._lines[-LAST_LINES:], line.rstrip()]
                self.latest = parse_progress(line) or self.latest

    def seconds(self) -> float:
        """Return how many seconds the command has run: until now, or until it ended."""
        return (self._ended or time.monotonic()) - self._began

    def alive(self) -> bool:
        """Return whether the command is running."""
        if self._process.poll() is None:
            return True
        self._ended = self._ended or time.monotonic()
        return False

    def failed(self) -> bool:
        """Return whether the command ended with an exit code other than 0."""
        return self._process.poll() not in (None, 0)

    def check(self) -> None:
        """Raise an error if the command failed.

        Raises:
            StepFailedError: if the command failed; the message contains the end of its log.
        """
        if self.failed():
            self._reader.join(timeout=5)
            end = "\n".join(f"    {line}" for line in self._lines[-LAST_LINES:])
            raise StepFailedError(
                f"{self.name} failed with exit code {self._process.returncode}; its log "
                f"ends:\n{end}\n  whole log: {self.log_path}\n"
                f"  to run it alone: python {shlex.join(self.command)}"
            )

    def stop(self) -> None:
        """Terminate the command if it is running, and close its log."""
        if self._process.poll() is None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=10)
            if self._process.poll() is None:
                self._process.kill()
        self._process.wait()
        self._reader.join(timeout=5)


def parse_progress(line: str) -> str:
    """Return a short form of a log line's progress; empty if it reports no progress.

    A line of MMEngine is reduced to iterations, time left and loss. A line that begins with a count
    ("20/80 images") is kept, up to 90 characters.
    """
    text = _LOG_PREFIX.sub("", line.replace("\r", "\n").strip().split("\n")[-1])
    position = _POSITION.search(text)
    if position is not None:
        numbers = [f"{name} {value}" for name, value in _NUMBER_OF.findall(text)]
        return "  ".join([f"{position[1]}/{position[2]}", *numbers])
    return text[:90] if _COUNT.match(text) else ""
