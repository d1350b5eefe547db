"""Heads for MMDetection's detectors; configs import them with ``custom_imports``.

These are the only models that import ``mmdet``. No other module of ``drivemim.models`` imports
them.
"""

from drivemim.models.heads.ignoring import (
    IgnoringDINOHead,
    IgnoringFCOSHead,
    IgnoringSoftLabelAssigner,
)
from drivemim.models.heads.mono3d_coder import Mono3DCoder, Objects3D
from drivemim.models.heads.mono3d_head import Mono3DHead

__all__ = [
    "IgnoringDINOHead",
    "IgnoringFCOSHead",
    "IgnoringSoftLabelAssigner",
    "Mono3DCoder",
    "Mono3DHead",
    "Objects3D",
]
