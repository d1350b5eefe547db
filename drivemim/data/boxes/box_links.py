"""Tracks from boxes: boxes of each camera are matched from one time step to the next."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from drivemim.array_types import Floats, Ints
from drivemim.clips import Clips
from drivemim.geometry.ground_plane import warp_boxes_on_ground

MIN_OVERLAP = 0.2
"""Default of the smallest intersection over union of a match."""
_POSITION_BITS = 16
"""Bits of a track's number for the position of its first box in the frame."""


def link_tracks_by_iou(clips: Clips, rows_TN: Ints, min_overlap: float = MIN_OVERLAP) -> Clips:
    """Return one clip whose tracks link boxes of the same camera and class.

    Two boxes of consecutive steps are the same object if each is the other's best match by
    intersection over union. The later box is compared with the earlier box, and with where the
    earlier box would be if its object stood still on the ground while the camera moved; the larger
    of the two overlaps is used. An object that has no box at one step gets a new track afterwards.

    A track's number depends on its first box: on the frame of the index and the position in the
    frame, but not on the order of the clip's cameras.

    Args:
        clips: one clip.
        rows_TN: frames of the clip as rows of the index.
        min_overlap: smallest intersection over union of a match, above 0.

    Returns:
        the clip with tracks; -1 for boxes that are not linked to another box.
    """
    labels_TNM = clips.labels_BTNM[0].numpy()
    boxes_TNM4 = clips.boxes_BTNM4[0].double().numpy()
    overlaps_TNMM = _overlaps(boxes_TNM4[:-1], boxes_TNM4[1:])
    overlaps_TNMM = np.maximum(
        overlaps_TNMM, _overlaps(_predict_standing(clips, boxes_TNM4), boxes_TNM4[1:])
    )
    same_TNMM = labels_TNM[:-1, ..., :, None] == labels_TNM[1:, ..., None, :]
    overlaps_TNMM[~same_TNMM] = 0
    new_tracks_TNM = (rows_TN[..., None] << _POSITION_BITS) + np.arange(labels_TNM.shape[-1])
    tracks_TNM = link_tracks(overlaps_TNMM, new_tracks_TNM, min_overlap)
    return replace(clips, tracks_BTNM=torch.from_numpy(tracks_TNM)[None])


def link_tracks(overlaps_TNMM: Floats, new_tracks_TNM: Ints, min_overlap: float) -> Ints:
    """Follow best matches through T steps.

    Args:
        overlaps_TNMM: overlap of boxes of each step except the last (third axis) with the next.
        new_tracks_TNM: number of the track that begins with each box.
        min_overlap: smallest overlap of a match, above 0.

    Returns:
        int64 tracks_TNM, -1 for boxes that are not linked to another box.
    """
    tracks_TNM = new_tracks_TNM.astype(np.int64)
    linked_TNM = np.zeros(new_tracks_TNM.shape, bool)
    M = new_tracks_TNM.shape[-1]
    for t, overlap_NMM in enumerate(overlaps_TNMM if M else ()):
        next_NM, previous_NM = overlap_NMM.argmax(axis=2), overlap_NMM.argmax(axis=1)
        mutual_NM = np.take_along_axis(previous_NM, next_NM, axis=1) == np.arange(M)
        camera, box = np.nonzero(mutual_NM & (overlap_NMM.max(axis=2) >= min_overlap))
        next_box = next_NM[camera, box]
        tracks_TNM[t + 1, camera, next_box] = tracks_TNM[t, camera, box]
        linked_TNM[t, camera, box] = linked_TNM[t + 1, camera, next_box] = True
    return np.where(linked_TNM, tracks_TNM, -1)


def _predict_standing(clips: Clips, boxes_TNM4: Floats) -> Floats:
    """Predict where objects that stand still are one step later.

    Returns:
        (T - 1, N, M, 4) the boxes of all steps but the last, moved to the next step and clipped to
        the image.
    """
    shape = (boxes_TNM4.shape[0] - 1, *boxes_TNM4.shape[1:3])
    intrinsics, poses = (
        values[0].double().numpy()
        for values in (clips.intrinsics_BTN33, clips.camera_to_clip_BTN44)
    )
    moved = warp_boxes_on_ground(
        boxes_TNM4[:-1].reshape(shape[0] * shape[1], shape[2], 4),
        *(each[:-1].reshape(-1, *each.shape[2:]) for each in (intrinsics, poses)),
        *(each[1:].reshape(-1, *each.shape[2:]) for each in (intrinsics, poses)),
    )
    height, width = clips.image_size
    return np.clip(moved, 0, [width, height, width, height]).reshape(*shape, 4)


def _overlaps(boxes_TNM4: Floats, others_TNM4: Floats) -> Floats:
    """Return the intersection over union of each box of a frame with each other one.

    Returns:
        (T, N, M, M), with the M boxes of ``boxes_TNM4`` before those of ``others_TNM4``.
    """
    one, other = boxes_TNM4[..., :, None, :], others_TNM4[..., None, :, :]
    size = np.minimum(one[..., 2:], other[..., 2:]) - np.maximum(one[..., :2], other[..., :2])
    intersection = np.maximum(size, 0).prod(axis=-1)
    areas = [(boxes[..., 2:] - boxes[..., :2]).prod(axis=-1) for boxes in (one, other)]
    union = areas[0] + areas[1] - intersection
    return np.asarray(intersection / np.maximum(union, 1e-9))
