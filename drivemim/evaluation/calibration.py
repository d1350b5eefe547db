"""Calibration of detection scores: of all detections with score 0.8, 80 % should be right.

Guo et al., On Calibration of Modern Neural Networks, ICML 2017: the expected calibration error.
A detection is right if it matches an object at IoU 0.50.

Letters: R detections by descending score, K bins of scores.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from drivemim.array_types import Floats, Ints
from drivemim.evaluation.precision_recall import Ranking


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """Detections grouped by score into K bins of equal width.

    Attributes:
        edges: (K + 1,) edges of the bins, from 0 to 1.
        scores_K: mean score of the detections in a bin, NaN if it is empty.
        precisions_K: fraction of a bin's detections that are true positives, NaN if it is empty.
        counts_K: number of detections in a bin.
    """

    edges: Floats
    scores_K: Floats
    precisions_K: Floats
    counts_K: Ints


def reliability(ranking: Ranking, bins: int) -> Reliability:
    """Group detections by score.

    Args:
        ranking: detections of one class.
        bins: number of bins; a score on an edge belongs to the bin above.
    """
    edges = np.linspace(0.0, 1.0, bins + 1)
    rows_R = np.clip(np.searchsorted(edges, ranking.scores_R, side="right") - 1, 0, bins - 1)
    counts_K = np.bincount(rows_R, minlength=bins)
    known_K = np.where(counts_K > 0, counts_K, np.nan)
    return Reliability(
        edges=edges,
        scores_K=np.bincount(rows_R, ranking.scores_R, bins) / known_K,
        precisions_K=np.bincount(rows_R, ranking.is_tp_R, bins) / known_K,
        counts_K=counts_K,
    )


def expected_calibration_error(found: Reliability) -> float:
    """Compute the mean absolute difference of score and precision, weighted by detections.

    The result is NaN without detections. Detections also count if the data has no objects: all are
    then false positives.
    """
    gaps_K = np.abs(found.scores_K - found.precisions_K)
    total = int(found.counts_K.sum())
    return float(np.nansum(gaps_K * found.counts_K) / total) if total else float("nan")
