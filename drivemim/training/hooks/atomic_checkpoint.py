"""Checkpoint writing that leaves no partial file, even after a kill or on a full disk."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook

from drivemim.errors import CheckpointError
from drivemim.files import write_bytes
from drivemim.registry import HOOKS
from drivemim.transfer.run_checkpoints import newest_checkpoint


@register_backend("drivemim_atomic", force=True)
class AtomicBackend(LocalBackend):
    """Local files that are written atomically and removed only on request."""

    def __init__(self) -> None:
        # inode by path: a file that is written again has another inode
        self._to_remove: dict[str, int] = {}

    def put(self, obj: Any, filepath: str | Path) -> None:
        """Write bytes; on failure the old file stays intact and no partial file remains."""
        write_bytes(Path(filepath), obj)

    def remove(self, filepath: str | Path) -> None:
        """Mark the file for removal by :meth:`carry_out_removals`."""
        self._to_remove[str(filepath)] = os.stat(filepath).st_ino

    def carry_out_removals(self) -> None:
        """Remove the marked files, except those rewritten since."""
        for path, inode in self._to_remove.items():
            if os.path.exists(path) and os.stat(path).st_ino == inode:
                os.remove(path)
        self.forget_removals()

    def forget_removals(self) -> None:
        """Keep all files marked so far."""
        self._to_remove.clear()


@HOOKS.register_module()
class AtomicCheckpoint(CheckpointHook):
    """MMEngine's ``CheckpointHook``, safe against a kill and a full disk.

    MMEngine removes the oldest (or the previous best) checkpoint before it writes the new one, and
    writes in place. This hook writes a temporary file beside the target and renames it. It removes
    old files only after the new one is written. Arguments are those of ``CheckpointHook``, for a
    local ``out_dir``.
    """

    def __init__(self, **kwargs: Any) -> None:
        unknown = sorted(set(kwargs) - set(inspect.signature(CheckpointHook.__init__).parameters))
        if unknown:  # CheckpointHook would pass it on and fail at the first checkpoint
            raise TypeError(
                f"AtomicCheckpoint.__init__() got an unexpected keyword argument '{unknown[0]}'"
            )
        kwargs.setdefault("backend_args", {"backend": "drivemim_atomic"})
        super().__init__(**kwargs)

    def before_train(self, runner: Any) -> None:
        """Determine the output folder, and delete partial files that a killed run left there."""
        super().before_train(runner)
        if is_main_process():
            for partial in Path(self.out_dir).glob(".*.partial"):
                partial.unlink(missing_ok=True)
        self.file_backend.carry_out_removals()

    def after_train_iter(self, runner: Any, *args: Any, **kwargs: Any) -> None:
        """Save a checkpoint if one is due."""
        with self._writing():
            super().after_train_iter(runner, *args, **kwargs)

    def after_train_epoch(self, runner: Any) -> None:
        """Save a checkpoint if one is due."""
        with self._writing():
            super().after_train_epoch(runner)

    def after_val_epoch(self, runner: Any, metrics: Any) -> None:
        """Save the checkpoint if it is the best so far."""
        with self._writing():
            super().after_val_epoch(runner, metrics)

    def save_between(self, runner: Any, number: int, *, epoch: int, iteration: int) -> None:
        """Save a checkpoint between the regular ones, which the hook saves at its intervals.

        Like a regular checkpoint, it counts towards ``max_keep_ckpts``, also after a resume.

        Args:
            runner: the run.
            number: number in the file's name: iterations, or epochs if the hook counts epochs.
            epoch: epochs that ended.
            iteration: iterations that ended.

        Raises:
            CheckpointError: if the file cannot be written; the previous checkpoint is intact.
        """
        path = Path(self.out_dir) / self.filename_tmpl.format(number)
        surplus: list[Path] = []  # the oldest checkpoint, if there are ``max_keep_ckpts``
        if self.max_keep_ckpts > 0 and number not in self.keep_ckpt_ids:
            if len(self.keep_ckpt_ids) == self.max_keep_ckpts:
                oldest = self.keep_ckpt_ids.popleft()
                surplus.append(Path(self.out_dir) / self.filename_tmpl.format(oldest))
            self.keep_ckpt_ids.append(number)
            runner.message_hub.update_info("keep_ckpt_ids", list(self.keep_ckpt_ids))
        self.last_ckpt = str(path)
        runner.message_hub.update_info("last_ckpt", self.last_ckpt)
        with self._writing():
            runner.save_checkpoint(
                self.out_dir,
                path.name,
                save_optimizer=self.save_optimizer,
                save_param_scheduler=self.save_param_scheduler,
                meta={"epoch": epoch, "iter": iteration},
                backend_args=self.backend_args,
                **self.args,
            )
            if is_main_process():
                write_bytes(Path(runner.work_dir) / "last_checkpoint", self.last_ckpt.encode())
        if is_main_process():
            for each in surplus:
                each.unlink(missing_ok=True)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Carry out removals once the new checkpoint is written; keep the files if it fails.

        Raises:
            CheckpointError: if the checkpoint cannot be written.
        """
        try:
            yield
        except OSError as error:
            self.file_backend.forget_removals()
            previous = newest_checkpoint(Path(self.out_dir))
            raise CheckpointError(
                f"{error.filename or self.last_ckpt} could not be written: "
                f"{error.strerror or error}. "
                + (f"The previous checkpoint {previous} is intact; " if previous else "")
                + "free some space and go on with --resume"
            ) from error
        self.file_backend.carry_out_removals()
