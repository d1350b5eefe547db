"""Data of a metric: one record per image during the evaluation, then arrays for the whole data set.

Letters: D detections.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivemim.array_types import Bools, Floats, Ints
from drivemim.errors import ConfigError, DataError

Record = dict[str, Any]
"""Ground truth and predictions of one image, from :func:`image_record`."""

UNKNOWN_MOTION = -1
"""Value of ``Objects.motions_M`` for an object of which it is unknown whether it moves."""


@dataclass(frozen=True, kw_only=True)
class Objects:
    """The ground truth of a whole data set: one row per object, image after image.

    Attributes:
        images_M: row of the object's image.
        boxes_M4: (x1, y1, x2, y2), pixels of the original image.
        labels_M: class of the object.
        ignored_M: True if the object counts neither as detected nor as missed.
        distances_M: metres, not finite where unknown.
        visibilities_M: nuScenes' level, 1 (0-40 %) to 4 (80-100 %); 0 where unknown.
        motions_M: 1 moving, 0 still, -1 unknown.
        crowds_M: True if the box covers many objects.
    """

    images_M: Ints
    boxes_M4: Floats
    labels_M: Ints
    ignored_M: Bools
    distances_M: Floats
    visibilities_M: Ints
    motions_M: Ints
    crowds_M: Bools


@dataclass(frozen=True, kw_only=True)
class Detections:
    """The predictions for a whole data set: one row per detection (D); fields as in ``Objects``."""

    images_D: Ints
    boxes_D4: Floats
    labels_D: Ints
    scores_D: Floats


def image_record(sample: dict[str, Any]) -> Record:
    """Return the ground truth and predictions of one image as arrays.

    Args:
        sample: a data sample with ``instances`` and ``pred_instances``; see ``DetectionAP``.

    Raises:
        ConfigError: if it has no ground truth.
        DataError: if a predicted box or score is not a finite number.
    """
    name = sample.get("img_path", "an image")
    if "instances" not in sample:
        raise ConfigError(
            f"no ground truth with {name}: add 'instances' to meta_keys of PackDetInputs "
            "in the test pipeline"
        )
    instances = sample["instances"]
    predicted = sample["pred_instances"]
    record: Record = {
        "camera": str(sample.get("camera", "")),
        "condition": str(sample.get("condition", "")),
        "boxes": np.array([each["bbox"] for each in instances], dtype=float).reshape(-1, 4),
        "labels": np.array([each["bbox_label"] for each in instances], dtype=np.int64),
        "ignored": np.array([bool(each.get("ignore_flag", 0)) for each in instances], dtype=bool),
        "distances": np.array([each.get("distance", math.inf) for each in instances], dtype=float),
        "visibilities": np.array([each.get("visibility", 0) for each in instances], dtype=np.int64),
        "motions": np.array(
            [each.get("moving", UNKNOWN_MOTION) for each in instances], dtype=np.int64
        ),
        "crowds": np.array([bool(each.get("crowd", 0)) for each in instances], dtype=bool),
        "predicted_boxes": float_array(predicted["bboxes"]).reshape(-1, 4),
        "predicted_labels": float_array(predicted["labels"]).astype(np.int64),
        "predicted_scores": float_array(predicted["scores"]),
    }
    for kind in ("boxes", "scores"):
        if not np.isfinite(record[f"predicted_{kind}"]).all():
            raise DataError(
                f"the detector's {kind} for {name} are not all finite: its "
                "weights diverged; evaluate an earlier checkpoint"
            )
    return record


def join_records(records: Sequence[Record]) -> tuple[Objects, Detections]:
    """Join the records of all images; an image's row is its position in ``records``."""

    def join(key: str, empty: NDArray[Any]) -> NDArray[Any]:
        return np.concatenate([empty, *(record[key] for record in records)])

    def rows(key: str) -> Ints:
        return np.repeat(np.arange(len(records)), [len(record[key]) for record in records])

    no_boxes, nothing, integers = np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int64)
    objects = Objects(
        images_M=rows("labels"),
        boxes_M4=join("boxes", no_boxes),
        labels_M=join("labels", integers),
        ignored_M=join("ignored", np.zeros(0, bool)) | join("crowds", np.zeros(0, bool)),
        distances_M=join("distances", nothing),
        visibilities_M=join("visibilities", integers),
        motions_M=join("motions", integers),
        crowds_M=join("crowds", np.zeros(0, bool)),
    )
    detections = Detections(
        images_D=rows("predicted_labels"),
        boxes_D4=join("predicted_boxes", no_boxes),
        labels_D=join("predicted_labels", integers),
        scores_D=join("predicted_scores", nothing),
    )
    return objects, detections


def float_array(values: Any) -> Floats:
    """Copy a tensor on any device (also bfloat16) or an array into a new float64 array."""
    on_cpu = values.detach().cpu().double() if hasattr(values, "detach") else values
    return np.array(on_cpu, np.float64)
