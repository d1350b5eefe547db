"""What a run pretrained on and began with, recorded when training begins.

The record is in every checkpoint of the run, since an index can be built again, and a file of
weights can be gone, before a backbone is exported.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from mmengine.config import Config

from drivemim.engine.data_record import describe_data
from drivemim.engine.embedded_config import embedded_config
from drivemim.engine.reads import describe_reads
from drivemim.engine.recipe import starts_of
from drivemim.engine.weights_file import read_weights
from drivemim.errors import CheckpointError

KEY = "pretraining"
"""Of the record in a checkpoint's ``meta``."""
_UNRECORDED = (
    "its checkpoint has no record from when training began, and the index may have changed since"
)


def describe_pretraining(cfg: Config) -> dict[str, Any]:
    """Describe a run that begins.

    Args:
        cfg: of the run.

    Returns:
        ``data``, from ``describe_data``, and ``recipe``: ``reads``, from ``describe_reads``;
        ``started_from``, the files of weights that it begins with, or None; and ``earlier``, a
        record like this one of each of them, with its ``file``, and ``data`` None if nothing is
        known of what it saw.
    """
    data, starts = describe_data(cfg), starts_of(cfg)
    recipe = {
        "reads": describe_reads(cfg, data),
        "started_from": " and ".join(starts) or None,
        "earlier": [_record_of_start(path) for path in starts],
    }
    # As JSON has it: a checkpoint holds no other objects.
    record: dict[str, Any] = json.loads(json.dumps({"data": data, "recipe": recipe}))
    return record


def pretraining_of(cfg: Config, meta: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record in a checkpoint, or what can be said without one.

    Args:
        cfg: of its run.
        meta: of the checkpoint.

    Returns:
        As ``describe_pretraining``. Without a record in the checkpoint, which frames were seen is
        not known, and ``unrecorded`` of each data set says so.
    """
    if isinstance(recorded := meta.get(KEY), dict):
        return recorded
    record = describe_pretraining(cfg)
    for part in record["data"]:
        if "unreadable" not in part:
            part |= {"annotated_frames": None, "seen": None, "unrecorded": _UNRECORDED}
    record["recipe"]["reads"] = describe_reads(cfg, record["data"])
    return record


def checkpoint_record(meta: Mapping[str, Any], path: str) -> dict[str, Any] | None:
    """Return what a checkpoint says of its pretraining; None if it is not of one.

    Args:
        meta: of the checkpoint.
        path: of it.
    """
    if isinstance(recorded := meta.get(KEY), dict):
        return recorded
    if "cfg" not in meta:
        return None
    try:
        cfg = embedded_config(meta["cfg"], path)
    except CheckpointError:  # of a detector, or with classes that are not known here
        return None
    return pretraining_of(cfg, meta) if "encoder" in (cfg.get("model") or {}) else None


def continue_record(
    now: dict[str, Any], meta: Mapping[str, Any], checkpoint: str
) -> dict[str, Any]:
    """Return the record of a run that is resumed.

    Args:
        now: record of the run as it goes on.
        meta: of the checkpoint that it goes on from.
        checkpoint: path of it.

    Returns:
        The checkpoint's record if data and readers stayed the same; else that of now, with the
        checkpoint's as an earlier one.
    """
    before = checkpoint_record(meta, checkpoint)
    if before is not None and isinstance(meta.get(KEY), dict):
        same = before["data"] == now["data"] and before["recipe"]["reads"] == now["recipe"]["reads"]
        if same:
            return before
    earlier = {"file": checkpoint, **(before or _UNKNOWN)}
    return {
        "data": now["data"],
        "recipe": {**now["recipe"], "started_from": checkpoint, "earlier": [earlier]},
    }


_UNKNOWN: dict[str, Any] = {"data": None, "recipe": {}}


def _record_of_start(path: str) -> dict[str, Any]:
    """What a file of weights says of its pretraining."""
    return {"file": path, **(_read_start(path) or _UNKNOWN)}


def _read_start(path: str) -> dict[str, Any] | None:
    if "://" in path:
        return None
    try:
        content, metadata = read_weights(path)
    except (FileNotFoundError, CheckpointError):  # at export it may be gone; training refuses it
        return None
    if metadata is None:
        meta = content.get("meta") if isinstance(content, dict) else None
        return checkpoint_record(meta, path) if isinstance(meta, dict) else None
    if "data" not in metadata or "recipe" not in metadata:
        return None
    kept = ("reads", "masks_use_boxes", "started_from", "earlier")
    recipe = {key: metadata["recipe"][key] for key in kept if key in metadata["recipe"]}
    return {"data": metadata["data"], "recipe": recipe}
