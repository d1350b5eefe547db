"""Pseudo-labels: boxes from a detector instead of annotations, linked through a clip's frames.

Letters: D detections.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from drivemim.array_types import Ints
from drivemim.clips import CLASSES, Clips
from drivemim.data.boxes.box_links import MIN_OVERLAP, link_tracks_by_iou
from drivemim.data.boxes.box_sources import BoxOrigin, BoxSource, ClassMap, ImageBoxes
from drivemim.data.boxes.coco_results import read_results
from drivemim.data.index.frame_index import FrameIndex
from drivemim.errors import check_range
from drivemim.registry import BOX_SOURCES


@BOX_SOURCES.register_module()
class PseudoLabelBoxes(BoxSource):
    """Boxes of any detector, from a file of COCO results; see ``read_results``.

    The file is read once, when the data set is built, into columns that its worker processes share.
    Boxes have no depth. Their tracks are limited to one clip and one camera: see
    ``link_tracks_by_iou``.

    Args:
        index: the data set.
        class_map: class by category name, or None for no class, for the categories of ``images``.
        classes: class names; labels are positions in them.
        file: the results.
        images: COCO file whose ids the results use; None if image ids are rows of the index and
            category ids are positions in ``classes``.
        min_score: results with a lower score are left out, in [0, 1].
        min_overlap: smallest intersection over union of boxes of one object in consecutive time
            steps, in (0, 1].

    Raises:
        FileNotFoundError: if a file does not exist.
        ValueError: if a file is broken or does not fit the index, or an argument is out of range.
    """

    origin: ClassVar[BoxOrigin] = "detector"

    def __init__(
        self,
        *,
        index: FrameIndex,
        class_map: ClassMap | None = None,
        classes: Sequence[str] = CLASSES,
        file: str | os.PathLike[str],
        images: str | os.PathLike[str] | None = None,
        min_score: float = 0.3,
        min_overlap: float = MIN_OVERLAP,
    ) -> None:
        super().__init__(index=index, class_map=class_map, classes=classes)
        check_range("PseudoLabelBoxes: min_score", min_score, 0, 1)
        if not 0 < min_overlap <= 1:
            raise ValueError(f"min_overlap={min_overlap} must be in (0, 1]")
        self.min_overlap = min_overlap
        self.table = read_results(
            Path(file),
            index,
            images=None if images is None else Path(images),
            min_score=min_score,
            class_map=class_map,
            classes=self.classes,
        )

    def boxes_for_frames(self, rows: Ints) -> ImageBoxes:
        """Return the boxes of frames, in the pixels of their files."""
        table = self.table
        first = np.searchsorted(table.row_D, rows, side="left")
        count = np.searchsorted(table.row_D, rows, side="right") - first
        frame = np.repeat(np.arange(len(rows)), count)
        detection = np.arange(len(frame)) + (first - (np.cumsum(count) - count))[frame]
        return ImageBoxes(
            frame=frame,
            boxes=table.boxes_D4[detection].astype(np.float64),
            label=table.label_D[detection].astype(np.int64),
            track=np.full(len(detection), -1, np.int64),
            depth=np.full(len(detection), np.inf),
        )

    def add_boxes(self, clips: Clips, rows_TN: Ints) -> Clips:
        """Return the clip with its boxes linked into tracks."""
        return link_tracks_by_iou(clips, rows_TN, self.min_overlap)
