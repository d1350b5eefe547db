"""Curves of a detector, small enough to be stored with its results and drawn later.

Letters: K bins of scores.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from drivemim.array_types import Floats, Ints
from drivemim.evaluation.calibration import Reliability
from drivemim.evaluation.detection_matching import THRESHOLDS
from drivemim.evaluation.miss_rate import miss_rates
from drivemim.evaluation.precision_recall import RECALLS, Rankings, precision_at_recalls
from drivemim.evaluation.slices import Slice

ClassCurves = Mapping[str, Mapping[str, list[float]]]
"""Charts of one class by name; of each chart, columns of numbers by name."""

CHART_FALSE_POSITIVES = np.logspace(-3, 1, 81)
"""Numbers of false positives per image at which the miss rate is computed."""
_IOU_50, _IOU_75 = (int(np.argmin(np.abs(THRESHOLDS - iou))) for iou in (0.5, 0.75))
"""Positions of the IoU thresholds 0.50 and 0.75 in ``THRESHOLDS``."""


def class_curves(rankings: Rankings, slice_: Slice, reliability: Reliability) -> ClassCurves:
    """Compute the curves of one class.

    Args:
        rankings: rankings of the class.
        slice_: slice whose curves are computed.
        reliability: reliability of the scores of the class.

    Returns:
        ``precision_recall``: ``recall`` and the precision at ``IoU 0.50`` and ``IoU 0.75``;
        ``miss_rate``: ``miss_rate`` at IoU 0.50 over ``false_alarms_per_image``, which are false
        positives; ``reliability``: mean ``score``, ``precision`` and ``count`` of each score bin.
        NaN where a value is undefined.
    """
    precision = {
        f"IoU {THRESHOLDS[row]:.2f}": _numbers(precision_at_recalls(rankings(slice_, row)))
        for row in (_IOU_50, _IOU_75)
    }
    return {
        "precision_recall": {"recall": _numbers(RECALLS), **precision},
        "miss_rate": {
            "false_alarms_per_image": _numbers(CHART_FALSE_POSITIVES),
            "miss_rate": _numbers(miss_rates(rankings(slice_, _IOU_50), CHART_FALSE_POSITIVES)),
        },
        "reliability": {
            "score": _numbers(reliability.scores_K),
            "precision": _numbers(reliability.precisions_K),
            "count": _numbers(reliability.counts_K),
        },
    }


def _numbers(values: Floats | Ints) -> list[float]:
    """Round to five significant digits, more than a chart shows; infinite values become NaN."""
    return [float(f"{value:.5g}") if math.isfinite(value) else math.nan for value in values]
