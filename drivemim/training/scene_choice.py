"""Choose the scenes to pretrain on: all but those that detectors are evaluated on."""

from __future__ import annotations

import re
from contextlib import suppress
from functools import cache

import numpy as np
from mmengine.logging import print_log
from nuscenes.utils.splits import create_splits_scenes

from drivemim.array_types import Ints
from drivemim.data.index.frame_index import FrameIndex
from drivemim.data.index.scene_selection import ALL
from drivemim.errors import DataError

_EVALUATION = re.compile(
    r"(?<![a-z])(val|valid|validation|eval|evaluation|minival|test|testing)(sets?|data|images?)?(?![a-z])"
    # The folder of a test drive or a test vehicle is not a test split.
    r"(?!(?<=test)[ _.-]*(drive|ride|run|track|vehicle|car)s?(?![a-z]))"
)
"""Words in the names of folders and splits that detectors are evaluated on."""
_CAPITAL = re.compile(r"(?<=[a-z])(?=[A-Z])")
"""Beginning of a word in a name like ``imagesVal``."""


def pretraining_scenes(index: FrameIndex) -> list[str] | None:
    """Choose the scenes to pretrain on, and print which are left out.

    Args:
        index: the data.

    Returns:
        Names of splits or scenes; None for all.

    Raises:
        DataError: if detectors are evaluated on all of them.
    """
    reasons = [_evaluated_as(index, row) for row in range(len(index.scenes))]
    names = list(dict.fromkeys(filter(None, reasons)))
    if not names:
        return None
    remaining = np.flatnonzero([reason is None for reason in reasons])
    shown = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
    if not len(remaining):
        raise DataError(
            f"{index.path}: all of its scenes are for the evaluation of detectors ({shown}); to "
            "pretrain on them nevertheless, name them with --scenes"
        )
    print_log(
        f"scenes: {len(remaining)} of {len(reasons)}, without those for the evaluation of "
        f"detectors ({shown}); --scenes takes others"
    )
    return _names(index, remaining)


def _names(index: FrameIndex, rows: Ints) -> list[str]:
    """Return the shortest names of scenes: an official split, whole splits, or every scene."""
    for official in ("train", "mini_train") if not any(index.scenes.split) else ():
        with suppress(DataError):
            if np.array_equal(index.scene_rows(official), rows):
                return [official]
    split, name = index.scenes.split, index.scenes.name
    splits = sorted({split[row] for row in rows.tolist()})
    whole = [f"{each}:{ALL}" for each in splits]
    if "" not in splits and np.array_equal(index.scene_rows(whole), rows):
        return whole
    return [f"{split[row]}:{name[row]}" for row in rows.tolist()]


def _evaluated_as(index: FrameIndex, row: int) -> str | None:
    """Return the name of a scene's split or folder if it is for evaluation; otherwise None."""
    split, name = index.scenes.split[row], index.scenes.name[row]
    if is_for_evaluation(split or name):
        return split or name
    return None if split else _official_scenes().get(name)


def is_for_evaluation(name: str) -> bool:
    """Return whether a split's or folder's name has a word such as ``val`` or ``test``.

    Words end at anything but letters, and before a capital after a small letter: ``val2017``,
    ``test-dev`` and ``imagesVal``, but not ``valley`` or ``latest``.
    """
    return _EVALUATION.search(_CAPITAL.sub("_", name).lower()) is not None


@cache
def _official_scenes() -> dict[str, str]:
    """Return the split of every scene in nuScenes' official ``val`` and ``test``."""
    splits = create_splits_scenes()
    return {scene: f"nuScenes' {split}" for split in ("val", "test") for scene in splits[split]}
