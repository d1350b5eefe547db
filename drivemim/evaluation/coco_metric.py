"""COCO metrics of a detector per class, overall and in slices, and the calibration of its scores.

AP and AR, the log-average miss rate and the calibration error use the same matching of
detections to objects: see ``detection_matching``, ``precision_recall``, ``miss_rate`` and
``calibration``.

Letters: D detections.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log

from drivemim.data.detection.detection_dataset import FrameDetection
from drivemim.errors import ConfigError
from drivemim.evaluation.calibration import expected_calibration_error, reliability
from drivemim.evaluation.curves import ClassCurves, class_curves
from drivemim.evaluation.detection_matching import match_detections
from drivemim.evaluation.miss_rate import log_average_miss_rate
from drivemim.evaluation.precision_recall import Rankings, Score, score_slice
from drivemim.evaluation.records import Detections, Objects, Record, image_record, join_records
from drivemim.evaluation.score_table import (
    DetectionScores,
    format_table,
    metric_names,
    to_metrics_dict,
)
from drivemim.evaluation.slices import (
    WHOLE,
    Slice,
    camera_slice_names,
    camera_slices,
    check_edges,
    condition_slice_names,
    condition_slices,
    distance_slice_names,
    distance_slices,
    motion_slice_names,
    motion_slices,
    size_slice_names,
    size_slices,
    visibility_slice_names,
    visibility_slices,
    whole_slice,
)
from drivemim.registry import METRICS

AXES = ("distance", "visibility", "size", "motion", "camera", "condition")
"""Properties by which a data set can be sliced, in the order of the results."""
DEFAULT_MISS_RATE_CLASS = "pedestrian"


@METRICS.register_module()
class DetectionAP(BaseMetric):
    """AP, AP50, AR, miss rate and calibration of each class, overall and in slices.

    Ground truth is read from the metainfo key ``instances`` of each data sample (put it, ``camera``
    and ``condition`` into ``PackDetInputs.meta_keys``): a list of dicts with ``bbox`` in pixels of
    the original image, ``bbox_label``, and optionally ``ignore_flag``, ``distance`` (metres),
    ``visibility`` (1 to 4), ``moving`` (1 or 0) and ``crowd``. Objects with ``ignore_flag`` and
    crowds are ignored everywhere: a detection that matches one is neither a true nor a false
    positive. As in COCO, any number of detections can match a crowd; for a crowd, the fraction of
    the detection's area inside it replaces the IoU. Detections are matched once, with all objects.
    ``drivemim.evaluation.slices`` explains how slices use the matches.

    Results, each under the prefix ``drivemim/`` and in [0, 1]: ``mAP``, ``mAP50``, ``mAR``; for
    each class ``CLASS_AP``, ``CLASS_AP50``, ``CLASS_AR``, ``CLASS_count``, and for
    ``miss_rate_classes`` the log-average miss rate ``CLASS_LAMR``; the results of a class also for
    each slice, ``CLASS_AP[distance 0-20 m]``; and ``CLASS_ECE``, the expected calibration error of
    scores at IoU 0.50. A slice without objects is NaN, and so is the calibration of a class without
    detections; both are printed as ``-``. After an evaluation, ``curves`` contains the curves over
    the whole data set.

    Args:
        slices: axes to report, from ``AXES``.
        distance_edges: lower edges of the distance slices, metres.
        size_edges: lower edges of the size slices: box height, pixels of the stored image. 32 and
            96 are the sides of COCO's squares. In a nuScenes camera (1600x900), a person of 1.7 m
            has these heights at 67 m and 22 m. Halve the edges for images half as high.
        miss_rate_classes: classes whose log-average miss rate is computed; by default pedestrians,
            if the data set has them.
        calibration_bins: number of score bins.
        max_detections: largest number of detections per class and image that count.
        collect_device: device on which processes gather results, ``cpu`` or ``gpu``.
        prefix: prefix of each name.

    Raises:
        ConfigError: if a setting is invalid.
    """

    default_prefix = "drivemim"

    def __init__(
        self,
        *,
        slices: Sequence[str] = AXES,
        distance_edges: Sequence[float] = (0.0, 20.0, 40.0),
        size_edges: Sequence[float] = (0.0, 32.0, 96.0),
        miss_rate_classes: Sequence[str] | None = None,
        calibration_bins: int = 15,
        max_detections: int = 100,
        collect_device: str = "cpu",
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        unknown = sorted(set(slices) - set(AXES))
        if unknown:
            raise ConfigError(f"slices: {', '.join(unknown)} unknown; there are {', '.join(AXES)}")
        check_edges("distance", distance_edges, "metres")
        check_edges("size", size_edges, "pixels")
        for name, value in (
            ("calibration_bins", calibration_bins),
            ("max_detections", max_detections),
        ):
            if value < 1:
                raise ConfigError(f"{name}={value}, but it takes at least 1")
        self.slices = tuple(slices)
        self.distance_edges = tuple(distance_edges)
        self.size_edges = tuple(size_edges)
        self.miss_rate_classes = miss_rate_classes
        self.calibration_bins = calibration_bins
        self.max_detections = max_detections
        self.curves: Mapping[str, ClassCurves] = {}

    def names(self, dataset: FrameDetection) -> list[str]:
        """Return the names, with prefix, of the results that evaluating a data set gives."""
        classes = dataset.metainfo["classes"]
        rows = np.unique(dataset.index.frames.camera[dataset.rows])
        slices = [WHOLE, *self._slice_names([dataset.index.cameras[row] for row in rows])]
        names = metric_names(classes, slices, self._miss_rate_classes(classes))
        return [f"{self.prefix}/{name}" for name in names]

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Store one image's ground truth and predictions as arrays.

        Raises:
            ConfigError: if a data sample has no ground truth.
            DataError: if a prediction is not finite.
        """
        del data_batch
        self.results.extend(image_record(sample) for sample in data_samples)

    def compute_metrics(self, results: list[Record]) -> dict[str, float]:
        """Score every slice, print the table, and return the results by name."""
        classes = tuple((self.dataset_meta or {}).get("classes") or ())
        if not classes:
            raise ConfigError("DetectionAP needs the data set's metainfo to name its classes")
        scores = self.score(results, classes)
        self.curves = scores.curves
        print_log("\n" + format_table(scores), logger="current")
        return to_metrics_dict(scores)

    def score(self, results: list[Record], classes: Sequence[str]) -> DetectionScores:
        """Score every class in every slice.

        Args:
            results: records of the images.
            classes: names, in the order of the labels.

        Raises:
            ConfigError: if a detection has an unknown class, or an image has no camera although
                ``slices`` has ``camera``.
        """
        objects, detections = join_records(results)
        self._check(results, detections, classes)
        matches = match_detections(objects, detections, max_detections=self.max_detections)
        slices = self._slices(objects, detections, results)
        miss_rate_classes = self._miss_rate_classes(classes)
        table: dict[str, list[Score]] = {slice_.name: [] for slice_ in slices}
        calibration, curves = {}, {}
        for label, name in enumerate(classes):
            rankings = Rankings(objects, detections, matches, label=label)
            for slice_ in slices:
                score, ranking = score_slice(rankings, slice_)
                if name in miss_rate_classes:
                    score = replace(score, miss_rate=log_average_miss_rate(ranking))
                table[slice_.name].append(score)
            scores_in_bins = reliability(rankings(slices[0], 0), self.calibration_bins)
            calibration[name] = expected_calibration_error(scores_in_bins)
            curves[name] = class_curves(rankings, slices[0], scores_in_bins)
        return DetectionScores(
            classes=classes,
            miss_rate_classes=miss_rate_classes,
            table=table,
            calibration=calibration,
            curves=curves,
        )

    def _check(self, results: list[Record], detections: Detections, classes: Sequence[str]) -> None:
        """Refuse unknown classes and missing cameras: no slice would have their detections."""
        unknown = detections.labels_D[detections.labels_D >= len(classes)]
        if len(unknown):
            raise ConfigError(
                f"the detector finds class number {unknown[0]}, and the data has {len(classes)} "
                f"({', '.join(classes)}): give its head num_classes={len(classes)}"
            )
        if "camera" in self.slices and not all(record["camera"] for record in results):
            raise ConfigError(
                "an image comes without its camera: add 'camera' to meta_keys of PackDetInputs in "
                "the test pipeline, or leave 'camera' out of slices"
            )

    def _slices(
        self, objects: Objects, detections: Detections, results: list[Record]
    ) -> list[Slice]:
        """Return the whole data set as a slice, and the requested slices."""
        rows = (objects, detections)
        images = len(results)
        cameras = [record["camera"] for record in results]
        conditions = [record["condition"] for record in results]
        makers = {
            "distance": lambda: distance_slices(*rows, images, self.distance_edges),
            "visibility": lambda: visibility_slices(*rows, images),
            "size": lambda: size_slices(*rows, images, self.size_edges),
            "motion": lambda: motion_slices(*rows, images),
            "camera": lambda: camera_slices(*rows, cameras),
            "condition": lambda: condition_slices(*rows, conditions),
        }
        slices = [whole_slice(*rows, images)]
        for axis in AXES:
            slices += makers[axis]() if axis in self.slices else []
        return slices

    def _slice_names(self, cameras: Sequence[str]) -> list[str]:
        """Return the names of the requested slices, in the order of ``_slices``."""
        names = {
            "distance": distance_slice_names(self.distance_edges),
            "visibility": visibility_slice_names(),
            "size": size_slice_names(self.size_edges),
            "motion": motion_slice_names(),
            "camera": camera_slice_names(cameras),
            "condition": condition_slice_names(),
        }
        return [name for axis in AXES if axis in self.slices for name in names[axis]]

    def _miss_rate_classes(self, classes: Sequence[str]) -> tuple[str, ...]:
        if self.miss_rate_classes is None:
            return tuple(name for name in classes if name == DEFAULT_MISS_RATE_CLASS)
        for name in self.miss_rate_classes:
            if name not in classes:
                raise ConfigError(
                    f"miss_rate_classes: {name!r} is none of the data's {', '.join(classes)}"
                )
        return tuple(self.miss_rate_classes)
