"""How a process ends: its exit status, and one line for an error that the user caused.

Of the processes of a run on several GPUs, rank 0 reports an error that all of them have. torchrun
ends all processes when the first has ended.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from drivemim.errors import CheckpointError, ConfigError, DataError, NonFiniteLossError, RunStopped

TRACEBACK = "DRIVEMIM_TRACEBACK"
"""Environment variable with which users' errors keep their tracebacks, for developers."""
# PyTorch: "... is killed by signal: Killed.", or "... exited unexpectedly".
_KILLED_WORKER = re.compile(
    r"DataLoader worker \(pid(?:\(s\))? [\d, ]+\) "
    r"(?:is killed by signal: ([\w ]+)|exited unexpectedly)"
)
_RANKS = {"slurm": "SLURM_PROCID", "mpi": "OMPI_COMM_WORLD_RANK"}
"""Variable with a process's rank by launcher; torchrun's is RANK."""
_GRACE = 2.0
"""Seconds that the other processes leave to rank 0 for its line after Ctrl-C or SIGTERM."""
_PATIENCE = 30.0
"""Seconds that the other processes leave to rank 0 for reporting the same error."""


def process_rank(launcher: str = "pytorch") -> int:
    """Return this process's rank among those that a launcher started together; 0 if it is alone.

    The rank is known before the processes are connected.
    """
    rank = os.environ.get(_RANKS.get(launcher, "RANK"), "")
    return int(rank) if rank.isdigit() else 0


def let_rank_zero_report(launcher: str = "pytorch") -> None:
    """Wait before an error is reported, unless this process is rank 0.

    An error of every process is reported by rank 0, whose end makes torchrun end the others. An
    error that rank 0 does not have is reported late, but is not lost.
    """
    if process_rank(launcher) > 0:
        time.sleep(_PATIENCE)


def tell_torchrun(line: str) -> None:
    """Let torchrun's own report, which comes last, give the reason in place of ``<N/A>``.

    Args:
        line: the error as one line.
    """
    if path := os.environ.get("TORCHELASTIC_ERROR_FILE"):
        with suppress(OSError), open(path, "w", encoding="utf-8") as file:
            json.dump({"message": line, "timestamp": int(time.time())}, file)


def interrupt_in(error: BaseException | None) -> KeyboardInterrupt | None:
    """Return the interrupt that an error is, or that it hides; None for other errors.

    MMEngine raises a SyntaxError if an interrupt comes while it formats a config.
    """
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error


@contextmanager
def one_line_stops(launcher: str = "none") -> Iterator[None]:
    """Exit with one line if Ctrl-C or SIGTERM ended the process, and with the status of shells.

    Of the processes of a run on several GPUs, rank 0 alone prints the line.

    Args:
        launcher: what started the processes, see ``--launcher``.
    """
    try:
        yield
    except SystemExit:
        raise  # The line has been printed.
    except BaseException as error:
        if (stop := interrupt_in(error)) is None:
            raise
        status = stop.status if isinstance(stop, RunStopped) else 128 + signal.SIGINT
        # The process is ending already: another Ctrl-C only hurries it.
        signal.signal(signal.SIGINT, lambda number, frame: os._exit(status))
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if process_rank(launcher) == 0:
            line = str(stop) or "Stopped by Ctrl-C"
            print(line, file=sys.stderr, flush=True)
            tell_torchrun(line)
        else:
            time.sleep(_GRACE)
        sys.exit(status)


@contextmanager
def one_line_errors(launcher: str = "none") -> Iterator[None]:
    """Exit with one line if the user caused the error, even in a data loader worker.

    Ctrl-C is one line, too. If the environment has ``DRIVEMIM_TRACEBACK``, the error keeps its
    traceback.

    Args:
        launcher: what started the processes, see ``--launcher``.
    """
    try:
        with one_line_stops(launcher):
            yield
    except (
        CheckpointError,
        ConfigError,
        DataError,
        NonFiniteLossError,
        OSError,
    ) as error:
        let_rank_zero_report(launcher)
        if os.environ.get(TRACEBACK):
            raise
        name = type(error).__name__
        # A data loader worker puts its whole traceback in the message; the error is at the end.
        line = f"{name}: {str(error).rsplit(f'{name}: ', 1)[-1].strip()}"
        rank = process_rank(launcher)
        tell_torchrun(line)
        sys.exit(f"rank {rank}: {line}" if rank else line)
    except Exception as error:
        let_rank_zero_report(launcher)  # Rank 0 may have failed first and caused this error.
        killed = describe_killed_worker(error) if isinstance(error, RuntimeError) else None
        tell_torchrun(killed or f"{type(error).__name__}: {error}")
        if killed:
            sys.exit(killed)
        raise


def describe_killed_worker(error: RuntimeError) -> str | None:
    """Return one line for PyTorch's error after a data loader worker was killed; None for others.

    Args:
        error: error of a run.
    """
    found = _KILLED_WORKER.search(str(error))
    if found is None:
        return None
    reason = f" by signal {found[1]}" if found[1] else ""
    return (
        f"RuntimeError: a worker process of a data loader was killed{reason}, probably because the "
        "memory did not suffice; start fewer: --cfg-options train_dataloader.num_workers=N (or "
        "val_, test_dataloader)"
    )
