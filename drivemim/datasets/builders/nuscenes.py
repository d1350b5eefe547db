"""Build a ``FrameIndex`` from nuScenes tables, of any version and size."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from drivemim.datasets.arrow import strings, take
from drivemim.datasets.builders import nuscenes_tables as tables
from drivemim.datasets.builders.nuscenes_boxes import annotation_boxes
from drivemim.datasets.builders.nuscenes_tables import join, numbers, read_table
from drivemim.datasets.index import IndexInfo, fingerprints, write_index
from drivemim.datasets.index_schema import time_keys

Section = dict[str, Any]
IDENTITY_POSE = (0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0)


def build_nuscenes_index(
    root: str | os.PathLike[str],
    version: str,
    out: str | os.PathLike[str],
    *,
    missing_images: str = "error",
) -> Path:
    """Index the tables of one nuScenes version.

    Args:
        root: folder that holds the version folder, ``samples`` and ``sweeps``.
        version: ``v1.0-mini``, ``v1.0-trainval``, ``v1.0-test`` or another folder of such tables.
        out: file to write.
        missing_images: what to do about frames whose image is not there: ``error``, ``drop``
            them, or ``ignore`` (not to look).

    Returns:
        ``out``.

    Raises:
        FileNotFoundError: if the version folder, a table or an image is not there.
        ValueError: if a table is broken or lacks a row that another names.
    """
    root = Path(root).absolute()
    folder = tables.version_folder(root, version)
    if missing_images not in ("error", "drop", "ignore"):
        raise ValueError(f"missing_images is {missing_images!r}, not error, drop or ignore")
    # Taken before reading: a table that changes meanwhile makes the index old, not wrong.
    prints = fingerprints(
        root, [path for path in map(_table(folder), tables.TABLES) if path.exists()]
    )
    with tables.no_garbage_collection():
        scenes, samples, timeline = _read_timeline(folder)
        frames, cameras = _read_frames(folder, root, timeline, missing_images)
        samples.update(frames.pop("of_samples"))
        scenes.update(_frames_of_scenes(frames, len(scenes["token"]), len(cameras)))
        boxes, tracks, names = annotation_boxes(folder, timeline)
    samples.update(_boxes_of_samples(boxes["sample"], len(timeline.order)))
    info = IndexInfo(
        source="nuscenes",
        version=version,
        data_root=str(root),
        command=f"tools/create_index.py nuscenes --root {root} --version {version} --out {out}",
        tables=prints,
    )
    sections = {
        "frames": frames,
        "samples": samples,
        "scenes": scenes,
        "boxes": boxes,
        "tracks": tracks,
        "names": {**names, "cameras": cameras},
    }
    write_index(out, sections, info)
    return Path(out)


@dataclass(frozen=True)
class Timeline:
    """The samples in the index's order.

    Attributes:
        tokens: of sample.json, in the file's order.
        order: (S,) row of sample.json of each row of the index.
        rank: (S,) row of the index of each row of sample.json.
        scene: (S,) scene of each row of the index.
        timestamp: (S,) microseconds, of each row of the index.
        previous: (S,) row of the index before in its scene, -1 for none.
    """

    tokens: pa.Array
    order: NDArray[np.int64]
    rank: NDArray[np.int64]
    scene: NDArray[np.int64]
    timestamp: NDArray[np.int64]
    previous: NDArray[np.int64]


def _table(folder: Path) -> Any:
    return lambda name: folder / f"{name}.json"


def _read_timeline(folder: Path) -> tuple[Section, Section, Timeline]:
    """Scenes and samples, without what frames and boxes add to them."""
    scenes = read_table(folder, tables.Scene, "scene")
    samples = read_table(folder, tables.Sample, "sample")
    logs = read_table(folder, tables.Log, "log")
    scene_tokens, tokens = tables.tokens_of(scenes), tables.tokens_of(samples)
    log_keys = strings([scene.log_token for scene in scenes])
    join(folder, log_keys, tables.tokens_of(logs),
         column="scene.log_token", table="log", owners=scene_tokens)  # fmt: skip
    for column in ("first_sample_token", "last_sample_token"):
        keys = strings([getattr(scene, column) for scene in scenes])
        join(folder, keys, tokens, column=f"scene.{column}", table="sample", owners=scene_tokens)
    scene_keys = strings([sample.scene_token for sample in samples])
    scene = join(folder, scene_keys, scene_tokens,
                 column="sample.scene_token", table="scene", owners=tokens)  # fmt: skip
    for column in ("prev", "next"):
        keys = strings([getattr(sample, column) for sample in samples])
        join(folder, keys, tokens, column=f"sample.{column}", table="sample", owners=tokens,
             optional=True)  # fmt: skip

    timestamp = np.array([sample.timestamp for sample in samples], np.int64)
    order = np.lexsort((timestamp, scene))
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    previous, following = neighbours(scene[order])
    timeline = Timeline(tokens, order, rank, scene[order], timestamp[order], previous)
    descriptions = [scene.description for scene in scenes]
    first = np.searchsorted(timeline.scene, np.arange(len(scenes) + 1))
    scene_section = {
        "token": scene_tokens,
        "name": strings([scene.name for scene in scenes]),
        "description": strings(descriptions),
        "split": strings([""] * len(scenes)),
        "night": [has_word(text, "night") for text in descriptions],
        "rain": [has_word(text, "rain") for text in descriptions],
        "first_sample": first[:-1],
        "sample_count": np.diff(first),
    }
    sample_section = {
        "token": take(tokens, order),
        "scene": timeline.scene,
        "timestamp": timeline.timestamp,
        "previous": previous,
        "next": following,
    }
    return scene_section, sample_section, timeline


def has_word(text: str, stem: str) -> bool:
    """Whether a word of ``text`` is ``stem`` or an inflection of it (rain, rainy, raining)."""
    return re.search(rf"\b{stem}(s|y|ing|time)?\b", text, re.IGNORECASE) is not None


def neighbours(group: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows before and after within runs of equal ``group``; -1 at the runs' ends."""
    rows = np.arange(len(group))
    same = np.concatenate([[False], group[1:] == group[:-1], [False]])
    return np.where(same[:-1], rows - 1, -1), np.where(same[1:], rows + 1, -1)


def _read_frames(
    folder: Path, root: Path, timeline: Timeline, missing_images: str
) -> tuple[Section, list[str]]:
    """Frames in the index's order (with what samples learn of them), and camera names."""
    sensors = read_table(folder, tables.Sensor, "sensor")
    calibrations = read_table(folder, tables.CalibratedSensor, "calibrated_sensor")
    calibration_tokens = tables.tokens_of(calibrations)
    sensor = join(
        folder,
        strings([each.sensor_token for each in calibrations]),
        tables.tokens_of(sensors),
        column="calibrated_sensor.sensor_token",
        table="sensor",
        owners=calibration_tokens,
    )
    cameras = sorted(each.channel for each in sensors if each.modality == "camera")
    number = {camera: position for position, camera in enumerate(cameras)}
    lidar = len(cameras)
    sensor_kind = np.array(
        [lidar if s.channel == "LIDAR_TOP" else number.get(s.channel, -1) for s in sensors], int
    )
    data = _read_sample_data(folder, timeline, calibration_tokens)
    kind = sensor_kind[sensor][data.calibration]
    poses = _read_ego_poses(folder, data, (kind >= 0))
    mounts = numbers((c.translation + c.rotation for c in calibrations), len(calibrations), 7)
    # A camera without a matrix shows up as NaN where it is used, not as zeros.
    empty = [(np.nan,) * 3] * 3
    matrices = np.array([c.camera_intrinsic or empty for c in calibrations]).reshape(-1, 3, 3)

    is_image = (kind >= 0) & (kind < lidar)
    if missing_images != "ignore":
        is_image &= _present(root, data, is_image, drop=missing_images == "drop")
    chosen = np.flatnonzero(is_image)
    scene = timeline.scene[data.sample[chosen]]
    order = chosen[np.lexsort((data.timestamp[chosen], kind[chosen], scene))]
    scene, camera = timeline.scene[data.sample[order]], kind[order]
    track, timestamp = scene * len(cameras) + camera, data.timestamp[order]
    previous, following = neighbours(track)
    frames: Section = {
        "token": take(data.token, order),
        "scene": scene,
        "sample": data.sample[order],
        "camera": camera,
        "timestamp": timestamp,
        "path": take(data.path, order),
        "width": data.size[order, 0],
        "height": data.size[order, 1],
        "intrinsics": matrices[data.calibration[order]],
        "camera_to_ego": mounts[data.calibration[order]],
        "ego_to_global": poses[order],
        "keyframe": data.keyframe[order],
        "previous": previous,
        "next": following,
        "calibrated": np.ones(len(order), bool),
        "key": time_keys(track, timestamp - timestamp[np.searchsorted(track, track)]),
    }
    frames["of_samples"] = {
        "keyframes": _keyframes(frames, len(timeline.order), len(cameras)),
        **_lidar_of_samples(
            data,
            np.flatnonzero((kind == lidar) & data.keyframe),
            mounts,
            poses,
            len(timeline.order),
        ),
    }
    return frames, cameras


def _keyframes(frames: Section, samples: int, cameras: int) -> NDArray[np.int64]:
    """Frame row (samples, cameras) of each camera's keyframe, -1 for none."""
    rows = np.flatnonzero(frames["keyframe"])
    keyframes = np.full((samples, cameras), -1, np.int64)
    keyframes[frames["sample"][rows], frames["camera"][rows]] = rows
    return keyframes


@dataclass(frozen=True)
class _SampleData:
    """Columns of sample_data.json, D rows in the file's order."""

    token: pa.Array
    path: pa.Array
    ego_pose: pa.Array
    sample: NDArray[np.int64]
    calibration: NDArray[np.int64]
    timestamp: NDArray[np.int64]
    keyframe: NDArray[np.bool_]
    size: NDArray[np.int64]


def _read_sample_data(folder: Path, timeline: Timeline, calibrations: pa.Array) -> _SampleData:
    rows = read_table(folder, tables.SampleData, "sample_data")
    token = tables.tokens_of(rows)
    for column in ("prev", "next"):
        keys = strings([getattr(row, column) for row in rows])
        join(folder, keys, token, column=f"sample_data.{column}", table="sample_data",
             owners=token, optional=True)  # fmt: skip
    sample = join(folder, strings([row.sample_token for row in rows]), timeline.tokens,
                  column="sample_data.sample_token", table="sample", owners=token)  # fmt: skip
    calibration = join(
        folder,
        strings([row.calibrated_sensor_token for row in rows]),
        calibrations,
        column="sample_data.calibrated_sensor_token",
        table="calibrated_sensor",
        owners=token,
    )
    return _SampleData(
        token=token,
        path=strings([row.filename for row in rows]),
        ego_pose=strings([row.ego_pose_token for row in rows]),
        sample=timeline.rank[sample],
        calibration=calibration,
        timestamp=np.array([row.timestamp for row in rows], np.int64),
        keyframe=np.array([row.is_key_frame for row in rows], bool),
        size=np.array([[row.width, row.height] for row in rows], np.int64).reshape(-1, 2),
    )


def _read_ego_poses(
    folder: Path, data: _SampleData, used: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Ego pose (D, 7) of every row of sample_data; zeros for sensors that are not ``used``."""
    rows = read_table(folder, tables.EgoPose, "ego_pose")
    chosen = np.flatnonzero(used)
    pose = join(
        folder,
        take(data.ego_pose, chosen),
        tables.tokens_of(rows),
        column="sample_data.ego_pose_token",
        table="ego_pose",
        owners=take(data.token, chosen),
    )
    values = np.empty((len(rows), 7))
    values[:, :3] = numbers((row.translation for row in rows), len(rows), 3)
    values[:, 3:] = numbers((row.rotation for row in rows), len(rows), 4)
    poses = np.zeros((len(used), 7))
    poses[chosen] = values[pose]
    return poses


def _present(
    root: Path, data: _SampleData, is_image: NDArray[np.bool_], *, drop: bool
) -> NDArray[np.bool_]:
    """Which images are there, by listing each folder once."""
    chosen = np.flatnonzero(is_image)
    paths = take(data.path, chosen).to_pylist()
    folders = {path.rpartition("/")[0] for path in paths}
    there: set[str] = set()
    for name in folders:
        if (root / name).is_dir():
            prefix = f"{name}/" if name else ""
            there.update(prefix + entry.name for entry in os.scandir(root / name))
    present = np.zeros(len(is_image), bool)
    present[chosen] = [path in there for path in paths]
    absent = chosen[~present[chosen]]
    if len(absent) and not drop:
        first = int(absent[0])
        raise FileNotFoundError(
            f"{root / data.path[first].as_py()} (frame {data.token[first].as_py()}) is missing, "
            f"{len(absent)} of {len(chosen)} images in all; get them, or leave those frames out "
            "with --missing-images drop"
        )
    return present


def _lidar_of_samples(
    data: _SampleData,
    sweeps: NDArray[np.int64],
    mounts: NDArray[np.float64],
    poses: NDArray[np.float64],
    count: int,
) -> Section:
    """Path, mount and ego pose of each sample's LIDAR_TOP sweep."""
    paths = [""] * count
    for sample, path in zip(data.sample[sweeps], take(data.path, sweeps).to_pylist(), strict=True):
        paths[sample] = path
    to_ego = np.tile(IDENTITY_POSE, (count, 1))
    to_global = to_ego.copy()
    to_ego[data.sample[sweeps]] = mounts[data.calibration[sweeps]]
    to_global[data.sample[sweeps]] = poses[sweeps]
    return {"lidar_path": paths, "lidar_to_ego": to_ego, "lidar_ego_to_global": to_global}


def _frames_of_scenes(frames: Section, scenes: int, cameras: int) -> Section:
    """Where each camera's frames of a scene lie."""
    group = frames["scene"] * cameras + frames["camera"]
    first = np.searchsorted(group, np.arange(scenes * cameras + 1))
    return {
        "first_frame": first[:-1].reshape(scenes, cameras),
        "frame_count": np.diff(first).reshape(scenes, cameras),
    }


def _boxes_of_samples(sample: NDArray[np.int64], count: int) -> Section:
    """Where each sample's boxes lie."""
    first = np.searchsorted(sample, np.arange(count + 1))
    return {"first_box": first[:-1], "box_count": np.diff(first)}
