"""Metrics: what a detector finds, and where it does not."""

from drivemim.evaluation.coco_metric import DetectionAP
from drivemim.evaluation.nuscenes_metric import NuScenesDetection

__all__ = ["DetectionAP", "NuScenesDetection"]
