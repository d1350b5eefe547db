"""Hook that shows a progress bar on a terminal, in place of MMEngine's lines of iterations."""

from __future__ import annotations

import logging
import os
import re
import sys
from typing import Any, TextIO

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from tqdm import tqdm

_ITERATION = re.compile(r"(Iter|Epoch)\(train\) ")
"""Beginning of MMEngine's line about an iteration."""


def _has_room(stream: TextIO) -> bool:
    """Return whether a stream is a terminal of known size; tqdm draws no bar without the size."""
    if not stream.isatty():
        return False
    try:
        return min(os.get_terminal_size(stream.fileno())) > 0
    except (OSError, ValueError):
        return False


class ProgressBar(Hook):
    """Show a bar with loss and remaining time, if the run's output is a terminal.

    With the bar, MMEngine's lines about iterations are in the log file only, and all other lines
    are printed above the bar. If the output is not a terminal, but a file or a notebook, nothing
    changes. ``TQDM_DISABLE=1`` in the environment turns the bar off. The caller must ``close`` the
    hook after the run, also after an error, for example with ``contextlib.closing``.
    """

    priority = "VERY_LOW"

    def __init__(self) -> None:
        self._bar: tqdm[Any] | None = None
        self._replaced: list[logging.Handler] = []

    def close(self) -> None:
        """End the bar, and let the console show the lines of iterations again."""
        for handler in self._replaced:
            del handler.emit  # the method of the handler's class applies again
        self._replaced = []
        if self._bar is not None:
            self._bar.close()

    def before_train(self, runner: Any) -> None:
        """Show the bar."""
        if not is_main_process() or not _has_room(sys.stdout):
            return
        bar = tqdm(
            total=runner.max_iters, initial=runner.iter, unit="it", dynamic_ncols=True,
            file=sys.stdout,
        )  # fmt: skip
        if bar.disable:
            return
        self._bar = bar
        for handler in MMLogger.get_current_instance().handlers:
            if isinstance(handler, logging.StreamHandler) and not isinstance(
                handler, logging.FileHandler
            ):
                self._write_above(handler)

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Advance the bar, and show the loss of this iteration."""
        if self._bar is None:
            return
        scalars = runner.message_hub.log_scalars
        if "train/loss" in scalars:
            loss = float(scalars["train/loss"].current())
            self._bar.set_postfix_str(f"loss {loss:.4f}", refresh=False)
        self._bar.update()

    def _write_above(self, handler: logging.StreamHandler[Any]) -> None:
        """Make a console handler print above the bar, and leave out the lines of iterations."""
        emit = handler.emit

        def emit_above(record: logging.LogRecord) -> None:
            if not _ITERATION.match(record.getMessage()):
                with tqdm.external_write_mode(file=handler.stream):
                    emit(record)

        handler.emit = emit_above  # type: ignore[method-assign]
        self._replaced.append(handler)
