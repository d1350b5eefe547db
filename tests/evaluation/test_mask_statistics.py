"""Hidden patches of objects and classes, counted by hand."""

import math
from dataclasses import replace

import pytest
import torch

from drivemim.clips import Clips
from drivemim.evaluation.mask_statistics import (
    MaskCounts,
    mask_counts,
    mask_summary,
    object_patches,
)

GRID = (4, 8)
# Patches of 10 x 10 pixels: track 1 owns 2 x 3 patches at 10 m, track 2 one at 30 m.
NEAR, FAR = (10.0, 10.0, 40.0, 30.0), (60.0, 0.0, 69.0, 9.0)


def clip(boxes, labels, depths, frames=1):
    """Frames of 40 x 80 pixels that all have the same boxes."""
    shape, M = (1, frames, 1), len(boxes)
    return Clips(
        images_BTNHWC=torch.zeros(*shape, 40, 80, 3, dtype=torch.uint8),
        intrinsics_BTN33=torch.eye(3).repeat(*shape, 1, 1),
        camera_to_clip_BTN44=torch.eye(4).repeat(*shape, 1, 1),
        timestamps_BTN=torch.zeros(shape, dtype=torch.int64),
        valid_BTN=torch.ones(shape, dtype=torch.bool),
        boxes_BTNM4=torch.tensor(boxes).reshape(M, 4).repeat(*shape, 1, 1),
        labels_BTNM=torch.tensor(labels, dtype=torch.int64).repeat(*shape, 1),
        tracks_BTNM=torch.arange(M).repeat(*shape, 1),
        depths_BTNM=torch.tensor(depths, dtype=torch.float32).repeat(*shape, 1),
        points_BTNP3=torch.zeros(*shape, 0, 3),
        seeds_B=torch.zeros(1, dtype=torch.int64),
        tokens=((("",),) * frames,),
    )


def two_objects(frames=1):
    return clip([NEAR, FAR], [1, 0], [10, 30], frames)


def test_patches_of_objects():
    found = object_patches(two_objects(frames=2), GRID)
    assert found.patches_O.tolist() == [6, 1, 6, 1]
    assert found.labels_O.tolist() == [1, 0, 1, 0]
    assert found.distances_O.tolist() == [10, 30, 10, 30]
    owner = found.owner_F.reshape(2, *GRID)
    assert owner[0].tolist() == [
        [-1, -1, -1, -1, -1, -1, 1, -1],
        [-1, 0, 0, 0, -1, -1, -1, -1],
        [-1, 0, 0, 0, -1, -1, -1, -1],
        [-1] * 8,
    ]
    assert owner[1, 1, 1] == 2


def test_an_occluded_object_owns_no_patch():
    found = object_patches(clip([NEAR, (20.0, 10.0, 30.0, 20.0)], [1, 1], [10, 20]), GRID)
    assert found.patches_O.tolist() == [6]


def test_a_summary_by_hand():
    objects = object_patches(two_objects(), GRID)
    masks = torch.zeros(2, 1, 1, *GRID, dtype=torch.bool)
    masks[0, 0, 0, 1:3, 1:3] = True  # four of the six patches of the vehicle
    masks[1, 0, 0, 1:3, 1:4] = True  # all of them, and the pedestrian
    masks[1, 0, 0, 0, 6] = True
    counts = mask_counts(masks, objects)
    assert counts.class_patches_C.tolist() == [[2, 12, 50]]
    assert counts.class_hidden_C.tolist() == [[1, 10, 0]]
    row = mask_summary(counts, budget=5, frames=1)
    assert row["objects"] == 4
    assert row["objects_hidden"] == pytest.approx((4 / 6 + 0 + 1 + 1) / 4)
    assert (row["large_objects"], row["wiped_out"]) == (2, 1)
    assert row["least_visible"] == {"0-20 m": 0, "20-40 m": None, "40+ m": None}
    # 11 of 64 patches are hidden: 10 of 12 of vehicles, 1 of 2 of pedestrians, none of the rest.
    assert row["class_balance"]["vehicle"] == pytest.approx(10 / 12 / (11 / 64))
    assert row["class_balance"]["pedestrian"] == pytest.approx(1 / 2 / (11 / 64))
    assert row["class_balance"]["rest"] == 0
    assert row["frame_budget"] == row["clip_budget"] == (-1, 2)
    spared = mask_summary(mask_counts(masks[:1], objects), budget=4, frames=1)
    assert spared["least_visible"]["0-20 m"] == 2
    assert spared["wiped_out"] == 0


@pytest.mark.parametrize(("depth", "band"), [(19.9, 0), (20, 1), (39.9, 1), (40, 2), (math.inf, 3)])
def test_bands_of_distance(depth, band):
    objects = object_patches(clip([NEAR], [1], [depth]), GRID)
    mask = torch.zeros(1, 1, 1, *GRID, dtype=torch.bool)
    row = mask_summary(mask_counts(mask, objects), budget=0, frames=1)
    expected = [6 if place == band else None for place in range(3)]
    assert list(row["least_visible"].values()) == expected


def test_budgets_of_frames_and_of_clips():
    objects = object_patches(two_objects(frames=2), GRID)
    mask = torch.zeros(1, 2, 1, *GRID, dtype=torch.bool)
    mask[0, 0, 0, :2] = True
    row = mask_summary(mask_counts(mask, objects), budget=8, frames=2)
    assert row["frame_budget"] == (-8, 8)
    assert row["clip_budget"] == (0, 0)


def test_clips_are_joined():
    mask = torch.ones(1, 1, 1, *GRID, dtype=torch.bool)
    parts = [
        mask_counts(mask, object_patches(each, GRID))
        for each in (two_objects(), clip([NEAR], [0], [50]))
    ]
    row = mask_summary(MaskCounts.join(parts), budget=32, frames=1)
    assert (row["objects"], row["wiped_out"]) == (3, 2)
    assert row["least_visible"] == {"0-20 m": 0, "20-40 m": None, "40+ m": 0}
    assert row["class_balance"] == {"pedestrian": 1, "vehicle": 1, "rest": 1}


def test_no_objects_and_missing_frames():
    empty = clip([], [], [])
    mask = torch.ones(1, 1, 1, *GRID, dtype=torch.bool)
    row = mask_summary(mask_counts(mask, object_patches(empty, GRID)), budget=32, frames=1)
    assert row["objects"] == 0
    assert row["objects_hidden"] is None
    assert row["class_balance"] == {"pedestrian": None, "vehicle": None, "rest": 1}
    missing = replace(two_objects(), valid_BTN=torch.zeros(1, 1, 1, dtype=torch.bool))
    row = mask_summary(mask_counts(mask, object_patches(missing, GRID)), budget=32, frames=1)
    assert row["objects"] == 0
    assert row["class_balance"] == {"pedestrian": None, "vehicle": None, "rest": None}


def test_one_clip_at_a_time():
    with pytest.raises(ValueError, match="2 clips; objects are counted in one clip"):
        object_patches(Clips.cat([two_objects(), two_objects()]), GRID)


def test_classes_are_those_of_the_clips():
    clips = replace(two_objects(), classes=("cyclist", "car", "tram"))
    mask = torch.ones(1, 1, 1, *GRID, dtype=torch.bool)
    parts = [mask_counts(mask, object_patches(clips, GRID))] * 2
    row = mask_summary(MaskCounts.join(parts), budget=32, frames=1)
    assert row["class_balance"] == {"cyclist": 1, "car": 1, "tram": None, "rest": 1}
