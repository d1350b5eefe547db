"""Warn if a detector is evaluated on images that its backbone's pretraining saw."""

from __future__ import annotations

import copy
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log
from numpy.typing import NDArray

from drivemim.compat import built_loaders
from drivemim.config.loading import dicts_in
from drivemim.data import ClipDataset
from drivemim.data.detection.detection_dataset import FrameDetection
from drivemim.data.index.frame_keys import MAX_FILES
from drivemim.registry import DATASETS
from drivemim.training.agreement import datasets_in
from drivemim.training.probing import frames_of
from drivemim.transfer.exposure import PretrainingRecord, read_record
from drivemim.transfer.frames_seen import KnownFrames


def warn_of_seen_images(runner: Any, checkpoint: str | Path) -> None:
    """Log a warning if the pretraining of a run's backbone saw images of its evaluation.

    Nothing is logged if the checkpoint has no record of a pretraining. A record or a data set that
    cannot be read does not stop the training; the log says that nothing was checked.

    Args:
        runner: runner of a detector, with its loaders.
        checkpoint: file that the backbone starts from.
    """
    try:
        record = read_record(checkpoint)
        warning = describe_seen(record, _evaluated(runner)) if record.data else None
    except Exception as error:
        print_log(
            f"it was not checked whether the pretraining of {checkpoint} saw images of the "
            f"evaluation: {error!r}",
            "current",
        )
        return
    if warning:
        print_log(warning, "current", level=logging.WARNING)


def describe_seen(record: PretrainingRecord, evaluated: Mapping[str, Any]) -> str | None:
    """Count the images of the evaluation that a backbone's pretraining saw.

    Args:
        record: record of the pretraining.
        evaluated: data sets by the keys of their loaders, possibly wrapped in others. Data sets
            without an index are not counted. Images that several data sets of one key have are
            counted once.

    Returns:
        A warning; None if there are no such images, or their number is unknown.
    """
    seen, read = [], []
    for where, dataset in evaluated.items():
        exposures = [record.exposure(frames) for frames in _frames(dataset)]
        total = sum(each.frames for each in exposures)
        if images := sum(each.images or 0 for each in exposures):
            seen.append(f"{images} of the {total} images of {where}")
        if boxes := sum(each.boxes or 0 for each in exposures):
            read.append(f"{boxes} images of {where}")
    if not seen:
        return None
    line = (
        f"{' and '.join(seen)} were seen by the backbone's pretraining, which makes the evaluation "
        "transductive"
    )
    if read:
        names = ", ".join(record.all_readers)
        line += f"; it read the annotated boxes of {' and '.join(read)} ({names})"
    return line


def _evaluated(runner: Any) -> dict[str, Any]:
    """Return the data sets of validation, and of testing if the config has other data for it.

    A training run does not build the data sets of testing. They are built here, if they have an
    index.
    """
    loaders = built_loaders(runner)
    evaluated = {key: loaders[key].dataset for key in ("val_dataloader",) if key in loaders}
    validation, testing = (
        (runner.cfg.get(f"{name}_dataloader") or {}).get("dataset") for name in ("val", "test")
    )
    has_index = any(part.get("index") is not None for part in dicts_in(testing))
    if has_index and not (evaluated and testing == validation):
        evaluated["test_dataloader"] = DATASETS.build(copy.deepcopy(testing))
    return evaluated


def _frames(dataset: Any) -> Iterator[KnownFrames]:
    """Yield the frames of every data set with an index; frames of several data sets only once."""
    earlier: dict[str, NDArray[np.int64]] = {}  # rows of the data sets before, by index
    for each in datasets_in(dataset):
        if not isinstance(each, (ClipDataset, FrameDetection)):
            continue
        frames = frames_of(each) if isinstance(each, ClipDataset) else each
        path = os.path.realpath(frames.index.path)
        before = earlier.get(path, np.zeros(0, np.int64))
        rows = np.setdiff1d(frames.rows, before)
        earlier[path] = np.union1d(before, rows)
        yield KnownFrames(frames.index, rows, max_files=MAX_FILES)
