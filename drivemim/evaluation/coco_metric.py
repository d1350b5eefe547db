"""Average precision of pedestrians and vehicles, as COCO computes it, whole and in slices.

Lin et al., Microsoft COCO: Common Objects in Context, 2014, and its reference implementation;
computed by faster-coco-eval.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from numpy.typing import NDArray

from drivemim.evaluation.slices import (
    Floats,
    Integers,
    ObjectAxis,
    Objects,
    camera_slices,
    condition_slices,
    distance_axis,
    mean_of_known,
    visibility_axis,
)
from drivemim.registry import METRICS

AXES = ("distance", "visibility", "camera", "condition")
OUTSIDE = -1.0  # the "area" of an object that no slice counts
UNSLICED = 1e4  # the "area" of an object that counts, but in no slice of the axis
EVERYTHING = (0.5, 1e5)


@dataclass(frozen=True)
class Score:
    """COCO's numbers for one class in one slice; NaN where the slice has no objects."""

    ap: float
    ap50: float
    ar: float
    count: int


@dataclass(frozen=True, kw_only=True)
class Detections:
    """The predictions for a whole dataset, one row a detection; fields as in ``Objects``."""

    images_M: Integers
    boxes_M4: Floats
    labels_M: Integers
    scores_M: Floats


Table = dict[str, list[Score]]


@METRICS.register_module()
class DetectionAP(BaseMetric):
    """AP, AP50 and AR of each class: overall, by distance, visibility, camera and condition.

    Ground truth is read from the metainfo key ``instances`` of each data sample (put it, ``camera``
    and ``condition`` into ``PackDetInputs.meta_keys``): a list of dicts with ``bbox`` in pixels of
    the original image, ``bbox_label``, and optionally ``ignore_flag``, ``distance`` (metres) and
    ``visibility`` (1 to 4). An object with ``ignore_flag`` is ignored everywhere: a detection that
    matches it by IoU is neither right nor wrong. What a slice means is said in
    ``drivemim.evaluation.slices``.

    Results, each under the prefix ``drivemim/``: ``mAP``, ``mAP50``, ``mAR``; for each class
    ``CLASS_AP``, ``CLASS_AP50``, ``CLASS_AR``, ``CLASS_count``; and for each slice
    ``CLASS_AP[distance 0-20 m]``, ``CLASS_AP50[...]``, ``CLASS_count[...]``. A slice without
    objects has NaN, printed as ``-``.

    Args:
        slices: which of distance, visibility, camera, condition to report.
        distance_edges: where a distance slice begins, metres.
        max_detections: most detections of one class in one image that count.
        collect_device: where results of several processes meet, ``cpu`` or ``gpu``.
        prefix: put before each name.
    """

    default_prefix = "drivemim"

    def __init__(
        self,
        *,
        slices: Sequence[str] = AXES,
        distance_edges: Sequence[float] = (0.0, 20.0, 40.0),
        max_detections: int = 100,
        collect_device: str = "cpu",
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        unknown = sorted(set(slices) - set(AXES))
        if unknown:
            raise ValueError(f"slices: {', '.join(unknown)} unknown; there are {', '.join(AXES)}")
        self.slices = tuple(slices)
        self.distance_edges = tuple(distance_edges)
        self.max_detections = max_detections

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Keep one image's ground truth and predictions, as arrays.

        Raises:
            ValueError: if a data sample carries no ground truth.
        """
        del data_batch
        for sample in data_samples:
            if "instances" not in sample:
                raise ValueError(
                    f"no ground truth with {sample.get('img_path', 'an image')}: add 'instances' "
                    "to meta_keys of PackDetInputs in the test pipeline"
                )
            self.results.append(_image_record(sample))

    def compute_metrics(self, results: list[dict[str, Any]]) -> dict[str, float]:
        """Score every slice, print the table, and return the numbers by name."""
        classes = tuple((self.dataset_meta or {}).get("classes") or ())
        if not classes:
            raise ValueError("DetectionAP needs the dataset's metainfo to name its classes")
        table = self.score(results, classes)
        print_log("\n" + format_table(table, classes), logger="current")
        return _named_numbers(table, classes)

    def score(self, results: list[dict[str, Any]], classes: Sequence[str]) -> Table:
        """Score of every class, in the order of ``classes``, for each slice by name."""
        objects, detections = _columns(results)
        evaluate = _Evaluation(objects, detections, len(results), classes, self.max_detections)
        everything = ObjectAxis((), np.full(len(objects.labels_M), -1))
        table = evaluate(everything)
        if "distance" in self.slices:
            table.update(evaluate(distance_axis(objects, self.distance_edges)))
        if "visibility" in self.slices:
            table.update(evaluate(visibility_axis(objects)))
        parts = []
        if "camera" in self.slices:
            parts += camera_slices([record["camera"] for record in results])
        if "condition" in self.slices:
            parts += condition_slices([record["condition"] for record in results])
        for part in parts:
            table[part.name] = evaluate(everything, part.images)["all"]
        return table


class _Evaluation:
    """COCO's evaluation of one dataset, asked for one axis of objects or some images at a time."""

    def __init__(
        self,
        objects: Objects,
        detections: Detections,
        images: int,
        classes: Sequence[str],
        max_detections: int,
    ) -> None:
        self.objects = objects
        self.classes = len(classes)
        self.max_detections = max_detections
        frame: dict[str, list[dict[str, Any]]] = {
            "images": [{"id": row} for row in range(1, images + 1)],
            "categories": [{"id": row, "name": name} for row, name in enumerate(classes, 1)],
        }
        self.truth = {**frame, "annotations": _annotations(objects)}
        self.found = {**frame, "annotations": _annotations(detections)}

    def __call__(self, axis: ObjectAxis, images: Integers | None = None) -> Table:
        """Score ``all`` and every slice of ``axis``, on the images given by row or on all."""
        ranges = [EVERYTHING, *((row + 0.5, row + 1.5) for row in range(len(axis.names)))]
        counted_M = ~self.objects.ignored_M
        if images is not None:
            counted_M = counted_M & np.isin(self.objects.images_M, images)
        precision, recall = self._run(axis, ranges, images)
        table: Table = {}
        for position, name in enumerate(("all", *axis.names)):
            inside_M = counted_M if position == 0 else counted_M & (axis.bins_M == position - 1)
            table[name] = [
                Score(
                    ap=_mean_or_nan(precision[:, :, label, position, -1]),
                    ap50=_mean_or_nan(precision[0, :, label, position, -1]),
                    ar=_mean_or_nan(recall[:, label, position, -1]),
                    count=int(np.sum(inside_M & (self.objects.labels_M == label))),
                )
                for label in range(self.classes)
            ]
        return table

    def _run(
        self, axis: ObjectAxis, ranges: list[tuple[float, float]], images: Integers | None
    ) -> tuple[Floats, Floats]:
        """Precision and recall as COCO lays them out, with slices where COCO has areas.

        COCO ignores ground truth whose area is outside a range, and unmatched detections too:
        an object's area is set to the number of its slice, and a detection's to NaN, which is
        outside no range.
        """
        from faster_coco_eval import COCO, COCOeval_faster

        areas_M = np.where(axis.bins_M >= 0, axis.bins_M + 1.0, UNSLICED)
        areas_M = np.where(self.objects.ignored_M, OUTSIDE, areas_M)
        for annotation, area in zip(self.truth["annotations"], areas_M.tolist(), strict=True):
            annotation["area"] = area
        if len(self.truth["images"] if images is None else images) == 0:
            nothing = np.full((10, 101, self.classes, len(ranges), 1), -1.0)
            return nothing, nothing[:, 0]
        run = COCOeval_faster(COCO(self.truth), COCO(self.found), "bbox", separate_eval=True)
        run.params.areaRng = [list(limits) for limits in ranges]
        run.params.areaRngLbl = ["all", *axis.names]
        run.params.maxDets = [self.max_detections]
        if images is not None:
            run.params.imgIds = [int(row) + 1 for row in images]
        run.evaluate()
        run.accumulate()
        return np.asarray(run.eval["precision"]), np.asarray(run.eval["recall"])


def format_table(table: Table, classes: Sequence[str]) -> str:
    """Lay a table out as text: a row a slice, AP, AP50, AR in percent and the count a class."""
    header = ["slice", *(f"{name} {number}" for name in classes for number in _COLUMNS)]
    rows = [header]
    for name, scores in table.items():
        row = [name]
        for score in scores:
            row += [_percent(score.ap), _percent(score.ap50), _percent(score.ar), str(score.count)]
        rows.append(row)
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    lines = [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


_COLUMNS = ("AP", "AP50", "AR", "count")


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:.1f}"


def _mean_or_nan(values: Floats) -> float:
    known = values[values > -1]
    return float(known.mean()) if known.size else math.nan


def _named_numbers(table: Table, classes: Sequence[str]) -> dict[str, float]:
    overall = table["all"]
    numbers: dict[str, float] = {
        "mAP": mean_of_known([score.ap for score in overall]),
        "mAP50": mean_of_known([score.ap50 for score in overall]),
        "mAR": mean_of_known([score.ar for score in overall]),
    }
    for slice_name, scores in table.items():
        suffix = "" if slice_name == "all" else f"[{slice_name}]"
        for name, score in zip(classes, scores, strict=True):
            numbers[f"{name}_AP{suffix}"] = score.ap
            numbers[f"{name}_AP50{suffix}"] = score.ap50
            if slice_name == "all":
                numbers[f"{name}_AR"] = score.ar
            numbers[f"{name}_count{suffix}"] = score.count
    return numbers


def _image_record(sample: dict[str, Any]) -> dict[str, Any]:
    instances = sample["instances"]
    predicted = sample["pred_instances"]
    return {
        "camera": str(sample.get("camera", "")),
        "condition": str(sample.get("condition", "")),
        "boxes": np.array([each["bbox"] for each in instances], dtype=float).reshape(-1, 4),
        "labels": np.array([each["bbox_label"] for each in instances], dtype=np.int64),
        "ignored": np.array([bool(each.get("ignore_flag", 0)) for each in instances], dtype=bool),
        "distances": np.array([each.get("distance", math.inf) for each in instances], dtype=float),
        "visibilities": np.array([each.get("visibility", 0) for each in instances], dtype=np.int64),
        "found_boxes": _array(predicted["bboxes"]).astype(float).reshape(-1, 4),
        "found_labels": _array(predicted["labels"]).astype(np.int64),
        "found_scores": _array(predicted["scores"]).astype(float),
    }


def _array(tensor: Any) -> NDArray[Any]:
    """A tensor on any device (bfloat16 too), or an array, as an array."""
    return np.asarray(tensor.detach().float().cpu() if hasattr(tensor, "detach") else tensor)


def _columns(results: list[dict[str, Any]]) -> tuple[Objects, Detections]:
    """Join the images' records; the row of an image is its position in ``results``."""

    def join(key: str, empty: NDArray[Any]) -> NDArray[Any]:
        return np.concatenate([empty, *(record[key] for record in results)])

    def rows(key: str) -> Integers:
        return np.repeat(np.arange(len(results)), [len(record[key]) for record in results])

    no_boxes, nothing, integers = np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int64)
    objects = Objects(
        images_M=rows("labels"),
        boxes_M4=join("boxes", no_boxes),
        labels_M=join("labels", integers),
        ignored_M=join("ignored", np.zeros(0, bool)),
        distances_M=join("distances", nothing),
        visibilities_M=join("visibilities", integers),
    )
    detections = Detections(
        images_M=rows("found_labels"),
        boxes_M4=join("found_boxes", no_boxes),
        labels_M=join("found_labels", integers),
        scores_M=join("found_scores", nothing),
    )
    return objects, detections


def _annotations(rows: Objects | Detections) -> list[dict[str, Any]]:
    """COCO's annotations, with numbers from 1 (COCO's matching takes 0 for "unmatched")."""
    sizes_M2 = rows.boxes_M4[:, 2:] - rows.boxes_M4[:, :2]
    boxes = np.concatenate([rows.boxes_M4[:, :2], sizes_M2], axis=1).tolist()
    images = (rows.images_M + 1).tolist()
    labels = (rows.labels_M + 1).tolist()
    annotations: list[dict[str, Any]] = [
        {"id": row, "image_id": image, "category_id": label, "bbox": box, "iscrowd": 0}
        for row, (image, label, box) in enumerate(zip(images, labels, boxes, strict=True), 1)
    ]
    if isinstance(rows, Detections):
        for annotation, score in zip(annotations, rows.scores_M.tolist(), strict=True):
            annotation["score"] = score
            annotation["area"] = math.nan
    return annotations
