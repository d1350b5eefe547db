"""The official nuScenes detection score of a camera-only 3-D detector.

Letters: C classes.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger, print_log

from drivemim.data.classes import DETECTION_CLASSES
from drivemim.data.detection.detection_dataset import FrameDetection
from drivemim.data.index.frame_index import FrameIndex
from drivemim.errors import ConfigError, check_range
from drivemim.evaluation.nuscenes_devkit import devkit_metric_names, evaluate_results, format_scores
from drivemim.evaluation.nuscenes_plausibility import RANGES, SamplePoses
from drivemim.evaluation.nuscenes_results import (
    MAX_BOXES,
    check_results,
    results_document,
    sample_poses,
)
from drivemim.evaluation.records import float_array
from drivemim.evaluation.view_merging import GlobalBoxes, merge_views
from drivemim.files import write_bytes
from drivemim.geometry import CameraBoxes, boxes_to_global
from drivemim.registry import METRICS

RESULTS = "results_nusc.json"
"""Name of the results file."""
_MARGIN = 5.0
"""Metres. A box further than its class's range plus this margin is left out. The range is measured
from the ego pose by the devkit, but here from the camera, which is at most this far away."""
_META_KEYS = ("sample_token", "frame_token", "camera_to_global")
"""Keys that every data sample needs."""


@METRICS.register_module()
class NuScenesDetection(BaseMetric):
    """mAP, NDS and the five errors, computed by the nuScenes devkit on a results file.

    The boxes of each image are transformed into the global frame with its ``camera_to_global``.
    Then the boxes of all cameras of a sample are merged. Boxes far beyond their class's range are
    left out, because the official evaluation does not count them. The file has every sample of the
    chosen scenes, even one without any image; if the data set was truncated (``indices``,
    ``label_fraction``), it has only the samples with an image. The file is checked
    (``check_results``) before the devkit runs.

    The data set must be a ``drivemim.FrameDetection3D``, whose metainfo lists the samples. Every
    data sample needs ``sample_token``, ``frame_token``, ``camera_to_global`` and
    ``pred_instances`` with ``scores``, ``labels``, ``centers``, ``sizes``, ``yaws``, ``velocities``
    and ``attributes``.

    Results, each under the prefix ``nuscenes/``: ``NDS``, ``mAP``, ``mATE`` (metres), ``mASE``
    (1 - IoU), ``mAOE`` (radians), ``mAVE`` (metres per second), ``mAAE`` (1 - accuracy); the same
    with ``_present`` over the classes that have objects, because officially a class without objects
    scores 0; and for each class ``CLASS_AP``, ``CLASS_ATE`` to ``CLASS_AAE`` and ``CLASS_count``.

    Args:
        out_dir: folder for ``results_nusc.json``, ``metrics_summary.json``,
            ``metrics_details.json`` and ``plots``. The default is the folder ``nuscenes`` next to
            the run's log file; without a run, nothing is kept.
        overlap: intersection over union on the ground plane above which the lower-scored of two
            boxes of one class is removed.
        min_score: boxes with a lower score are removed, in [0, 1].
        headings: whether the check compares headings with velocities.
        plots: draw the devkit's charts.
        collect_device: device on which processes gather results, ``cpu`` or ``gpu``.
        prefix: prefix of each name.
    """

    default_prefix = "nuscenes"

    def __init__(
        self,
        *,
        out_dir: str | None = None,
        overlap: float = 0.2,
        min_score: float = 0.0,
        headings: bool = True,
        plots: bool = False,
        collect_device: str = "cpu",
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        if not 0 <= overlap <= 1:
            raise ConfigError(f"overlap={overlap} must be in [0, 1]")
        check_range("min_score", min_score, 0, 1)
        self.out_dir = out_dir
        self.overlap = overlap
        self.min_score = min_score
        self.headings = headings
        self.plots = plots

    def names(self, dataset: FrameDetection) -> list[str]:
        """Return the names of the results, with prefix; the data set does not change them."""
        del dataset
        return [f"{self.prefix}/{name}" for name in devkit_metric_names()]

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Store each image's boxes in the global frame.

        Raises:
            ConfigError: if a data sample has no camera pose or tokens.
        """
        del data_batch
        for sample in data_samples:
            missing = [key for key in _META_KEYS if key not in sample]
            if missing:
                raise ConfigError(
                    f"data samples lack {', '.join(missing)}: the test pipeline must end with "
                    "drivemim.PackBoxes3D and have these in its meta_keys"
                )
            boxes = global_boxes(
                sample["pred_instances"], sample["camera_to_global"], self._classes()
            )
            # Distance is measured from the camera, not from the ego pose: with a wrong
            # ``camera_to_global``, such as camera to vehicle, all boxes would be far from the ego
            # pose and be left out here, and ``check_results`` could not report them. Boxes with NaN
            # are kept for the same reason.
            camera_2 = float_array(sample["camera_to_global"])[:2, 3]
            distance_M = np.linalg.norm(boxes.centers_M3[:, :2] - camera_2, axis=1)
            is_left_out_M = distance_M > RANGES[boxes.labels_M] + _MARGIN
            is_left_out_M |= boxes.scores_M < self.min_score
            self.results.append(
                {
                    "frame": sample["frame_token"],
                    "sample": sample["sample_token"],
                    "boxes": boxes.take(~is_left_out_M),
                }
            )

    def compute_metrics(self, results: list[dict[str, Any]]) -> dict[str, float]:
        """Merge, check, write and score the boxes.

        Raises:
            ConfigError: if the data set is not built from nuScenes.
            DataError: if the results are implausible (the message names the sample), or the tables
                are missing.
        """
        chosen = (self.dataset_meta or {}).get("nuscenes")
        if chosen is None:
            raise ConfigError(
                "NuScenesDetection needs drivemim.FrameDetection3D as the data set: its metainfo "
                "says which samples are meant"
            )
        index = FrameIndex.open(chosen["index"], data_root=chosen["data_root"])
        if index.info.source != "nuscenes":
            raise ConfigError(f"{index.path} was not built from nuScenes' tables, which are needed")
        # A frame may occur twice: MMEngine's sampler repeats some, so that all processes have
        # equally many.
        frames = {result["frame"]: result for result in results}
        views = [(result["sample"], result["boxes"]) for result in frames.values()]
        samples = chosen_samples(index, chosen, {token for token, _ in views})
        merged = merge_views(views, overlap=self.overlap, max_boxes=MAX_BOXES)
        document = results_document(merged, samples.tokens)
        check_results(document, samples, headings=self.headings)
        with tempfile.TemporaryDirectory() as temporary:
            folder = self._folder() or Path(temporary)
            write_bytes(folder / RESULTS, json.dumps(document).encode())
            scores = evaluate_results(
                folder / RESULTS,
                data_root=index.data_root,
                version=index.info.version,
                sample_tokens=samples.tokens,
                plots=self.plots,
            )
            note = f"\nwritten to {folder}" if folder != Path(temporary) else ""
        print_log(f"\n{format_scores(scores)}{note}", logger="current")
        return scores.numbers

    def _classes(self) -> Sequence[str]:
        """Return the names of the data set's labels."""
        meta = self.dataset_meta or {}
        classes: Sequence[str] = meta["classes"] if "nuscenes" in meta else DETECTION_CLASSES
        return classes

    def _folder(self) -> Path | None:
        """Return the folder for the files; None if there is neither ``out_dir`` nor a run."""
        if self.out_dir is not None:
            return Path(self.out_dir)
        log_file = MMLogger.get_current_instance().log_file
        return Path(log_file).parent / "nuscenes" if log_file else None


def global_boxes(
    predicted: Mapping[str, Any], camera_to_global: Any, classes: Sequence[str]
) -> GlobalBoxes:
    """Transform the predictions of one image into the global frame.

    Args:
        predicted: ``scores``, ``labels``, ``centers``, ``sizes``, ``yaws``, ``velocities`` and
            ``attributes``, as tensors or arrays.
        camera_to_global: float [4, 4], camera pose of the image.
        classes: names of the labels, all in ``DETECTION_CLASSES``.

    Returns:
        The boxes; an unknown velocity (NaN in both directions) is set to 0.
    """
    velocities_M2 = float_array(predicted["velocities"]).reshape(-1, 2)
    velocities_M2[np.isnan(velocities_M2).all(axis=1)] = 0.0
    boxes = CameraBoxes(
        centers_M3=float_array(predicted["centers"]).reshape(-1, 3),
        sizes_M3=float_array(predicted["sizes"]).reshape(-1, 3),
        yaws_M=float_array(predicted["yaws"]).reshape(-1),
        velocities_M2=velocities_M2,
    )
    pose_44 = float_array(camera_to_global).reshape(4, 4)
    centers_M3, sizes_M3, rotations_M4, velocities_M2 = boxes_to_global(boxes, pose_44)
    official_C = np.array([DETECTION_CLASSES.index(name) for name in classes], np.int64)
    return GlobalBoxes(
        centers_M3=centers_M3,
        sizes_M3=sizes_M3,
        rotations_M4=rotations_M4,
        velocities_M2=velocities_M2,
        scores_M=float_array(predicted["scores"]).reshape(-1),
        labels_M=official_C[float_array(predicted["labels"]).reshape(-1).astype(np.int64)],
        attributes_M=float_array(predicted["attributes"]).reshape(-1).astype(np.int64),
    )


def chosen_samples(index: FrameIndex, chosen: Mapping[str, Any], seen: set[str]) -> SamplePoses:
    """Return every sample of the chosen scenes; only samples seen if the data set was truncated.

    Args:
        index: index of the data set.
        chosen: ``metainfo['nuscenes']`` of ``FrameDetection3D``.
        seen: tokens of the samples that have an image.
    """
    scenes = index.scene_rows(list(chosen["scenes"]))
    rows = np.flatnonzero(np.isin(index.samples.scene, scenes))
    if not chosen["whole"]:
        rows = rows[[index.samples.token[row] in seen for row in rows]]
    return sample_poses(index, rows)
