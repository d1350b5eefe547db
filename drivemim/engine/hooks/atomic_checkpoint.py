"""Checkpoints that are whole or absent, whenever the run is killed or the disk fills up."""

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

from drivemim.engine.checkpoints import newest_checkpoint
from drivemim.errors import CheckpointError
from drivemim.files import write_bytes
from drivemim.registry import HOOKS


@register_backend("drivemim_atomic", force=True)
class AtomicBackend(LocalBackend):
    """Local files, written beside and renamed, removed only when told that all is well."""

    def __init__(self) -> None:
        self._to_remove: dict[str, int] = {}

    def put(self, obj: Any, filepath: str | Path) -> None:
        """Write bytes; on failure the old file is untouched and no partial one is left."""
        write_bytes(Path(filepath), obj)

    def remove(self, filepath: str | Path) -> None:
        """Note the file for :meth:`carry_out_removals`."""
        self._to_remove[str(filepath)] = os.stat(filepath).st_ino

    def carry_out_removals(self) -> None:
        """Remove the files noted, except those written anew since."""
        for path, inode in self._to_remove.items():
            if os.path.exists(path) and os.stat(path).st_ino == inode:
                os.remove(path)
        self.forget_removals()

    def forget_removals(self) -> None:
        """Keep the files noted so far."""
        self._to_remove.clear()


@HOOKS.register_module()
class AtomicCheckpoint(CheckpointHook):
    """MMEngine's ``CheckpointHook``, safe against a kill and against a full disk.

    MMEngine removes the oldest (or the formerly best) checkpoint before it writes the new one, and
    writes in place. Here a file is written beside and renamed, and removals wait for the new file.
    Arguments are those of ``CheckpointHook``, for a local ``out_dir``.
    """

    def __init__(self, **kwargs: Any) -> None:
        unknown = sorted(set(kwargs) - set(inspect.signature(CheckpointHook.__init__).parameters))
        if unknown:  # CheckpointHook would hand it on and fail at the first checkpoint
            raise TypeError(
                f"AtomicCheckpoint.__init__() got an unexpected keyword argument '{unknown[0]}'"
            )
        kwargs.setdefault("backend_args", {"backend": "drivemim_atomic"})
        super().__init__(**kwargs)

    def before_train(self, runner: Any) -> None:
        """Find the folder, and clear what a killed run left half-written there."""
        super().before_train(runner)
        if is_main_process():
            for partial in Path(self.out_dir).glob(".*.partial"):
                partial.unlink(missing_ok=True)
        self.file_backend.carry_out_removals()

    def after_train_iter(self, runner: Any, *args: Any, **kwargs: Any) -> None:
        """Save, if due."""
        with self._writing():
            super().after_train_iter(runner, *args, **kwargs)

    def after_train_epoch(self, runner: Any) -> None:
        """Save, if due."""
        with self._writing():
            super().after_train_epoch(runner)

    def after_val_epoch(self, runner: Any, metrics: Any) -> None:
        """Save the best, if it is."""
        with self._writing():
            super().after_val_epoch(runner, metrics)

    @contextmanager
    def _writing(self) -> Iterator[None]:
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
