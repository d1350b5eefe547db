"""Writer of one scene in nuScenes' format: image and lidar files, and rows of the tables.

Letters: A objects.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from drivemim.array_types import Floats32, Image, Ints
from drivemim.generated import DEPTH_FOLDER
from drivemim.town.lidar_scan import count_points
from drivemim.town.render import RenderOutput
from drivemim.town.rig import LIDAR_CHANNEL, LIDAR_POSITION, LIDAR_YAW, Camera, yaw_quaternion
from drivemim.town.scene import SceneBoxes, TownScene
from drivemim.town.table_rows import Row, Tables, link, token, visibility_token
from drivemim.town.town_config import KEYFRAME_RATE, TownConfig
from drivemim.town.tracks import Track

_FIRST_TIMESTAMP = 1_532_402_900_000_000  # of scene 0, microseconds
_SCENE_INTERVAL = 600_000_000  # from the start of a scene to the next, microseconds
_ANNOTATION_RANGE = 75.0  # metres


def write_scene(
    config: TownConfig, number: int, folder: Path, on_frame: Callable[[], None]
) -> Tables:
    """Write one scene's images and lidar points, and return its table rows.

    Args:
        config: options of the town.
        number: number of the scene.
        folder: root of the data set.
        on_frame: called after every image.
    """
    return _SceneWriter(config, number, folder, on_frame).run()


@dataclass
class _Keyframe:
    """State of every track at a sample's time.

    Attributes:
        token: token of the sample.
        boxes: boxes of the tracks.
        in_range_A: bool, True within ``_ANNOTATION_RANGE`` of the lidar.
        lidar_points_A: number of lidar points in the box.
        visible_pixels_A: number of pixels in all cameras.
        amodal_pixels_A: number of pixels in all cameras if nothing hid the object.
    """

    token: str
    boxes: SceneBoxes
    in_range_A: NDArray[np.bool_]
    lidar_points_A: Ints
    visible_pixels_A: Ints
    amodal_pixels_A: Ints


class _SceneWriter:
    """Writer of one scene; for the arguments see ``write_scene``."""

    def __init__(
        self, config: TownConfig, number: int, folder: Path, on_frame: Callable[[], None]
    ) -> None:
        self._config, self._number, self._folder = config, number, folder
        self._on_frame = on_frame
        self._scene = TownScene(config, number)
        self._name = self._scene.spec.name
        self._start = _FIRST_TIMESTAMP + self._scene.spec.number * _SCENE_INTERVAL
        self._generator = np.random.default_rng([config.seed, self._scene.spec.number, 11])
        self._channels: dict[str, list[Row]] = {}
        self._poses: list[Row] = []

    def run(self) -> Tables:
        """Write the files and return the rows of the tables."""
        config = self._config
        interval = round(1e6 / KEYFRAME_RATE)
        times = [
            self._start + k * interval + int(self._generator.integers(0, 4000))
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
                self._capture_sweeps(times[k - 1], times[k], str(sample["token"]))
            keyframes.append(self._capture_keyframe(times[k], str(sample["token"])))
        annotations, instances = self._annotations(keyframes)
        for rows in self._channels.values():
            link(rows)
        return {
            "scene": [self._scene_row(samples)],
            "log": [self._log_row()],
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

    def _capture_sweeps(self, before: int, after: int, sample_token: str) -> None:
        """Capture the images between two keyframes; like in nuScenes, the later sample has them."""
        count = self._config.images_per_keyframe
        for step in range(1, count):
            for camera in self._scene.rig:
                jitter = int(self._generator.integers(-1500, 1500))
                time = before + (after - before) * step // count + camera.trigger_offset + jitter
                self._capture(camera, time, sample_token, keyframe=False)

    def _capture_keyframe(self, time: int, sample_token: str) -> _Keyframe:
        scene = self._scene
        count = len(scene.traffic.tracks)
        visible, amodal = np.zeros(count + 1, np.int64), np.zeros(count + 1, np.int64)
        for camera in scene.rig:
            jitter = int(self._generator.integers(-1500, 1500))
            output = self._capture(
                camera, time + camera.trigger_offset + jitter, sample_token, keyframe=True
            )
            visible += np.bincount(output.instance_ids_HW.ravel(), minlength=count + 1)
            for instance_id, area in output.amodal_areas.items():
                amodal[instance_id] += area
        seconds = self._seconds(time)
        points, _, origin, rotation = scene.lidar(seconds)
        self._write_lidar(points, time, sample_token)
        boxes = scene.boxes(seconds)
        world = points[:, :3].astype(np.float64) @ rotation.T + origin
        lidar_points = count_points(world, boxes.centers_A3, boxes.sizes_A3, boxes.yaws_A)
        distance = np.linalg.norm(boxes.centers_A3[:, :2] - origin[:2], axis=1)
        in_range = distance < _ANNOTATION_RANGE
        return _Keyframe(sample_token, boxes, in_range, lidar_points, visible[1:], amodal[1:])

    def _capture(
        self, camera: Camera, time: int, sample_token: str, *, keyframe: bool
    ) -> RenderOutput:
        seconds = self._seconds(time)
        output = self._scene.render(seconds, camera, amodal=keyframe)
        image = self._scene.apply_weather(output, seconds, camera)
        subfolder = "samples" if keyframe else "sweeps"
        stem = f"{camera.channel}/{self._name}__{camera.channel}__{time}"
        path = self._folder / subfolder / f"{stem}.jpg"
        _write_image(path, image, [cv2.IMWRITE_JPEG_QUALITY, self._config.jpeg_quality])
        if self._config.depth:
            target = self._folder / DEPTH_FOLDER / f"{stem}.npz"
            target.parent.mkdir(parents=True, exist_ok=True)
            np.savez_compressed(target, depth=output.depth().astype(np.float16))
        if self._config.instances:
            _write_image(self._folder / "instances" / f"{stem}.png", output.instance_ids_HW, [])
        height, width = camera.image_size
        self._add_sample_data(
            camera.channel, time, sample_token, keyframe, f"{subfolder}/{stem}.jpg", (height, width)
        )
        self._on_frame()
        return output

    def _write_lidar(self, points: Floats32, time: int, sample_token: str) -> None:
        name = f"samples/{LIDAR_CHANNEL}/{self._name}__{LIDAR_CHANNEL}__{time}.pcd.bin"
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(points.astype("<f4").tobytes())
        self._add_sample_data(LIDAR_CHANNEL, time, sample_token, True, name, (0, 0))

    def _add_sample_data(
        self,
        channel: str,
        time: int,
        sample_token: str,
        keyframe: bool,
        filename: str,
        size: tuple[int, int],
    ) -> None:
        row_token = self._token("sample_data", channel, time)
        position, yaw = self._scene.ego(self._seconds(time))
        self._poses.append(
            {
                "token": row_token,
                "timestamp": time,
                "rotation": yaw_quaternion(yaw),
                "translation": position.tolist(),
            }
        )
        self._channels.setdefault(channel, []).append(
            {
                "token": row_token,
                "sample_token": sample_token,
                "ego_pose_token": row_token,
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
        """Return the rows of annotations, in the order of the samples, and of instances.

        An object is annotated from the first to the last sample in which a sensor observes it.
        """
        rows: list[tuple[int, Row]] = []
        instances: list[Row] = []
        for number, track in enumerate(self._scene.traffic.tracks):
            observed = [
                k
                for k, keyframe in enumerate(keyframes)
                if keyframe.in_range_A[number]
                and (keyframe.lidar_points_A[number] or keyframe.visible_pixels_A[number])
            ]
            if not observed:
                continue
            instance_token = self._token("instance", number + 1)
            annotations = [
                (k, self._annotation(keyframes[k], number, track, instance_token))
                for k in range(observed[0], observed[-1] + 1)
            ]
            link([row for _, row in annotations])
            rows.extend(annotations)
            instances.append(
                {
                    "token": instance_token,
                    "category_token": token("category", track.category),
                    "nbr_annotations": len(annotations),
                    "first_annotation_token": annotations[0][1]["token"],
                    "last_annotation_token": annotations[-1][1]["token"],
                }
            )
        rows.sort(key=lambda item: item[0])
        return [row for _, row in rows], instances

    def _annotation(
        self, keyframe: _Keyframe, number: int, track: Track, instance_token: str
    ) -> Row:
        boxes = keyframe.boxes
        amodal = int(keyframe.amodal_pixels_A[number])
        visible_fraction = int(keyframe.visible_pixels_A[number]) / amodal if amodal else 0.0
        attribute = track.attribute(float(boxes.speeds_A[number]))
        return {
            "token": self._token("sample_annotation", keyframe.token, number + 1),
            "sample_token": keyframe.token,
            "instance_token": instance_token,
            "visibility_token": visibility_token(visible_fraction),
            "attribute_tokens": [token("attribute", attribute)] if attribute else [],
            "translation": boxes.centers_A3[number].tolist(),
            "size": boxes.sizes_A3[number].tolist(),
            "rotation": yaw_quaternion(float(boxes.yaws_A[number])),
            "num_lidar_pts": int(keyframe.lidar_points_A[number]),
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
            for camera in self._scene.rig
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

    def _scene_row(self, samples: list[Row]) -> Row:
        return {
            "token": self._token("scene"),
            "log_token": self._token("log"),
            "nbr_samples": len(samples),
            "first_sample_token": samples[0]["token"],
            "last_sample_token": samples[-1]["token"],
            "name": self._name,
            "description": self._scene.description,
        }

    def _log_row(self) -> Row:
        return {
            "token": self._token("log"),
            "logfile": f"generated-town-{self._name}",
            "vehicle": "generated",
            "date_captured": "2018-07-24",
            "location": "generated-town",
        }


def _write_image(path: Path, image: Image | NDArray[np.uint16], options: list[int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    encoded, data = cv2.imencode(path.suffix, image, options)
    assert encoded
    path.write_bytes(data.tobytes())
