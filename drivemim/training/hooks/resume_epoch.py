"""Hook that lets a resumed run go on within an epoch."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import EpochBasedTrainLoop

from drivemim.compat import is_resumed
from drivemim.registry import HOOKS


@HOOKS.register_module()
class ResumeEpoch(Hook):
    """Let a resumed loop of epochs go on where its checkpoint was written, even within an epoch.

    MMEngine's loop restores the numbers of the epoch and of the iteration, and then begins that
    epoch again. With this hook, the batches that the epoch had before the checkpoint are loaded,
    in the same order, and not trained on. A checkpoint by iteration at the end of an epoch is
    written before that epoch's validation, which the resumed run does first.
    """

    def __init__(self) -> None:
        self._is_done = False  # only the first epoch of a resumed run has batches to skip

    def before_train_epoch(self, runner: Any) -> None:
        """Skip the batches of the epoch that were trained on before the checkpoint."""
        loop = runner.train_loop
        if self._is_done or not is_resumed(runner) or not isinstance(loop, EpochBasedTrainLoop):
            return
        self._is_done = True
        length = len(loop.dataloader)
        seen = loop.iter - loop.epoch * length
        # 0: the checkpoint was written between two epochs. Other numbers outside the epoch: the run
        # that wrote it had epochs of another length.
        if not 0 < seen <= length:
            return
        print_log(
            f"The checkpoint was written after {seen} of {length} iterations of epoch "
            f"{loop.epoch + 1}: their batches are loaded again, but not trained on",
            "current",
        )
        train_on, epoch = loop.run_iter, loop.epoch

        def run_iter(idx: int, data_batch: Any) -> None:
            if loop.epoch > epoch or idx >= seen:
                train_on(idx, data_batch)

        loop.run_iter = run_iter
