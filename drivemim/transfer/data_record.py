"""Records of the data that a pretraining run saw, from its config and indices only."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from mmengine.config import Config

from drivemim.array_types import Bools, Ints
from drivemim.config.loading import defaults_of, dicts_in
from drivemim.data import ClipDataset
from drivemim.data.class_lists import category_classes, class_names
from drivemim.data.clips.clip_rule import ClipRule
from drivemim.data.index.frame_index import FrameIndex
from drivemim.data.index.frame_keys import frames_in_samples
from drivemim.data.index.source_files import Fingerprint
from drivemim.generated import is_generated
from drivemim.transfer.frames_seen import record_frames
from drivemim.transfer.mask_reads import boxes_from

ARGUMENTS = {
    "image_size": "image_size",
    "steps": "num_frames",
    "spacing": "frame_interval",
    "one_camera": "single_camera",
    "augment": "augment",
    "lidar_points": "lidar_points",
    "drop_incomplete": "drop_incomplete",
}
"""Names in records, and the arguments of ``ClipDataset`` that they stand for. Checkpoints and
exports have these names, so they must not change."""
_DEFAULTS = defaults_of(ClipDataset)


def describe_data(cfg: Config) -> list[dict[str, Any]]:
    """Describe every data set that a run trained on.

    Args:
        cfg: config of the run.

    Returns:
        One entry per data set, with the path of its index and its settings. If the index can still
        be read, the entry also has its source, the numbers of chosen frames, scenes and objects,
        and which frames they are (see ``record_frames``). Otherwise it has ``unreadable``, the
        reason.
    """
    configs = dicts_in(cfg.get("train_dataloader"))
    return [_describe(config) for config in configs if config.get("index") is not None]


def frames_per_clip(data: list[dict[str, Any]]) -> int | None:
    """Return images per clip, frames times cameras; None if unknown or not always the same."""
    counts = set()
    for data_set in data:
        cameras = 1 if data_set["one_camera"] else len(data_set["cameras"] or ())
        counts.add(data_set["steps"] * cameras)
    return counts.pop() if len(counts) == 1 and 0 not in counts else None


def _describe(config: Mapping[str, Any]) -> dict[str, Any]:
    """Describe the data set of a config of ``ClipDataset``."""
    boxes = config.get("boxes", _DEFAULTS["boxes"])
    entry: dict[str, Any] = {
        "index": str(config["index"]),
        "chosen": config.get("scenes"),
        "cameras": None if config.get("cameras") is None else list(config["cameras"]),
        "boxes": boxes.get("type") if isinstance(boxes, Mapping) else boxes,
        "boxes_from": boxes_from(boxes),
        **{name: plain(config.get(key, _DEFAULTS.get(key))) for name, key in ARGUMENTS.items()},
    }
    try:
        index = FrameIndex.open(config["index"], data_root=config.get("data_root"))
        names = class_names(config.get("classes"))
        class_of = category_classes(index.categories, names, config.get("class_map"))
        return {**entry, **_read(index, entry, names, class_of)}
    except (FileNotFoundError, ValueError) as error:
        return {**entry, "unreadable": str(error)}


def _read(
    index: FrameIndex,
    entry: Mapping[str, Any],
    classes: Sequence[str],
    class_of: Mapping[str, str | None],
) -> dict[str, Any]:
    """Describe an index, and count the frames, scenes and objects that a data set takes from it.

    Args:
        index: the index.
        entry: settings of the data set, from :func:`_describe`.
        classes: class names.
        class_of: class of each category; None or absent for other objects.
    """
    frames, scenes, info = index.frames, index.scenes, index.info
    rows = index.scene_rows(entry["chosen"])
    cameras = index.camera_numbers(entry["cameras"])
    chosen = np.isin(frames.scene, rows) & np.isin(frames.camera, cameras)
    if entry["spacing"] is None or entry["steps"] == 1:
        chosen &= _first_frames(index, cameras, entry)
    sizes = np.unique(np.stack([frames.height[chosen], frames.width[chosen]], axis=1), axis=0)
    boxes = index.boxes
    in_scenes = np.zeros(0, bool)
    if len(boxes):
        in_scenes = np.isin(index.samples.scene[boxes.sample], rows)
    counts = np.bincount(boxes.category[in_scenes], minlength=len(index.categories))
    object_counts = dict.fromkeys((*classes, "other"), 0)
    for category, count in zip(index.categories, counts, strict=True):
        object_counts[class_of.get(category) or "other"] += int(count)
    return {
        "source": info.source,
        "version": info.version,
        "tables": _digest(info.tables),
        "generated": is_generated(index.data_root),
        "cameras": [index.cameras[number] for number in cameras],
        "left_out_cameras": [
            name for number, name in enumerate(index.cameras) if number not in set(cameras)
        ],
        "scenes": len(rows),
        "night_scenes": int(scenes.night[rows].sum()),
        "rain_scenes": int(scenes.rain[rows].sum()),
        "described_scenes": int(scenes.described[rows].sum()),
        "frames": int(chosen.sum()),
        **record_frames(index, np.flatnonzero(chosen)),
        "uncalibrated_frames": int((~np.asarray(frames.calibrated)[chosen]).sum()),
        "stored_sizes": sizes.tolist(),
        "objects": object_counts,
    }


def _first_frames(index: FrameIndex, cameras: Ints, entry: Mapping[str, Any]) -> Bools:
    """Return bool (F,), whether a clip can begin with each frame.

    Clips begin at keyframes. If a camera has no keyframe in a sample, a clip of several cameras
    with a ``frame_interval`` begins with this camera's frame of the nearest time.
    """
    first = frames_in_samples(index)
    if entry["spacing"] is not None and not entry["one_camera"]:
        keyframes = np.asarray(index.samples.keyframes)[:, cameras] >= 0
        partial = np.flatnonzero(keyframes.any(axis=1) & ~keyframes.all(axis=1))
        rows = ClipRule(index, cameras, 1, entry["spacing"]).rows(partial)
        first[rows[rows >= 0]] = True
    return first


def _digest(tables: Sequence[Fingerprint]) -> str:
    """Return a hash of the tables' names and sizes."""
    named = repr(sorted((table.name, table.size) for table in tables))
    return hashlib.sha256(named.encode()).hexdigest()[:16]


NO_TABLES = _digest(())
"""``tables`` of an index of folders without COCO files."""


def plain(value: Any) -> Any:
    """Convert the containers in a config's value to those of JSON."""
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, (list, tuple)) else value
