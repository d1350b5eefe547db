"""Clips with a detector's boxes instead of annotations."""

import json
import pickle

import numpy as np
import pytest
import torch

from drivemim.data import ClipDataset, FrameIndex, frame_boxes
from drivemim.errors import ConfigError


@pytest.fixture(scope="session")
def detected(small_index, tmp_path_factory):
    """Results that are the annotations of every frame."""
    index = FrameIndex.open(small_index)
    found = frame_boxes(index, np.arange(len(index.frames)))
    size = found.boxes[:, 2:] - found.boxes[:, :2]
    boxes = np.concatenate([found.boxes[:, :2], size], axis=1)
    results = [
        {"image_id": int(frame), "category_id": int(label), "bbox": box.tolist(), "score": 0.5}
        for frame, label, box in zip(found.frame, found.label, boxes, strict=True)
    ]
    path = tmp_path_factory.mktemp("results") / "results.json"
    path.write_text(json.dumps(results))
    return path


def clips_of(index, boxes, **arguments):
    settings = {"index": index, "image_size": (24, 32), "num_frames": 3, "scenes": "mini_train"}
    return ClipDataset(**{**settings, **arguments}, boxes=boxes)


def test_detections_that_are_annotations(small_index, detected):
    """The same boxes; depths are not known, and tracks are those that overlap."""
    truth = clips_of(small_index, "AnnotatedBoxes")[0]
    config = {"type": "PseudoLabelBoxes", "file": detected, "min_overlap": 0.1}
    clip = clips_of(small_index, config)[0]
    torch.testing.assert_close(clip.boxes_BTNM4, truth.boxes_BTNM4)
    assert torch.equal(clip.labels_BTNM, truth.labels_BTNM)
    assert torch.isinf(clip.depths_BTNM).all()
    # The front camera sees the car at every step and the walker from the second one on.
    assert truth.tracks_BTNM[0, :, 1].tolist() == [[4, -1], [4, 5], [4, 5]]
    car, walker = clip.tracks_BTNM[0, :, 1].T.tolist()
    assert car[0] == car[1]
    assert car[0] >= 0
    assert walker[0] == -1


def test_tracks_do_not_depend_on_the_order_of_cameras(small_index, detected):
    config = {"type": "PseudoLabelBoxes", "file": detected, "min_overlap": 0.1}
    cameras = ["CAM_FRONT", "CAM_BACK"]
    one = clips_of(small_index, config, cameras=cameras)[0]
    other = clips_of(small_index, config, cameras=cameras[::-1])[0]
    assert torch.equal(one.tracks_BTNM, other.tracks_BTNM.flip(2))
    assert (one.tracks_BTNM >= 0).any()


def test_frames_that_are_missing(small_index, detected):
    config = {"type": "PseudoLabelBoxes", "file": detected}
    clip = clips_of(small_index, config).load(np.full((3, 2), -1), seed=0)
    assert clip.boxes_BTNM4.shape == (1, 3, 2, 0, 4)
    assert clip.tracks_BTNM.shape == (1, 3, 2, 0)


def test_scores_below_are_left_out(small_index, detected):
    config = {"type": "PseudoLabelBoxes", "file": detected, "min_score": 0.51}
    assert clips_of(small_index, config)[0].labels_BTNM.numel() == 0


def test_worker_processes_share_columns(small_index, detected):
    data = pickle.loads(pickle.dumps(clips_of(small_index, {"type": "PseudoLabelBoxes",
                                                            "file": detected})))  # fmt: skip
    assert (data[0].labels_BTNM >= 0).any()


def test_no_boxes_at_all(small_index):
    clip = clips_of(small_index, None)[0]
    assert clip.boxes_BTNM4.shape == (1, 3, 2, 0, 4)


@pytest.mark.parametrize("min_overlap", [0, -0.1, 1.1])
def test_min_overlap_must_be_a_fraction(small_index, detected, min_overlap):
    config = {"type": "PseudoLabelBoxes", "file": detected, "min_overlap": min_overlap}
    with pytest.raises(ValueError, match=r"min_overlap=.* must be in \(0, 1\]"):
        clips_of(small_index, config)


@pytest.mark.parametrize("min_score", [30, -0.1, np.nan])
def test_min_score_must_be_a_score(small_index, detected, min_score):
    config = {"type": "PseudoLabelBoxes", "file": detected, "min_score": min_score}
    with pytest.raises(ConfigError, match=rf"min_score {min_score} must be in \[0, 1\]"):
        clips_of(small_index, config)


@pytest.mark.parametrize("size", [-1.0, np.nan, np.inf])
def test_the_smallest_size_of_a_box_is_a_number_of_pixels(small_index, size):
    with pytest.raises(ConfigError, match=f"min_box_size {size} must be 0 or more"):
        clips_of(small_index, "AnnotatedBoxes", min_box_size=size)


def test_an_unknown_source(small_index):
    with pytest.raises(KeyError, match="GuessedBoxes is not in the"):
        clips_of(small_index, "GuessedBoxes")
