"""A rig folder of two cameras, small enough to check by hand."""

import csv
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

START = 1_600_000_000_000_000
STEP = 100_000
"""Microseconds from an image to the next."""
STEPS = 5
WIDTH, HEIGHT, FOCAL = 64, 48, 40.0
# Camera axes (x right, y down, z ahead) in an ego with x ahead, y left and z up.
FORWARD, BACKWARD = [0.5, -0.5, 0.5, -0.5], [0.5, -0.5, -0.5, 0.5]
MOUNTS = {"front": ([1.5, 0.0, 1.5], FORWARD), "back": ([-0.5, 0.0, 1.5], BACKWARD)}
POSE_COLUMNS = ["timestamp", "x", "y", "z", "qw", "qx", "qy", "qz"]
BOX_COLUMNS = ["timestamp", "track", "category", "x", "y", "z", "width", "length", "height", "yaw"]
SPEED = 10.0
"""Metres per second, along x."""


def calibration() -> dict[str, Any]:
    """Content of calibration.json."""
    return {
        "cameras": {
            name: {
                "width": WIDTH, "height": HEIGHT, "fx": FOCAL, "fy": FOCAL, "cx": WIDTH / 2,
                "cy": HEIGHT / 2, "translation": translation, "rotation": rotation,
            }
            for name, (translation, rotation) in MOUNTS.items()
        }
    }  # fmt: skip


def pose_rows() -> list[list[Any]]:
    """Rows of poses.csv: twice per second, at 10 m/s along x."""
    times = [START + step * 500_000 for step in range(2)]
    return [[time, SPEED * (time - START) / 1e6, 0, 0, 1, 0, 0, 0] for time in times]


def box_rows() -> list[list[Any]]:
    """Rows of boxes.csv: a car that drives along, and a walker at the second moment only."""
    return [
        [START, "car-1", "car", 12, 1, 0.75, 2, 4, 1.5, 0],
        [START + 4 * STEP, "car-1", "car", 16, 1, 0.75, 2, 4, 1.5, 0.2],
        [START + 4 * STEP, "walker", "pedestrian", 10, -2, 0.9, 0.6, 0.6, 1.8, 0],
    ]


def write_rows(path: Path, rows: list[list[Any]]) -> None:
    """Write a CSV file."""
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)


def write_scene(scene: Path, level: int = 0) -> None:
    """Write the images, poses and boxes of a scene."""
    for number, name in enumerate(MOUNTS):
        (scene / name).mkdir(parents=True)
        for step in range(STEPS):
            image = np.full((HEIGHT, WIDTH, 3), level + 10 * number + step, np.uint8)
            cv2.imwrite(str(scene / name / f"{START + step * STEP}.png"), image)
    write_rows(scene / "poses.csv", [POSE_COLUMNS, *pose_rows()])
    write_rows(scene / "boxes.csv", [BOX_COLUMNS, *box_rows()])


def write_rig(root: Path, scenes: tuple[str, ...] = ("monday",)) -> Path:
    """Write a rig with one calibration for all scenes."""
    for number, name in enumerate(scenes):
        write_scene(root / name, 100 * number)
    (root / "calibration.json").write_text(json.dumps(calibration()))
    return root
