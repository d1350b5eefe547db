"""Probe a pretraining config's backbone: classify its frozen features of labelled frames."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.logging import print_log
from torch import nn

from drivemim.checkpoint_kinds import check_weights, describe_mismatch, kind_of
from drivemim.clips import Clips
from drivemim.config.building import build_model, disable_logs
from drivemim.config.class_options import split_options
from drivemim.config.loading import dicts_in, is_pretrainer, load_config
from drivemim.data import ClipDataset
from drivemim.data.index.copies import shared_frames
from drivemim.errors import MAX_SEED, CheckpointError, ConfigError, DataError, check_range
from drivemim.evaluation.frozen_probe import LabelledPatches, patch_labels, probe, score_patches
from drivemim.training.device import check_device
from drivemim.transfer.export_metadata import training_image_size
from drivemim.transfer.exposure import check_boxes, check_images, read_record, unknown_frames
from drivemim.transfer.frames_seen import KnownFrames
from drivemim.transfer.initial_weights import load_initial_weights, take_initial_weights
from drivemim.transfer.run_checkpoints import checkpoint_in, weights_of
from drivemim.transfer.weights_file import read_weights

_BATCH = 16
"""Number of clips whose features are computed at once."""


def probe_backbone(
    config: str | Path,
    checkpoint: str | Path | None = None,
    *,
    index: str | Path,
    train: str | Sequence[str],
    val: str | Sequence[str],
    cameras: str | Sequence[str] | None = None,
    level: int = -1,
    seed: int = 0,
    device: str = "cpu",
    options: Mapping[str, Any] | None = None,
    transductive: bool = False,
    allow_boxes_read: bool = False,
) -> dict[str, Any]:
    """Classify the patches of a frozen backbone's map; see ``drivemim.evaluation.frozen_probe``.

    The backbone sees single frames without augmentation, in the size that the config trains with.
    The classes are those of the config's training data; ``options`` can set ``classes`` and
    ``class_map``.

    Args:
        config: config of a pretraining run.
        checkpoint: checkpoint of that run, its folder for the newest one, or a backbone exported
            from it; None for the weights that the run starts from, random unless the config names
            some.
        index: index of labelled frames.
        train: scene names or a split to learn from.
        val: scene names or a split to score.
        cameras: name of a camera, or names of several; None for all.
        level: index of the backbone's map; -1 is the last.
        seed: seed of a random initialisation, and of the choice of patches among which the nearest
            neighbours are found.
        device: device of the backbone.
        options: dotted config keys to replace.
        transductive: allow a backbone whose pretraining saw images of ``val``.
        allow_boxes_read: allow a backbone whose pretraining read annotated boxes of ``val``.

    Returns:
        The metrics of ``probe``, and the keys

        - ``constant``: metrics of a classifier that gives every patch the same scores;
        - ``random``, only with a checkpoint: metrics of ``probe`` for the same backbone, randomly
          initialised;
        - ``patches``: number of patches per split and class;
        - ``notes``: remarks on the backbone's pretraining.

    Raises:
        ConfigError: if the config is not of a pretraining run, the level or the device does not
            exist, the seed is out of range, or the pretraining saw frames that are not allowed.
        CheckpointError: if the checkpoint does not fit the config.
        FileNotFoundError: if a file is missing.
        DataError: if a scene is unknown, a class does not occur, or ``train`` and ``val`` share
            images.
    """
    check_range("--seed", seed, 0, MAX_SEED)
    check_device(device)
    checkpoint = None if checkpoint is None else checkpoint_in(Path(checkpoint))
    classes, other_options = split_options(options or {})
    cfg = _pretraining_config(config, other_options)
    untrained = None if checkpoint is None else _random(cfg, str(config), seed)
    pretrainer = _build(cfg, checkpoint, str(config), seed).to(device).eval()
    settings = {"index": index, "cameras": cameras, **_class_settings(cfg), **classes}
    datasets = probe_datasets(training_image_size(cfg), settings, {"train": train, "val": val})
    allowed = {"transductive": transductive, "allow_boxes_read": allow_boxes_read}
    notes = [] if checkpoint is None else _check_seen(checkpoint, datasets, **allowed)
    results = _probe_patches(pretrainer, datasets, level, seed)
    if untrained is not None:
        results["random"] = _metrics(untrained.to(device).eval(), datasets, level, seed)
    return {**results, "notes": notes}


def probe_datasets(
    image_size: tuple[int, int],
    settings: Mapping[str, Any],
    splits: Mapping[str, str | Sequence[str]],
) -> dict[str, ClipDataset]:
    """Return the data sets of single frames to learn from (``train``) and to score (``val``).

    Args:
        image_size: height and width of the backbone's input, pixels.
        settings: further arguments of the two ``ClipDataset``: index, cameras, classes.
        splits: split or scene names of ``train`` and of ``val``.

    Raises:
        DataError: if the two share images.
    """
    frames = partial(ClipDataset, image_size=image_size, single_camera=True, **settings)
    datasets = {name: frames(scenes=scenes) for name, scenes in splits.items()}
    _check_apart(datasets["train"], datasets["val"])
    return datasets


def _probe_patches(
    pretrainer: Any, datasets: Mapping[str, ClipDataset], level: int, seed: int
) -> dict[str, Any]:
    """Return the metrics of the probes, and the number of patches per split and class."""
    patches = {
        name: collect_patches(pretrainer, dataset, level=level)
        for name, dataset in datasets.items()
    }
    results: dict[str, Any] = {**probe(patches["train"], patches["val"], seed=seed)}
    labels_X, classes = patches["val"].labels_X, patches["val"].classes
    same_XC = torch.zeros(len(labels_X), 1 + len(classes))
    results["constant"] = score_patches(same_XC, labels_X, classes)
    results["patches"] = {
        name: dict(zip(each.names, torch.bincount(each.labels_X).tolist(), strict=True))
        for name, each in patches.items()
    }
    return results


def _metrics(
    pretrainer: Any, datasets: Mapping[str, ClipDataset], level: int, seed: int
) -> dict[str, float]:
    """Return the metrics of :func:`_probe_patches` without its other keys."""
    results = _probe_patches(pretrainer, datasets, level, seed)
    return {key: value for key, value in results.items() if isinstance(value, float)}


def _check_seen(
    checkpoint: str | Path,
    datasets: Mapping[str, ClipDataset],
    *,
    transductive: bool,
    allow_boxes_read: bool,
) -> list[str]:
    """Refuse a pretraining that saw frames or boxes that are not allowed; return remarks.

    Boxes of ``train`` are always allowed, because the probe learns from all labels of ``train``.

    Raises:
        ConfigError: if the pretraining saw what is not allowed.
    """
    record = read_record(checkpoint)
    seen = {name: record.exposure(frames_of(dataset)) for name, dataset in datasets.items()}
    what, val = f"--checkpoint {checkpoint}", seen["val"]
    check_images(what, "--val", val, transductive=transductive)
    if not allow_boxes_read:
        check_boxes(what, record, "--val", val, max_read=0, fix="")
    notes = []
    if val.images:
        notes.append(
            f"transductive, its pretraining saw {val.images} of the {val.frames} images of --val"
        )
    for name, each in seen.items():
        if record.annotated and each.boxes != 0 and not each.boxes_unknown_by_initial_weights:
            number = "an unknown number" if each.boxes is None else each.boxes
            notes.append(
                f"its pretraining read the annotated boxes of {number} of the {each.frames} frames "
                f"of --{name}"
            )
    return [*notes, *record.remarks(), *unknown_frames(record, "--val", val)]


def _check_apart(train: ClipDataset, val: ClipDataset) -> None:
    """Refuse frames to score that are also frames to learn from, or copies of such frames."""
    frames, others = frames_of(val), frames_of(train)
    shared = shared_frames(frames.index, frames.rows, others.index, others.rows)
    if len(shared):
        first = (frames.index.frames.path[shared[0, 0]], others.index.frames.path[shared[0, 1]])
        raise DataError(
            f"--val: {len(shared)} of its {len(frames)} images are images of --train as well, or "
            f"identical to them, first {first[0]} to {first[1]}; the probe would be evaluated on "
            "what it learned from: take them out of one of the two"
        )


def frames_of(dataset: ClipDataset) -> KnownFrames:
    """Return all frames of a data set's clips."""
    rows = np.concatenate(
        [np.zeros(0, np.int64), *(dataset.rows(item).ravel() for item in range(len(dataset)))]
    )
    return KnownFrames(dataset.index, np.unique(rows[rows >= 0]))


@torch.no_grad()
def collect_patches(
    pretrainer: nn.Module,
    dataset: ClipDataset,
    *,
    level: int = -1,
    max_clips: int | None = None,
) -> LabelledPatches:
    """Compute features and labels of every patch of every valid frame.

    Args:
        pretrainer: pretrainer in evaluation mode, whose encoder computes the features.
        dataset: clips with any number of frames.
        level: index of the encoder's map; -1 is the last.
        max_clips: number of clips, evenly spread over the data; None for all.

    Raises:
        ConfigError: if there is no such map.
    """
    features, labels = [], []
    for clips in _batches(dataset, max_clips):
        maps = pretrainer(**pretrainer.data_preprocessor(clips, False), mode="tensor")  # type: ignore[operator]  # a module
        if not -len(maps) <= level < len(maps):
            raise ConfigError(
                f"level={level} must be in [{-len(maps)}, {len(maps) - 1}]: the backbone has "
                f"{len(maps)} maps (a ViT has more with model.encoder.out_indices)"
            )
        map_XDhw = maps[level].float().cpu()
        valid_X = clips.valid_BTN.flatten()
        labels_Xhw = patch_labels(clips, (map_XDhw.shape[2], map_XDhw.shape[3])).flatten(0, 2)
        features.append(map_XDhw[valid_X].permute(0, 2, 3, 1).flatten(0, 2))
        labels.append(labels_Xhw[valid_X].flatten())
    return LabelledPatches(
        features_XD=torch.cat(features), labels_X=torch.cat(labels), classes=dataset.classes
    )


def _pretraining_config(config: str | Path, options: Mapping[str, Any] | None) -> Config:
    """Load a config; refuse one whose model has no encoder."""
    cfg = load_config(config, options)
    if not is_pretrainer(cfg.get("model") or {}):
        raise ConfigError(
            f"{config} is not a pretraining config: its model is a "
            f"{(cfg.get('model') or {}).get('type')}, not a pretrainer"
        )
    return cfg


def _class_settings(cfg: Config) -> dict[str, Any]:
    """Return the classes of the training data, and the config's own class map.

    A class map of the training data alone is left out: it names the categories of another index.
    """
    parts = [part for part in dicts_in(cfg.get("train_dataloader")) if "index" in part]
    classes = next((part.get("classes") for part in parts), None)
    return {"classes": classes, "class_map": cfg.get("class_map")}


def _batches(dataset: ClipDataset, max_clips: int | None) -> Iterator[Clips]:
    """Yield clips, evenly spread over the data, in batches."""
    count = len(dataset) if max_clips is None else min(max_clips, len(dataset))
    items = np.linspace(0, len(dataset) - 1, count).round().astype(int)
    for start in range(0, count, _BATCH):
        rows = map(dataset.rows, items[start : start + _BATCH].tolist())
        yield Clips.cat([dataset.load(each, seed=0) for each in rows])


def _build(cfg: Config, checkpoint: str | Path | None, config: str, seed: int) -> nn.Module:
    """Build the pretrainer with the checkpoint's weights, or those that the config starts from."""
    torch.manual_seed(seed)
    initial = take_initial_weights(cfg)
    pretrainer: nn.Module = build_model(cfg, config, "drivemim")
    if checkpoint is None:
        _initialize(pretrainer)
        if initial is not None:
            report = load_initial_weights(pretrainer, initial.pop("checkpoint"), **initial)
            print_log(report, "current")
    else:
        _load(pretrainer, Path(checkpoint), config)
    return pretrainer


def _random(cfg: Config, config: str, seed: int) -> nn.Module:
    """Build the pretrainer from random initialisation, whatever weights its config starts from."""
    cfg = copy.deepcopy(cfg)
    take_initial_weights(cfg)
    return _build(cfg, None, config, seed)


def _initialize(pretrainer: Any) -> None:
    """Initialise the weights like a training run, without MMEngine's line for every parameter."""
    with disable_logs(logging.INFO):
        pretrainer.init_weights()


def _load(pretrainer: nn.Module, checkpoint: Path, config: str) -> None:
    """Load a checkpoint of the pretraining run, or a backbone exported from one."""
    content, metadata = read_weights(checkpoint)
    if metadata is not None:
        module: nn.Module = pretrainer.encoder.backbone  # type: ignore[assignment, union-attr]  # built
        weights = content["state_dict"]
    else:
        module, weights = pretrainer, weights_of(content, checkpoint, ema=False)
    if mismatch := describe_mismatch(module.state_dict(), weights):
        raise CheckpointError(
            f"{checkpoint} does not fit {config}; give the config of the same run. It is "
            f"{kind_of(content)}. Tensors: {mismatch}"
        )
    check_weights(checkpoint, weights, module.state_dict())
    module.load_state_dict(weights)
