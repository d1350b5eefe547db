"""Hook that stops a run after Ctrl-C or SIGTERM, with a checkpoint."""

from __future__ import annotations

import bisect
from pathlib import Path
from time import monotonic
from typing import Any, NoReturn

import torch
from mmengine import dist
from mmengine.hooks import EMAHook, Hook
from mmengine.logging import print_log
from mmengine.runner import EpochBasedTrainLoop

from drivemim.compat import is_resumed
from drivemim.errors import RunStopped
from drivemim.option_words import as_spoken
from drivemim.training.compact_log import STOPPED
from drivemim.training.hooks.atomic_checkpoint import AtomicCheckpoint
from drivemim.training.stopping import GO_ON, StopSignals, signal_name
from drivemim.transfer.run_checkpoints import newest_checkpoint

PENDING = "validation_pending"
"""Key of a checkpoint's ``meta``: a signal stopped the run before a validation that was due."""
_ITERATIONS = 10
"""Largest number of iterations between two exchanges of signals by several processes."""
_SECONDS = 5.0
"""Longest time between two exchanges: torchrun kills a process 30 seconds after its SIGTERM."""


class StopOnSignal(Hook):
    """Write a checkpoint and end the run at the next iteration after a signal, in every process.

    A run of one process stops at the next iteration. Several processes stop at the same iteration,
    whichever of them received the signal: they exchange their signals every 10 iterations, more
    often if 10 iterations take more than 5 seconds, and before and after a validation. A run that
    accumulates gradients stops only at an iteration that updates the weights. During a validation,
    the run stops after a batch and saves the weights of the last iteration; a resumed run begins
    with that validation.

    In a loop of epochs with checkpoints by epoch, a run that stops inside an epoch writes no
    checkpoint.

    The run must register this hook last, so that all other hooks have done their part of the
    iteration before it stops the run.

    Args:
        signals: the signals that the process has received.

    Attributes:
        is_pending: whether a validation of the current weights is due but not complete.
    """

    priority = "LOWEST"

    def __init__(self, signals: StopSignals) -> None:
        self.signals = signals
        self.is_pending = False
        self._shared_batches = 0  # validation batches that every process has
        self._interval = 1  # iterations between two exchanges of signals
        # Iteration and time from which the speed is measured; None until the next iteration begins.
        self._since: tuple[int, float] | None = None

    def after_load_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Read whether a validation is still to be done."""
        if is_resumed(runner):
            self.is_pending = bool(checkpoint["meta"].get(PENDING))

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Record whether a validation is still to be done."""
        if self.is_pending:
            checkpoint["meta"][PENDING] = True

    def before_train(self, runner: Any) -> None:
        """Do the validation that is still to be done."""
        self._interval = _ITERATIONS if dist.get_world_size() > 1 else 1
        if self.is_pending and runner.val_loop is not None:
            print_log(
                f"The validation after iteration {runner.iter} is still to be done", "current"
            )
            runner.val_loop.run()
            self.is_pending = False
            # A complete run writes no later checkpoint, so this one replaces the one with PENDING.
            if runner.iter >= runner.max_iters:
                self._save(runner, runner.iter, self._units(runner))

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Note that the run trains: from now on, a signal is noted instead of ending it at once."""
        self.signals.is_training = True
        if self._since is None:
            self._since = (runner.iter, monotonic())

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Stop after an iteration if a process has received a signal.

        Raises:
            RunStopped: in every process.
        """
        iteration, loop = runner.iter + 1, runner.train_loop
        updates = int((runner.cfg.get("optim_wrapper") or {}).get("accumulative_counts", 1))
        is_by_epoch = isinstance(loop, EpochBasedTrainLoop)
        if iteration % updates or (is_by_epoch and batch_idx + 1 == len(loop.dataloader)):
            return  # gradients are incomplete, or ``after_train_epoch`` follows
        is_due = not is_by_epoch and _is_due(loop, iteration, loop.max_iters)
        # Signals are exchanged at the first update of the weights after every interval.
        if not is_due and iteration % self._interval >= updates:
            return
        if number := self._agree(iteration):
            self.is_pending = is_due
            self._stop(runner, number, iteration, None if is_by_epoch else iteration)

    def after_train_epoch(self, runner: Any) -> None:
        """Stop at the end of an epoch if a process has received a signal.

        Raises:
            RunStopped: in every process.
        """
        loop = runner.train_loop
        if isinstance(loop, EpochBasedTrainLoop) and (number := self._agree()):
            self.is_pending = _is_due(loop, runner.epoch + 1, loop.max_epochs)
            self._stop(runner, number, runner.iter, runner.epoch + 1)

    def before_val_epoch(self, runner: Any) -> None:
        """Find how many batches all processes have: only then can they exchange signals."""
        try:
            own = len(runner.val_dataloader)
        except TypeError:  # an iterable data set
            own = 0
        self._shared_batches = min(dist.all_gather_object(own))
        self._since = None

    def after_val_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Stop within a validation if a process has received a signal.

        Raises:
            RunStopped: in every process.
        """
        is_exchange = batch_idx < self._shared_batches and (batch_idx + 1) % self._interval == 0
        if is_exchange and (number := self._agree()):
            for hook in runner.hooks:
                if isinstance(hook, EMAHook):
                    hook.after_val_epoch(runner)  # gives the trained weights back to the model
            self.is_pending = True
            self._stop(runner, number, runner.iter, self._units(runner))

    def after_val(self, runner: Any) -> None:
        """Stop after a validation if a process has received a signal.

        Raises:
            RunStopped: in every process.
        """
        if number := self._agree():
            self._stop(runner, number, runner.iter, self._units(runner))

    def _agree(self, iteration: int | None = None) -> int:
        """Exchange signals between all processes, and choose the interval until the next exchange.

        The interval follows from the slowest process, so it is the same for all.

        Args:
            iteration: iterations so far, to measure their speed; None during a validation or at the
                end of an epoch.

        Returns:
            The signal that any of the processes has received, 0 if none.
        """
        seconds = 0.0
        if iteration is not None and self._since is not None:
            first, begin = self._since
            seconds = (monotonic() - begin) / (iteration - first)
            self._since = None
        shared = torch.tensor([float(self.signals.received), seconds])
        dist.all_reduce(shared, op="max")
        number, slowest = shared.tolist()
        if slowest and dist.get_world_size() > 1:
            self._interval = min(_ITERATIONS, max(1, int(_SECONDS / slowest)))
        return int(number)

    def _units(self, runner: Any) -> int:
        """Return the number of epochs so far in a loop of epochs, or else of iterations."""
        is_by_epoch = isinstance(runner.train_loop, EpochBasedTrainLoop)
        return int(runner.epoch if is_by_epoch else runner.iter)

    def _stop(self, runner: Any, number: int, iteration: int, units: int | None) -> NoReturn:
        """Write a checkpoint if that is possible here, and raise.

        Args:
            runner: the run.
            number: the signal.
            iteration: iterations so far.
            units: epochs so far in a loop of epochs, or else iterations; None inside an epoch.

        Raises:
            RunStopped: always.
        """
        saved = self._save(runner, iteration, units)
        dist.barrier()  # torchrun ends all processes when the first of them ends
        place = f"at iteration {iteration} of {runner.max_iters}"
        what = f"{STOPPED}{signal_name(number)} {place}; {saved}"
        print_log(what, "current")
        raise RunStopped(what, number=number, advice=as_spoken(GO_ON))

    def _save(self, runner: Any, iteration: int, units: int | None) -> str:
        """Write a checkpoint if possible; return the part of the message about it."""
        hook = next((each for each in runner.hooks if isinstance(each, AtomicCheckpoint)), None)
        if hook is None:
            return "nothing was saved, since the config has no default_hooks.checkpoint"
        is_by_epoch = isinstance(runner.train_loop, EpochBasedTrainLoop)
        if hook.by_epoch and (units is None or not is_by_epoch):
            newest = newest_checkpoint(Path(hook.out_dir)) if dist.is_main_process() else None
            return f"checkpoints are written at ends of epochs only, the newest is {newest}"
        epoch = units if is_by_epoch and units is not None else runner.epoch
        number = epoch if hook.by_epoch else iteration
        path = Path(hook.out_dir) / hook.filename_tmpl.format(number)
        # This iteration may have a checkpoint already. It is written again if it does not say that
        # a validation is pending, or if it was written by iteration at the end of an epoch: then it
        # does not count that epoch.
        is_there = hook.last_ckpt == str(path) and (hook.by_epoch or not is_by_epoch)
        if self.is_pending or not is_there:
            hook.save_between(runner, number, epoch=epoch, iteration=iteration)
        return f"{path} is written"


def _is_due(loop: Any, units: int, max_units: int) -> bool:
    """Return whether MMEngine's loop validates after this number of iterations or epochs."""
    if loop.runner.val_loop is None or not hasattr(loop, "dynamic_milestones"):
        return False
    following = bisect.bisect(loop.dynamic_milestones, units + 1)
    interval = loop.dynamic_intervals[following - 1]
    return bool(units >= loop.val_begin and (units % interval == 0 or units == max_units))
