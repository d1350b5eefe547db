"""COCO's matching of detections to objects, done once for a whole data set.

Lin et al., Microsoft COCO: Common Objects in Context, 2014. Miss rates, calibration and slices
need the matches. Libraries for COCO's metrics do not expose the matches, or store one Python object
per pair and repeat the matching for every slice. This module matches with arrays of all images.

A detection's turn is the number of detections of its class and image that choose an object before
it. All detections of the same turn choose at once, because they are of different classes or images.

Letters: T thresholds, D detections, M objects, P pairs, F detections of one turn.
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
"""In place of an object's row: the detection matches no object."""
_CHUNK = 1 << 18
"""Number of detections that are compared with objects at a time; a larger one needs more memory."""


@dataclass(frozen=True, kw_only=True)
class Matches:
    """The object that each detection matches.

    Attributes:
        objects_TD: int32, row of the object at each of ``THRESHOLDS``, ``UNMATCHED`` for none.
        kept_D: False for detections that do not count, because ``max_detections`` detections of the
            same class and image have higher scores.
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

    In each image, the detections of a class choose in order of descending score. A detection
    chooses the object of its class with the largest IoU, among those that no earlier detection
    chose and whose IoU reaches the threshold. It chooses an ignored object only if there is no
    other. For a crowd, the fraction of the detection inside it replaces the IoU, and any number of
    detections can match.

    Args:
        objects: the ground truth.
        detections: the predictions.
        max_detections: largest number of detections per class and image that count.
    """
    groups_D = _groups(detections.images_D, detections.labels_D)
    ranks_D = _ranks_within(groups_D, -detections.scores_D)
    kept_D = ranks_D < max_detections
    matched_TD = np.full((len(THRESHOLDS), len(kept_D)), UNMATCHED, np.int32)
    pairs = _overlapping(objects, detections, np.flatnonzero(kept_D))
    turns_P = _turns(pairs, detections, ranks_D)
    # Sorted by turn, then by detection. The last of a detection's pairs has its first choice.
    order_P = np.lexsort((
        pairs.objects_P,
        pairs.ious_P,
        ~objects.ignored_M[pairs.objects_P],
        pairs.detections_P,
        turns_P,
    ))  # fmt: skip
    is_chosen_TM = np.zeros((len(THRESHOLDS), len(objects.labels_M)), bool)
    for rows in np.split(order_P, np.cumsum(np.bincount(turns_P))):
        if len(rows) == 0:
            continue
        detections_P, objects_P = pairs.detections_P[rows], pairs.objects_P[rows]
        is_gone_TP = is_chosen_TM[:, objects_P] & ~objects.crowds_M[objects_P]
        is_free_TP = (pairs.ious_P[rows] >= THRESHOLDS[:, None]) & ~is_gone_TP
        first_F = np.flatnonzero(np.diff(detections_P, prepend=-1))
        best_TF = np.maximum.reduceat(
            np.where(is_free_TP, np.arange(len(rows)), UNMATCHED), first_F, axis=1
        )
        threshold, detection = np.nonzero(best_TF != UNMATCHED)
        chosen = objects_P[best_TF[threshold, detection]]
        matched_TD[threshold, detections_P[first_F[detection]]] = chosen
        is_chosen_TM[threshold, chosen] = True
    return Matches(objects_TD=matched_TD, kept_D=kept_D)


def _groups(images: Ints, labels: Ints) -> Ints:
    """Return one number for each class in each image."""
    # The factor is far above the number of labels, so that no two groups share a number.
    return images * np.int64(1 << 20) + labels


def _ranks_within(groups: Ints, order_by: Floats | Ints) -> Ints:
    """Return the rank of each row within its group, by ascending ``order_by``, from 0."""
    order = np.lexsort((order_by, groups))
    rows = np.arange(len(order))
    begins_group = np.ones(len(order), bool)
    begins_group[1:] = np.diff(groups[order]) != 0
    ranks = np.empty(len(order), np.int64)
    ranks[order] = rows - np.maximum.accumulate(np.where(begins_group, rows, 0))
    return ranks


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
    """Yield rows of detections, rows of objects, and IoUs of the pairs, a chunk at a time."""
    groups_M = _groups(objects.images_M, objects.labels_M)
    order_M = np.argsort(groups_M, kind="stable")
    sorted_M = groups_M[order_M]
    for start in range(0, len(rows), _CHUNK):
        part = rows[start : start + _CHUNK]
        groups = _groups(detections.images_D[part], detections.labels_D[part])
        first = np.searchsorted(sorted_M, groups, side="left")
        counts = np.searchsorted(sorted_M, groups, side="right") - first
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        detections_P = np.repeat(part, counts)
        objects_P = order_M[np.repeat(first, counts) + within]
        ious_P = _ious(
            detections.boxes_D4[detections_P],
            objects.boxes_M4[objects_P],
            objects.crowds_M[objects_P],
        )
        is_close_P = ious_P >= THRESHOLDS[0]
        yield detections_P[is_close_P], objects_P[is_close_P], ious_P[is_close_P]


def _ious(boxes_P4: Floats, others_P4: Floats, crowds_P: Bools) -> Floats:
    """Compute the IoU of each pair of boxes; 0 if both have no area.

    If the other box is a crowd, compute the fraction of the first box's area that is inside it.
    """
    low = np.maximum(boxes_P4[:, :2], others_P4[:, :2])
    high = np.minimum(boxes_P4[:, 2:], others_P4[:, 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=1)
    areas = [np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (boxes_P4, others_P4)]
    union = np.where(crowds_P, areas[0], areas[0] + areas[1] - shared)
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0))


def _turns(pairs: _Pairs, detections: Detections, ranks_D: Ints) -> Ints:
    """Return the turn of each pair's detection, among the detections that have a pair."""
    choosing = np.unique(pairs.detections_P)
    groups = _groups(detections.images_D[choosing], detections.labels_D[choosing])
    turns = _ranks_within(groups, ranks_D[choosing])
    return turns[np.searchsorted(choosing, pairs.detections_P)]
