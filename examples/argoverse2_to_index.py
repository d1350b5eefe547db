"""Index logs of Argoverse 2 (sensor): python examples/argoverse2_to_index.py LOGS OUT.arrow.

``LOGS`` has one folder per log, with ``sensors/cameras/NAME/NANOSECONDS.jpg``, ``calibration/``,
``city_SE3_egovehicle.feather`` and, optionally, ``annotations.feather``. See Wilson et al.,
"Argoverse 2: Next Generation Datasets for Self-Driving Perception and Forecasting", NeurIPS
Datasets and Benchmarks 2021. The images are undistorted: the coefficients are not used.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pyarrow import feather

import drivemim
from drivemim.arguments import run_with_paths

TRANSLATION, ROTATION = ("tx_m", "ty_m", "tz_m"), ("qw", "qx", "qy", "qz")
CATEGORIES = {
    "REGULAR_VEHICLE": "car", "LARGE_VEHICLE": "vehicle", "BUS": "bus", "SCHOOL_BUS": "bus",
    "ARTICULATED_BUS": "bus", "BOX_TRUCK": "truck", "TRUCK": "truck", "TRUCK_CAB": "truck",
    "VEHICULAR_TRAILER": "trailer", "PEDESTRIAN": "pedestrian", "BICYCLIST": "bicyclist",
    "BICYCLE": "bicycle", "MOTORCYCLIST": "motorcyclist", "MOTORCYCLE": "motorcycle",
}  # fmt: skip
"""Categories that DriveMIM knows; configs map the others with ``class_map``."""


def main(logs: Path, out: Path) -> None:
    """Index all logs of a folder."""
    builder = drivemim.IndexBuilder(logs)
    for log in sorted(path.parent for path in logs.glob("*/city_SE3_egovehicle.feather")):
        scene = builder.add_scene(log.name)
        ego = read(log / "city_SE3_egovehicle.feather")
        times, first = np.unique(ego["timestamp_ns"] // 1000, return_index=True)
        scene.add_poses(times, columns(ego, TRANSLATION + ROTATION)[first])
        add_cameras(scene, log)
        if (log / "annotations.feather").exists():
            add_annotations(scene, read(log / "annotations.feather"))
    print(builder.write(out))


def read(path: Path) -> dict[str, Any]:
    """Return the columns of a feather file as arrays."""
    table = feather.read_table(path)
    return {name: table[name].to_numpy() for name in table.column_names}


def columns(table: dict[str, Any], names: tuple[str, ...]) -> Any:
    """Return columns of a table side by side, (rows, columns)."""
    return np.stack([table[name] for name in names], axis=1)


def add_cameras(scene: drivemim.RecordedScene, log: Path) -> None:
    """Add the cameras that have images, and their images."""
    lenses = read(log / "calibration" / "intrinsics.feather")
    mounts = read(log / "calibration" / "egovehicle_SE3_sensor.feather")
    sensor_poses = columns(mounts, TRANSLATION + ROTATION)
    poses = dict(zip(mounts["sensor_name"], sensor_poses, strict=True))
    for row, name in enumerate(lenses["sensor_name"]):
        images = sorted((log / "sensors" / "cameras" / name).glob("*.jpg"))
        if not images:
            continue
        scene.add_camera(
            name,
            intrinsics=[lenses[key][row] for key in ("fx_px", "fy_px", "cx_px", "cy_px")],
            size=(int(lenses["width_px"][row]), int(lenses["height_px"][row])),
            camera_to_ego=poses[name],
        )
        for image in images:
            scene.add_frame(name, image, int(image.stem) // 1000)


def add_annotations(scene: drivemim.RecordedScene, table: dict[str, Any]) -> None:
    """Add the boxes, which are in the ego frame of the time at which they were annotated."""
    for time in np.unique(table["timestamp_ns"]):
        rows = np.flatnonzero(table["timestamp_ns"] == time)
        scene.add_boxes(
            int(time) // 1000,
            tracks=table["track_uuid"][rows].tolist(),
            categories=[CATEGORIES.get(name, name) for name in table["category"][rows]],
            centers=columns(table, TRANSLATION)[rows],
            sizes=columns(table, ("width_m", "length_m", "height_m"))[rows],
            rotations=columns(table, ROTATION)[rows],
            lidar_points=table["num_interior_pts"][rows].tolist(),
            frame=scene.pose_at(int(time) // 1000),
        )


if __name__ == "__main__":
    run_with_paths(main, __doc__)
