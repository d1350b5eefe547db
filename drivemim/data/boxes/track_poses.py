"""3-D poses of the tracked objects of a clip, at each frame's own time.

Letters: U samples whose boxes are needed, K tracks, B boxes of these samples.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from drivemim.array_types import Ints
from drivemim.data.boxes.ground_truth import LONGEST_STILL, RECORDED, expand_runs
from drivemim.data.index.frame_index import FrameIndex
from drivemim.geometry.poses import invert_pose, pose_from_vector, pose_matrix, slerp
from drivemim.masking.leakage import TrackBoxes

_MAX_EXTRAPOLATION = 0.25
"""Limit of extrapolation past two samples, as a fraction of the time between them."""


def clip_track_boxes(index: FrameIndex, rows_TN: Ints) -> TrackBoxes:
    """Return the 3-D boxes of all tracks of a clip, of any category.

    Boxes are interpolated between the samples before and after the frame. Unlike in the ground
    truth of ``frame_boxes``, boxes of keyframes are interpolated too: the camera is up to 50 ms off
    the annotated time, which is half a metre at 10 m/s. If only one of the two samples has a track,
    the track keeps its pose from that sample. In recordings (``RECORDED``), such a track is absent
    from frames more than ``LONGEST_STILL`` away from that sample.

    Args:
        index: the data set.
        rows_TN: frames of the clip, from ``ClipDataset.rows``; -1 for missing frames.

    Returns:
        boxes in the clip frame, the ego pose of the clip's first valid frame. Missing frames have
            no boxes.
    """
    frames, samples, boxes = index.frames, index.samples, index.boxes
    valid_TN = rows_TN >= 0
    rows_V = rows_TN[valid_TN]
    samples_2V = np.stack(_samples_around(index, rows_V))
    needed_U, position_2V = np.unique(samples_2V, return_inverse=True)
    before_VK, after_VK = _boxes_of_tracks(index, needed_U)[position_2V.reshape(2, -1)]

    time_V = frames.timestamp[rows_V]
    start_V, end_V = samples.timestamp[samples_2V]
    fraction_V = (time_V - start_V) / np.maximum(end_V - start_V, 1)
    fraction_V = np.clip(fraction_V, -_MAX_EXTRAPOLATION, 1 + _MAX_EXTRAPOLATION)
    if index.info.source in RECORDED:
        before_VK[(after_VK < 0) & (np.abs(time_V - start_V) > LONGEST_STILL)[:, None]] = -1
        after_VK[(before_VK < 0) & (np.abs(time_V - end_V) > LONGEST_STILL)[:, None]] = -1
    before_VK, after_VK = (
        np.where(before_VK < 0, after_VK, before_VK),
        np.where(after_VK < 0, before_VK, after_VK),
    )
    present_VK = before_VK >= 0
    before, after = before_VK[present_VK], after_VK[present_VK]
    fraction = np.broadcast_to(fraction_V[:, None], present_VK.shape)[present_VK]
    center = boxes.center[before] + fraction[:, None] * (boxes.center[after] - boxes.center[before])
    rotation = slerp(boxes.rotation[before], boxes.rotation[after], fraction)
    pose_VK44 = np.tile(np.eye(4), (*present_VK.shape, 1, 1))
    if len(rows_V):
        to_clip = invert_pose(pose_from_vector(frames.ego_to_global[rows_V[0]]))
        pose_VK44[present_VK] = to_clip @ pose_matrix(center, rotation)
    size_VK3 = np.ones((*present_VK.shape, 3))
    size_VK3[present_VK] = boxes.size[after][:, [1, 0, 2]]
    return TrackBoxes(
        box_to_clip_TNK44=_scatter(pose_VK44, valid_TN, np.eye(4)),
        size_TNK3=_scatter(size_VK3, valid_TN, np.ones(3)),
        present_TNK=_scatter(present_VK, valid_TN, np.False_).bool(),
    )


def _boxes_of_tracks(index: FrameIndex, needed_U: Ints) -> Ints:
    """Return the row in ``index.boxes`` of every track's 3-D box in every sample.

    Returns:
        (U, K), -1 for none. The K tracks are those with a 3-D box in any of the samples.
    """
    samples = index.samples
    row_B, box_B = expand_runs(samples.first_box[needed_U], samples.box_count[needed_U])
    has_3d_B = ~np.isnan(index.boxes.center[box_B, 0])
    box_B, row_B = box_B[has_3d_B], row_B[has_3d_B]
    track_K, column_B = np.unique(index.boxes.track[box_B], return_inverse=True)
    box_UK = np.full((len(needed_U), len(track_K)), -1)
    box_UK[row_B, column_B] = box_B
    return box_UK


def _samples_around(index: FrameIndex, rows_V: Ints) -> tuple[Ints, Ints]:
    """Return the samples before and after each frame.

    For a frame before a scene's first sample or after its last one, these are the nearest two
    samples; in a scene with a single sample, it is both.
    """
    samples = index.samples
    sample_V = index.frames.sample[rows_V].astype(np.int64)
    early_V = index.frames.timestamp[rows_V] < samples.timestamp[sample_V]
    previous_V, next_V = samples.previous[sample_V], samples.next[sample_V]
    to_previous_V = (early_V | (next_V < 0)) & (previous_V >= 0)
    before_V = np.where(to_previous_V, previous_V, sample_V)
    after_V = np.where(to_previous_V | (next_V < 0), sample_V, next_V)
    return before_V, after_V


def _scatter(
    values_V: NDArray[np.float64] | NDArray[np.bool_], valid_TN: NDArray[np.bool_], fill: object
) -> torch.Tensor:
    """Scatter values of the valid frames to float32 (T, N, K, ...); the others get ``fill``."""
    scattered = np.empty((*valid_TN.shape, *values_V.shape[1:]), np.float32)
    scattered[:] = fill
    scattered[valid_TN] = values_V
    return torch.from_numpy(scattered)
