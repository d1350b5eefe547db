"""Tracks from boxes that overlap in consecutive steps, by hand on 100 x 400 pixels."""

import numpy as np
import pytest
import torch

from drivemim.clips import Clips
from drivemim.data.boxes.box_links import link_tracks_by_iou

# Camera axes (x right, y down, z forward) of a camera 1.5 m high that looks along x with z up.
FORWARD = np.array([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 1.5], [0, 0, 0, 1]])


def clip_of(corners_TNM4, labels_TNM, driven_T=None):
    """A clip of one focal length; ``driven_T`` metres along x at each step, or no calibration."""
    T, N = labels_TNM.shape[:2]
    intrinsics = np.tile(np.eye(3), (T, N, 1, 1))
    poses = np.tile(np.eye(4), (T, N, 1, 1))
    if driven_T is not None:
        intrinsics[:] = [[100, 0, 200], [0, 100, 50], [0, 0, 1]]
        poses[:] = FORWARD
        poses[..., 0, 3] = np.array(driven_T)[:, None]
    return Clips(
        images_BTNHWC=torch.zeros(1, T, N, 100, 400, 3, dtype=torch.uint8),
        intrinsics_BTN33=torch.tensor(intrinsics, dtype=torch.float32)[None],
        camera_to_clip_BTN44=torch.tensor(poses, dtype=torch.float32)[None],
        timestamps_BTN=torch.zeros(1, T, N, dtype=torch.int64),
        valid_BTN=torch.ones(1, T, N, dtype=torch.bool),
        boxes_BTNM4=torch.tensor(corners_TNM4, dtype=torch.float32)[None],
        labels_BTNM=torch.tensor(labels_TNM)[None],
        tracks_BTNM=torch.full((1, *labels_TNM.shape), -1),
        depths_BTNM=torch.full((1, *labels_TNM.shape), torch.inf),
        points_BTNP3=torch.zeros(1, T, N, 0, 3),
        seeds_B=torch.zeros(1, dtype=torch.int64),
        tokens=(),
    )


def link(boxes, labels=None, min_overlap=0.3, driven=None):
    """Tracks of boxes [T][N][M], each named by its first box: 100 * frame + place.

    Boxes are (x1, y1, x2, y2), or (x1, x2) for those 10 pixels high; None for padding.
    """

    def corners(box):
        return (0, 0, 0, 0) if box is None else box if len(box) == 4 else (box[0], 0, box[1], 10)

    corners_TNM4 = np.array([[[corners(box) for box in frame] for frame in step] for step in boxes])
    present = np.array([[[box is not None for box in frame] for frame in step] for step in boxes])
    labels_TNM = np.where(present, 1 if labels is None else np.array(labels), -1)
    rows_TN = np.arange(labels_TNM[..., 0].size).reshape(labels_TNM.shape[:2])
    clip = link_tracks_by_iou(clip_of(corners_TNM4, labels_TNM, driven), rows_TN, min_overlap)
    tracks = clip.tracks_BTNM[0]
    return torch.where(tracks < 0, -1, (tracks >> 16) * 100 + tracks % 65536).tolist()


def test_a_box_is_followed_through_the_steps():
    """The box moves by 2 of its 10 pixels per step; the other box is 100 pixels away."""
    boxes = [[[(0, 10), (100, 110)]], [[(100, 110), (2, 12)]], [[(4, 14), (100, 110)]]]
    assert link(boxes) == [[[0, 1]], [[1, 0]], [[0, 1]]]


def test_boxes_without_a_match_have_no_track():
    assert link([[[(0, 10), None]], [[(50, 60), (2, 12)]]]) == [[[0, -1]], [[-1, 0]]]


def test_only_best_partners_are_linked():
    """The wide box overlaps two boxes of the next step, but is the best match of one only."""
    assert link([[[(0, 10), None]], [[(0, 9), (2, 10)]]]) == [[[0, -1]], [[0, -1]]]


def test_a_better_match_comes_first():
    """Two boxes overlap the one box of the next step."""
    assert link([[[(0, 10), (1, 11)]], [[(1, 11), None]]]) == [[[-1, 1]], [[1, -1]]]


def test_the_overlap_threshold_is_used():
    """Boxes of 10 pixels that are shifted by 5 have an IoU of 5 / 15."""
    boxes = [[[(0, 10)]], [[(5, 15)]]]
    assert link(boxes, min_overlap=0.33) == [[[0]], [[0]]]
    assert link(boxes, min_overlap=0.34) == [[[-1]], [[-1]]]


def test_neither_classes_nor_cameras_are_mixed():
    boxes = [[[(0, 10)], [None]], [[(0, 10)], [(0, 10)]]]
    assert link(boxes) == [[[0], [-1]], [[0], [-1]]]
    assert link(boxes, labels=[[[1], [1]], [[0], [1]]]) == [[[-1], [-1]], [[-1], [-1]]]


def test_a_missed_step_ends_a_track():
    boxes = [[[(0, 10)]], [[(0, 10)]], [[None]], [[(0, 10)]], [[(0, 10)]]]
    assert link(boxes) == [[[0]], [[0]], [[-1]], [[300]], [[300]]]


@pytest.mark.parametrize("shape", [(3, 2, 0), (1, 2, 0), (1, 1, 2)])
def test_no_boxes_or_no_steps(shape):
    clip = clip_of(np.zeros((*shape, 4)), np.ones(shape, int))
    tracks = link_tracks_by_iou(clip, np.zeros(shape[:2], int)).tracks_BTNM
    assert tracks.tolist() == np.full((1, *shape), -1).tolist()


def test_standing_objects_are_linked_while_the_camera_drives():
    """15 m, then 10 m ahead: the boxes do not overlap, but the second is where it is expected."""
    boxes = [[[(235, 40, 245, 60)]], [[(252.5, 35, 267.5, 65)]]]
    assert link(boxes, driven=[0, 5], min_overlap=0.9) == [[[0]], [[0]]]
    assert link(boxes, driven=[0, 0]) == [[[-1]], [[-1]]]


def test_objects_moving_along_are_linked_by_image_position():
    """A car that keeps its distance is not where a standing car would be expected."""
    boxes = [[[(235, 40, 245, 60)]], [[(235, 40, 245, 60)]]]
    assert link(boxes, driven=[0, 5], min_overlap=0.9) == [[[0]], [[0]]]
