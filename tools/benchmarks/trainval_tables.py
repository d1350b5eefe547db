"""Synthetic nuScenes tables of any size, without images, for the index benchmark."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

CAMERAS = (
    "CAM_FRONT",
    "CAM_FRONT_LEFT",
    "CAM_FRONT_RIGHT",
    "CAM_BACK",
    "CAM_BACK_LEFT",
    "CAM_BACK_RIGHT",
)
SCENES, SAMPLES, FRAMES, BOXES = 850, 34_149, 2_600_000, 1_170_000
"""Sizes of nuScenes trainval. Its 2.6 million sample_data rows include lidar and radar sweeps; here
all of them are images, so that the index contains them all."""
TRACK_LENGTH = 18  # samples


def write_tables(root: Path, scale: float) -> dict[str, int]:
    """Write ``v1.0-trainval`` tables of nuScenes' size times ``scale`` below ``root``.

    Returns:
        Number of rows by table.
    """
    folder = root / "v1.0-trainval"
    folder.mkdir(parents=True)
    scenes = max(round(SCENES * scale), 1)
    per_scene = round(SAMPLES / SCENES)
    sweeps = round(FRAMES / SAMPLES / len(CAMERAS))
    boxes = round(BOXES / SAMPLES)
    _write_small_tables(folder, scenes, per_scene)
    _write(folder, "sample", _samples(scenes, per_scene))
    _write(folder, "sample_data", _sample_data(scenes, per_scene, sweeps))
    _write(folder, "ego_pose", _ego_poses(scenes, per_scene, sweeps))
    _write(folder, "sample_annotation", _annotations(scenes, per_scene, boxes))
    _write(folder, "instance", _instances(scenes, per_scene, boxes))
    samples = scenes * per_scene
    return {
        "scenes": scenes,
        "samples": samples,
        "frames": samples * sweeps * len(CAMERAS),
        "boxes": samples * boxes,
    }


def _token(kind: int, *parts: int) -> str:
    """Return 32 hexadecimal digits: a number for the table, then up to three numbers of the row."""
    return f"{kind:02x}" + "".join(f"{part:010x}" for part in (*parts, 0, 0, 0)[:3])


def _write(folder: Path, name: str, rows: Iterable[dict[str, Any]]) -> None:
    with (folder / f"{name}.json").open("w") as file:
        file.write("[\n")
        for number, row in enumerate(rows):
            file.write((",\n" if number else "") + json.dumps(row))
        file.write("\n]")


def _write_small_tables(folder: Path, scenes: int, per_scene: int) -> None:
    _write(folder, "category", [{"token": _token(1), "name": "vehicle.car", "description": ""}])
    _write(folder, "attribute", [{"token": _token(2), "name": "vehicle.moving"}])
    levels = enumerate(("v0-40", "v40-60", "v60-80", "v80-100"), start=1)
    _write(
        folder, "visibility", [{"token": str(number), "level": level} for number, level in levels]
    )
    _write(folder, "log", [{"token": _token(3)}])
    channels = [(name, "camera") for name in CAMERAS]
    _write(
        folder,
        "sensor",
        [
            {"token": _token(4, number), "channel": channel, "modality": modality}
            for number, (channel, modality) in enumerate(channels)
        ],
    )
    matrix = [[1266.4, 0.0, 816.3], [0.0, 1266.4, 491.5], [0.0, 0.0, 1.0]]
    _write(
        folder,
        "calibrated_sensor",
        [
            {
                "token": _token(5, scene, number),
                "sensor_token": _token(4, number),
                "translation": [1.7, 0.1 * number, 1.5],
                "rotation": [0.5, -0.5, 0.5, -0.5],
                "camera_intrinsic": matrix,
            }
            for scene in range(scenes)
            for number in range(len(CAMERAS))
        ],
    )
    _write(
        folder,
        "scene",
        [
            {
                "token": _token(6, scene),
                "log_token": _token(3),
                "nbr_samples": per_scene,
                "first_sample_token": _token(7, scene, 0),
                "last_sample_token": _token(7, scene, per_scene - 1),
                "name": f"scene-{scene:04d}",
                "description": "Night, rain" if scene % 7 == 0 else "Parked cars",
            }
            for scene in range(scenes)
        ],
    )


def _chain(kind: int, scene: int, step: int, count: int, *more: int) -> dict[str, str]:
    """Return ``prev`` and ``next`` of row ``step`` in a chain of ``count`` rows."""
    return {
        "prev": _token(kind, scene, step - 1, *more) if step else "",
        "next": _token(kind, scene, step + 1, *more) if step + 1 < count else "",
    }


def _samples(scenes: int, per_scene: int) -> Iterable[dict[str, Any]]:
    for scene in range(scenes):
        for step in range(per_scene):
            yield {
                "token": _token(7, scene, step),
                "timestamp": 1_500_000_000_000_000 + scene * 100_000_000 + step * 500_000,
                "scene_token": _token(6, scene),
                **_chain(7, scene, step, per_scene),
            }


def _sample_data(scenes: int, per_scene: int, sweeps: int) -> Iterable[dict[str, Any]]:
    count = per_scene * sweeps
    for scene in range(scenes):
        for camera, channel in enumerate(CAMERAS):
            for step in range(count):
                # A sweep belongs to the next keyframe, or to the last one if none follows.
                sample = min(-(-step // sweeps), per_scene - 1)
                key = step % sweeps == 0
                time = 500_000 * step // sweeps - 1_000 * camera
                timestamp = 1_500_000_000_000_000 + scene * 100_000_000 + time
                yield {
                    "token": _token(8, scene, step, camera),
                    "sample_token": _token(7, scene, sample),
                    "ego_pose_token": _token(9, scene, step, camera),
                    "calibrated_sensor_token": _token(5, scene, camera),
                    "timestamp": timestamp,
                    "fileformat": "jpg",
                    "is_key_frame": key,
                    "height": 900,
                    "width": 1600,
                    "filename": f"{'samples' if key else 'sweeps'}/{channel}/"
                    f"n008-2018-08-01-15-16-36-0400__{channel}__{timestamp}.jpg",
                    **_chain(8, scene, step, count, camera),
                }


def _ego_poses(scenes: int, per_scene: int, sweeps: int) -> Iterable[dict[str, Any]]:
    numbers = np.random.default_rng(0).uniform(0, 1000, (997, 3)).tolist()
    for scene in range(scenes):
        for camera in range(len(CAMERAS)):
            for step in range(per_scene * sweeps):
                yield {
                    "token": _token(9, scene, step, camera),
                    "timestamp": step,
                    "rotation": [0.5720320396729045, -0.0016977771610471074, 0.011798001930183783,
                                 -0.8201446642457809],
                    "translation": numbers[(scene * 31 + step) % 997],
                }  # fmt: skip


def _annotations(scenes: int, per_scene: int, boxes: int) -> Iterable[dict[str, Any]]:
    numbers = np.random.default_rng(1).uniform(0, 1000, (997, 3)).tolist()
    for scene in range(scenes):
        for step in range(per_scene):
            track, age = divmod(step, TRACK_LENGTH)
            length = min(TRACK_LENGTH, per_scene - track * TRACK_LENGTH)
            for box in range(boxes):
                yield {
                    "token": _token(10, scene, step, box),
                    "sample_token": _token(7, scene, step),
                    "instance_token": _token(11, scene, track, box),
                    "visibility_token": str(box % 4 + 1),
                    "attribute_tokens": [_token(2)],
                    "translation": numbers[(scene * 31 + step * 7 + box) % 997],
                    "size": [1.9, 4.6, 1.7],
                    "rotation": [0.9831098797903927, 0.0, 0.0, -0.18301629506281616],
                    "prev": _token(10, scene, step - 1, box) if age else "",
                    "next": _token(10, scene, step + 1, box) if age + 1 < length else "",
                    "num_lidar_pts": 5,
                    "num_radar_pts": 0,
                }


def _instances(scenes: int, per_scene: int, boxes: int) -> Iterable[dict[str, Any]]:
    for scene in range(scenes):
        for track, first in enumerate(range(0, per_scene, TRACK_LENGTH)):
            last = min(first + TRACK_LENGTH, per_scene) - 1
            for box in range(boxes):
                yield {
                    "token": _token(11, scene, track, box),
                    "category_token": _token(1),
                    "nbr_annotations": last - first + 1,
                    "first_annotation_token": _token(10, scene, first, box),
                    "last_annotation_token": _token(10, scene, last, box),
                }
