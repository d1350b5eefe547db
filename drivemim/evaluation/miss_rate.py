"""Miss rate over false alarms per image, and its logarithmic average.

Dollar et al., Pedestrian Detection: An Evaluation of the State of the Art, PAMI 2012. What a car
cares for: how many people are overlooked when it may be wrong once in ten images.
"""

from __future__ import annotations

import math

import numpy as np

from drivemim.evaluation.precision_recall import Ranking
from drivemim.evaluation.records import Floats

FALSE_ALARMS = np.logspace(-2, 0, 9)
"""False alarms per image at which the log-average miss rate looks."""
_SMALLEST = 1e-10
"""A miss rate of 0 has no logarithm; what the paper's own code puts in its place."""


def miss_rates(ranking: Ranking, false_alarms: Floats) -> Floats:
    """Lowest share of objects missed with at most so many false alarms per image.

    A detector whose detections end before that rate keeps the miss rate it ended with; one whose
    best detections are already more false alarms than that misses everything.

    Args:
        ranking: of one class in one slice.
        false_alarms: per image.

    Returns:
        Same shape, in [0, 1]; NaN without objects or images.
    """
    if ranking.objects == 0 or ranking.images == 0:
        return np.full(np.shape(false_alarms), math.nan)
    # A threshold cannot part equal scores: only the last of them is an operating point.
    last_R = np.append(np.diff(ranking.scores_R) != 0, np.ones(min(1, len(ranking.scores_R)), bool))
    missed = 1 - np.cumsum(ranking.right_R)[last_R] / ranking.objects
    alarms = np.cumsum(~ranking.right_R)[last_R] / ranking.images
    # In front stands the threshold that lets nothing through. Rates are compared with a little
    # room: 0.1 out of a logarithm is less than one in ten.
    allowed = np.asarray(false_alarms) * (1 + 1e-9)
    place = np.searchsorted(np.append(0.0, alarms), allowed, side="right") - 1
    return np.asarray(np.append(1.0, missed)[place])


def log_average_miss_rate(ranking: Ranking) -> float:
    """Geometric mean of the miss rates at ``FALSE_ALARMS``; NaN without objects or images."""
    rates = np.maximum(miss_rates(ranking, FALSE_ALARMS), _SMALLEST)
    return float(np.exp(np.log(rates).mean()))
