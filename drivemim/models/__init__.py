"""Encoders, decoders, targets and the pretrainer; importing this package registers them.

Neither ``mmdet`` nor ``mmcv`` is imported here. A wrapped MMDetection backbone imports them, only
if a config uses one.
"""

from drivemim.models.decoders import ClipDecoder, PyramidDecoder
from drivemim.models.encoders import MaskedEncoder, MaskedResNet, ViT
from drivemim.models.necks import SimpleFeaturePyramid
from drivemim.models.preprocessor import ClipPreprocessor
from drivemim.models.pretrainer import MaskedPretrainer, Reconstruction
from drivemim.models.targets import (
    FeatureTarget,
    LidarTarget,
    NormalizedPixels,
    ObjectWeights,
    OrientedGradients,
    PooledPixels,
    VisiblePatches,
)
from drivemim.models.teachers import LossPredictor, MaskingTeacher, TeacherAttention

__all__ = [
    "ClipDecoder",
    "ClipPreprocessor",
    "FeatureTarget",
    "LidarTarget",
    "LossPredictor",
    "MaskedEncoder",
    "MaskedPretrainer",
    "MaskedResNet",
    "MaskingTeacher",
    "NormalizedPixels",
    "ObjectWeights",
    "OrientedGradients",
    "PooledPixels",
    "PyramidDecoder",
    "Reconstruction",
    "SimpleFeaturePyramid",
    "TeacherAttention",
    "ViT",
    "VisiblePatches",
]
