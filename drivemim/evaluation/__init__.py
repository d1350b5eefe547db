"""Metrics: what a detector finds, and where it does not."""

from drivemim.evaluation.coco_metric import DetectionAP

__all__ = ["DetectionAP"]
