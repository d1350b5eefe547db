"""Data sets of frames on disk, and the index that they read.

The detection data set is not imported here, because it needs MMDetection and pretraining does not.
Detection configs name it under ``custom_imports``.
"""

from drivemim.data.boxes.box_sources import AnnotatedBoxes, BoxSource
from drivemim.data.boxes.ground_truth import FrameBoxes, frame_boxes
from drivemim.data.boxes.motion_boxes import MotionBoxes
from drivemim.data.boxes.pseudo_label_boxes import PseudoLabelBoxes
from drivemim.data.clips.clip_dataset import ClipDataset, collate_clips
from drivemim.data.clips.concat import ConcatDataset
from drivemim.data.clips.sampler import ItemRequest, SeededDataset, SeededInfiniteSampler
from drivemim.data.index.frame_index import FrameIndex

__all__ = [
    "AnnotatedBoxes",
    "BoxSource",
    "ClipDataset",
    "ConcatDataset",
    "FrameBoxes",
    "FrameIndex",
    "ItemRequest",
    "MotionBoxes",
    "PseudoLabelBoxes",
    "SeededDataset",
    "SeededInfiniteSampler",
    "collate_clips",
    "frame_boxes",
]
