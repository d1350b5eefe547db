"""Write a generated town as a rig folder: python examples/town_to_rig.py TOWN RIG.

An example of a script that writes the files of docs/guides/rig.md from another format, here from
nuScenes' tables.
"""

from __future__ import annotations

import csv
import json
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from drivemim.arguments import run_with_paths

Row = dict[str, Any]
POSE_COLUMNS = ("timestamp", "x", "y", "z", "qw", "qx", "qy", "qz")
BOX_COLUMNS = ("timestamp", "track", "category", "x", "y", "z", "width", "length", "height", "qw",
               "qx", "qy", "qz", "attribute", "visibility", "lidar_points")  # fmt: skip


def main(town: Path, rig: Path) -> None:
    """Write one folder per scene."""
    if rig.exists():
        sys.exit(f"{rig} exists; remove it, or name another folder")
    folder = next(town.glob("v1.0-*"), None)
    if folder is None:
        sys.exit(f"{town} has no folder v1.0-* of tables")
    tables = {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}
    by_token = {name: {row["token"]: row for row in rows} for name, rows in tables.items()}
    scene_of = {row["token"]: row["scene_token"] for row in tables["sample"]}
    data, boxes, sample_times = defaultdict(list), defaultdict(list), defaultdict(list)
    for row in tables["sample_data"]:
        data[scene_of[row["sample_token"]]].append(row)
    for row in tables["sample_annotation"]:
        boxes[scene_of[row["sample_token"]]].append(row)
    for row in tables["sample"]:
        sample_times[row["scene_token"]].append(row["timestamp"])
    for token, scene in by_token["scene"].items():
        out = rig / scene["name"]
        out.mkdir(parents=True)
        (out / "scene.json").write_text(json.dumps({"description": scene["description"]}))
        write_sensors(town, out, data[token], by_token)
        rows = [box_row(row, by_token) for row in boxes[token]]
        # A sample without objects needs a row with its time only.
        empty = set(sample_times[token]) - {row[0] for row in rows}
        write_csv(out / "boxes.csv", BOX_COLUMNS, [*rows, *([time] + [""] * 15 for time in empty)])


def write_sensors(town: Path, out: Path, data: list[Row], by_token: dict[str, Any]) -> None:
    """Write images, lidar scans, calibration.json and poses.csv of a scene."""
    calibration: Row = {"cameras": {}}
    poses = {}
    for row in data:
        mount = by_token["calibrated_sensor"][row["calibrated_sensor_token"]]
        channel = by_token["sensor"][mount["sensor_token"]]["channel"]
        ego = by_token["ego_pose"][row["ego_pose_token"]]
        time = row["timestamp"]
        poses[time] = [time, *ego["translation"], *ego["rotation"]]
        entry = {name: mount[name] for name in ("translation", "rotation")}
        if channel == "LIDAR_TOP":
            calibration["lidar"] = {**entry, "values": 5}
            target = out / "lidar" / f"{time}.bin"
        else:
            size = {name: row[name] for name in ("width", "height")}
            entry |= {**size, "intrinsics": mount["camera_intrinsic"]}
            calibration["cameras"][channel] = entry
            target = out / channel / f"{time}.jpg"
        target.parent.mkdir(exist_ok=True)
        target.write_bytes((town / row["filename"]).read_bytes())
    (out / "calibration.json").write_text(json.dumps(calibration, indent=1))
    write_csv(out / "poses.csv", POSE_COLUMNS, [poses[time] for time in sorted(poses)])


def box_row(row: Row, by_token: dict[str, Any]) -> list[Any]:
    """Return a row of boxes.csv."""
    track = by_token["instance"][row["instance_token"]]
    category = by_token["category"][track["category_token"]]["name"]
    time = by_token["sample"][row["sample_token"]]["timestamp"]
    names = [by_token["attribute"][token]["name"] for token in row["attribute_tokens"]]
    box_3d = [*row["translation"], *row["size"], *row["rotation"]]
    rest = [*(names[:1] or [""]), row["visibility_token"], row["num_lidar_pts"]]
    return [time, row["instance_token"], category, *box_3d, *rest]


def write_csv(path: Path, header: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    """Write a CSV file."""
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([header, *rows])


if __name__ == "__main__":
    run_with_paths(main, __doc__)
