"""Recording of one scene: images and lidar points as files, and rows of nuScenes' tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from drivemim.generated import DEPTH_FOLDER
from drivemim.town.config import KEYFRAME_RATE, TownConfig
from drivemim.town.lidar import Floats32, count_points
from drivemim.town.render import Picture
from drivemim.town.rig import (
    LIDAR_CHANNEL,
    LIDAR_POSITION,
    LIDAR_YAW,
    Camera,
    yaw_quaternion,
)
from drivemim.town.stage import Boxes, Stage
from drivemim.town.surfaces import Image, Ints
from drivemim.town.tables import Row, Tables, link, token, visibility_token
from drivemim.town.tracks import Track

_START = 1_532_402_900_000_000
_BETWEEN_SCENES = 600_000_000
_ANNOTATED = 75.0


def record_scene(
    config: TownConfig, number: int, folder: Path, on_frame: Callable[[], None]
) -> Tables:
    """Write one scene's images and lidar points, and return its table rows.

    Args:
        config: options of the town.
        number: number of the scene.
        folder: root of the data set.
        on_frame: called after every image.
    """
    return _Recorder(config, number, folder, on_frame).run()


@dataclass
class _Keyframe:
    """State of every track at a sample's time."""

    token: str
    boxes: Boxes
    near_A: NDArray[np.bool_]
    lidar_A: Ints
    visible_A: Ints
    whole_A: Ints


class _Recorder:
    def __init__(
        self, config: TownConfig, number: int, folder: Path, on_frame: Callable[[], None]
    ) -> None:
        self._config, self._number, self._folder = config, number, folder
        self._on_frame = on_frame
        self._stage = Stage(config, number)
        self._name = self._stage.role.name
        self._start = _START + self._stage.role.number * _BETWEEN_SCENES
        self._random = np.random.default_rng([config.seed, self._stage.role.number, 11])
        self._channels: dict[str, list[Row]] = {}
        self._poses: list[Row] = []

    def run(self) -> Tables:
        config = self._config
        interval = round(1e6 / KEYFRAME_RATE)
        times = [
            self._start + k * interval + int(self._random.integers(0, 4000))
            for k in range(config.keyframes)
        ]
        samples = [
            {
                "token": self._token("sample", time),
                "timestamp": time,
                "scene_token": self._token("scene"),
            }
            for time in times
        ]
        link(samples)
        keyframes = []
        for k, sample in enumerate(samples):
            if k:
                self._sweeps(times[k - 1], times[k], str(sample["token"]))
            keyframes.append(self._keyframe(times[k], str(sample["token"])))
        annotations, instances = self._annotations(keyframes)
        for rows in self._channels.values():
            link(rows)
        return {
            "scene": [self._scene(samples)],
            "log": [self._log()],
            "sample": samples,
            "sample_data": [row for rows in self._channels.values() for row in rows],
            "ego_pose": self._poses,
            "calibrated_sensor": self._calibration(),
            "instance": instances,
            "sample_annotation": annotations,
        }

    def _token(self, *parts: object) -> str:
        return token(self._config.seed, self._name, *parts)

    def _seconds(self, timestamp: int) -> float:
        return (timestamp - self._start) / 1e6

    def _sweeps(self, before: int, after: int, sample_token: str) -> None:
        """Capture the images between two keyframes; the devkit assigns them to the later one."""
        count = self._config.images_per_keyframe
        for step in range(1, count):
            for camera in self._stage.rig:
                jitter = int(self._random.integers(-1500, 1500))
                time = before + (after - before) * step // count + camera.trigger_offset + jitter
                self._shoot(camera, time, sample_token, keyframe=False)

    def _keyframe(self, time: int, sample_token: str) -> _Keyframe:
        stage = self._stage
        count = len(stage.traffic.tracks)
        visible, whole = np.zeros(count + 1, np.int64), np.zeros(count + 1, np.int64)
        for camera in stage.rig:
            jitter = int(self._random.integers(-1500, 1500))
            picture = self._shoot(
                camera, time + camera.trigger_offset + jitter, sample_token, keyframe=True
            )
            visible += np.bincount(picture.owners_HW.ravel(), minlength=count + 1)
            for owner, area in picture.outlines.items():
                whole[owner] += area
        seconds = self._seconds(time)
        points, _, eye, rotation = stage.lidar(seconds)
        self._write_lidar(points, time, sample_token)
        boxes = stage.boxes(seconds)
        world = points[:, :3].astype(np.float64) @ rotation.T + eye
        inside = count_points(world, boxes.centres_A3, boxes.sizes_A3, boxes.yaws_A)
        away = np.linalg.norm(boxes.centres_A3[:, :2] - eye[:2], axis=1)
        return _Keyframe(sample_token, boxes, away < _ANNOTATED, inside, visible[1:], whole[1:])

    def _shoot(self, camera: Camera, time: int, sample_token: str, *, keyframe: bool) -> Picture:
        seconds = self._seconds(time)
        picture = self._stage.render(seconds, camera, outlines=keyframe)
        image = self._stage.photograph(picture, seconds, camera)
        place = "samples" if keyframe else "sweeps"
        stem = f"{camera.channel}/{self._name}__{camera.channel}__{time}"
        path = self._folder / place / f"{stem}.jpg"
        _write_image(path, image, [cv2.IMWRITE_JPEG_QUALITY, self._config.jpeg_quality])
        if self._config.depth:
            target = self._folder / DEPTH_FOLDER / f"{stem}.npz"
            target.parent.mkdir(parents=True, exist_ok=True)
            np.savez_compressed(target, depth=picture.depth().astype(np.float16))
        if self._config.instances:
            _write_image(self._folder / "instances" / f"{stem}.png", picture.owners_HW, [])
        height, width = camera.image_size
        self._add_data(
            camera.channel, time, sample_token, keyframe, f"{place}/{stem}.jpg", (height, width)
        )
        self._on_frame()
        return picture

    def _write_lidar(self, points: Floats32, time: int, sample_token: str) -> None:
        name = f"samples/{LIDAR_CHANNEL}/{self._name}__{LIDAR_CHANNEL}__{time}.pcd.bin"
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(points.astype("<f4").tobytes())
        self._add_data(LIDAR_CHANNEL, time, sample_token, True, name, (0, 0))

    def _add_data(
        self,
        channel: str,
        time: int,
        sample_token: str,
        keyframe: bool,
        filename: str,
        size: tuple[int, int],
    ) -> None:
        name = self._token("sample_data", channel, time)
        position, yaw = self._stage.ego(self._seconds(time))
        self._poses.append(
            {
                "token": name,
                "timestamp": time,
                "rotation": yaw_quaternion(yaw),
                "translation": position.tolist(),
            }
        )
        self._channels.setdefault(channel, []).append(
            {
                "token": name,
                "sample_token": sample_token,
                "ego_pose_token": name,
                "calibrated_sensor_token": self._token("calibrated_sensor", channel),
                "timestamp": time,
                "fileformat": filename.split(".")[1],
                "is_key_frame": keyframe,
                "height": size[0],
                "width": size[1],
                "filename": filename,
            }
        )

    def _annotations(self, keyframes: list[_Keyframe]) -> tuple[list[Row], list[Row]]:
        """Return boxes from each object's first to its last visible sample, and instances."""
        rows: list[tuple[int, Row]] = []
        instances: list[Row] = []
        for number, track in enumerate(self._stage.traffic.tracks):
            seen = [
                k
                for k, frame in enumerate(keyframes)
                if frame.near_A[number] and (frame.lidar_A[number] or frame.visible_A[number])
            ]
            if not seen:
                continue
            name = self._token("instance", number + 1)
            own = [
                (k, self._annotation(keyframes[k], number, track, name))
                for k in range(seen[0], seen[-1] + 1)
            ]
            link([row for _, row in own])
            rows.extend(own)
            instances.append(
                {
                    "token": name,
                    "category_token": token("category", track.category),
                    "nbr_annotations": len(own),
                    "first_annotation_token": own[0][1]["token"],
                    "last_annotation_token": own[-1][1]["token"],
                }
            )
        rows.sort(key=lambda item: item[0])
        return [row for _, row in rows], instances

    def _annotation(self, frame: _Keyframe, number: int, track: Track, instance: str) -> Row:
        boxes = frame.boxes
        whole = int(frame.whole_A[number])
        share = int(frame.visible_A[number]) / whole if whole else 0.0
        attribute = track.attribute(float(boxes.speeds_A[number]))
        return {
            "token": self._token("sample_annotation", frame.token, number + 1),
            "sample_token": frame.token,
            "instance_token": instance,
            "visibility_token": visibility_token(share),
            "attribute_tokens": [token("attribute", attribute)] if attribute else [],
            "translation": boxes.centres_A3[number].tolist(),
            "size": boxes.sizes_A3[number].tolist(),
            "rotation": yaw_quaternion(float(boxes.yaws_A[number])),
            "num_lidar_pts": int(frame.lidar_A[number]),
            "num_radar_pts": 0,
        }

    def _calibration(self) -> list[Row]:
        """Return the calibration of the scene's sensors."""
        from pyquaternion import Quaternion  # slow to import, used once per scene

        rows: list[Row] = [
            {
                "token": self._token("calibrated_sensor", camera.channel),
                "sensor_token": token("sensor", camera.channel),
                "translation": camera.position_3.tolist(),
                "rotation": Quaternion(matrix=camera.rotation_33).elements.tolist(),
                "camera_intrinsic": camera.intrinsics_33.tolist(),
            }
            for camera in self._stage.rig
        ]
        rows.append(
            {
                "token": self._token("calibrated_sensor", LIDAR_CHANNEL),
                "sensor_token": token("sensor", LIDAR_CHANNEL),
                "translation": list(LIDAR_POSITION),
                "rotation": yaw_quaternion(float(np.radians(LIDAR_YAW))),
                "camera_intrinsic": [],
            }
        )
        return rows

    def _scene(self, samples: list[Row]) -> Row:
        return {
            "token": self._token("scene"),
            "log_token": self._token("log"),
            "nbr_samples": len(samples),
            "first_sample_token": samples[0]["token"],
            "last_sample_token": samples[-1]["token"],
            "name": self._name,
            "description": self._stage.description,
        }

    def _log(self) -> Row:
        return {
            "token": self._token("log"),
            "logfile": f"generated-town-{self._name}",
            "vehicle": "generated",
            "date_captured": "2018-07-24",
            "location": "generated-town",
        }


def _write_image(path: Path, image: Image | NDArray[np.uint16], options: list[int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    done, data = cv2.imencode(path.suffix, image, options)
    assert done
    path.write_bytes(data.tobytes())
