"""Signals that stop a run: their handlers, the data loader workers, and the command to go on."""

from __future__ import annotations

import multiprocessing
import os
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from torch.utils.data import DataLoader

from drivemim.errors import RunStopped
from drivemim.option_words import as_spoken
from drivemim.process_ends import interrupt_in

GO_ON = "Go on with --resume"
"""Advice of a stopped run whose command is not known."""
_DEFAULTS: Mapping[int, Any] = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
}
"""Python's default handlers, which are replaced. Handlers that a calling program set stay."""


def signal_name(number: int) -> str:
    """Return a signal's name as users know it."""
    return "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name


class StopSignals:
    """Context in which Ctrl-C and SIGTERM stop a run at the end of an iteration.

    Before the first iteration, a signal ends the run at once. During iterations, the first signal
    is noted in ``received``, and ``drivemim.training.hooks.stop_on_signal`` stops the run where a
    checkpoint can be written. A Ctrl-C after that ends the run at once. A SIGTERM after that
    changes nothing, because Slurm and torchrun may each send one.

    When a run is stopped, its data loader workers end with it. Outside the main thread, Python
    cannot set handlers, and the signals act as usual.

    Attributes:
        received: number of the first signal; 0 before it.
        is_training: whether an iteration has begun.
    """

    def __init__(self) -> None:
        self.received = 0
        self.is_training = False
        self._process = os.getpid()
        self._replaced: dict[int, Any] = {}
        self._earlier_children: set[multiprocessing.process.BaseProcess] = set()

    def __enter__(self) -> StopSignals:
        self._earlier_children = set(multiprocessing.active_children())
        if threading.current_thread() is threading.main_thread():
            for number, default in _DEFAULTS.items():
                if signal.getsignal(number) is default:
                    self._replaced[number] = signal.signal(number, self._receive)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        stop = interrupt_in(error)
        if stop is not None:
            for worker in set(multiprocessing.active_children()) - self._earlier_children:
                if worker.daemon:
                    worker.terminate()
        for number, handler in self._replaced.items():
            signal.signal(number, handler)
        if stop is not None and stop is not error:
            raise stop from None

    def _receive(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal.

        Raises:
            RunStopped: if the run has to end at once.
        """
        if os.getpid() != self._process:
            return  # a forked data loader worker, which has not set its own handlers yet
        if self.received and number != signal.SIGINT:
            return
        if self.received == 0 and self.is_training:
            self.received = number
            return
        first, self.received = self.received, self.received or number
        if not self.is_training:
            what = "before the first iteration; nothing was saved"
        else:
            what = "at once; the iterations since the last checkpoint are lost"
        raise RunStopped(
            f"Stopped by {signal_name(number)} {what}",
            number=first or number,
            advice=as_spoken(GO_ON) if self.is_training else "",
        )


def _end_with_parent(parent: int) -> None:
    """Wait for a SIGTERM from the parent process, then end this process."""
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(0)


def _start_worker(start: Callable[[int], Any] | None, worker: int) -> None:
    """Make a data loader worker ignore Ctrl-C, and every SIGTERM that its run has not sent.

    Ctrl-C, torchrun and Slurm signal all processes at once. If a worker ended then, the run could
    not complete the iteration.

    Args:
        start: the loader's own ``worker_init_fn``.
        worker: number of the worker.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None and hasattr(signal, "sigwaitinfo"):  # not on macOS
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_end_with_parent, args=(parent.pid,), daemon=True).start()
    if start is not None:
        start(worker)


def leave_signals(loader: DataLoader[Any]) -> None:
    """Make the workers of a data loader ignore signals, which the process of the run handles."""
    loader.worker_init_fn = partial(_start_worker, loader.worker_init_fn)


@contextmanager
def advice_to_go_on(arguments: Sequence[str], launcher: str = "none") -> Iterator[None]:
    """Add the command that continues a run to the message of its stop.

    Args:
        arguments: see :func:`command_to_go_on`.
        launcher: likewise.

    Raises:
        RunStopped: with that command, if the run can go on.
    """
    try:
        yield
    except RunStopped as stop:
        if not stop.advice:
            raise
        advice = f"Go on with: {command_to_go_on(arguments, launcher)}"
        raise RunStopped(stop.what, number=stop.number, advice=advice) from None


def command_to_go_on(arguments: Sequence[str], launcher: str = "none") -> str:
    """Return the command that continues a run, for its user to paste.

    Args:
        arguments: ``sys.argv`` of the run.
        launcher: what started its processes, see ``--launcher``.

    Returns:
        The command. A run that neither a single process nor torchrun on one machine has started
        gets a description instead, since its start command is unknown.
    """
    kept: list[str] = []
    skips = False
    for text in arguments[1:]:
        flag = text.partition("=")[0]
        if skips and not text.startswith("-"):  # the value of --resume
            skips = False
            continue
        skips = False
        if _abbreviates(flag, "--resume"):
            skips = "=" not in text
        elif not _abbreviates(flag, "--overwrite"):
            kept.append(text)
    options = shlex.join([*kept, "--resume"])
    program = _program(arguments[0])
    if launcher == "none":
        start = "" if program[0].startswith("drivemim") else "python "
        return f"{start}{' '.join(program)} {options}"
    local, world = (os.environ.get(f"{name}WORLD_SIZE") for name in ("LOCAL_", ""))
    if launcher == "pytorch" and local == world:
        if program[0] == "drivemim":
            program = ["-m", *program]
        return f"torchrun --nproc_per_node {world} {' '.join(program)} {options}"
    return f"the same command with --resume ({' '.join(program)} {options})"


def _abbreviates(flag: str, option: str) -> bool:
    """Return whether a flag is an option or its beginning, which argparse accepts as well."""
    return option.startswith(flag) and len(flag) > len("--")


def _program(name: str) -> list[str]:
    """Return the words that started a program, without the interpreter."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if spec is not None and spec.name.startswith("drivemim"):
        return ["-m", "drivemim", *name.split()[1:]]
    if name.startswith("drivemim "):
        return name.split()
    with suppress(ValueError):
        name = os.path.relpath(name) if Path(name).is_relative_to(Path.cwd()) else name
    return [shlex.quote(name)]
