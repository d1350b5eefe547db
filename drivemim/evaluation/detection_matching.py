"""COCO's matching of detections to objects, done once for a whole data set.

Lin et al., Microsoft COCO: Common Objects in Context, 2014. Miss rates, calibration and slices
need the matches. Libraries for COCO's metrics do not expose them, or store one Python object per
pair, and repeat the matching for every slice. So this module matches, on columns.

Letters: T thresholds, D detections, M objects, P pairs, F detections that choose at the same turn.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from drivemim.array_types import Bools, Floats, Ints
from drivemim.evaluation.records import Detections, Objects

THRESHOLDS = np.linspace(0.5, 0.95, 10)
"""COCO's IoU thresholds (T)."""
UNMATCHED = -1
_CHUNK = 1 << 18
"""Number of detections compared with their images' objects at a time; limits memory."""


@dataclass(frozen=True, kw_only=True)
class Matches:
    """The object that each detection matches.

    Attributes:
        objects_TD: int32, row of the object at each of ``THRESHOLDS``, ``UNMATCHED`` for none.
        kept_D: False for detections that exceed ``max_detections`` of their class and image.
    """

    objects_TD: NDArray[np.int32]
    kept_D: Bools


@dataclass(frozen=True, kw_only=True)
class _Pairs:
    """Pairs (P) of a detection and an object of one class and image with sufficient overlap."""

    detections_P: Ints
    objects_P: Ints
    ious_P: Floats


def match_detections(
    objects: Objects, detections: Detections, *, max_detections: int = 100
) -> Matches:
    """Match detections to objects like COCO.

    In each image, the detections of a class choose in order of descending score. Of the
    objects of its class that no earlier detection took and whose IoU reaches the threshold, a
    detection takes the one with the largest IoU. Ignored objects are taken only if no other object
    is left. For a crowd, the fraction of the detection inside it replaces the IoU, and any number
    of detections can match.

    Args:
        objects: the ground truth.
        detections: the predictions.
        max_detections: largest number of detections per class and image that count.
    """
    groups_D = _groups(detections.images_D, detections.labels_D)
    ranks_D = _places(groups_D, -detections.scores_D)
    kept_D = ranks_D < max_detections
    matched_TD = np.full((len(THRESHOLDS), len(kept_D)), UNMATCHED, np.int32)
    pairs = _overlapping(objects, detections, np.flatnonzero(kept_D))
    turns_P = _turns(pairs, detections, ranks_D)
    # The last of a detection's pairs is its first choice.
    order_P = np.lexsort((
        pairs.objects_P,
        pairs.ious_P,
        ~objects.ignored_M[pairs.objects_P],
        pairs.detections_P,
        turns_P,
    ))  # fmt: skip
    taken_TM = np.zeros((len(THRESHOLDS), len(objects.labels_M)), bool)
    for rows in np.split(order_P, np.cumsum(np.bincount(turns_P))):
        if len(rows) == 0:
            continue
        found_P, wanted_P = pairs.detections_P[rows], pairs.objects_P[rows]
        gone_TP = taken_TM[:, wanted_P] & ~objects.crowds_M[wanted_P]
        free_TP = (pairs.ious_P[rows] >= THRESHOLDS[:, None]) & ~gone_TP
        first = np.flatnonzero(np.diff(found_P, prepend=-1))
        best_TF = np.maximum.reduceat(
            np.where(free_TP, np.arange(len(rows)), UNMATCHED), first, axis=1
        )
        threshold, rank = np.nonzero(best_TF != UNMATCHED)
        chosen = wanted_P[best_TF[threshold, rank]]
        matched_TD[threshold, found_P[first[rank]]] = chosen
        taken_TM[threshold, chosen] = True
    return Matches(objects_TD=matched_TD, kept_D=kept_D)


def _groups(images: Ints, labels: Ints) -> Ints:
    """Return one number for each class in each image."""
    # Far above the number of labels, so that no two groups share a number.
    return images * np.int64(1 << 20) + labels


def _places(groups: Ints, order_by: Floats | Ints) -> Ints:
    """Return the position of each row within its group, by ascending ``order_by``, from 0."""
    order = np.lexsort((order_by, groups))
    rows = np.arange(len(order))
    begins = np.ones(len(order), bool)
    begins[1:] = np.diff(groups[order]) != 0
    places = np.empty(len(order), np.int64)
    places[order] = rows - np.maximum.accumulate(np.where(begins, rows, 0))
    return places


def _overlapping(objects: Objects, detections: Detections, rows: Ints) -> _Pairs:
    """Return the pairs whose IoU reaches the lowest threshold, by ascending detection."""
    parts = list(_overlapping_parts(objects, detections, rows))
    return _Pairs(
        detections_P=np.concatenate([np.zeros(0, np.int64), *(part[0] for part in parts)]),
        objects_P=np.concatenate([np.zeros(0, np.int64), *(part[1] for part in parts)]),
        ious_P=np.concatenate([np.zeros(0), *(part[2] for part in parts)]),
    )


def _overlapping_parts(
    objects: Objects, detections: Detections, rows: Ints
) -> Iterator[tuple[Ints, Ints, Floats]]:
    groups_M = _groups(objects.images_M, objects.labels_M)
    order_M = np.argsort(groups_M, kind="stable")
    sorted_M = groups_M[order_M]
    for start in range(0, len(rows), _CHUNK):
        part = rows[start : start + _CHUNK]
        groups = _groups(detections.images_D[part], detections.labels_D[part])
        first = np.searchsorted(sorted_M, groups, side="left")
        counts = np.searchsorted(sorted_M, groups, side="right") - first
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        found = np.repeat(part, counts)
        wanted = order_M[np.repeat(first, counts) + within]
        ious = _ious(detections.boxes_D4[found], objects.boxes_M4[wanted], objects.crowds_M[wanted])
        close = ious >= THRESHOLDS[0]
        yield found[close], wanted[close], ious[close]


def _ious(boxes_P4: Floats, others_P4: Floats, crowds_P: Bools) -> Floats:
    """Compute row-wise IoU, or the fraction of the box inside a crowd; 0 without area."""
    low = np.maximum(boxes_P4[:, :2], others_P4[:, :2])
    high = np.minimum(boxes_P4[:, 2:], others_P4[:, 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=1)
    areas = [np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (boxes_P4, others_P4)]
    union = np.where(crowds_P, areas[0], areas[0] + areas[1] - shared)
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0))


def _turns(pairs: _Pairs, detections: Detections, ranks_D: Ints) -> Ints:
    """Return a pair's turn: how many detections of its class and image choose before it."""
    choosing = np.unique(pairs.detections_P)
    groups = _groups(detections.images_D[choosing], detections.labels_D[choosing])
    turns = _places(groups, ranks_D[choosing])
    return turns[np.searchsorted(choosing, pairs.detections_P)]
