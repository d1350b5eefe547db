"""Inputs that a pretraining reads besides images and calibration: boxes, tracks, lidar."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from mmengine.config import Config

from drivemim.config.loading import dicts_in
from drivemim.config.nested import short_type
from drivemim.data.boxes.box_sources import BoxOrigin
from drivemim.masking.strategy import READABLE
from drivemim.registry import BOX_SOURCES, MASKS, MODELS, current_name


def describe_reads(cfg: Config, data: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Name the classes and settings that read the boxes, tracks and lidar points of the data.

    A class lists in its attribute ``reads`` what it reads. A mask strategy without it is assumed to
    read everything, and so is a mask strategy, decoder, target, auxiliary target or teacher whose
    class is not found.

    Args:
        cfg: config of the run.
        data: from ``describe_data``.

    Returns:
        Lists of names for ``boxes``, ``tracks`` and ``lidar``; empty where the data have none.
    """
    boxes = any(has_boxes(data_set) for data_set in data)
    lidar = any(data_set["lidar_points"] for data_set in data)
    available = {"boxes": boxes, "tracks": boxes, "lidar": lidar}
    readers: dict[str, list[str]] = {kind: [] for kind in READABLE}
    model = cfg.get("model") or {}
    parts = map(model.get, ("decoder", "target", "patch_weights", "teacher"))
    auxiliary = dicts_in(model.get("auxiliary"))
    # Only these parts of the model get the clips, and could read more than images.
    parts_with_clips = [*dicts_in(model.get("masking")), *auxiliary, *parts]
    for config in dicts_in(model):
        reads, name = _reads(config), short_type(config)
        if reads is None:
            reads = frozenset(READABLE if any(config is each for each in parts_with_clips) else ())
        for kind in READABLE:
            if available[kind] and kind in reads and name not in readers[kind]:
                readers[kind].append(name)
    if boxes and any(_has_focus(data_set) for data_set in dicts_in(cfg.get("train_dataloader"))):
        readers["boxes"].append("augment.focus")
    return readers


def boxes_from(boxes: str | Mapping[str, Any] | None) -> BoxOrigin | None:
    """Return where a box source's boxes come from (``BoxSource.origin``); None for no boxes."""
    if boxes is None:
        return None
    name = str(boxes["type"] if isinstance(boxes, Mapping) else boxes)
    cls = BOX_SOURCES.get(current_name(name))
    origin = getattr(cls, "origin", None)
    # If the class or its origin is unknown, the boxes may be labels.
    return origin if origin in get_args(BoxOrigin) else "annotations"


def has_boxes(data_set: Mapping[str, Any]) -> bool:
    """Return whether a data set, as in ``describe_data``, has boxes to read."""
    if data_set["boxes"] is None:
        return False
    return data_set.get("boxes_from") != "annotations" or data_set.get("annotated_frames") != 0


def _has_focus(data_set: Mapping[str, Any]) -> bool:
    """Return whether a data set's config places crops around objects."""
    augment = data_set.get("augment")
    return isinstance(augment, Mapping) and bool(augment.get("focus"))


def _reads(config: Mapping[str, Any]) -> frozenset[str] | None:
    """Return what the class of a config's dict reads; None for a class that is not found.

    A dict without ``type`` is no class and reads nothing.
    """
    cls = config.get("type", dict)
    if isinstance(cls, str):
        scope, _, _ = cls.rpartition(".")
        cls = MASKS.get(current_name(cls)) or (
            MODELS.get(cls) if scope in ("", "drivemim") else None
        )
    return None if cls is None else frozenset(getattr(cls, "reads", ()))
