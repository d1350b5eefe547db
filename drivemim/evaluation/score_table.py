"""A detector's scores as a readable table and as numbers by name."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from drivemim.evaluation.curves import ClassCurves
from drivemim.evaluation.precision_recall import Score
from drivemim.evaluation.slices import mean_of_known

_CLASSES_ABREAST = 3


@dataclass(frozen=True, kw_only=True)
class DetectionScores:
    """All scores of a detector.

    Attributes:
        classes: names of the classes.
        miss_rate_classes: classes whose log-average miss rate was computed.
        table: scores of every class, in the order of ``classes``, by slice name; ``all`` is the
            whole data set.
        calibration: calibration error by class.
        curves: curves for the charts, by class.
    """

    classes: Sequence[str]
    miss_rate_classes: Sequence[str] = ()
    table: dict[str, list[Score]] = field(default_factory=dict)
    calibration: dict[str, float] = field(default_factory=dict)
    curves: dict[str, ClassCurves] = field(default_factory=dict)


def format_table(scores: DetectionScores) -> str:
    """Format scores as text: one row per slice, percent except counts, ``-`` for NaN.

    The table has blocks of up to three classes, one below the other.
    """
    blocks = []
    for start in range(0, len(scores.classes), _CLASSES_ABREAST):
        blocks.append(_block(scores, range(start, len(scores.classes))[:_CLASSES_ABREAST]))
    errors = ", ".join(f"{name} {_percent(value)}" for name, value in scores.calibration.items())
    return "\n\n".join(blocks) + f"\ncalibration error of scores (ECE): {errors}"


def to_metrics_dict(scores: DetectionScores) -> dict[str, float]:
    """Return every number by name, as listed in ``DetectionAP``."""
    overall = scores.table["all"]
    numbers: dict[str, float] = {
        "mAP": mean_of_known([score.ap for score in overall]),
        "mAP50": mean_of_known([score.ap50 for score in overall]),
        "mAR": mean_of_known([score.ar for score in overall]),
    }
    for slice_name, row in scores.table.items():
        suffix = "" if slice_name == "all" else f"[{slice_name}]"
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


def _block(scores: DetectionScores, labels: Sequence[int]) -> str:
    rows = [["slice"]]
    for label in labels:
        name = scores.classes[label]
        rows[0] += [f"{name} {title}" for title in _titles(scores, name)]
    for slice_name, found in scores.table.items():
        row = [slice_name]
        for label in labels:
            score = found[label]
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


def _titles(scores: DetectionScores, name: str) -> list[str]:
    extra = ["LAMR"] if name in scores.miss_rate_classes else []
    return ["AP", "AP50", "AR", *extra, "count"]


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:.1f}"
