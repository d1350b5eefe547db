"""Inputs of a label study's runs, checked before the first run and written to files.

The files are small: the whole config, the frame tokens of each subset, and a digest of the labels.
A run is repeated if a file that it depends on changes. Rebuilding an index changes no file.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config

from drivemim.config.loading import config_errors, dicts_in, load_config
from drivemim.config.option_values import format_option, parse_value
from drivemim.data.boxes.ground_truth import FrameBoxes, frame_boxes
from drivemim.data.class_lists import class_names
from drivemim.data.detection.detection_dataset import FrameDetection
from drivemim.data.index.copies import shared_frames
from drivemim.errors import CheckpointError, ConfigError, DataError, did_you_mean
from drivemim.files import ensure_folder, write_bytes
from drivemim.registry import DATASETS, METRICS
from drivemim.training.schedule import check_schedule
from studies.label_efficiency.settings import MEAN_AP50, LabelStudy
from workflow.commands import check_two_phases, two_phase_schedule

EVALUATION = ("val_evaluator", "test_evaluator")
"""Config keys that do not affect training."""


@dataclass(frozen=True, kw_only=True)
class LabelCount:
    """Size of a subset.

    Attributes:
        frames: number of images.
        boxes: number of objects that the config's filters keep.
    """

    frames: int
    boxes: int


@dataclass(frozen=True, kw_only=True)
class StudyInputs:
    """Files and options that a study's runs share.

    Attributes:
        folder: folder of the files.
        index: index of the labelled frames, as written in commands.
        train: split that labels are taken from.
        val: split that runs are evaluated on.
        train_key: dotted config key of the training data set.
        val_keys: dotted config keys of the validation and test data sets.
        counts: subset sizes by label fraction and seed.
    """

    folder: Path
    index: str
    train: str
    val: str
    train_key: str
    val_keys: tuple[str, ...]
    counts: Mapping[tuple[float, int], LabelCount]

    def train_options(self, fraction: float, seed: int) -> tuple[str, ...]:
        """Return the options of ``tools/train.py`` that select the data of a run."""
        return (
            format_option(f"{self.train_key}.index", self.index),
            format_option(f"{self.train_key}.scenes", self.train),
            f"{self.train_key}.label_fraction={fraction}",
            f"{self.train_key}.label_seed={seed}",
            # Training builds the validation data set, although it does not evaluate on it.
            *self._val_options("val_dataloader"),
        )

    def test_options(self) -> tuple[str, ...]:
        """Return the options of ``tools/test.py`` that select the data."""
        return self._val_options("test_dataloader")

    def train_files(self, fraction: float, seed: int) -> tuple[Path, ...]:
        """Return the files that a training depends on."""
        return (self.folder / "training.json", self.folder / f"train-{fraction}-{seed}.json")

    def test_files(self) -> tuple[Path, ...]:
        """Return the files that an evaluation depends on, besides its checkpoint."""
        return (self.folder / "config.json", self.folder / "val.json")

    def _val_options(self, loader: str) -> tuple[str, ...]:
        return tuple(
            option
            for key in self.val_keys
            if key.startswith(f"{loader}.")
            for option in (
                format_option(f"{key}.index", self.index),
                format_option(f"{key}.scenes", self.val),
            )
        )


def prepare_inputs(study: LabelStudy, repository: Path) -> StudyInputs:
    """Check config, data and metrics before the first run, and write the files.

    Args:
        study: settings of the study; the files go to the folder ``inputs`` of its ``work_dir``.
        repository: folder that the commands run in, and that paths are relative to.

    Raises:
        NotADirectoryError: if ``work_dir`` is a file.
        CheckpointError: if a backbone is missing.
        ConfigError: if the config cannot be used, or its evaluation lacks a metric.
        DataError: if a split is not in the index, the two splits share frames, or a subset has no
            box to learn from.
    """
    ensure_folder(repository / study.work_dir)
    for run in study.runs:
        if run.backbone is not None and not (repository / run.backbone).is_file():
            raise CheckpointError(f"--init {run.init.name}: there is no backbone at {run.backbone}")
    config = load_config(repository / study.config, parse_options(study.options))
    if config.get("load_from"):
        raise ConfigError(
            f"{study.config} has load_from={config.load_from!r}, which every --init would start "
            "from, random too; take it out (--cfg-options load_from=None), or make it an --init"
        )
    dataset_keys = _dataset_keys(config)
    train, val = _open_splits(study, config, dataset_keys, repository / study.index)
    _check_apart(study, train, val)
    _check_metrics(study, config, val)
    check_two_phases(config, study.config)
    options = parse_options([*two_phase_schedule(study.iterations), *study.options])
    check_schedule(load_config(repository / study.config, options))
    folder = repository / study.work_dir / "inputs"
    whole = config.to_dict()
    write_input(folder / "config.json", whole)
    write_input(folder / "training.json", training_part(config))
    _write_val(folder / "val.json", study.val, val)
    subsets = [(fraction, seed) for fraction in study.fractions for seed in study.seeds]
    return StudyInputs(
        folder=study.work_dir / "inputs",
        index=relative_path(study.index, repository),
        train=study.train,
        val=study.val,
        train_key=dataset_keys["train_dataloader"],
        val_keys=tuple(key for loader, key in dataset_keys.items() if loader != "train_dataloader"),
        counts=_write_subsets(folder, study.train, train, subsets),
    )


def open_splits(study: LabelStudy, repository: Path) -> tuple[FrameDetection, FrameDetection]:
    """Open all frames of the training split and of the validation split.

    Raises:
        ConfigError: if the config has no such data sets.
        DataError: if a split is not in the index.
    """
    config = load_config(repository / study.config, parse_options(study.options))
    return _open_splits(study, config, _dataset_keys(config), repository / study.index)


def relative_path(path: Path, repository: Path) -> str:
    """Return a path for commands: relative to the repository if inside it, else absolute."""
    full = os.path.abspath(repository / path)
    inside = os.path.relpath(full, repository)
    return full if inside.startswith(os.pardir) else inside


def default_metrics(config: Path, options: Sequence[str]) -> tuple[str, ...]:
    """Return the metrics of a study that names none: mAP50, and AP50 of each class.

    Args:
        config: config of the detector.
        options: ``KEY=VALUE`` overrides of the config.
    """
    read = load_config(config, parse_options(options))
    datasets = [each for each in dicts_in(read.get("test_dataloader")) if "index" in each]
    classes = class_names(datasets[0].get("classes") if datasets else None)
    return (MEAN_AP50, *(f"drivemim/{name}_AP50" for name in classes))


def parse_options(options: Sequence[str]) -> dict[str, Any]:
    """Parse ``KEY=VALUE`` texts like the tools' ``--cfg-options``.

    Raises:
        ConfigError: if a text is not KEY=VALUE, or its value cannot be parsed.
    """
    values: dict[str, Any] = {}
    for option in options:
        key, equals, text = option.partition("=")
        if not equals:
            raise ConfigError(f"--cfg-options {option}: give KEY=VALUE")
        try:
            values[key] = parse_value(text)
        except ConfigError as error:
            raise ConfigError(f"--cfg-options {key}={error}") from error
    return values


def _dataset_keys(config: Config) -> dict[str, str]:
    """Return the dotted key of the innermost data set of each loader in the config."""
    loaders = ("train_dataloader", "val_dataloader", "test_dataloader")
    return {
        loader: _dataset_key(config, loader) for loader in loaders if config.get(loader) is not None
    }


def _open_splits(
    study: LabelStudy, config: Config, dataset_keys: Mapping[str, str], index: Path
) -> tuple[FrameDetection, FrameDetection]:
    for loader in ("train_dataloader", "test_dataloader"):
        if loader not in dataset_keys:
            raise ConfigError(f"{study.config} has no {loader}, which the study needs")
    train = _open(config, dataset_keys["train_dataloader"], index, study.train)
    return train, _open(config, dataset_keys["test_dataloader"], index, study.val)


def _dataset_key(config: Config, loader: str) -> str:
    """Return the dotted key of the innermost data set of a loader.

    Raises:
        ConfigError: if that data set has no index.
    """
    dataset, key = config[loader].get("dataset") or {}, f"{loader}.dataset"
    while "dataset" in dataset:
        dataset, key = dataset["dataset"], f"{key}.dataset"
    if "index" not in dataset:
        raise ConfigError(
            f"{config.filename}: {key} is a {dataset.get('type')} and reads no index; "
            "label studies need drivemim.FrameDetection there, perhaps inside other data sets"
        )
    return key


def _open(config: Config, key: str, index: Path, split: str) -> FrameDetection:
    """Build the config's own data set, with its filters, over all frames of a split."""
    config_at_key: Any = config
    for name in key.split("."):
        config_at_key = config_at_key[name]
    settings = {**config_at_key, "index": str(index), "scenes": split, "pipeline": []}
    for name in ("label_fraction", "label_seed"):
        settings.pop(name, None)
    with config_errors():
        dataset = DATASETS.build(settings)
    if not isinstance(dataset, FrameDetection):
        raise ConfigError(
            f"{config.filename}: {key} is a {settings['type']}, which has no label_fraction; "
            "label studies need drivemim.FrameDetection"
        )
    return dataset


def _check_apart(study: LabelStudy, train: FrameDetection, val: FrameDetection) -> None:
    """Refuse splits that share frames or copies of them, like nuScenes' train and mini_train."""
    shared = shared_frames(val.index, val.rows, train.index, train.rows)
    if same := int((shared[:, 0] == shared[:, 1]).sum()):
        raise DataError(
            f"--val {study.val}: {same} of its {len(val)} frames are in --train "
            f"{study.train} as well; runs would be evaluated on training frames"
        )
    if len(shared):
        one, other = (val.index.frames.path[row] for row in shared[0])
        raise DataError(
            f"--val {study.val}: {len(shared)} of its {len(val)} images are identical to "
            f"images of --train {study.train}, first {one} to {other}; runs would be evaluated on "
            "training images: take them out of one of the two, and build the index again"
        )


def _check_metrics(study: LabelStudy, config: Config, val: FrameDetection) -> None:
    """Refuse a metric that the evaluation lacks, if every evaluator can list its metrics."""
    evaluator = config.get("test_evaluator") or {}
    metrics: list[str] = []
    for settings in evaluator if isinstance(evaluator, list) else [evaluator]:
        kind = METRICS.get(str(settings.get("type")))
        if kind is None or not hasattr(kind, "names"):
            return
        with config_errors():
            metrics += METRICS.build(settings).names(val)
    without_slices = [name for name in metrics if "[" not in name]
    for metric in study.metrics:
        if metric not in metrics:
            raise ConfigError(
                f"--metric {metric}: the evaluation of {study.config} does not have it; it has "
                f"{', '.join(without_slices)}, and {len(metrics) - len(without_slices)} more for "
                "slices"
                f"{did_you_mean(metric, metrics)}"
            )


def _labels(dataset: FrameDetection) -> tuple[FrameBoxes, Any]:
    """Return all boxes of a data set, and a mask of those that are not ignored."""
    boxes = frame_boxes(
        dataset.index,
        dataset.rows,
        class_map=dataset.class_map,
        classes=dataset.metainfo["classes"],
    )
    return boxes, ~dataset.ignored(boxes)


def _digest(dataset: FrameDetection, boxes: FrameBoxes, counted_M: Any) -> str:
    """Hash all frames and boxes, but not the index file that contains them."""
    digest = hashlib.sha256()
    for row in dataset.rows:
        digest.update(f"{dataset.index.frames.token[row]}\n".encode())
    for column in (boxes.offsets, boxes.label, np.round(boxes.boxes, 3), counted_M):
        digest.update(np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()


def _write_val(path: Path, split: str, dataset: FrameDetection) -> None:
    """Write the size of the validation split and a digest of its labels."""
    boxes, counted_M = _labels(dataset)
    write_input(path, {
        "split": split, "frames": len(dataset), "boxes": int(counted_M.sum()),
        "labels": _digest(dataset, boxes, counted_M),
    })  # fmt: skip


def _write_subsets(
    folder: Path, split: str, dataset: FrameDetection, subsets: Sequence[tuple[float, int]]
) -> dict[tuple[float, int], LabelCount]:
    """Write the frames of each subset; return subset sizes by label fraction and seed.

    Raises:
        DataError: if a subset has no box to learn from.
    """
    boxes, counted_M = _labels(dataset)
    labels = _digest(dataset, boxes, counted_M)
    boxes_F = np.bincount(boxes.frame[counted_M], minlength=len(dataset))
    frames, rows = dataset.index.frames, dataset.rows
    counts = {}
    for fraction, seed in subsets:
        chosen_F = dataset.label_subset_mask(rows, fraction=fraction, seed=seed)
        count = LabelCount(frames=int(chosen_F.sum()), boxes=int(boxes_F[chosen_F].sum()))
        if count.boxes == 0:
            raise DataError(
                f"{100 * fraction:g} % of {split} with seed {seed} is {count.frames} frames "
                "without a box to learn from; take a larger fraction or another seed"
            )
        tokens = [frames.token[row] for row in rows[chosen_F]]
        write_input(folder / f"train-{fraction}-{seed}.json", {
            "split": split, "fraction": fraction, "seed": seed, "boxes": count.boxes,
            "labels": labels, "frames": tokens,
        })  # fmt: skip
        counts[fraction, seed] = count
    return counts


def training_part(config: Config) -> dict[str, Any]:
    """Return the keys of a config that affect training."""
    return {key: value for key, value in config.to_dict().items() if key not in EVALUATION}


def write_input(path: Path, content: Mapping[str, Any]) -> None:
    """Write a file that a step depends on; the same content gives the same bytes."""
    write_bytes(path, json.dumps(content, indent=1, sort_keys=True, default=str).encode())
