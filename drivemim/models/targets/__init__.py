"""Targets that the decoder predicts for the hidden patches."""

from drivemim.models.targets.features import FeatureTarget
from drivemim.models.targets.hog import OrientedGradients
from drivemim.models.targets.lidar_target import LidarTarget
from drivemim.models.targets.pixels import NormalizedPixels
from drivemim.models.targets.pooled import PooledPixels

__all__ = [
    "FeatureTarget",
    "LidarTarget",
    "NormalizedPixels",
    "OrientedGradients",
    "PooledPixels",
]
