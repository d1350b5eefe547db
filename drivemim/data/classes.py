"""The classes of detectors, and the class of each category of nuScenes and of COCO files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from drivemim.clips import CLASSES
from drivemim.errors import ConfigError, DataError, did_you_mean

__all__ = [
    "ATTRIBUTES",
    "CLASSES",
    "CLASS_ATTRIBUTES",
    "CLASS_RANGES",
    "COCO",
    "DEFAULT",
    "DETECTION_CLASSES",
    "NUSCENES",
    "NUSCENES_DETECTION",
    "NUSCENES_EXTRA",
    "VISIBILITY_LEVELS",
    "check_class_map",
    "describe_unmapped",
    "labels_of",
]

_NUSCENES_CATEGORIES: Mapping[str, tuple[str | None, str | None]] = {
    # category: (class of a 2-D detector, class of nuScenes' detection task)
    "human.pedestrian.adult": ("pedestrian", "pedestrian"),
    "human.pedestrian.child": ("pedestrian", "pedestrian"),
    "human.pedestrian.construction_worker": ("pedestrian", "pedestrian"),
    "human.pedestrian.personal_mobility": ("pedestrian", None),
    "human.pedestrian.police_officer": ("pedestrian", "pedestrian"),
    "human.pedestrian.stroller": ("pedestrian", None),
    "human.pedestrian.wheelchair": ("pedestrian", None),
    "vehicle.bus.bendy": ("vehicle", "bus"),
    "vehicle.bus.rigid": ("vehicle", "bus"),
    "vehicle.car": ("vehicle", "car"),
    "vehicle.construction": ("vehicle", "construction_vehicle"),
    "vehicle.emergency.ambulance": ("vehicle", None),
    "vehicle.emergency.police": ("vehicle", None),
    "vehicle.trailer": ("vehicle", "trailer"),
    "vehicle.truck": ("vehicle", "truck"),
    "vehicle.bicycle": (None, "bicycle"),
    "vehicle.motorcycle": (None, "motorcycle"),
    "animal": (None, None),
    "movable_object.barrier": (None, "barrier"),
    "movable_object.debris": (None, None),
    "movable_object.pushable_pullable": (None, None),
    "movable_object.trafficcone": (None, "traffic_cone"),
    "static_object.bicycle_rack": (None, None),
}

NUSCENES: Mapping[str, str | None] = {
    category: class_2d for category, (class_2d, _) in _NUSCENES_CATEGORIES.items()
}
"""Class of each of nuScenes' 23 categories for a detector of pedestrians and vehicles; None for no
class. Bicycles and motorcycles have no class: their boxes include the rider, so they would teach a
detector that people are vehicles."""

NUSCENES_DETECTION: Mapping[str, str | None] = {
    category: task_class for category, (_, task_class) in _NUSCENES_CATEGORIES.items()
}
"""The same categories mapped to the ten ``DETECTION_CLASSES``, like in the official evaluation."""

DETECTION_CLASSES = (
    "car",
    "truck",
    "bus",
    "trailer",
    "construction_vehicle",
    "pedestrian",
    "motorcycle",
    "bicycle",
    "traffic_cone",
    "barrier",
)
"""Classes of nuScenes' detection task, in the official order."""

_VEHICLE_STATES = ("vehicle.moving", "vehicle.parked", "vehicle.stopped")
_CYCLE_STATES = ("cycle.with_rider", "cycle.without_rider")
CLASS_ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    "car": _VEHICLE_STATES,
    "truck": _VEHICLE_STATES,
    "bus": _VEHICLE_STATES,
    "trailer": _VEHICLE_STATES,
    "construction_vehicle": _VEHICLE_STATES,
    "pedestrian": ("pedestrian.moving", "pedestrian.sitting_lying_down", "pedestrian.standing"),
    "motorcycle": _CYCLE_STATES,
    "bicycle": _CYCLE_STATES,
    "traffic_cone": (),
    "barrier": (),
}
"""Attributes that an object of each of ``DETECTION_CLASSES`` may have."""

CLASS_RANGES: Mapping[str, float] = {
    **dict.fromkeys(("car", "truck", "bus", "trailer", "construction_vehicle"), 50.0),
    **dict.fromkeys(("pedestrian", "motorcycle", "bicycle"), 40.0),
    **dict.fromkeys(("traffic_cone", "barrier"), 30.0),
}
"""Range of each class in metres: the detection task counts objects up to this ground distance."""

ATTRIBUTES = tuple(sorted({name for names in CLASS_ATTRIBUTES.values() for name in names}))
"""All attributes of the detection task, in the order in which heads number them."""

VISIBILITY_LEVELS: Mapping[str, int] = {
    **{"v0-40": 1, "v40-60": 2, "v60-80": 3, "v80-100": 4},
    **{"none": 1, "partial": 2, "most": 3, "full": 4},
    "unavailable": 0,
}
"""Number of each level of visibility: nuScenes' own levels, and those of TIER IV's T4 format (at
least 90 % hidden, more than half hidden, less than half hidden, not hidden). 0 is unknown."""

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
"""Categories that nuScenes-lidarseg adds to nuScenes' table of categories; no box has them."""

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
"""Class of each category name that COCO files of driving data use; None for no class."""

DEFAULT: Mapping[str, str | None] = {**NUSCENES, **NUSCENES_EXTRA, **COCO}
"""Class of each known category, for a detector of pedestrians and vehicles; None for no class."""


def check_class_map(
    class_map: Mapping[str, str | None] | None,
    categories: Sequence[str],
    classes: Sequence[str] = CLASSES,
    where: str = "class_map",
) -> None:
    """Check that all categories and classes of a class map exist.

    Args:
        class_map: class by category, or None for no class; only categories whose class differs from
            the default.
        categories: the existing categories.
        classes: a detector's class names.
        where: name of the map in the message.

    Raises:
        ConfigError: if one does not exist; names it and the nearest valid one.
    """
    for category, name in (class_map or {}).items():
        if category not in categories:
            raise ConfigError(
                f"{where}: there is no category {category!r}; there are "
                f"{', '.join(categories) or 'none'}{did_you_mean(category, categories)}"
            )
        if name is not None and name not in classes:
            raise ConfigError(
                f"{where}: {category!r} maps to {name!r}, which is none of {tuple(classes)}"
                f"{did_you_mean(str(name), classes) or '; name it in classes=, too'}"
            )


def labels_of(
    categories: Sequence[str],
    mapping: Mapping[str, str | None] = DEFAULT,
    classes: Sequence[str] = CLASSES,
    *,
    used: NDArray[np.bool_] | None = None,
) -> NDArray[np.int64]:
    """Return the label of every category.

    Args:
        categories: an index's own category names.
        mapping: one of ``classes`` by category, or None if the category's boxes are left out; see
            ``drivemim.data.class_lists.category_classes``.
        classes: a detector's class names.
        used: True for categories that have boxes; the others need no class. None for all.

    Returns:
        position in ``classes`` for each category; -1 for categories whose boxes are left out.

    Raises:
        DataError: if a category with boxes is not in the mapping, or maps to a name that is not
            in ``classes``.
    """
    labels = np.full(len(categories), -1, np.int64)
    for position, category in enumerate(categories):
        if category not in mapping:
            if used is not None and not used[position]:
                continue
            nearest = did_you_mean(category, {**DEFAULT, **mapping})
            raise DataError(
                f"category {category!r} is in no class map; add {category!r} to class_map, mapped "
                f"to one of {tuple(classes)} or to None{nearest}"
            )
        name = mapping[category]
        if name is None:
            continue
        if name not in classes:
            raise DataError(
                f"category {category!r} maps to {name!r}, which is none of {tuple(classes)}"
            )
        labels[position] = classes.index(name)
    return labels


def describe_unmapped(categories: Iterable[str]) -> str | None:
    """Return a message that names the categories that ``DEFAULT`` lacks; None if it has them all.

    Args:
        categories: names of categories that have boxes.
    """
    unknown = sorted(set(categories) - DEFAULT.keys())
    if not unknown:
        return None
    named = ", ".join(f"{name!r}{did_you_mean(name, DEFAULT)}" for name in unknown)
    entries = ", ".join(f"{name!r}: ..." for name in unknown)
    return (
        f"categories without a class: {named}. A config of the default classes maps each to "
        f"'pedestrian', 'vehicle' or None: class_map={{{entries}}}"
    )
