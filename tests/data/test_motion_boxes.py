"""Boxes from motion: by hand on maps of change, and on drawn frames of a camera that stands."""

import cv2
import numpy as np
import pytest
import torch

from drivemim.data import ClipDataset
from drivemim.data.boxes.motion_boxes import moving_boxes
from drivemim.data.index.builders.frames import build_frames_index

# Left and upper edge of a square of 48 pixels at each step, in frames of 96 x 160.
PLACES = [(16, 24), (28, 24), (40, 32), (52, 40)]
SIDE = 48


@pytest.fixture(scope="session")
def still_camera(tmp_path_factory):
    """Frames of a dim wall, and a brightly patterned square that moves in front of it."""
    root = tmp_path_factory.mktemp("still")
    folder = root / "drive"
    folder.mkdir()
    numbers = np.random.default_rng(0)
    wall = cv2.resize(numbers.integers(60, 90, (12, 20), np.uint8), (160, 96))
    pattern = np.kron(numbers.choice([120, 250], (8, 8)), np.ones((6, 6))).astype(np.uint8)
    for step, (x, y) in enumerate(PLACES):
        frame = wall.copy()
        frame[y : y + SIDE, x : x + SIDE] = pattern
        cv2.imwrite(str(folder / f"{step}.png"), frame)
    return build_frames_index([root], root / "index.arrow")


def clips_of(index, boxes="MotionBoxes", **arguments):
    settings = {"index": index, "image_size": (96, 160), "num_frames": 4}
    return ClipDataset(**{**settings, **arguments}, boxes=boxes)


def test_regions_by_hand():
    change = np.zeros((6, 8), np.float32)
    change[0, 0] = 1.0  # a single square
    change[1:3, 3:5] = 0.04
    change[3, 5] = 0.5  # touches it at a corner
    change[5, :3] = 0.039
    assert moving_boxes(change, 0.04).tolist() == [[3, 1, 6, 4]]
    assert moving_boxes(change, 0.03).tolist() == [[3, 1, 6, 4], [0, 5, 3, 6]]
    assert moving_boxes(change, 0.6).shape == (0, 4)


def test_no_more_than_the_largest_regions():
    change = np.zeros((40, 200), np.float32)
    change[::4, ::4] = change[1::4, ::4] = 1.0
    change[0:3, 0:2] = 1.0
    boxes = moving_boxes(change, 0.5)
    assert len(boxes) == 30
    assert boxes[0].tolist() == [0, 0, 2, 3]


def test_a_square_that_moves_before_a_camera_that_stands(still_camera):
    """Its box is exact to a patch of 16 pixels, because the area that it left has changed, too."""
    clip = clips_of(still_camera)[0]
    for step, (x, y) in enumerate(PLACES):
        box = clip.boxes_BTNM4[0, step, 0, 0].numpy()
        np.testing.assert_allclose(box, [x, y, x + SIDE, y + SIDE], atol=16)
    assert (clip.labels_BTNM[0, :, 0, 0] == 1).all()
    assert (clip.labels_BTNM[..., 1:] == -1).all()
    assert torch.isinf(clip.depths_BTNM).all()


def test_the_moving_square_is_one_track(still_camera):
    clip = clips_of(still_camera)[0]
    tracks = clip.tracks_BTNM[0, :, 0, 0]
    assert tracks[0] >= 0
    assert (tracks == tracks[0]).all()


def test_nothing_moves(still_camera):
    data = clips_of(still_camera)
    rows_TN = np.zeros((4, 1), int)
    assert data.load(rows_TN, seed=0).boxes_BTNM4.shape == (1, 4, 1, 0, 4)
    assert (
        clips_of(still_camera, {"type": "MotionBoxes", "min_change": 1.0})[0].boxes_BTNM4.shape[3]
        == 0
    )


def test_missing_frames_have_no_boxes(still_camera):
    data = clips_of(still_camera)
    rows_TN = np.array([[0, -1], [-1, -1], [2, 3]])
    clip = data.load(rows_TN, seed=0)
    assert (clip.labels_BTNM[0] >= 0).any(dim=-1).tolist() == [
        [True, False], [False, False], [True, False]
    ]  # fmt: skip
    assert data.load(np.full((2, 2), -1), seed=0).boxes_BTNM4.shape == (1, 2, 2, 0, 4)


def test_one_step_has_no_motion(still_camera):
    with pytest.raises(
        ValueError, match="MotionBoxes compares the frames .* set num_frames=2 or more"
    ):
        clips_of(still_camera, num_frames=1)[0]


@pytest.mark.parametrize("min_change", [0, -1, 1.1, float("nan")])
def test_min_change_must_be_a_fraction(still_camera, min_change):
    with pytest.raises(ValueError, match=r"min_change=.* must be in \(0, 1\]"):
        clips_of(still_camera, {"type": "MotionBoxes", "min_change": min_change})
