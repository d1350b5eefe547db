"""Tracks at each frame's own time, by hand on the small data set."""

import numpy as np
import pytest
import torch

from drivemim.data.boxes.track_poses import clip_track_boxes
from drivemim.data.clips.clip_dataset import ClipDataset
from drivemim.data.index.builders.nuscenes import build_nuscenes_index
from drivemim.data.index.frame_index import FrameIndex


def _rows(path, item=0, num_frames=3, **arguments):
    data = ClipDataset(
        index=path, image_size=(24, 32), scenes=["scene-0061"], num_frames=num_frames, **arguments
    )
    return data.index, data.rows(item)


def _find(track_boxes, size):
    """Number of the track of a box of a given width, length and height."""
    matches = (track_boxes.size_TNK3 == torch.tensor(size)[[1, 0, 2]]).all(dim=-1)
    return int((matches & track_boxes.present_TNK).flatten(0, 1).any(dim=0).nonzero()[0])


CAR, WALKER, TRUCK = [2.0, 4.0, 1.5], [0.6, 0.6, 1.8], [2.5, 8.0, 3.0]
# Cameras are 10 ms early: a fiftieth of the half second between samples.
EARLY = 0.02


def test_keyframes_are_put_between_samples_too(small_index):
    track_boxes = clip_track_boxes(*_rows(small_index))
    assert track_boxes.present_TNK.shape == (3, 2, 4)
    car = _find(track_boxes, CAR)
    assert track_boxes.present_TNK[..., car].all()
    x = track_boxes.box_to_clip_TNK44[:, 1, car, 0, 3]
    # At 12, 13 and 15 m; before the first sample it goes on as it came.
    assert x.tolist() == pytest.approx([12 - EARLY, 13 - EARLY, 15 - 2 * EARLY], abs=1e-5)
    # The vehicle is at the origin, unturned, in the first frame; boxes stand on z = 0.
    assert track_boxes.box_to_clip_TNK44[0, 1, car, 1:3, 3].tolist() == pytest.approx(
        [1 - 0.5 * EARLY, 0.75], abs=1e-5
    )
    # Rotations are not continued beyond the samples.
    forward = track_boxes.box_to_clip_TNK44[:, 1, car, :2, 0]
    yaw = torch.atan2(forward[:, 1], forward[:, 0])
    assert yaw.tolist() == pytest.approx([0, 0.4 * (1 - EARLY), 1.2 - 0.8 * EARLY], abs=1e-3)
    assert track_boxes.size_TNK3[0, 0, car].tolist() == [4, 2, 1.5]


def test_poses_are_in_the_first_frames_ego_pose(small_index):
    track_boxes = clip_track_boxes(*_rows(small_index, item=1, num_frames=2))
    # The vehicle is at x = 1, turned by 0.05; the car on its way from (12, 1) to (13, 1.5).
    ahead, left = 12 - EARLY, 0.5 - 0.5 * EARLY + 1
    expected = [
        ahead * np.cos(0.05) + left * np.sin(0.05),
        left * np.cos(0.05) - ahead * np.sin(0.05),
        0.75,
    ]
    place = track_boxes.box_to_clip_TNK44[0, 1, _find(track_boxes, CAR), :3, 3]
    assert place.tolist() == pytest.approx(expected, abs=1e-5)


def test_tracks_that_one_sample_has(small_index):
    track_boxes = clip_track_boxes(*_rows(small_index))
    walker, truck = _find(track_boxes, WALKER), _find(track_boxes, TRUCK)
    # The walker is in samples 1 and 2; the truck in the first.
    assert track_boxes.present_TNK[:, 1, walker].tolist() == [True, True, True]
    assert track_boxes.box_to_clip_TNK44[0, 1, walker, 1, 3] == pytest.approx(-2)
    assert track_boxes.present_TNK[:, 1, truck].tolist() == [True, True, False]
    assert track_boxes.box_to_clip_TNK44[1, 1, truck, 0, 3] == pytest.approx(-15)


def test_sweeps_are_between_samples(small_index):
    track_boxes = clip_track_boxes(*_rows(small_index, frame_interval=1 / 6, cameras=["CAM_FRONT"]))
    x = track_boxes.box_to_clip_TNK44[:, 0, _find(track_boxes, CAR), 0, 3]
    assert x.tolist() == pytest.approx([12 - EARLY, 12 + 1 / 3 - EARLY, 12 + 2 / 3 - EARLY], 1e-4)


def test_missing_frames_have_no_tracks(small_index):
    index, rows = _rows(small_index, item=1)
    assert (rows[2] == -1).all()
    track_boxes = clip_track_boxes(index, rows)
    assert not track_boxes.present_TNK[2].any()
    assert torch.isfinite(track_boxes.box_to_clip_TNK44).all()
    nothing = clip_track_boxes(index, np.full((2, 3), -1))
    assert nothing.present_TNK.shape == (2, 3, 0)


def test_without_boxes_there_are_no_tracks(tables, write):
    tables["sample_annotation"], tables["instance"] = [], []
    root = write(tables)
    path = build_nuscenes_index(root, "v1.0-mini", root / "index.arrow")
    assert clip_track_boxes(*_rows(path)).box_to_clip_TNK44.shape == (3, 2, 0, 4, 4)


def test_boxes_drawn_in_the_image_have_no_pose(small_index):
    index, rows = _rows(small_index)
    index.boxes.__dict__["center"] = np.full_like(index.boxes.center, np.nan)
    assert clip_track_boxes(index, rows).present_TNK.shape[-1] == 0


def test_one_sample_stands_still(real_data, tmp_path):
    path = build_nuscenes_index(real_data / "nuscenes-sample", "v1.0-mini", tmp_path / "i.arrow")
    index = FrameIndex.open(path)
    track_boxes = clip_track_boxes(index, index.samples.keyframes[:1])
    assert track_boxes.present_TNK.all()
    assert track_boxes.present_TNK.shape[-1] == 69
    assert torch.isfinite(track_boxes.box_to_clip_TNK44).all()
