"""Records of a run's pretraining data and initial weights, made when training begins.

Every checkpoint of the run holds the record, because an index may be rebuilt, or a weights file
deleted, before a backbone is exported.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from mmengine.config import Config

from drivemim.config.embedded import embedded_config
from drivemim.config.loading import is_pretrainer
from drivemim.errors import CheckpointError
from drivemim.transfer.data_record import describe_data, plain
from drivemim.transfer.mask_reads import describe_reads
from drivemim.transfer.recipe import (
    SETTINGS,
    begin_counts,
    changed_settings,
    continue_counts,
    describe_settings,
    initial_weights_of,
)
from drivemim.transfer.record_changes import describe_change, warn_of_changes
from drivemim.transfer.weights_file import read_weights

KEY = "pretraining"
"""Key of the record in a checkpoint's ``meta``."""
_UNRECORDED = (
    "its checkpoint has no record from when training began, and the index may have changed since"
)
_UNKNOWN: dict[str, Any] = {"data": None, "recipe": {}}
"""The record of weights of which nothing is known."""


def describe_pretraining(cfg: Config, processes: int = 1) -> dict[str, Any]:
    """Describe the data and the initial weights of a run that begins.

    Args:
        cfg: config of the run.
        processes: number of training processes.

    Returns:
        ``data``, from ``describe_data``; ``counts``, from ``begin_counts``; and ``recipe``. The
        recipe has ``masking``, the config of the masks; the settings from ``describe_settings``;
        ``reads``, from ``describe_reads``; ``started_from``, the weights files that the run starts
        from, or None; and ``earlier``, one such record per weights file, with its ``file``.
        ``data`` of an earlier record is None if nothing is known of it.
    """
    data, initial = describe_data(cfg), initial_weights_of(cfg)
    recipe = {
        "masking": plain((cfg.get("model") or {}).get("masking")),
        **describe_settings(cfg),
        "reads": describe_reads(cfg, data),
        "started_from": " and ".join(initial) or None,
        "earlier": [_record_of_initial_weights(path) for path in initial],
    }
    # Only JSON types: a checkpoint holds no other objects.
    counts = begin_counts(cfg, data, processes)
    record: dict[str, Any] = json.loads(
        json.dumps({"data": data, "recipe": recipe, "counts": counts})
    )
    return record


def pretraining_of(cfg: Config, meta: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record in a checkpoint, or one made from its config if it has none.

    Args:
        cfg: config of the checkpoint's run.
        meta: ``meta`` of the checkpoint.

    Returns:
        Like ``describe_pretraining``. If the checkpoint has no record, ``counts`` is None, the
        frames that were seen are unknown, and ``unrecorded`` of each readable data set says so.
    """
    if isinstance(recorded := meta.get(KEY), dict):
        return recorded
    record = describe_pretraining(cfg)
    record["counts"] = None
    for data_set in record["data"]:
        if "unreadable" not in data_set:
            data_set |= {"annotated_frames": None, "seen": None, "unrecorded": _UNRECORDED}
    record["recipe"]["reads"] = describe_reads(cfg, record["data"])
    return record


def checkpoint_record(meta: Mapping[str, Any], path: str) -> dict[str, Any] | None:
    """Return a checkpoint's pretraining record; None if it is not of a pretraining run.

    Args:
        meta: ``meta`` of the checkpoint.
        path: path of the checkpoint.
    """
    if isinstance(recorded := meta.get(KEY), dict):
        return recorded
    if "cfg" not in meta:
        return None
    try:
        cfg = embedded_config(meta["cfg"], path)
    except CheckpointError:  # of a detector, or with unknown classes
        return None
    return pretraining_of(cfg, meta) if is_pretrainer(cfg.get("model") or {}) else None


def continue_record(
    now: dict[str, Any], meta: Mapping[str, Any], checkpoint: str
) -> dict[str, Any]:
    """Return the record of a resumed run.

    Args:
        now: record of the run as it resumes.
        meta: ``meta`` of the checkpoint that it resumes from.
        checkpoint: path of that checkpoint.

    Returns:
        The checkpoint's record if the data, the masks and what they read are the same. Where other
        settings differ, its recipe has those of the run as it resumes, and ``resumed`` has one
        dictionary for each part of the run between two starts, newest first: its settings, and the
        ``file`` that it ended with. If the data, the masks or what they read differ, the current
        record with the checkpoint's as an earlier record.
    """
    before = checkpoint_record(meta, checkpoint)
    counts = continue_counts(now["counts"], (before or {}).get("counts"), meta.get("iter"))
    if before is not None and isinstance(meta.get(KEY), dict):
        before = _with_settings(before, meta, checkpoint)
        changes = describe_change(now, before)
        others = list(changed_settings(before["recipe"], now["recipe"]))
        warn_of_changes(checkpoint, changes, others)
        if not changes:
            recipe = _continue_recipe(before["recipe"], now["recipe"], checkpoint if others else "")
            return {**before, "recipe": recipe, "counts": counts}
    earlier = {"file": checkpoint, **(before or _UNKNOWN)}
    return {
        "data": now["data"],
        "recipe": {**now["recipe"], "started_from": checkpoint, "earlier": [earlier]},
        "counts": counts,
    }


def _with_settings(
    record: dict[str, Any], meta: Mapping[str, Any], checkpoint: str
) -> dict[str, Any]:
    """Add settings to a record of an older version, which has none, from the config beside it."""
    try:
        cfg = embedded_config(meta["cfg"], checkpoint)
    except (KeyError, CheckpointError):
        return record
    return {**record, "recipe": {**describe_settings(cfg), **record["recipe"]}}


def _continue_recipe(
    before: Mapping[str, Any], now: Mapping[str, Any], checkpoint: str
) -> dict[str, Any]:
    """Return the recipe of a resumed run with the settings before and after it was resumed.

    Args:
        before: recipe of the checkpoint.
        now: recipe of the run as it resumes.
        checkpoint: path of the checkpoint; empty if no settings differ.
    """
    settings = {key: before[key] for key in SETTINGS if key in before}
    ended = [{"file": checkpoint, **settings}] if checkpoint else []
    return {
        **before,
        **{key: now[key] for key in SETTINGS},
        "resumed": [*ended, *before.get("resumed", ())],
    }


def _record_of_initial_weights(path: str) -> dict[str, Any]:
    """Return the pretraining record of a weights file, with its ``file``."""
    return {"file": path, **(_read_initial_weights(path) or _UNKNOWN)}


def _read_initial_weights(path: str) -> dict[str, Any] | None:
    if "://" in path:
        return None
    try:
        content, metadata = read_weights(path, tensors=False)
    except (FileNotFoundError, CheckpointError):  # may be gone at export; training refuses it
        return None
    if metadata is None:
        meta = content.get("meta") if isinstance(content, dict) else None
        return checkpoint_record(meta, path) if isinstance(meta, dict) else None
    if "data" not in metadata or "recipe" not in metadata:
        return None
    kept = ("masking", "reads", "masks_use_boxes", "started_from", "earlier", "resumed", *SETTINGS)
    recipe = {key: metadata["recipe"][key] for key in kept if key in metadata["recipe"]}
    return {"data": metadata["data"], "recipe": recipe}
