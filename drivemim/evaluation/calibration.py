"""Whether a score of 0.8 is right eight times in ten.

Guo et al., On Calibration of Modern Neural Networks, ICML 2017: the expected calibration error;
for detections, "right" means to have found an object at IoU 0.50.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from drivemim.evaluation.precision_recall import Ranking
from drivemim.evaluation.records import Floats, Integers


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """Detections by score, in K ranges of equal width.

    Attributes:
        edges: (K + 1,) of the ranges, from 0 to 1.
        scores_K: mean score of the range's detections, NaN where it has none.
        precisions_K: share of them that are right, NaN likewise.
        counts_K: how many there are.
    """

    edges: Floats
    scores_K: Floats
    precisions_K: Floats
    counts_K: Integers


def reliability(ranking: Ranking, bins: int) -> Reliability:
    """Sort detections into ranges of score.

    Args:
        ranking: of one class.
        bins: how many ranges; a score on an edge belongs to the range above.
    """
    edges = np.linspace(0.0, 1.0, bins + 1)
    rows_R = np.clip(np.searchsorted(edges, ranking.scores_R, side="right") - 1, 0, bins - 1)
    counts_K = np.bincount(rows_R, minlength=bins)
    known_K = np.where(counts_K > 0, counts_K, np.nan)
    return Reliability(
        edges=edges,
        scores_K=np.bincount(rows_R, ranking.scores_R, bins) / known_K,
        precisions_K=np.bincount(rows_R, ranking.right_R, bins) / known_K,
        counts_K=counts_K,
    )


def expected_calibration_error(found: Reliability) -> float:
    """Mean distance between score and precision, each detection weighing the same.

    NaN without detections: who says nothing is neither right nor wrong. Detections without any
    object in the data are all wrong, and count.
    """
    gaps_K = np.abs(found.scores_K - found.precisions_K)
    total = int(found.counts_K.sum())
    return float(np.nansum(gaps_K * found.counts_K) / total) if total else float("nan")
