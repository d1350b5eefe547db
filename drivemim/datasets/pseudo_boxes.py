"""Boxes of a detector instead of annotations: pseudo-labels, linked through the steps of a clip."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from drivemim.clips import Clips
from drivemim.datasets.box_sources import BoxSource, ClassMap, ImageBoxes, Ints
from drivemim.datasets.coco_results import read_results
from drivemim.datasets.index import FrameIndex
from drivemim.registry import BOX_SOURCES

MIN_OVERLAP = 0.3
_SLOT_BITS = 16

Boxes = NDArray[np.float32]


@BOX_SOURCES.register_module()
class DetectedBoxes(BoxSource):
    """Boxes of any detector, from a file of COCO results; see ``read_results``.

    The file is read once, when the data set is built, into columns that its worker processes share.
    Boxes have no depth. Their tracks reach no further than the clip they are loaded for, and
    through one camera: see ``link_tracks``.

    Args:
        index: the data set.
        class_map: category name to class or None, for the categories of ``images``.
        file: the results.
        images: COCO file that their ids refer to; None if they are rows of the index and labels.
        min_score: results below are left out.
        min_overlap: intersection over union from which on boxes of one step and the next can be
            the same object, in (0, 1].

    Raises:
        FileNotFoundError: if a file is not there.
        ValueError: if a file is broken or does not fit the index, or an argument is outside its
            range.
    """

    def __init__(
        self,
        *,
        index: FrameIndex,
        class_map: ClassMap | None = None,
        file: str | os.PathLike[str],
        images: str | os.PathLike[str] | None = None,
        min_score: float = 0.3,
        min_overlap: float = MIN_OVERLAP,
    ) -> None:
        super().__init__(index=index, class_map=class_map)
        if not 0 < min_overlap <= 1:
            raise ValueError(f"min_overlap={min_overlap} must be in (0, 1]")
        self.min_overlap = min_overlap
        self.table = read_results(
            Path(file),
            index,
            images=None if images is None else Path(images),
            min_score=min_score,
            class_map=class_map,
        )

    def find(self, rows: Ints) -> ImageBoxes:
        """Boxes of frames, in the pixels of their files."""
        table = self.table
        first = np.searchsorted(table.row_D, rows, side="left")
        count = np.searchsorted(table.row_D, rows, side="right") - first
        frame = np.repeat(np.arange(len(rows)), count)
        found = np.arange(len(frame)) + (first - (np.cumsum(count) - count))[frame]
        return ImageBoxes(
            frame=frame,
            boxes=table.boxes_D4[found].astype(np.float64),
            label=table.label_D[found].astype(np.int64),
            track=np.full(len(found), -1, np.int64),
            depth=np.full(len(found), np.inf),
        )

    def complete(self, clips: Clips, rows_TN: Ints) -> Clips:
        """The clip with its boxes linked into tracks."""
        return with_linked_tracks(clips, rows_TN, self.min_overlap)


def with_linked_tracks(clips: Clips, rows_TN: Ints, min_overlap: float = MIN_OVERLAP) -> Clips:
    """One clip whose tracks are those that ``link_tracks`` finds.

    A track is numbered by its first box: by frame of the index and place in the frame, whatever
    the order of the clip's cameras.
    """
    M = clips.labels_BTNM.shape[-1]
    numbers_TNM = (rows_TN[..., None] << _SLOT_BITS) + np.arange(M)
    tracks_TNM = link_tracks(
        clips.boxes_BTNM4[0].numpy(), clips.labels_BTNM[0].numpy(), numbers_TNM, min_overlap
    )
    return replace(clips, tracks_BTNM=torch.from_numpy(tracks_TNM)[None])


def link_tracks(boxes_TNM4: Boxes, labels_TNM: Ints, numbers_TNM: Ints, min_overlap: float) -> Ints:
    """Link boxes of one camera and class that overlap from each step to the next.

    Two boxes are the same object if each is the other's best match by intersection over union. An
    object that is missed at one step is another one afterwards.

    Args:
        boxes_TNM4: x1 y1 x2 y2 pixels.
        labels_TNM: -1 for padding.
        numbers_TNM: what a track is called that begins with a box.
        min_overlap: smallest intersection over union of a match, above 0.

    Returns:
        int64 tracks_TNM, -1 for boxes that are linked to no other.
    """
    tracks_TNM = numbers_TNM.astype(np.int64)
    linked_TNM = np.zeros(labels_TNM.shape, bool)
    T, _, M = labels_TNM.shape
    for t in range(T - 1 if M else 0):
        overlap_NMM = _overlaps(boxes_TNM4[t], boxes_TNM4[t + 1])
        same_NMM = labels_TNM[t][..., :, None] == labels_TNM[t + 1][..., None, :]
        known_NMM = (labels_TNM[t] >= 0)[..., :, None]
        overlap_NMM = np.where(same_NMM & known_NMM, overlap_NMM, 0)
        next_NM, before_NM = overlap_NMM.argmax(axis=2), overlap_NMM.argmax(axis=1)
        mutual_NM = np.take_along_axis(before_NM, next_NM, axis=1) == np.arange(M)
        camera, one = np.nonzero(mutual_NM & (overlap_NMM.max(axis=2) >= min_overlap))
        other = next_NM[camera, one]
        tracks_TNM[t + 1, camera, other] = tracks_TNM[t, camera, one]
        linked_TNM[t, camera, one] = linked_TNM[t + 1, camera, other] = True
    return np.where(linked_TNM, tracks_TNM, -1)


def _overlaps(
    boxes_NM4: NDArray[np.float32], others_NM4: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Intersection over union of all pairs: (N, M, M)."""
    one, other = boxes_NM4[:, :, None], others_NM4[:, None]
    size = np.minimum(one[..., 2:], other[..., 2:]) - np.maximum(one[..., :2], other[..., :2])
    shared = np.maximum(size, 0).prod(axis=-1)
    areas = [(boxes[..., 2:] - boxes[..., :2]).prod(axis=-1) for boxes in (one, other)]
    union = areas[0] + areas[1] - shared
    return np.asarray(shared / np.maximum(union, 1e-9), np.float32)
