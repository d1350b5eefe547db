"""Average precision and recall, as COCO computes them from matches.

Lin et al., Microsoft COCO: Common Objects in Context, 2014: precision at 101 recalls, each the
best precision at that recall or a higher one, averaged over recalls and over IoU thresholds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from drivemim.evaluation.matching import NOBODY, THRESHOLDS, Matches
from drivemim.evaluation.records import Detections, Flags, Floats, Integers, Objects
from drivemim.evaluation.slices import Slice

RECALLS = np.linspace(0.0, 1.0, 101)


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """What counts of one class in one slice at one IoU threshold, the best scored first (R).

    Attributes:
        scores_R: of the detections, falling.
        right_R: True where a detection found an object, False where it is a false alarm.
        objects: how many are to be found.
        images: how many images false alarms are counted on.
    """

    scores_R: Floats
    right_R: Flags
    objects: int
    images: int


class Rankings:
    """The rankings of one class, for any slice; keeps what slices and thresholds share."""

    def __init__(
        self, objects: Objects, detections: Detections, matches: Matches, *, label: int
    ) -> None:
        rows = np.flatnonzero((detections.labels_D == label) & matches.kept_D)
        # Stable: equal scores stay in the images' order, as COCO has them.
        self.rows_R: Integers = rows[np.argsort(-detections.scores_D[rows], kind="stable")]
        self.scores_R = detections.scores_D[self.rows_R]
        self.matched_TR = matches.objects_TD[:, self.rows_R]
        self.wanted_M: Flags = (objects.labels_M == label) & ~objects.ignored_M

    def __call__(self, part: Slice, threshold: int) -> Ranking:
        """The ranking in a slice; ``threshold`` is a row of ``THRESHOLDS``."""
        # One more for NOBODY, which is the last row.
        inside_M = np.append(self.wanted_M & part.objects_M, False)
        matched_R = self.matched_TR[threshold]
        right_R = inside_M[matched_R]
        counts_R = right_R | ((matched_R == NOBODY) & part.alarms_D[self.rows_R])
        return Ranking(
            scores_R=self.scores_R[counts_R],
            right_R=right_R[counts_R],
            objects=int(inside_M.sum()),
            images=part.images,
        )


def precision_at_recalls(ranking: Ranking) -> Floats:
    """Precision at each of ``RECALLS``, 0 where it is not reached; NaN without objects."""
    if ranking.objects == 0:
        return np.full(len(RECALLS), math.nan)
    hits_R = np.cumsum(ranking.right_R)
    precision_R = hits_R / np.arange(1, len(hits_R) + 1)
    best_R = np.maximum.accumulate(precision_R[::-1])[::-1]
    first = np.searchsorted(hits_R / ranking.objects, RECALLS, side="left")
    return np.append(best_R, 0.0)[first]


def recall(ranking: Ranking) -> float:
    """Share of the objects that were found; NaN without objects."""
    return float(ranking.right_R.sum() / ranking.objects) if ranking.objects else math.nan


@dataclass(frozen=True)
class Score:
    """COCO's numbers for one class in one slice; NaN where the slice has no objects.

    Attributes:
        ap: average precision, mean over IoU 0.50 to 0.95.
        ap50: average precision at IoU 0.50.
        ar: recall of all detections, mean over IoU 0.50 to 0.95.
        miss_rate: log-average miss rate at IoU 0.50; NaN where it was not asked for, too.
        count: objects that are to be found.
    """

    ap: float
    ap50: float
    ar: float
    miss_rate: float
    count: int


def score_slice(rankings: Rankings, part: Slice) -> tuple[Score, Ranking]:
    """Score one class in one slice; its ranking at IoU 0.50 comes with it, for other numbers."""
    each = [rankings(part, threshold) for threshold in range(len(THRESHOLDS))]
    precision_T = [float(precision_at_recalls(ranking).mean()) for ranking in each]
    score = Score(
        ap=float(np.mean(precision_T)),
        ap50=precision_T[0],
        ar=float(np.mean([recall(ranking) for ranking in each])),
        miss_rate=math.nan,
        count=each[0].objects,
    )
    return score, each[0]
