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
"""Key of a checkpoint's ``meta``: a validation of its weights was due, and a signal came first."""
_ITERATIONS = 10
"""Iterations after which several processes ask each other for signals."""
_SECONDS = 5.0
"""If these iterations take longer, they ask more often: torchrun kills after 30 seconds."""


class StopOnSignal(Hook):
    """Write a checkpoint and end the run at the next iteration after a signal, in every process.

    All processes stop at the same iteration, whichever of them got the signal. One process stops at
    the next iteration. Several ask each other for signals every 10 iterations, more often if these
    take more than 5 seconds, and before and after a validation. With accumulated gradients, the
    iteration is one that updates the weights. In a validation, the run stops after the batch, with
    the weights of the iteration before; a resumed run begins with that validation.

    In a loop of epochs with checkpoints by epoch, the run stops at once inside an epoch and writes
    nothing.

    The run must register this hook last, so that it sees what all others did in an iteration.

    Args:
        signals: what the process has received.
    """

    priority = "LOWEST"

    def __init__(self, signals: StopSignals) -> None:
        self.signals = signals
        self.is_pending = False
        self._shared_batches = 0
        self._interval = 1
        self._since: tuple[int, float] | None = None

    def after_load_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Read whether a validation is still to be done."""
        if is_resumed(runner):
            self.is_pending = bool(checkpoint["meta"].get(PENDING))

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Write it down."""
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
            if runner.iter >= runner.max_iters:  # Later checkpoints do not say it anyway.
                self._save(runner, runner.iter, self._units(runner))

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Note that from here on, there is something to save."""
        self.signals.is_training = True
        if self._since is None:
            self._since = (runner.iter, monotonic())

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Stop if a process has received a signal, where all ask, and no gradients are incomplete.

        Raises:
            RunStopped: in every process.
        """
        iteration, loop = runner.iter + 1, runner.train_loop
        updates = int((runner.cfg.get("optim_wrapper") or {}).get("accumulative_counts", 1))
        is_by_epoch = isinstance(loop, EpochBasedTrainLoop)
        if iteration % updates or (is_by_epoch and batch_idx + 1 == len(loop.dataloader)):
            return  # the end of an epoch has a method of its own
        is_due = not is_by_epoch and _is_due(loop, iteration, loop.max_iters)
        if not is_due and iteration % self._interval >= updates:
            return
        if number := self._agree(iteration):
            self.is_pending = is_due
            self._stop(runner, number, iteration, None if is_by_epoch else iteration)

    def after_train_epoch(self, runner: Any) -> None:
        """Stop at the end of an epoch, likewise."""
        loop = runner.train_loop
        if isinstance(loop, EpochBasedTrainLoop) and (number := self._agree()):
            self.is_pending = _is_due(loop, runner.epoch + 1, loop.max_epochs)
            self._stop(runner, number, runner.iter, runner.epoch + 1)

    def before_val_epoch(self, runner: Any) -> None:
        """Count the batches that every process has."""
        try:
            own = len(runner.val_dataloader)
        except TypeError:  # an iterable data set
            own = 0
        self._shared_batches = min(dist.all_gather_object(own))
        self._since = None

    def after_val_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Stop within a validation, likewise."""
        is_asked = batch_idx < self._shared_batches and (batch_idx + 1) % self._interval == 0
        if is_asked and (number := self._agree()):
            for hook in runner.hooks:
                if isinstance(hook, EMAHook):
                    hook.after_val_epoch(runner)  # gives the trained weights back to the model
            self.is_pending = True
            self._stop(runner, number, runner.iter, self._units(runner))

    def after_val(self, runner: Any) -> None:
        """Stop after a validation, likewise."""
        if number := self._agree():
            self._stop(runner, number, runner.iter, self._units(runner))

    def _agree(self, iteration: int | None = None) -> int:
        """Return the signal that this process or any other has received, 0 if none.

        All processes choose the same interval until they ask again, by the slowest of them.

        Args:
            iteration: iterations so far; None outside of iterations, which are not timed.
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
        """Return how many epochs or iterations the loop has counted."""
        is_by_epoch = isinstance(runner.train_loop, EpochBasedTrainLoop)
        return int(runner.epoch if is_by_epoch else runner.iter)

    def _stop(self, runner: Any, number: int, iteration: int, units: int | None) -> NoReturn:
        """Write a checkpoint if that is possible here, and raise.

        Args:
            runner: the run.
            number: the signal.
            iteration: iterations so far.
            units: what the loop counts, epochs or iterations, so far; None inside an epoch.
        """
        saved = self._save(runner, iteration, units)
        dist.barrier()  # torchrun ends all processes when the first of them ends
        place = f"at iteration {iteration} of {runner.max_iters}"
        what = f"{STOPPED}{signal_name(number)} {place}; {saved}"
        print_log(what, "current")
        raise RunStopped(what, number=number, advice=as_spoken(GO_ON))

    def _save(self, runner: Any, iteration: int, units: int | None) -> str:
        """Write a checkpoint; return what has become of it."""
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
        # One of this iteration may be there, without the validation that is still to be done. Those
        # by iteration do not count an epoch that has just ended.
        is_there = hook.last_ckpt == str(path) and (hook.by_epoch or not is_by_epoch)
        if self.is_pending or not is_there:
            hook.save_between(runner, number, epoch=epoch, iteration=iteration)
        return f"{path} is written"


def _is_due(loop: Any, units: int, max_units: int) -> bool:
    """Return whether MMEngine's loop validates after so many iterations or epochs."""
    if loop.runner.val_loop is None or not hasattr(loop, "dynamic_milestones"):
        return False
    place = bisect.bisect(loop.dynamic_milestones, units + 1)
    interval = loop.dynamic_intervals[place - 1]
    return bool(units >= loop.val_begin and (units % interval == 0 or units == max_units))
