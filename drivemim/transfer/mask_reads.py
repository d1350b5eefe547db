"""Inputs that a pretraining reads besides images and calibration: boxes, tracks, lidar."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.config import Config

from drivemim.config.loading import dicts_in, short_type
from drivemim.masking.strategy import READABLE
from drivemim.registry import BOX_SOURCES, MASKS, MODELS, current_name


def describe_reads(cfg: Config, data: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Name the classes that read the boxes, tracks and lidar points of the data.

    A class lists in ``reads`` what it reads, like ``MaskStrategy``. A mask strategy that does not
    is assumed to read everything.

    Args:
        cfg: config of the run.
        data: from ``describe_data``.

    Returns:
        Class names for ``boxes``, ``tracks`` and ``lidar``; empty if the data have none.
    """
    boxes = any(has_boxes(part) for part in data)
    lidar = any(part["lidar_points"] for part in data)
    available = {"boxes": boxes, "tracks": boxes, "lidar": lidar}
    readers: dict[str, list[str]] = {kind: [] for kind in READABLE}
    for part in dicts_in(cfg.get("model")):
        for kind in READABLE:
            name = short_type(part)
            if available[kind] and kind in _reads(part) and name not in readers[kind]:
                readers[kind].append(name)
    return readers


def boxes_from(boxes: str | Mapping[str, Any] | None) -> str | None:
    """Return where a box source's boxes come from (``BoxSource.origin``); None for no boxes."""
    if boxes is None:
        return None
    name = str(boxes["type"] if isinstance(boxes, Mapping) else boxes)
    kind = BOX_SOURCES.get(current_name(name))
    # For an unknown class, the worst is assumed.
    return str(getattr(kind, "origin", "annotations"))


def has_boxes(part: Mapping[str, Any]) -> bool:
    """Return whether a data set, as in ``describe_data``, has boxes to read."""
    if part["boxes"] is None:
        return False
    return part.get("boxes_from") != "annotations" or part.get("annotated_frames") != 0


def _reads(part: Mapping[str, Any]) -> frozenset[str]:
    kind = part.get("type")
    if isinstance(kind, str):
        scope, _, _ = kind.rpartition(".")
        kind = MASKS.get(current_name(kind)) or (
            MODELS.get(kind) if scope in ("", "drivemim") else None
        )
    return frozenset(getattr(kind, "reads", ()))
