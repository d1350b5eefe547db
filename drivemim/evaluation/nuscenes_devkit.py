"""The official nuScenes detection evaluation: the devkit itself scores a results file.

Caesar et al., nuScenes: A multimodal dataset for autonomous driving, 2020: mAP over distances on
the ground plane, five true positive errors, and the detection score (NDS) computed from them.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drivemim.compat import custom_eval_split
from drivemim.data.classes import DETECTION_CLASSES
from drivemim.errors import DataError
from drivemim.files import write_bytes

RULES = "detection_cvpr_2019"
"""Name of the devkit's settings for the official evaluation."""
ERRORS = {
    "ATE": "trans_err", "ASE": "scale_err", "AOE": "orient_err", "AVE": "vel_err",
    "AAE": "attr_err",
}  # fmt: skip
"""Short names of the five errors (metres, 1 - IoU, radians, metres per second, 1 - accuracy)."""
_OVERALL = ("NDS", "mAP", *(f"m{short}" for short in ERRORS))


@dataclass(frozen=True, kw_only=True)
class NuScenesScores:
    """The devkit's scores.

    Attributes:
        split: the official split, or ``""`` for a selection of samples that is not one.
        samples: number of samples.
        numbers: by name; see ``drivemim.evaluation.NuScenesDetection``. NaN where undefined.
    """

    split: str
    samples: int
    numbers: dict[str, float]


def evaluate_results(
    path: Path,
    *,
    data_root: Path,
    version: str,
    sample_tokens: Sequence[str],
    plots: bool = False,
) -> NuScenesScores:
    """Score a results file, and write the devkit's summary and details next to it.

    If the samples are those of an official split, the devkit selects them itself.

    Args:
        path: a checked results file with an entry for each of the samples.
        data_root: folder of nuScenes' tables and maps.
        version: version of the tables, such as ``v1.0-trainval``.
        sample_tokens: tokens of the samples to evaluate.
        plots: draw the devkit's charts as PDF into the folder ``plots`` next to the file.

    Raises:
        DataError: if the tables do not exist, or have no annotations.
    """
    # The devkit takes seconds to import and minutes to open the full data set.
    from nuscenes import NuScenes
    from nuscenes.eval.common.config import config_factory
    from nuscenes.eval.detection.evaluate import DetectionEval

    if not (data_root / version).is_dir():
        raise DataError(
            f"the official evaluation needs the tables of {version} and there are none at "
            f"{data_root / version}; set data_root of the data set to where they are"
        )
    nusc = NuScenes(version=version, dataroot=str(data_root), verbose=False)
    if len(nusc.sample_annotation) == 0:
        raise DataError(
            f"{version} at {data_root} has no annotations to score with; the results are in {path}"
        )
    split = official_split(nusc, sample_tokens)
    with custom_eval_split(sample_tokens) as selection:
        run = DetectionEval(
            nusc, config_factory(RULES), str(path), split or selection, str(path.parent), False
        )
    metrics, details = run.evaluate()
    summary = {**metrics.serialize(), "meta": run.meta}
    for name, content in (("summary", summary), ("details", details.serialize())):
        # Like in the devkit's own files, NaN is written as NaN, which is not standard JSON.
        write_bytes(path.with_name(f"metrics_{name}.json"), json.dumps(content).encode())
    if plots:
        run.render(metrics, details)
    counts = dict.fromkeys(DETECTION_CLASSES, 0)
    for box in run.gt_boxes.all:
        counts[box.detection_name] += 1
    return NuScenesScores(
        split=split, samples=len(sample_tokens), numbers=devkit_to_metrics_dict(metrics, counts)
    )


def official_split(nusc: Any, sample_tokens: Sequence[str]) -> str:
    """Return the official split with exactly these samples in the devkit's tables, else ``""``."""
    from nuscenes.utils.splits import create_splits_scenes

    families = {"mini": "mini", "trainval": "train val", "test": "test"}
    family = families.get(nusc.version.rpartition("-")[2], "")
    scene_of = {row["token"]: nusc.get("scene", row["scene_token"])["name"] for row in nusc.sample}
    wanted = set(sample_tokens)
    for split, scenes in create_splits_scenes().items():
        if not any(split.startswith(start) for start in family.split()):
            continue
        names = set(scenes)
        if {token for token, scene in scene_of.items() if scene in names} == wanted:
            return str(split)
    return ""


def devkit_metric_names() -> list[str]:
    """Return the names of :func:`devkit_to_metrics_dict`, in its order, before any evaluation."""
    return [
        *_OVERALL,
        *(f"{name}_present" for name in _OVERALL),
        *(f"{name}_{what}" for name in DETECTION_CLASSES for what in ("AP", *ERRORS, "count")),
    ]


def devkit_to_metrics_dict(metrics: Any, counts: dict[str, int]) -> dict[str, float]:
    """Convert the devkit's metrics into numbers by name.

    Args:
        metrics: the devkit's ``DetectionMetrics``.
        counts: number of ground truth objects of each class.
    """
    numbers = _overall(metrics, "")
    present = [name for name, count in counts.items() if count > 0]
    numbers.update(_overall(_without_absent(metrics, present), "_present"))
    for name in DETECTION_CLASSES:
        numbers[f"{name}_AP"] = float(metrics.mean_dist_aps[name])
        for short, long in ERRORS.items():
            numbers[f"{name}_{short}"] = float(metrics.get_label_tp(name, long))
        numbers[f"{name}_count"] = counts[name]
    return numbers


def _overall(metrics: Any | None, suffix: str) -> dict[str, float]:
    """Return NDS, mAP and the mean errors, with a suffix of their names; NaN if there are none."""
    if metrics is None:
        return {f"{name}{suffix}": math.nan for name in _OVERALL}
    errors = metrics.tp_errors
    values = [metrics.nd_score, metrics.mean_ap, *(errors[long] for long in ERRORS.values())]
    return {f"{name}{suffix}": float(value) for name, value in zip(_OVERALL, values, strict=True)}


def _without_absent(metrics: Any, present: Sequence[str]) -> Any | None:
    """Restrict the devkit's metrics to the classes in the ground truth; None if it has none."""
    if not present:
        return None
    rules = copy.copy(metrics.cfg)
    rules.class_names = list(present)
    part = type(metrics)(rules)
    for name in present:
        for distance in rules.dist_ths:
            part.add_label_ap(name, distance, metrics.get_label_ap(name, distance))
        for error in ERRORS.values():
            part.add_label_tp(name, error, metrics.get_label_tp(name, error))
    return part


def format_scores(scores: NuScenesScores) -> str:
    """Format the scores as a table: one row per class, then totals; ``-`` if undefined."""
    numbers = scores.numbers
    where = f"split {scores.split}" if scores.split else "a selection that is not an official split"
    columns = ["AP", *ERRORS]
    lines = [
        f"nuScenes detection, official evaluation of {scores.samples} samples ({where})",
        "class".ljust(22) + "".join(column.rjust(8) for column in columns) + "objects".rjust(9),
    ]
    for name in DETECTION_CLASSES:
        cells = "".join(_cell(numbers[f"{name}_{column}"]) for column in columns)
        lines.append(name.ljust(22) + cells + f"{numbers[f'{name}_count']:.0f}".rjust(9))
    for title, suffix in (("all ten", ""), ("with objects", "_present")):
        cells = "".join(_cell(numbers[f"m{column}{suffix}"]) for column in columns)
        lines.append(title.ljust(22) + cells + f"   NDS {numbers[f'NDS{suffix}']:.4f}")
    return "\n".join(lines)


def _cell(value: float) -> str:
    return ("-" if math.isnan(value) else f"{value:.3f}").rjust(8)
