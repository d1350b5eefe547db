"""Lists of class names that a data set is given, and the classes of an index's categories."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivemim.clips import CLASSES, REST
from drivemim.data.classes import (
    COCO,
    DEFAULT,
    DETECTION_CLASSES,
    NUSCENES_DETECTION,
    check_class_map,
    labels_of,
)
from drivemim.errors import ConfigError, did_you_mean

PRESETS: Mapping[str, tuple[str, ...]] = {"nuscenes": DETECTION_CLASSES}
"""Class lists that have a name."""
_GOLDEN = 0.618033988749895
"""Step between the hues of successive classes, which keeps any number of them apart."""


def class_names(classes: str | Sequence[str] | None) -> tuple[str, ...]:
    """Return the class names that ``classes=`` of a data set means.

    Args:
        classes: names, or the name of a preset; None for pedestrian and vehicle.

    Raises:
        ConfigError: if there is no such preset, or the names are empty, repeated or no names.
    """
    if classes is None:
        return CLASSES
    if isinstance(classes, str):
        if classes not in PRESETS:
            raise ConfigError(
                f"classes={classes!r} is not a preset ({', '.join(PRESETS)}); a single class is "
                f"written [{classes!r}]{did_you_mean(classes, PRESETS)}"
            )
        return PRESETS[classes]
    if not isinstance(classes, Sequence) or not all(isinstance(name, str) for name in classes):
        raise ConfigError(
            f"classes={classes!r} must be a list of names or a preset ({', '.join(PRESETS)})"
        )
    names = tuple(classes)
    if not names or not all(name.strip() for name in names):
        raise ConfigError(
            f"classes={list(names)} has {'an empty name' if names else 'no name'}; give at least "
            f"one, or leave classes out for {' and '.join(CLASSES)}"
        )
    if REST in names:
        raise ConfigError(f"classes: {REST!r} is what has no class; take another name")
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise ConfigError(f"classes={list(names)} has {twice[0]!r} more than once")
    return names


def is_preset(classes: Sequence[str]) -> bool:
    """Return whether the classes are those of a preset or the default ones, in any order."""
    return any(set(classes) == set(each) for each in (CLASSES, *PRESETS.values()))


def category_classes(
    categories: Sequence[str],
    classes: Sequence[str] = CLASSES,
    class_map: Mapping[str, str | None] | None = None,
) -> dict[str, str | None]:
    """Return the class of each category.

    A category has the class that ``class_map`` gives; else the class of its own name; else that of
    nuScenes' detection task (``vehicle.truck`` is a truck); else that of two-class detectors
    (``person`` is a pedestrian, ``vehicle.bus.rigid`` a vehicle). The first that is one of
    ``classes`` is taken; if none is, the category has no class. With exactly the classes of
    nuScenes' detection task, nuScenes' categories have their official classes and no other.

    Args:
        categories: category names.
        classes: class names.
        class_map: category to one of ``classes`` or None, where it differs from the above.

    Returns:
        Class by category, None for no class. With the default classes or a preset, categories that
        no rule knows are missing, so that no object is silently left out; the own classes of a
        user are a choice among categories.
    """
    official = set(classes) == set(DETECTION_CLASSES)
    last = COCO if official else DEFAULT
    class_of: dict[str, str | None] = {}
    for category in categories:
        names = (category, NUSCENES_DETECTION.get(category), last.get(category))
        name = next((each for each in names if each in classes), None)
        if name is not None or category in DEFAULT or not is_preset(classes):
            class_of[category] = name
    return {**class_of, **(class_map or {})}


def category_labels(
    categories: Sequence[str],
    classes: Sequence[str] = CLASSES,
    class_map: Mapping[str, str | None] | None = None,
    *,
    used: NDArray[np.bool_] | None = None,
) -> NDArray[np.int64]:
    """Return the label of every category: the position of its class, -1 for none.

    Args:
        categories: category names.
        classes: class names.
        class_map: see ``category_classes``.
        used: True for categories that have boxes; the others need no class. None for all.

    Raises:
        DataError: if a category with boxes is missing in ``category_classes``, or maps to a name
            that is not in ``classes``.
    """
    mapping = category_classes(categories, classes, class_map)
    return labels_of(categories, mapping, classes, used=used)


def check_categories(
    categories: Sequence[str],
    classes: Sequence[str],
    class_map: Mapping[str, str | None] | None = None,
    *,
    where: str,
    all_classes: bool = True,
) -> None:
    """Refuse classes and a class map that do not fit the categories of an index.

    Args:
        categories: category names of the index.
        classes: class names of the data set.
        class_map: the data set's own class map.
        where: the index, for messages.
        all_classes: whether every class needs a category. The default classes and presets never do:
            a folder of motorway images has no pedestrians.

    Raises:
        ConfigError: naming the category or class, and the nearest valid one.
    """
    check_class_map(class_map, categories, classes)
    if not all_classes or is_preset(classes):
        return
    mapped = set(category_classes(categories, classes, class_map).values())
    for name in classes:
        if name not in mapped:
            nearest = "" if name in categories else did_you_mean(name, categories)
            raise ConfigError(
                f"classes: no category of {where} is mapped to {name!r}: map one with "
                f"class_map={{'CATEGORY': {name!r}}}, or take {name!r} out; there are "
                f"{', '.join(categories) or 'none'}{nearest}"
            )


def class_palette(classes: Sequence[str], known: Mapping[str, Any]) -> list[tuple[int, int, int]]:
    """Return a colour (red, green, blue) for each class: the known one, or one by its position.

    Args:
        classes: class names.
        known: metainfo with ``classes`` and their ``palette``.
    """
    colors = dict(zip(known["classes"], known["palette"], strict=True))
    return [colors.get(name) or _color(position) for position, name in enumerate(classes)]


def _color(position: int) -> tuple[int, int, int]:
    rgb = colorsys.hsv_to_rgb(position * _GOLDEN % 1.0, 0.78, 0.92)
    red, green, blue = (round(255 * part) for part in rgb)
    return red, green, blue
