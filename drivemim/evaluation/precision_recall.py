"""Average precision and recall, computed from matches like COCO.

Lin et al., Microsoft COCO: Common Objects in Context, 2014: precision at 101 recalls, each the
maximum precision at that recall or a higher one, averaged over recalls and IoU thresholds.

Letters: R detections by descending score, T thresholds, D detections.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from drivemim.array_types import Bools, Floats, Ints
from drivemim.evaluation.detection_matching import THRESHOLDS, UNMATCHED, Matches
from drivemim.evaluation.records import Detections, Objects
from drivemim.evaluation.slices import Slice

RECALLS = np.linspace(0.0, 1.0, 101)
"""Recalls at which COCO samples the precision."""


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """Detections of one class in one slice at one IoU threshold, by descending score (R).

    Attributes:
        scores_R: scores of the detections, descending.
        is_tp_R: True for a true positive, False for a false positive.
        objects: number of ground truth objects.
        images: number of images on which false positives are counted.
    """

    scores_R: Floats
    is_tp_R: Bools
    objects: int
    images: int


class Rankings:
    """Rankings of one class: call it with a slice and a threshold.

    The detections are sorted once, for all slices and thresholds.
    """

    def __init__(
        self, objects: Objects, detections: Detections, matches: Matches, *, label: int
    ) -> None:
        rows = np.flatnonzero((detections.labels_D == label) & matches.kept_D)
        # Stable: equal scores stay in the order of the images, like in COCO.
        self.rows_R: Ints = rows[np.argsort(-detections.scores_D[rows], kind="stable")]
        self.scores_R = detections.scores_D[self.rows_R]
        self.matched_TR = matches.objects_TD[:, self.rows_R]
        self.is_gt_M: Bools = (objects.labels_M == label) & ~objects.ignored_M

    def __call__(self, slice_: Slice, threshold_row: int) -> Ranking:
        """Return the ranking in a slice at the IoU ``THRESHOLDS[threshold_row]``."""
        # The entry at the end is for UNMATCHED, -1, which indexes the last one.
        in_slice_M = np.append(self.is_gt_M & slice_.objects_M, False)
        matched_R = self.matched_TR[threshold_row]
        is_tp_R = in_slice_M[matched_R]
        is_fp_R = (matched_R == UNMATCHED) & slice_.false_positive_D[self.rows_R]
        # Other detections match an ignored object or one outside of the slice, and do not count.
        is_counted_R = is_tp_R | is_fp_R
        return Ranking(
            scores_R=self.scores_R[is_counted_R],
            is_tp_R=is_tp_R[is_counted_R],
            objects=int(in_slice_M.sum()),
            images=slice_.images,
        )


def precision_at_recalls(ranking: Ranking) -> Floats:
    """Compute the precision at each of ``RECALLS``, 0 if not reached; NaN without objects."""
    if ranking.objects == 0:
        return np.full(len(RECALLS), math.nan)
    hits_R = np.cumsum(ranking.is_tp_R)
    precision_R = hits_R / np.arange(1, len(hits_R) + 1)
    best_R = np.maximum.accumulate(precision_R[::-1])[::-1]
    first = np.searchsorted(hits_R / ranking.objects, RECALLS, side="left")
    return np.append(best_R, 0.0)[first]


def recall(ranking: Ranking) -> float:
    """Compute the fraction of objects that are detected; NaN without objects."""
    return float(ranking.is_tp_R.sum() / ranking.objects) if ranking.objects else math.nan


@dataclass(frozen=True)
class Score:
    """COCO's metrics for one class in one slice; NaN if the slice has no objects.

    Attributes:
        ap: average precision, mean over IoU 0.50 to 0.95.
        ap50: average precision at IoU 0.50.
        ar: recall of all detections, mean over IoU 0.50 to 0.95.
        miss_rate: log-average miss rate at IoU 0.50; NaN also if it was not requested.
        count: number of ground truth objects.
    """

    ap: float
    ap50: float
    ar: float
    miss_rate: float
    count: int


def score_slice(rankings: Rankings, slice_: Slice) -> tuple[Score, Ranking]:
    """Score one class in one slice; also return its ranking at IoU 0.50, for other metrics."""
    by_threshold = [rankings(slice_, row) for row in range(len(THRESHOLDS))]
    precision_T = [float(precision_at_recalls(ranking).mean()) for ranking in by_threshold]
    score = Score(
        ap=float(np.mean(precision_T)),
        ap50=precision_T[0],
        ar=float(np.mean([recall(ranking) for ranking in by_threshold])),
        miss_rate=math.nan,
        count=by_threshold[0].objects,
    )
    return score, by_threshold[0]
