"""Curves of a detector, small enough to be kept beside its numbers and drawn later."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from drivemim.evaluation.calibration import Reliability
from drivemim.evaluation.matching import THRESHOLDS
from drivemim.evaluation.miss_rate import miss_rates
from drivemim.evaluation.precision_recall import RECALLS, Rankings, precision_at_recalls
from drivemim.evaluation.records import Floats, Integers
from drivemim.evaluation.slices import Slice

ClassCurves = Mapping[str, Mapping[str, list[float]]]
"""For one class, each chart's columns by name."""

CHART_ALARMS = np.logspace(-3, 1, 81)
_CHART_THRESHOLDS = (0, 5)  # rows of IoU 0.50 and 0.75


def class_curves(rankings: Rankings, part: Slice, found: Reliability) -> ClassCurves:
    """What the charts of one class are drawn from.

    Args:
        rankings: of the class.
        part: what they are drawn of.
        found: its scores.

    Returns:
        ``precision_recall``: ``recall`` and the precision at ``IoU 0.50`` and ``IoU 0.75``;
        ``miss_rate``: ``miss_rate`` at ``false_alarms_per_image``; ``reliability``: mean ``score``,
        ``precision`` and ``count`` of the ranges of score. NaN where there is nothing.
    """
    precision = {
        f"IoU {THRESHOLDS[row]:.2f}": _numbers(precision_at_recalls(rankings(part, row)))
        for row in _CHART_THRESHOLDS
    }
    return {
        "precision_recall": {"recall": _numbers(RECALLS), **precision},
        "miss_rate": {
            "false_alarms_per_image": _numbers(CHART_ALARMS),
            "miss_rate": _numbers(miss_rates(rankings(part, 0), CHART_ALARMS)),
        },
        "reliability": {
            "score": _numbers(found.scores_K),
            "precision": _numbers(found.precisions_K),
            "count": _numbers(found.counts_K),
        },
    }


def _numbers(values: Floats | Integers) -> list[float]:
    """To five digits, which is more than a chart shows."""
    return [float(f"{value:.5g}") if math.isfinite(value) else math.nan for value in values]
