"""A detector's scores as a readable table and as numbers by name."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from drivemim.evaluation.curves import ClassCurves
from drivemim.evaluation.precision_recall import Score
from drivemim.evaluation.slices import WHOLE

_CLASSES_ABREAST = 3
"""Most classes in one block of the table, so that its lines fit a terminal."""


@dataclass(frozen=True, kw_only=True)
class DetectionScores:
    """All scores of a detector.

    Attributes:
        classes: names of the classes.
        miss_rate_classes: classes whose log-average miss rate was computed.
        table: scores of every class, in the order of ``classes``, by slice name; ``WHOLE`` is
            the whole data set.
        calibration: calibration error by class.
        curves: curves for the charts, by class.
    """

    classes: Sequence[str]
    miss_rate_classes: Sequence[str]
    table: Mapping[str, Sequence[Score]]
    calibration: Mapping[str, float]
    curves: Mapping[str, ClassCurves]


def format_table(scores: DetectionScores) -> str:
    """Format scores as text: one row per slice, percent except counts, ``-`` for NaN.

    The table has blocks of up to three classes, one below the other.
    """
    blocks = []
    for start in range(0, len(scores.classes), _CLASSES_ABREAST):
        blocks.append(_block(scores, range(start, len(scores.classes))[:_CLASSES_ABREAST]))
    errors = ", ".join(f"{name} {_percent(value)}" for name, value in scores.calibration.items())
    return "\n\n".join(blocks) + f"\ncalibration error of scores (ECE): {errors}"


def metric_names(
    classes: Sequence[str], slice_names: Sequence[str], miss_rate_classes: Sequence[str]
) -> list[str]:
    """Return the names of :func:`to_metrics_dict`, in its order, before any evaluation."""
    names = ["mAP", "mAP50", "mAR"]
    for slice_name in slice_names:
        for name in classes:
            titles = _titles(name in miss_rate_classes)
            names += [f"{name}_{title}{_suffix(slice_name)}" for title in titles]
    return [*names, *(f"{name}_ECE" for name in classes)]


def to_metrics_dict(scores: DetectionScores) -> dict[str, float]:
    """Return every number by name, as listed in ``DetectionAP``."""
    overall = scores.table[WHOLE]
    numbers: dict[str, float] = {
        "mAP": mean_of_known([score.ap for score in overall]),
        "mAP50": mean_of_known([score.ap50 for score in overall]),
        "mAR": mean_of_known([score.ar for score in overall]),
    }
    for slice_name, row in scores.table.items():
        suffix = _suffix(slice_name)
        for name, score in zip(scores.classes, row, strict=True):
            numbers[f"{name}_AP{suffix}"] = score.ap
            numbers[f"{name}_AP50{suffix}"] = score.ap50
            numbers[f"{name}_AR{suffix}"] = score.ar
            if name in scores.miss_rate_classes:
                numbers[f"{name}_LAMR{suffix}"] = score.miss_rate
            numbers[f"{name}_count{suffix}"] = score.count
    for name, error in scores.calibration.items():
        numbers[f"{name}_ECE"] = error
    return numbers


def _suffix(slice_name: str) -> str:
    return "" if slice_name == WHOLE else f"[{slice_name}]"


def _block(scores: DetectionScores, labels: Sequence[int]) -> str:
    """Format the scores of some classes, one row per slice."""
    rows = [["slice"]]
    for label in labels:
        name = scores.classes[label]
        rows[0] += [f"{name} {title}" for title in _titles(name in scores.miss_rate_classes)]
    for slice_name, slice_scores in scores.table.items():
        row = [slice_name]
        for label in labels:
            score = slice_scores[label]
            row += [_percent(score.ap), _percent(score.ap50), _percent(score.ar)]
            if scores.classes[label] in scores.miss_rate_classes:
                row.append(_percent(score.miss_rate))
            row.append(str(score.count))
        rows.append(row)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def _titles(has_miss_rate: bool) -> list[str]:
    return ["AP", "AP50", "AR", *(["LAMR"] if has_miss_rate else []), "count"]


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:.1f}"


def mean_of_known(values: Sequence[float]) -> float:
    """Compute the mean of the values that are not NaN; NaN if there are none."""
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan
