"""Shorter logs: the line after an evaluation, and the console when a run begins."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from mmengine.logging import print_log
from mmengine.runner import LogProcessor, Runner

from drivemim.foreign_messages import is_deprecation, is_for_developers
from drivemim.registry import LOG_PROCESSORS

# One metric in MMEngine's line, such as ``drivemim/large vehicle_AP50[distance 0-20 m]: 0.1234``.
# Two spaces separate metrics.
_METRIC = re.compile(r"(?:(?! {2}).)+(?: {2,}|$)")
_OF_SLICE = "]: "
"""End of the name of a metric that is computed on a slice of the data."""
STOPPED = "Stopped by "
"""Beginning of the log record about a signal. The command prints the same text as its last line."""
_FILE_ONLY = re.compile(
    r"\s*-+\s+System environment:|Config:\n|Hooks will be executed in the|LR is set|Exp name: |"
    rf"{STOPPED}"
)
"""Beginnings of records that are only for the log file; all but one are of MMEngine's Runner."""


@LOG_PROCESSORS.register_module()
class CompactLogProcessor(LogProcessor):
    """MMEngine's ``LogProcessor``, without metrics of slices in the line after an evaluation.

    A slice is a part of the data, such as a range of distances. About two hundred metrics are of
    slices. They remain in the table above the line, in the JSON file, and in everything else that
    the visualizer writes.
    """

    def get_log_after_epoch(
        self, runner: Any, batch_idx: int, mode: str, with_non_scalar: bool = False
    ) -> tuple[dict[str, Any], str]:
        """Return all metrics, and the line without those of slices."""
        metrics, line = super().get_log_after_epoch(runner, batch_idx, mode, with_non_scalar)
        of_all_data = (each for each in _METRIC.findall(line) if _OF_SLICE not in each)
        return metrics, "".join(of_all_data).rstrip()


_DEPRECATED = "outdated code: "
"""Beginning of the log records about outdated code of other packages."""


def _is_for_console(record: logging.LogRecord) -> bool:
    """Return whether a log record is for the user, and not only for the log file."""
    text = record.getMessage()
    if is_for_developers(text) or text.startswith(_DEPRECATED):
        return False
    return record.levelno > logging.INFO or not _FILE_ONLY.match(text)


@contextmanager
def deprecations_in_log() -> Iterator[None]:
    """Log what MMEngine, MMCV, MMDetection and PyTorch say about their own outdated code.

    Other warnings are shown as before.
    """
    with warnings.catch_warnings():
        show = warnings.showwarning

        def log(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if is_deprecation(message, category, filename):
                text = f"{_DEPRECATED}{filename}:{lineno}: {message}"
                print_log(text, logger="current", level=logging.WARNING)
            else:
                show(message, category, filename, lineno, file, line)

        warnings.showwarning = log
        yield


def brief_console(runner: type[Runner]) -> type[Runner]:
    """Return a subclass of a Runner that logs environment, config and hooks only to the log file.

    On the console, they would be about 250 lines before the first line about the run. Messages for
    the developers of other packages are only in the log file, too. The logged learning rate is the
    one after scaling with the batch size.
    """

    def build_logger(self: Any, *args: Any, **kwargs: Any) -> Any:
        logger = runner.build_logger(self, *args, **kwargs)
        for handler in logger.handlers:
            if not isinstance(handler, logging.FileHandler):
                handler.addFilter(_is_for_console)
        return logger

    def scale_lr(self: Any, optim_wrapper: Any, auto_scale_lr: Any = None) -> None:
        # MMEngine scales the rates of all groups, but not the one that it logs as base_lr.
        wrappers = getattr(optim_wrapper, "optim_wrappers", {"": optim_wrapper}).values()
        first = [each.optimizer.param_groups[0]["lr"] for each in wrappers]
        runner.scale_lr(self, optim_wrapper, auto_scale_lr)
        for wrapper, before in zip(wrappers, first, strict=True):
            base = getattr(wrapper, "base_param_settings", None)
            if base is not None and before:
                base["lr"] *= wrapper.optimizer.param_groups[0]["lr"] / before

    changed = {"build_logger": build_logger, "scale_lr": scale_lr}
    return type(runner.__name__, (runner,), changed)
