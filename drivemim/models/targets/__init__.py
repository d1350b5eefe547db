"""Targets that the decoder predicts, and the weights of patches in their loss."""

from drivemim.models.targets.features import FeatureTarget
from drivemim.models.targets.hog import OrientedGradients
from drivemim.models.targets.lidar_target import LidarTarget
from drivemim.models.targets.object_weights import ObjectWeights
from drivemim.models.targets.pixels import NormalizedPixels
from drivemim.models.targets.pooled import PooledPixels
from drivemim.models.targets.visible_patches import VisiblePatches

__all__ = [
    "FeatureTarget",
    "LidarTarget",
    "NormalizedPixels",
    "ObjectWeights",
    "OrientedGradients",
    "PooledPixels",
    "VisiblePatches",
]
