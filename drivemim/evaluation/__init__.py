"""Metrics of detectors, overall and in slices of the data."""

from drivemim.evaluation.coco_metric import DetectionAP
from drivemim.evaluation.nuscenes_metric import NuScenesDetection

__all__ = ["DetectionAP", "NuScenesDetection"]
