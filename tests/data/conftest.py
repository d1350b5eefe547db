"""A nuScenes data set of two scenes, small enough to check by hand."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

Tables = dict[str, list[dict[str, Any]]]
SECOND = 1_000_000
START = 1_600_000_000 * SECOND
WIDTH, HEIGHT, FOCAL = 64, 48, 40.0
# Camera axes (x right, y down, z forward) in a vehicle that looks along x with z up.
FORWARD, BACKWARD = [0.5, -0.5, 0.5, -0.5], [0.5, -0.5, -0.5, 0.5]
CAMERAS = {"CAM_FRONT": (FORWARD, [1.5, 0.0, 1.5]), "CAM_BACK": (BACKWARD, [-0.5, 0.0, 1.5])}
# Each scene: name, description, cameras that work, x of the first ego pose.
SCENES = [
    ("scene-0103", "Night, rainy, parked cars", ["CAM_FRONT"], 100.0),
    ("scene-0061", "Training track, turn left", ["CAM_FRONT", "CAM_BACK"], 0.0),
]
SAMPLES, STEPS = 3, 3
"""Samples a scene, half a second apart; camera frames from one keyframe to the next."""


def _yaw(angle: float) -> list[float]:
    return [float(np.cos(angle / 2)), 0.0, 0.0, float(np.sin(angle / 2))]


def _objects(x: float) -> dict[str, tuple[str, str, list[float], list[list[float] | None]]]:
    """Category, attribute, size (width, length, height), and x, y, yaw at each sample."""
    return {
        "car": ("vehicle.car", "vehicle.moving", [2.0, 4.0, 1.5],
                [[x + 12, 1, 0.0], [x + 13, 1.5, 0.4], [x + 15, 2, 1.2]]),
        "walker": ("human.pedestrian.adult", "pedestrian.standing", [0.6, 0.6, 1.8],
                   [None, [x + 8, -2, 0.0], [x + 8, -2.5, 3.0]]),
        "truck": ("vehicle.truck", "vehicle.parked", [2.5, 8.0, 3.0],
                  [[x - 15, 2, 3.1], None, None]),
        "cyclist": ("vehicle.bicycle", "", [0.6, 1.8, 1.7],
                    [[x + 9, 3, 0.1], None, [x + 11, 3, 0.1]]),
    }  # fmt: skip


def make_tables() -> Tables:
    """Return the tables; their rows are in another order than in the index."""
    tables: Tables = {
        "category": [
            {"token": f"cat-{name}", "name": name, "description": ""}
            for name in ("human.pedestrian.adult", "vehicle.bicycle", "vehicle.car",
                         "vehicle.truck")
        ],
        "attribute": [
            {"token": f"att-{name}", "name": name, "description": ""}
            for name in ("vehicle.moving", "vehicle.parked", "pedestrian.standing")
        ],
        "visibility": [
            {"token": str(number), "level": level, "description": ""}
            for number, level in enumerate(("v0-40", "v40-60", "v60-80", "v80-100"), start=1)
        ],
        "sensor": [
            *({"token": f"sensor-{c}", "channel": c, "modality": "camera"} for c in CAMERAS),
            {"token": "sensor-lidar", "channel": "LIDAR_TOP", "modality": "lidar"},
            {"token": "sensor-radar", "channel": "RADAR_FRONT", "modality": "radar"},
        ],
        "map": [{"token": "map", "category": "semantic_prior", "filename": "maps/blank.png",
                 "log_tokens": ["log"]}],
        "log": [{"token": "log", "logfile": "", "vehicle": "", "date_captured": "2020-01-01",
                 "location": "nowhere"}],
    }  # fmt: skip
    for name in ("instance", "calibrated_sensor", "ego_pose", "scene", "sample", "sample_data",
                 "sample_annotation"):  # fmt: skip
        tables[name] = []
    for number, (scene, description, cameras, x) in enumerate(SCENES):
        start = START + number * 1000 * SECOND
        _add_scene(tables, scene, description, start)
        for camera in cameras:
            rotation, translation = CAMERAS[camera]
            _add_sensor(tables, scene, camera, translation, rotation)
            _add_frames(tables, scene, camera, start, x)
        _add_sensor(tables, scene, "LIDAR_TOP", [1.0, 0.0, 1.8], [1.0, 0.0, 0.0, 0.0])
        _add_sensor(tables, scene, "RADAR_FRONT", [3.0, 0.0, 0.5], [1.0, 0.0, 0.0, 0.0])
        for sample in range(SAMPLES):
            for sensor in ("LIDAR_TOP", "RADAR_FRONT"):
                _add_data(tables, scene, sensor, sample * STEPS, sample, start, x)
        _add_annotations(tables, scene, x)
    tables["sample"].reverse()
    tables["ego_pose"].reverse()
    return tables


def _link(prefix: str, step: int, count: int) -> dict[str, str]:
    return {
        "prev": f"{prefix}-{step - 1}" if step else "",
        "next": f"{prefix}-{step + 1}" if step + 1 < count else "",
    }


def _add_scene(tables: Tables, scene: str, description: str, start: int) -> None:
    tables["scene"].append({
        "token": f"{scene}-token", "log_token": "log", "nbr_samples": SAMPLES, "name": scene,
        "first_sample_token": f"{scene}-sample-0", "description": description,
        "last_sample_token": f"{scene}-sample-{SAMPLES - 1}",
    })  # fmt: skip
    tables["sample"] += [
        {"token": f"{scene}-sample-{step}", "timestamp": start + step * SECOND // 2,
         "scene_token": f"{scene}-token", **_link(f"{scene}-sample", step, SAMPLES)}
        for step in range(SAMPLES)
    ]  # fmt: skip


def _add_sensor(
    tables: Tables, scene: str, sensor: str, translation: list[float], rotation: list[float]
) -> None:
    camera = sensor in CAMERAS
    kind = {"LIDAR_TOP": "lidar", "RADAR_FRONT": "radar"}.get(sensor, sensor)
    matrix = [[FOCAL, 0.0, WIDTH / 2], [0.0, FOCAL, HEIGHT / 2], [0.0, 0.0, 1.0]]
    tables["calibrated_sensor"].append({
        "token": f"{scene}-{sensor}", "sensor_token": f"sensor-{kind}",
        "translation": translation, "rotation": rotation,
        "camera_intrinsic": matrix if camera else [],
    })  # fmt: skip


def _add_frames(tables: Tables, scene: str, camera: str, start: int, x: float) -> None:
    count = (SAMPLES - 1) * STEPS + 2  # one sweep follows the last keyframe
    for step in range(count):
        sample = min(-(-step // STEPS), SAMPLES - 1)
        _add_data(tables, scene, camera, step, sample, start, x)
        tables["sample_data"][-1].update(_link(f"{scene}-{camera}", step, count))


def _add_data(
    tables: Tables, scene: str, sensor: str, step: int, sample: int, start: int, x: float
) -> None:
    """Add an image or scan. Cameras are 10 ms early; the vehicle drives at 2 m/s and turns."""
    seconds = step * 0.5 / STEPS
    camera, token = sensor in CAMERAS, f"{scene}-{sensor}-{step}"
    keyframe = step % STEPS == 0
    suffix = "jpg" if camera else "pcd.bin"
    folder = "samples" if keyframe else "sweeps"
    timestamp = start + round(seconds * SECOND) - (10_000 if camera else 0)
    tables["ego_pose"].append({
        "token": token, "timestamp": timestamp, "translation": [x + 2 * seconds, 0.0, 0.0],
        "rotation": _yaw(0.1 * seconds),
    })  # fmt: skip
    tables["sample_data"].append({
        "token": token, "sample_token": f"{scene}-sample-{sample}", "ego_pose_token": token,
        "calibrated_sensor_token": f"{scene}-{sensor}", "fileformat": suffix,
        "timestamp": timestamp, "is_key_frame": keyframe,
        "height": HEIGHT if camera else 0, "width": WIDTH if camera else 0,
        "filename": f"{folder}/{sensor}/{token}.{suffix}", "prev": "", "next": "",
    })  # fmt: skip


def _add_annotations(tables: Tables, scene: str, x: float) -> None:
    for name, (category, attribute, size, places) in _objects(x).items():
        steps = [step for step, place in enumerate(places) if place is not None]
        tokens = [f"{scene}-{name}-{step}" for step in steps]
        tables["instance"].append({
            "token": f"{scene}-{name}", "category_token": f"cat-{category}",
            "nbr_annotations": len(steps), "first_annotation_token": tokens[0],
            "last_annotation_token": tokens[-1],
        })  # fmt: skip
        for order, step in enumerate(steps):
            place = places[step]
            assert place is not None
            tables["sample_annotation"].append({
                "token": tokens[order], "sample_token": f"{scene}-sample-{step}",
                "instance_token": f"{scene}-{name}", "visibility_token": str(1 + step),
                "attribute_tokens": [f"att-{attribute}"] if attribute else [],
                "translation": [place[0], place[1], size[2] / 2], "size": size,
                "rotation": _yaw(place[2]), "num_lidar_pts": 7 + step, "num_radar_pts": 1,
                "prev": tokens[order - 1] if order else "",
                "next": tokens[order + 1] if order + 1 < len(steps) else "",
            })  # fmt: skip


def write_data(root: Path, tables: Tables) -> Path:
    """Write tables and their images; an image has one grey level, brighter with every step."""
    folder = root / "v1.0-mini"
    folder.mkdir(parents=True)
    for name, rows in tables.items():
        (folder / f"{name}.json").write_text(json.dumps(rows))
    (root / "maps").mkdir()
    cv2.imwrite(str(root / "maps" / "blank.png"), np.zeros((4, 4), np.uint8))
    for row in tables["sample_data"]:
        path = root / row["filename"]
        path.parent.mkdir(parents=True, exist_ok=True)
        if row["fileformat"] == "jpg":
            grey = 20 + 10 * int(row["token"].rsplit("-", 1)[1])
            cv2.imwrite(str(path), np.full((HEIGHT, WIDTH, 3), grey, np.uint8))
        else:
            path.write_bytes(b"")
    return root


@pytest.fixture
def tables() -> Tables:
    """Tables of the small data set, to break before they are written."""
    return make_tables()


@pytest.fixture
def write(tmp_path: Path) -> Callable[[Tables], Path]:
    """Writes tables and images; returns the data root."""
    return lambda tables: write_data(tmp_path / "data", tables)


@pytest.fixture
def set_orientation() -> Callable[[Path, int], None]:
    """Gives an image file an EXIF orientation; its stored pixels stay as they are."""

    def write_exif(path: Path, orientation: int) -> None:
        with Image.open(path) as image:
            exif = image.getexif()
            exif[274] = orientation
            image.save(path, exif=exif, quality="keep" if image.format == "JPEG" else 0)

    return write_exif


@pytest.fixture(scope="session")
def small_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data root of the small data set; not to be changed."""
    return write_data(tmp_path_factory.mktemp("small"), make_tables())


@pytest.fixture(scope="session")
def small_index(small_root: Path) -> Path:
    """Its index file."""
    from drivemim.data.index.builders.nuscenes import build_nuscenes_index

    return build_nuscenes_index(small_root, "v1.0-mini", small_root / "index.arrow")


@pytest.fixture(scope="session")
def small_devkit(small_root: Path) -> Any:
    """The devkit's view of it."""
    from nuscenes import NuScenes

    return NuScenes("v1.0-mini", str(small_root), verbose=False)


@pytest.fixture
def put_images(tmp_path: Path) -> Callable[..., None]:
    """Writes images of 40 x 30 pixels below ``tmp_path``."""

    def put(*names: str) -> None:
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), np.zeros((30, 40, 3), np.uint8))

    return put


@pytest.fixture
def put_coco(tmp_path: Path) -> Callable[..., Path]:
    """Writes a COCO file of images of 40 x 30 pixels below ``tmp_path``."""

    def put(
        name: str,
        images: list[str] | list[dict[str, Any]],
        annotations: list[dict[str, Any]] | None = None,
        **sections: Any,
    ) -> Path:
        rows: list[dict[str, Any]] = []
        for number, image in enumerate(images):
            fields = {"file_name": image} if isinstance(image, str) else image
            rows.append({"id": number, "width": 40, "height": 30, **fields})
        document = {
            "images": rows,
            "annotations": [
                {"id": number, "image_id": 0, "category_id": 4, **fields}
                for number, fields in enumerate(annotations or [])
            ],
            "categories": [{"id": 4, "name": "car"}, {"id": 2, "name": "pedestrian"}],
            **sections,
        }
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document))
        return path

    return put
