"""Data sets of frames on disk, and the index that they read.

The detection data set is not imported here, because it needs MMDetection and pretraining does not.
Detection configs name it under ``custom_imports``.
"""

from drivemim.datasets.box_sources import AnnotatedBoxes, BoxSource
from drivemim.datasets.clip_dataset import ClipDataset, collate_clips
from drivemim.datasets.concat import ConcatDataset
from drivemim.datasets.ground_truth import FrameBoxes, frame_boxes
from drivemim.datasets.index import FrameIndex
from drivemim.datasets.motion_boxes import MotionBoxes
from drivemim.datasets.pseudo_boxes import DetectedBoxes
from drivemim.datasets.sampler import SampleRequest, SeededDataset, SeededInfiniteSampler

__all__ = [
    "AnnotatedBoxes",
    "BoxSource",
    "ClipDataset",
    "ConcatDataset",
    "DetectedBoxes",
    "FrameBoxes",
    "FrameIndex",
    "MotionBoxes",
    "SampleRequest",
    "SeededDataset",
    "SeededInfiniteSampler",
    "collate_clips",
    "frame_boxes",
]
