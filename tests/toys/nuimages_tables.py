"""nuImages tables, small enough to check by hand, and their images."""

import json

import cv2
import numpy as np

WIDTH, HEIGHT = 64, 48
CAMERAS = ("CAM_FRONT", "CAM_BACK")
# Each sample: camera, images before and after the annotated one (6 and 6 where the log had them).
SAMPLES = {
    "crossing": ("CAM_FRONT", 6, 6),
    "depot": ("CAM_BACK", 2, 6),
    "alone": ("CAM_FRONT", 0, 0),
}
CATEGORIES = (
    "animal", "flat.driveable_surface", "human.pedestrian.adult", "vehicle.bicycle",
    "vehicle.bus.bendy", "vehicle.car", "vehicle.ego", "vehicle.emergency.police",
)  # fmt: skip
ATTRIBUTES = (
    "cycle.with_rider", "pedestrian.moving", "vehicle.moving", "vehicle.parked",
    "vehicle_light.emergency.flashing", "vertical_position.on_ground",
)  # fmt: skip
# Category, attributes and x1, y1, x2, y2 of each sample's boxes, in the order of the table.
BOXES = {
    "depot": [("vehicle.bus.bendy", ["vehicle.parked"], [0, 4, 40, 48])],
    "crossing": [
        ("vehicle.car", ["vehicle.moving"], [10, 20, 30, 32]),
        ("human.pedestrian.adult", ["pedestrian.moving"], [40, 18, 44, 30]),
        ("vehicle.emergency.police",
         ["vehicle_light.emergency.flashing", "vehicle.parked"], [-6, 10, 8, 20]),
        ("vehicle.bicycle", ["cycle.with_rider"], [50, 20, 56, 31]),
        ("animal", ["vertical_position.on_ground"], [1, 40, 5, 44]),
        ("vehicle.car", [], [60, 20, 64, 24]),
    ],
}  # fmt: skip


def make_tables():
    tables = {
        "attribute": [{"token": f"a-{n}", "name": n, "description": ""} for n in ATTRIBUTES],
        "category": [{"token": f"c-{n}", "name": n, "description": ""} for n in CATEGORIES],
        "sensor": [{"token": f"s-{n}", "channel": n, "modality": "camera"} for n in CAMERAS],
        "log": [{"token": "log", "logfile": "n003-2018-01-02", "vehicle": "n003",
                 "date_captured": "2018-01-02", "location": "singapore-onenorth"}],
        "surface_ann": [],
    }  # fmt: skip
    for name in ("calibrated_sensor", "ego_pose", "object_ann", "sample", "sample_data"):
        tables[name] = []
    for number, (sample, (camera, before, after)) in enumerate(SAMPLES.items()):
        tables["calibrated_sensor"].append({
            "token": f"{sample}-mount", "sensor_token": f"s-{camera}",
            "translation": [1.5, 0.0, 1.5 + number], "rotation": [0.5, -0.5, 0.5, -0.5],
            "camera_intrinsic": [[40.0 + number, 0, 32], [0, 40.0 + number, 24], [0, 0, 1]],
            "camera_distortion": [0.1, 0.0, 0.0, 0.0, 0.0],
        })  # fmt: skip
        start = 1_500_000_000_000_000 + number * 10_000_000
        tables["sample"].append({
            "token": sample, "timestamp": start, "log_token": "log",
            "key_camera_token": f"{sample}-{before}",
        })  # fmt: skip
        _add_images(tables, sample, camera, before, after, start)
    for sample, boxes in BOXES.items():
        tables["object_ann"] += [
            {"token": f"{sample}-box-{number}", "category_token": f"c-{category}", "bbox": bbox,
             "sample_data_token": f"{sample}-{SAMPLES[sample][1]}", "mask": None,
             "attribute_tokens": [f"a-{name}" for name in names]}
            for number, (category, names, bbox) in enumerate(boxes)
        ]  # fmt: skip
    tables["sample_data"].reverse()
    return tables


def _add_images(tables, sample, camera, before, after, start):
    count = before + 1 + after
    for step in range(count):
        token = f"{sample}-{step}"
        folder = "samples" if step == before else "sweeps"
        tables["ego_pose"].append({
            "token": token, "timestamp": start + (step - before) * 500_000,
            "translation": [3.0 * step, 1.0, 0],
            "rotation": [1.0, 0.0, 0.0, 0.0], "rotation_rate": [0, 0, 0],
            "acceleration": [0, 0, 9.81], "speed": 6.0,
        })  # fmt: skip
        tables["sample_data"].append({
            "token": token, "sample_token": sample, "ego_pose_token": token,
            "calibrated_sensor_token": f"{sample}-mount", "fileformat": "jpg",
            "filename": f"{folder}/{camera}/{token}.jpg", "width": WIDTH, "height": HEIGHT,
            "timestamp": start + (step - before) * 500_000, "is_key_frame": step == before,
            "prev": f"{sample}-{step - 1}" if step else "",
            "next": f"{sample}-{step + 1}" if step + 1 < count else "",
        })  # fmt: skip


def write_data(root, tables, version="v1.0-mini"):
    folder = root / version
    folder.mkdir(parents=True)
    for name, rows in tables.items():
        (folder / f"{name}.json").write_text(json.dumps(rows))
    for row in tables["sample_data"]:
        path = root / row["filename"]
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.full((HEIGHT, WIDTH, 3), 90, np.uint8))
    return root
