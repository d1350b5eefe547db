"""Hook that estimates a run's time and memory from its first iterations."""

from __future__ import annotations

import resource
import sys
import time
from datetime import timedelta
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.logging import print_log

_ITERATIONS = 10
_SECONDS = 20.0
"""The estimate is logged after so many iterations, or earlier if they take longer than this."""


class EstimateRun(Hook):
    """Log once how long the run will take, the share of loading, and the memory in use.

    The first iteration is not counted, because it is slower than the others. Validations are not
    counted, either. Data loader workers have memory of their own, which is not counted.
    """

    priority = "LOW"

    def __init__(self) -> None:
        self._begin: float | None = None
        self._loading = 0.0
        self._count = 0

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Count an iteration, and log the line when there are enough of them."""
        if self._count > _ITERATIONS:
            return
        now = time.perf_counter()
        if self._begin is None:
            self._begin = now
            return
        self._count += 1
        scalars = runner.message_hub.log_scalars
        if "train/data_time" in scalars:  # MMEngine's IterTimerHook
            self._loading += float(scalars["train/data_time"].current())
        elapsed, left = now - self._begin, runner.max_iters - runner.iter - 1
        if left > 0 and (self._count == _ITERATIONS or elapsed > _SECONDS):
            print_log(
                describe_estimate(elapsed / self._count, self._loading / elapsed, left),
                logger="current",
            )
            self._count = _ITERATIONS + 1


def describe_estimate(seconds: float, loading: float, left: int) -> str:
    """Return the line about time and memory.

    Args:
        seconds: mean time of an iteration.
        loading: part of it that waits for data, 0 to 1.
        left: iterations until the end.

    Returns:
        Such as ``estimate: 0.58 s per iteration (4 % waiting for data), about 0:29:10 for the
        remaining 2,990; peak memory 1.9 GiB without data loader workers``.
    """
    until_end = timedelta(seconds=round(seconds * left))
    memory = f"peak memory {_peak_memory() / 2**30:.1f} GiB without data loader workers"
    if torch.cuda.is_available():
        memory += f", {torch.cuda.max_memory_reserved() / 2**30:.1f} GiB on the GPU"
    return (
        f"estimate: {seconds:.2f} s per iteration ({min(loading, 1):.0%} waiting for data), about "
        f"{until_end} for the remaining {left:,}, without validations; {memory}"
    )


def _peak_memory() -> int:
    """Return the largest amount of memory that this process has had, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts KiB.
