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
"""Number of counted iterations after which the estimate is logged."""
_SECONDS = 20.0
"""Time of the counted iterations after which the estimate is logged with fewer of them."""


class WaitForData(Hook):
    """Measure the time between iterations, in which MMEngine's loop loads the next batch.

    MMEngine's own ``data_time`` includes the time of hooks that run after its timer, such as
    probes. This hook is the first to run before an iteration. The hook that uses the times must be
    the last to run after an iteration, and call ``end_iteration``.

    Attributes:
        last: seconds from the end of the previous iteration to the beginning of the latest one; 0
            for the first iteration.
    """

    priority = "HIGHEST"

    def __init__(self) -> None:
        self.last = 0.0
        self._end: float | None = None

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Note that the batch has been loaded."""
        self.last = 0.0 if self._end is None else time.perf_counter() - self._end

    def end_iteration(self) -> None:
        """Note that an iteration, with all its hooks, or a validation has ended."""
        self._end = time.perf_counter()


def prefetched_iterations(num_workers: int, prefetch_factor: int | None) -> int:
    """Return how many batches the workers load while the first iteration, a slow one, runs."""
    return num_workers * (prefetch_factor or 2)


class EstimateRun(Hook):
    """Log once how long the run will take, how much of it waits for data, and the peak memory.

    The first iteration is not counted, because it is slower than the others. The iterations whose
    batches the workers load during the first one are not counted, because they do not wait for
    data. The time of validations and the memory of data loader workers are not counted, either.

    Args:
        waits: the hook that measures the time between iterations, to be registered as well.
    """

    priority = "LOWEST"

    def __init__(self, waits: WaitForData) -> None:
        self._begin: float | None = None
        self._validation = 0.0
        self._waits = waits
        self._loading = 0.0
        self._count = 0
        self._uncounted = 1

    def before_train(self, runner: Any) -> None:
        """Find how many iterations are not counted."""
        loader = runner.train_dataloader
        self._uncounted += prefetched_iterations(loader.num_workers, loader.prefetch_factor)

    def before_val(self, runner: Any) -> None:
        """Note the time."""
        self._validation = time.perf_counter()

    def after_val(self, runner: Any) -> None:
        """Subtract the time of the validation."""
        if self._begin is not None:
            self._begin += time.perf_counter() - self._validation
        self._waits.end_iteration()

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Count an iteration, and log the line when there are enough of them."""
        now, begin = time.perf_counter(), self._begin
        self._waits.end_iteration()
        if self._count > _ITERATIONS:
            return
        if begin is None:
            self._uncounted -= 1
            if self._uncounted == 0:
                self._begin = now
            return
        self._count += 1
        self._loading += self._waits.last
        elapsed, left = now - begin, runner.max_iters - runner.iter - 1
        if left > 0 and (self._count == _ITERATIONS or elapsed > _SECONDS):
            print_log(
                describe_estimate(elapsed / self._count, self._loading / elapsed, left),
                logger="current",
            )
            self._count = _ITERATIONS + 1  # logged


def describe_estimate(seconds: float, loading: float, left: int) -> str:
    """Return the line about time and memory.

    Args:
        seconds: mean time of an iteration.
        loading: fraction of this time that waits for data; printed as 100 % at most.
        left: iterations until the end.

    Returns:
        A line such as ``estimate: 0.58 s per iteration (4 % waiting for data), about 0:29:10 for
        the remaining 2,990, without validations; peak memory 1.9 GiB without data loader workers``.
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
