"""Class names from the argument ``classes`` of a data set, and the class of each category."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence
from itertools import chain
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
"""Class lists that have a name, by name."""
_GOLDEN = 0.618033988749895
"""Step between the hues of successive classes: the golden ratio spreads any number of hues."""


def class_names(classes: str | Sequence[str] | None) -> tuple[str, ...]:
    """Return the class names for the argument ``classes`` of a data set.

    Args:
        classes: names, or the name of a preset; None for pedestrian and vehicle.

    Raises:
        ConfigError: if there is no such preset, there are no names, or a name is empty, repeated,
            reserved or not a string.
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

    A category has the class that ``class_map`` gives. Otherwise it has the first of these that is
    one of ``classes``, or no class if none is:

    - the category's own name,
    - its class in nuScenes' detection task (``vehicle.truck`` is a truck),
    - its class in a detector of pedestrians and vehicles (``person`` is a pedestrian,
      ``vehicle.bus.rigid`` a vehicle).

    With exactly the classes of nuScenes' detection task, the last is left out for nuScenes' own
    categories, so they have their official classes.

    Args:
        categories: category names.
        classes: class names.
        class_map: one of ``classes`` by category, or None for no class; only categories whose class
            differs from the above.

    Returns:
        Class by category, None for no class. With the default classes or a preset, categories
        without any known class are missing, so that ``category_labels`` reports them instead of
        leaving their objects out silently. With other classes, such categories have no class: the
        user chose some of the categories.
    """
    official = set(classes) == set(DETECTION_CLASSES)
    two_class = COCO if official else DEFAULT
    class_of: dict[str, str | None] = {}
    for category in categories:
        candidates = (category, NUSCENES_DETECTION.get(category), two_class.get(category))
        name = next((candidate for candidate in candidates if candidate in classes), None)
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
    """Check that classes and a class map fit the categories of an index.

    Args:
        categories: category names of the index.
        classes: class names of the data set.
        class_map: the data set's own class map.
        where: the index, for messages.
        all_classes: whether every class needs a category. The default classes and presets never
            need one: a folder of motorway images has no pedestrians.

    Raises:
        ConfigError: if they do not fit; names the category or class, and the nearest valid one.
    """
    check_class_map(class_map, categories, classes)
    if not all_classes or is_preset(classes):
        return
    mapped = set(category_classes(categories, classes, class_map).values())
    for name in classes:
        if name not in mapped:
            known = (*CLASSES, *chain.from_iterable(PRESETS.values()), *categories)
            nearest = "" if name in known else did_you_mean(name, known)
            raise ConfigError(
                f"classes: no category of {where} is mapped to {name!r}: map one with "
                f"class_map={{'CATEGORY': {name!r}}}, or take {name!r} out; there are "
                f"{', '.join(categories) or 'none'}{nearest}"
            )


def class_palette(classes: Sequence[str], known: Mapping[str, Any]) -> list[tuple[int, int, int]]:
    """Return a colour (red, green, blue) for each class: the known one, or one for its position.

    Args:
        classes: class names.
        known: metainfo with ``classes`` and their ``palette``.
    """
    colors = dict(zip(known["classes"], known["palette"], strict=True))
    return [colors.get(name) or _color(position) for position, name in enumerate(classes)]


def _color(position: int) -> tuple[int, int, int]:
    """Return the colour of the class at a position: a strong, bright one of its own hue."""
    rgb = colorsys.hsv_to_rgb(position * _GOLDEN % 1.0, 0.78, 0.92)
    red, green, blue = (round(255 * value) for value in rgb)
    return red, green, blue
