"""Miss rate over false positives per image, and its log average.

Dollar et al., Pedestrian Detection: An Evaluation of the State of the Art, PAMI 2012. The curve
tells how many people a detector misses if, for example, one false positive in ten images is
acceptable.

Letters: R detections by descending score.
"""

from __future__ import annotations

import math

import numpy as np

from drivemim.array_types import Floats
from drivemim.evaluation.precision_recall import Ranking

FALSE_POSITIVES = np.logspace(-2, 0, 9)
"""False positives per image at which the log-average miss rate is sampled."""
_SMALLEST = 1e-10
"""Replacement for a miss rate of 0, which has no logarithm; the value of the paper's own code."""


def miss_rates(ranking: Ranking, false_positives: Floats) -> Floats:
    """Compute the lowest miss rate with at most the given false positives per image.

    A detector with fewer false positives in total has the miss rate of all its detections. The miss
    rate is 1 if even the detections with the highest score have more false positives.

    Args:
        ranking: ranking of one class in one slice.
        false_positives: false positives per image.

    Returns:
        Same shape, in [0, 1]; NaN without objects or images.
    """
    if ranking.objects == 0 or ranking.images == 0:
        return np.full(np.shape(false_positives), math.nan)
    # A threshold cannot separate equal scores: only the last of them is an operating point.
    last_R = np.append(np.diff(ranking.scores_R) != 0, np.ones(min(1, len(ranking.scores_R)), bool))
    missed = 1 - np.cumsum(ranking.is_tp_R)[last_R] / ranking.objects
    fp_per_image = np.cumsum(~ranking.is_tp_R)[last_R] / ranking.images
    # The curve starts with a threshold above all scores. The tolerance is for rates from
    # logspace, where 0.1 can be slightly less than one in ten.
    allowed = np.asarray(false_positives) * (1 + 1e-9)
    row = np.searchsorted(np.append(0.0, fp_per_image), allowed, side="right") - 1
    return np.asarray(np.append(1.0, missed)[row])


def log_average_miss_rate(ranking: Ranking) -> float:
    """Return the geometric mean of miss rates at ``FALSE_POSITIVES``; NaN without objects."""
    rates = np.maximum(miss_rates(ranking, FALSE_POSITIVES), _SMALLEST)
    return float(np.exp(np.log(rates).mean()))
