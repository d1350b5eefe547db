"""The classes a detector is asked for, and which source categories become which."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from drivemim.clips import CLASSES
from drivemim.errors import DataError

__all__ = ["CLASSES", "COCO", "DEFAULT", "NUSCENES", "NUSCENES_EXTRA", "labels_of"]

NUSCENES: Mapping[str, str | None] = {
    "human.pedestrian.adult": "pedestrian",
    "human.pedestrian.child": "pedestrian",
    "human.pedestrian.construction_worker": "pedestrian",
    "human.pedestrian.personal_mobility": "pedestrian",
    "human.pedestrian.police_officer": "pedestrian",
    "human.pedestrian.stroller": "pedestrian",
    "human.pedestrian.wheelchair": "pedestrian",
    "vehicle.bus.bendy": "vehicle",
    "vehicle.bus.rigid": "vehicle",
    "vehicle.car": "vehicle",
    "vehicle.construction": "vehicle",
    "vehicle.emergency.ambulance": "vehicle",
    "vehicle.emergency.police": "vehicle",
    "vehicle.trailer": "vehicle",
    "vehicle.truck": "vehicle",
    "vehicle.bicycle": None,
    "vehicle.motorcycle": None,
    "animal": None,
    "movable_object.barrier": None,
    "movable_object.debris": None,
    "movable_object.pushable_pullable": None,
    "movable_object.trafficcone": None,
    "static_object.bicycle_rack": None,
}
"""nuScenes' 23 categories. Cyclists are neither class: a bicycle or motorcycle box holds its
rider, so it would teach a detector that people are vehicles."""

NUSCENES_EXTRA: Mapping[str, str | None] = {
    "vehicle.ego": None,
    "noise": None,
    "flat.driveable_surface": None,
    "flat.other": None,
    "flat.sidewalk": None,
    "flat.terrain": None,
    "static.manmade": None,
    "static.other": None,
    "static.vegetation": None,
}
"""Categories that nuScenes-lidarseg adds to the table; no box has them."""

COCO: Mapping[str, str | None] = {
    "person": "pedestrian",
    "pedestrian": "pedestrian",
    "car": "vehicle",
    "truck": "vehicle",
    "bus": "vehicle",
    "van": "vehicle",
    "trailer": "vehicle",
    "vehicle": "vehicle",
    "bicycle": None,
    "bicyclist": None,
    "cyclist": None,
    "motorcycle": None,
    "motorcyclist": None,
    "rider": None,
    "train": None,
    "traffic light": None,
    "traffic sign": None,
}
"""Names that COCO files of driving data use."""

DEFAULT: Mapping[str, str | None] = {**NUSCENES, **NUSCENES_EXTRA, **COCO}


def labels_of(
    categories: Sequence[str], mapping: Mapping[str, str | None] = DEFAULT
) -> NDArray[np.int64]:
    """Label of every category.

    Args:
        categories: an index's own category names.
        mapping: category to one of ``CLASSES``, or to None for boxes to leave out.

    Returns:
        position in ``CLASSES`` for each category, -1 for those to leave out.

    Raises:
        ValueError: if a category is not in the mapping, or maps to something not in ``CLASSES``.
    """
    labels = np.full(len(categories), -1, np.int64)
    for position, category in enumerate(categories):
        if category not in mapping:
            near = difflib.get_close_matches(category, list(mapping), n=1)
            hint = f" (nearest known: {near[0]!r})" if near else ""
            raise DataError(
                f"category {category!r} is in no class map{hint}; "
                f"pass class_map with {category!r} mapped to one of {CLASSES} or to None"
            )
        name = mapping[category]
        if name is None:
            continue
        if name not in CLASSES:
            raise DataError(f"category {category!r} maps to {name!r}, which is none of {CLASSES}")
        labels[position] = CLASSES.index(name)
    return labels
