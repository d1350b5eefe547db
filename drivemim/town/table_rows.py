"""Rows of nuScenes' tables: those that are the same in every town, tokens, links, JSON files."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

Row = dict[str, Any]
Tables = dict[str, list[Row]]

TABLE_NAMES = (
    "category",
    "attribute",
    "visibility",
    "instance",
    "sensor",
    "calibrated_sensor",
    "ego_pose",
    "log",
    "scene",
    "sample",
    "sample_data",
    "sample_annotation",
    "map",
)
CATEGORY_NAMES = (
    "human.pedestrian.adult",
    "human.pedestrian.child",
    "human.pedestrian.wheelchair",
    "human.pedestrian.stroller",
    "human.pedestrian.personal_mobility",
    "human.pedestrian.police_officer",
    "human.pedestrian.construction_worker",
    "animal",
    "vehicle.car",
    "vehicle.motorcycle",
    "vehicle.bicycle",
    "vehicle.bus.bendy",
    "vehicle.bus.rigid",
    "vehicle.truck",
    "vehicle.construction",
    "vehicle.emergency.ambulance",
    "vehicle.emergency.police",
    "vehicle.trailer",
    "movable_object.barrier",
    "movable_object.trafficcone",
    "movable_object.pushable_pullable",
    "movable_object.debris",
    "static_object.bicycle_rack",
)
ATTRIBUTE_NAMES = (
    "vehicle.moving",
    "vehicle.stopped",
    "vehicle.parked",
    "cycle.with_rider",
    "cycle.without_rider",
    "pedestrian.sitting_lying_down",
    "pedestrian.standing",
    "pedestrian.moving",
)
NUSCENES_VISIBILITIES = {"1": "v0-40", "2": "v40-60", "3": "v60-80", "4": "v80-100"}


def token(*parts: object) -> str:
    """Return 32 hexadecimal digits that depend only on the parts."""
    text = "/".join(str(part) for part in parts)
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def visibility_token(visible_fraction: float) -> str:
    """Return the token of nuScenes' visibility level for a visible fraction, 0 to 1."""
    return str(1 + sum(visible_fraction >= limit for limit in (0.4, 0.6, 0.8)))


def shared_tables() -> Tables:
    """Return the tables of all of nuScenes' categories, attributes and visibility levels."""
    return {
        "category": [
            {"token": token("category", name), "name": name, "description": _words(name)}
            for name in CATEGORY_NAMES
        ],
        "attribute": [
            {"token": token("attribute", name), "name": name, "description": _words(name)}
            for name in ATTRIBUTE_NAMES
        ],
        "visibility": [
            {
                "token": number,
                "level": level,
                "description": f"{level[1:]} % of the object is visible in the camera images",
            }
            for number, level in NUSCENES_VISIBILITIES.items()
        ],
    }


def link(rows: list[Row]) -> None:
    """Fill in ``prev`` and ``next`` of consecutive rows."""
    for row, before, after in zip(rows, [None, *rows[:-1]], [*rows[1:], None], strict=True):
        row["prev"] = before["token"] if before else ""
        row["next"] = after["token"] if after else ""


def write_tables(tables: Tables, folder: Path) -> None:
    """Write one JSON file per table into a new folder."""
    folder.mkdir(parents=True)
    for name in TABLE_NAMES:
        text = json.dumps(tables[name], indent=0)
        (folder / f"{name}.json").write_text(text, encoding="utf-8")


def _words(name: str) -> str:
    """Return the description of a category or attribute."""
    group, _, kind = name.partition(".")
    return f"{kind.replace('_', ' ').replace('.', ', ') or group} ({group})"
