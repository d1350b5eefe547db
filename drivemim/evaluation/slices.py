"""Parts of a dataset a detector is scored on by themselves: near, hidden, one camera, at night.

Two kinds differ in what an unmatched detection costs. A slice of *objects* (distance, visibility)
is scored on every image: objects outside the slice are ignored, so finding them is neither good
nor bad, while a detection that matches no object counts against every slice, for a false alarm
has no distance. A slice of *images* (camera, condition) is scored on its own images only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

CONDITIONS = ("day", "night", "rain")
VISIBILITIES = (1, 2, 3, 4)


@dataclass(frozen=True, kw_only=True)
class Objects:
    """The ground truth of a whole dataset, one row an object.

    Attributes:
        images_M: row of the image the object is in.
        boxes_M4: (x1, y1, x2, y2), pixels of the original image.
        labels_M: class of the object.
        ignored_M: True where the object is neither to be found nor to be missed.
        distances_M: metres, ``inf`` where unknown.
        visibilities_M: nuScenes' level, 1 (0-40 %) to 4 (80-100 %); 0 where unknown.
    """

    images_M: Integers
    boxes_M4: Floats
    labels_M: Integers
    ignored_M: NDArray[np.bool_]
    distances_M: Floats
    visibilities_M: Integers


@dataclass(frozen=True)
class ObjectAxis:
    """One way to part objects: ``bins_M`` is each object's position in ``names``, -1 for none."""

    names: tuple[str, ...]
    bins_M: Integers


@dataclass(frozen=True)
class ImageSlice:
    """A named part of the images, as rows."""

    name: str
    images: Integers


def distance_axis(objects: Objects, edges: Sequence[float]) -> ObjectAxis:
    """Part objects by distance: from each edge (included) to the next, the last one open.

    Args:
        objects: the ground truth.
        edges: increasing, metres.

    Raises:
        ValueError: if the edges do not increase.
    """
    if len(edges) < 1 or any(low >= high for low, high in zip(edges, edges[1:], strict=False)):
        raise ValueError(f"distance_edges must be increasing metres, not {list(edges)}")
    inner = [f"distance {low:g}-{high:g} m" for low, high in zip(edges, edges[1:], strict=False)]
    bins_M = np.searchsorted(np.asarray(edges, float), objects.distances_M, side="right") - 1
    known_M = np.isfinite(objects.distances_M)
    return ObjectAxis((*inner, f"distance {edges[-1]:g}+ m"), np.where(known_M, bins_M, -1))


def visibility_axis(objects: Objects) -> ObjectAxis:
    """Part objects by nuScenes' visibility level."""
    levels_M = objects.visibilities_M
    known_M = np.isin(levels_M, VISIBILITIES)
    names = tuple(f"visibility {level}" for level in VISIBILITIES)
    return ObjectAxis(names, np.where(known_M, levels_M - VISIBILITIES[0], -1))


def camera_slices(cameras: Sequence[str]) -> list[ImageSlice]:
    """One slice a camera, in alphabetical order; ``cameras`` has one name an image."""
    names = np.asarray(cameras, dtype=np.str_)
    return [
        ImageSlice(f"camera {name}", np.flatnonzero(names == name)) for name in np.unique(names)
    ]


def condition_slices(conditions: Sequence[str]) -> list[ImageSlice]:
    """One slice a condition; ``conditions`` has some words an image (``"night rain"``).

    Day, night and rain are always listed, other words where they occur. A rainy night is in both.
    """
    words = [frozenset(condition.split()) for condition in conditions]
    others = sorted(frozenset().union(*words) - set(CONDITIONS))
    return [
        ImageSlice(
            f"condition {name}",
            np.array([row for row, each in enumerate(words) if name in each], dtype=np.int64),
        )
        for name in (*CONDITIONS, *others)
    ]


def mean_of_known(values: Sequence[float]) -> float:
    """Mean of the values that are not NaN; NaN if there are none."""
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan
