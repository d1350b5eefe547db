"""Slices: subsets of a data set by distance, visibility, size, motion, camera or condition.

Each slice evaluates a subset. Objects outside it are ignored: a detection that matches one is
neither a true nor a false positive in the slice, whatever else it overlaps. Unmatched detections
(false positives) have no distance, visibility or motion, so slices by these count all of them. Size
slices count false positives of the same size; camera and condition slices count those in their
images.

Letters: D detections.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from drivemim.array_types import Bools, Floats, Ints
from drivemim.errors import ConfigError
from drivemim.evaluation.records import Detections, Objects

CONDITIONS = ("day", "night", "rain")
VISIBILITIES = (1, 2, 3, 4)
"""nuScenes' levels: 0-40 %, 40-60 %, 60-80 % and 80-100 % visible."""
MOTIONS = ("still", "moving")
"""Names of the values 0 and 1 of ``Objects.motions_M``."""
WHOLE = "all"
"""Name of the slice of the whole data set."""


@dataclass(frozen=True, kw_only=True)
class Slice:
    """A named subset of a data set.

    Attributes:
        name: axis and value, ``distance 0-20 m``.
        objects_M: True for the ground truth objects of the slice.
        false_positive_D: True for detections that count as false positives if they match no object.
        images: number of images on which false positives are counted.
    """

    name: str
    objects_M: Bools
    false_positive_D: Bools
    images: int


def whole_slice(objects: Objects, detections: Detections, images: int) -> Slice:
    """Return the slice ``WHOLE`` of the whole data set."""
    return Slice(
        name=WHOLE,
        objects_M=np.ones(len(objects.labels_M), bool),
        false_positive_D=np.ones(len(detections.labels_D), bool),
        images=images,
    )


def distance_slices(
    objects: Objects, detections: Detections, images: int, edges: Sequence[float]
) -> list[Slice]:
    """Slice objects by distance: from each edge (included) to the next; the last slice is open.

    Args:
        objects: the ground truth.
        detections: the predictions.
        images: number of images.
        edges: metres, see ``check_edges``.
    """
    bins_M = _bins(objects.distances_M, edges)
    return _object_slices(distance_slice_names(edges), bins_M, detections, images)


def size_slices(
    objects: Objects, detections: Detections, images: int, edges: Sequence[float]
) -> list[Slice]:
    """Slice objects and false positives by box height.

    Unlike COCO's area, the height of a standing person or a car depends on the distance but not on
    whether it is seen from the side or from behind.

    Args:
        objects: the ground truth.
        detections: the predictions.
        images: number of images.
        edges: pixels of the stored image, see ``check_edges``.
    """
    bins_M = _bins(objects.boxes_M4[:, 3] - objects.boxes_M4[:, 1], edges)
    bins_D = _bins(detections.boxes_D4[:, 3] - detections.boxes_D4[:, 1], edges)
    return [
        Slice(name=name, objects_M=bins_M == row, false_positive_D=bins_D == row, images=images)
        for row, name in enumerate(size_slice_names(edges))
    ]


def visibility_slices(objects: Objects, detections: Detections, images: int) -> list[Slice]:
    """Slice objects by nuScenes' visibility level."""
    bins_M = objects.visibilities_M - VISIBILITIES[0]
    return _object_slices(visibility_slice_names(), bins_M, detections, images)


def motion_slices(objects: Objects, detections: Detections, images: int) -> list[Slice]:
    """Slice objects by motion: still or moving; unknown motion (-1) is in no slice."""
    return _object_slices(motion_slice_names(), objects.motions_M, detections, images)


def camera_slices(objects: Objects, detections: Detections, cameras: Sequence[str]) -> list[Slice]:
    """Return one slice per camera, in alphabetical order; ``cameras`` has one name per image."""
    return [
        _image_slice(title, [each == name for each in cameras], objects, detections)
        for title, name in _titles("camera", sorted(set(cameras))).items()
    ]


def condition_slices(
    objects: Objects, detections: Detections, conditions: Sequence[str]
) -> list[Slice]:
    """Return one slice per condition; ``conditions`` has words for each image (``"night rain"``).

    Day, night and rain are always listed, other words if they occur. A rainy night is in both.
    """
    words = [frozenset(condition.split()) for condition in conditions]
    others = sorted(frozenset().union(*words) - set(CONDITIONS))
    return [
        _image_slice(title, [name in each for each in words], objects, detections)
        for title, name in _titles("condition", (*CONDITIONS, *others)).items()
    ]


def distance_slice_names(edges: Sequence[float]) -> list[str]:
    """Return the names of :func:`distance_slices`."""
    return _range_names("distance", edges, "m")


def size_slice_names(edges: Sequence[float]) -> list[str]:
    """Return the names of :func:`size_slices`."""
    return _range_names("size", edges, "px")


def visibility_slice_names() -> list[str]:
    """Return the names of :func:`visibility_slices`."""
    return [f"visibility {level}" for level in VISIBILITIES]


def motion_slice_names() -> list[str]:
    """Return the names of :func:`motion_slices`."""
    return [f"motion {name}" for name in MOTIONS]


def camera_slice_names(cameras: Iterable[str]) -> list[str]:
    """Return the names of :func:`camera_slices`, in alphabetical order."""
    return list(_titles("camera", sorted(set(cameras))))


def condition_slice_names(others: Sequence[str] = ()) -> list[str]:
    """Return the names of :func:`condition_slices`; ``others`` are words besides ``CONDITIONS``."""
    return list(_titles("condition", (*CONDITIONS, *others)))


def check_edges(name: str, edges: Sequence[float], unit: str) -> None:
    """Refuse invalid edges.

    Raises:
        ConfigError: if there are none, one is not finite, or they do not increase.
    """
    rising = all(low < high for low, high in zip(edges, edges[1:], strict=False))
    if len(edges) < 1 or not rising or not all(map(math.isfinite, edges)):
        raise ConfigError(f"{name}_edges must be increasing {unit}, not {list(edges)}")


def _titles(axis: str, values: Iterable[str]) -> dict[str, str]:
    """Return the value of each slice by the slice's name."""
    return {f"{axis} {value}": value for value in values}


def _range_names(axis: str, edges: Sequence[float], unit: str) -> list[str]:
    inner = [f"{axis} {low:g}-{high:g} {unit}" for low, high in zip(edges, edges[1:], strict=False)]
    return [*inner, f"{axis} {edges[-1]:g}+ {unit}"]


def _bins(values: Floats, edges: Sequence[float]) -> Ints:
    """Return the row of each value's range; -1 for unknown values and those below the first."""
    bins = np.searchsorted(np.asarray(edges, float), values, side="right") - 1
    return np.where(np.isfinite(values), bins, -1)


def _object_slices(
    names: Sequence[str], bins_M: Ints, detections: Detections, images: int
) -> list[Slice]:
    """Return a slice per name, with the objects whose bin is the name's position."""
    every_D = np.ones(len(detections.labels_D), bool)
    return [
        Slice(name=name, objects_M=bins_M == row, false_positive_D=every_D, images=images)
        for row, name in enumerate(names)
    ]


def _image_slice(
    name: str, inside: Sequence[bool], objects: Objects, detections: Detections
) -> Slice:
    """Return the slice of some images; ``inside`` says for every image whether it is one."""
    chosen = np.asarray(inside, dtype=bool)
    return Slice(
        name=name,
        objects_M=chosen[objects.images_M],
        false_positive_D=chosen[detections.images_D],
        images=int(chosen.sum()),
    )
