"""Training checkpoints: the newest of a run, and the weights in it."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.logging import print_log
from torch import Tensor

from drivemim.checkpoint_kinds import kind_of, trained_weights, unwrapped
from drivemim.compat import is_complete
from drivemim.errors import CheckpointError
from drivemim.process_ends import process_rank

_PERIODIC = re.compile(r"(iter|epoch)_(\d+)\.pth")
_WARNED: set[tuple[Path, int]] = set()
"""Incomplete checkpoints that this process has warned of, with their times of change."""


def newest_checkpoint(folder: Path) -> Path | None:
    """Find the newest complete checkpoint of a run, and warn of newer ones that are not complete.

    MMEngine's ``last_checkpoint`` file is not used: after a kill it may be outdated, and in a
    copied folder it has paths of another machine.

    Args:
        folder: work directory of a run, with ``iter_N.pth`` or ``epoch_N.pth``.

    Raises:
        OSError: if the folder exists and cannot be read.
    """
    checkpoints = [
        (match[1], int(match[2]), path)
        for path in (folder.iterdir() if folder.is_dir() else ())
        if (match := _PERIODIC.fullmatch(path.name))
    ]
    if not checkpoints:
        return None
    kind = max(checkpoints, key=lambda entry: entry[2].stat().st_mtime_ns)[0]
    candidates = sorted((entry for entry in checkpoints if entry[0] == kind), reverse=True)
    skipped: list[Path] = []
    for _, _, path in candidates:
        if is_complete(path):
            _warn_of_skipped(skipped)
            return path
        skipped.append(path)
    return None


def _warn_of_skipped(paths: list[Path]) -> None:
    """Warn of checkpoints that are not complete.

    A run looks for its newest checkpoint several times. It warns again of the same file only if the
    file has changed.
    """
    # A run that is still writing to the folder may have removed a checkpoint meanwhile.
    states = [(path, path.stat().st_mtime_ns) for path in paths if path.exists()]
    new = [state for state in states if state not in _WARNED]
    if not new or process_rank() != 0:
        return
    _WARNED.update(new)
    names = " and ".join(path.name for path, _ in new)
    verb = "are" if new[1:] else "is"
    print_log(
        f"{paths[0].parent}: {names} {verb} incomplete or cannot be read, and {verb} passed over",
        "current",
        level=logging.WARNING,
    )


def checkpoint_in(path: Path) -> Path:
    """Return a checkpoint: the path itself, or the newest complete one of a run's folder.

    Raises:
        FileNotFoundError: if the path is a folder without one.
    """
    if not path.is_dir():
        return path
    newest = newest_checkpoint(path)
    if newest is None:
        raise FileNotFoundError(
            f"{path} is a folder without a complete checkpoint (iter_N.pth or epoch_N.pth); give "
            "the work directory of a run, or a checkpoint"
        )
    print_log(f"{newest} is the newest complete checkpoint in {path}", "current")
    return newest


def weights_of(content: Any, checkpoint: str | Path, *, ema: bool) -> dict[str, Tensor]:
    """Return the weights of a training checkpoint by the model's names.

    MMEngine's ``EMAHook`` saves the averaged weights as ``state_dict`` and the trained ones,
    prefixed ``module.``, as ``ema_state_dict``.

    Args:
        content: content of the checkpoint.
        checkpoint: path of the checkpoint, for messages.
        ema: return the averaged weights instead of the trained ones.

    Raises:
        CheckpointError: if the content is not of a training run, lacks averaged weights that are
            requested, or does not say which weights are averaged.
    """
    if not isinstance(content, dict) or not isinstance(content.get("state_dict"), Mapping):
        raise CheckpointError(
            f"{checkpoint} is not a training checkpoint (no state_dict). It is {kind_of(content)}"
        )
    ema_state = content.get("ema_state_dict")
    is_absent = ema_state is None or (isinstance(ema_state, Mapping) and not ema_state)
    if ema and is_absent:
        raise CheckpointError(
            f"{checkpoint} has no averaged weights; train with EMAHook or leave --ema out"
        )
    if is_absent:
        if ema_state is not None:
            print_log(
                f"{checkpoint} has an empty ema_state_dict: its state_dict is taken for the "
                "trained weights",
                "current",
                level=logging.WARNING,
            )
        return unwrapped(content["state_dict"])
    state = unwrapped(content["state_dict"])
    if not isinstance(ema_state, Mapping) or not any(
        str(each).startswith("module.") for each in ema_state
    ):
        raise CheckpointError(
            f"{checkpoint} has an ema_state_dict without names that begin with module., which "
            "MMEngine's EMAHook writes, so that it is not known which weights are averaged; save "
            "the wanted weights as state_dict, without ema_state_dict"
        )
    trained = trained_weights(checkpoint, ema_state, state)
    return state if ema else trained
