"""Objects and false positives of slices, by hand."""

import math

import numpy as np
import pytest

from drivemim.errors import ConfigError
from drivemim.evaluation.records import Detections, Objects
from drivemim.evaluation.slices import (
    camera_slices,
    check_edges,
    condition_slices,
    distance_slices,
    motion_slices,
    size_slices,
    visibility_slices,
    whole_slice,
)


def objects(count=0, images=None, heights=None, **columns) -> Objects:
    boxes = np.zeros((count, 4))
    boxes[:, 3] = heights if heights is not None else 1
    return Objects(
        images_M=np.asarray(images if images is not None else [0] * count, np.int64),
        boxes_M4=boxes,
        labels_M=np.zeros(count, np.int64),
        ignored_M=np.zeros(count, bool),
        distances_M=np.asarray(columns.get("distances", [1.0] * count), float),
        visibilities_M=np.asarray(columns.get("visibilities", [0] * count), np.int64),
        motions_M=np.asarray(columns.get("motions", [-1] * count), np.int64),
        crowds_M=np.zeros(count, bool),
    )


def detections(images=(), heights=None) -> Detections:
    boxes = np.zeros((len(images), 4))
    boxes[:, 3] = heights if heights is not None else 1
    return Detections(
        images_D=np.asarray(images, np.int64),
        boxes_D4=boxes,
        labels_D=np.zeros(len(images), np.int64),
        scores_D=np.ones(len(images)),
    )


def rows(slice_):
    return np.flatnonzero(slice_.objects_M).tolist(), np.flatnonzero(
        slice_.false_positive_D
    ).tolist()


def by_distance(distances, edges):
    truth = objects(len(distances), distances=distances)
    slices = distance_slices(truth, detections([0, 2]), 3, edges)
    return {slice_.name: rows(slice_)[0] for slice_ in slices}


def test_the_whole_is_everything():
    slice_ = whole_slice(objects(2), detections([0, 1, 1]), 5)
    assert (slice_.name, slice_.images, rows(slice_)) == ("all", 5, ([0, 1], [0, 1, 2]))


def test_distance_edges_belong_to_the_farther_slice():
    assert by_distance([0.0, 19.99, 20.0, 39.9, 40.0, 300.0], (0, 20, 40)) == {
        "distance 0-20 m": [0, 1],
        "distance 20-40 m": [2, 3],
        "distance 40+ m": [4, 5],
    }


def test_unknown_and_too_near_distances_are_in_no_slice():
    assert set(map(tuple, by_distance([math.inf, math.nan, 3.0], (5, 10)).values())) == {()}


def test_false_positives_have_no_distance():
    slice_ = distance_slices(objects(1), detections([0, 2]), 3, (0, 20))[1]
    assert (rows(slice_), slice_.images) == (([], [0, 1]), 3)


@pytest.mark.parametrize("edges", [(), (0, 0), (20, 10), (0, math.nan)])
def test_edges_must_increase(edges):
    with pytest.raises(ConfigError, match="distance_edges must be increasing metres"):
        check_edges("distance", edges, "metres")


def test_sizes_are_heights_of_objects_and_of_false_positives():
    truth = objects(4, heights=[10, 32, 95, 96])
    slices = size_slices(truth, detections([0, 0, 0], [31, 33, 200]), 1, (0, 32, 96))
    assert {slice_.name: rows(slice_) for slice_ in slices} == {
        "size 0-32 px": ([0], [0]),
        "size 32-96 px": ([1, 2], [1]),
        "size 96+ px": ([3], [2]),
    }


def test_visibility_levels_and_the_unknown():
    slices = visibility_slices(objects(6, visibilities=[1, 2, 3, 4, 0, 5]), detections([0]), 1)
    assert {slice_.name: rows(slice_) for slice_ in slices} == {
        f"visibility {level}": ([level - 1], [0]) for level in (1, 2, 3, 4)
    }


def test_moving_still_and_the_unknown():
    slices = motion_slices(objects(4, motions=[1, 0, -1, 1]), detections([0]), 1)
    assert {slice_.name: rows(slice_) for slice_ in slices} == {
        "motion still": ([1], [0]),
        "motion moving": ([0, 3], [0]),
    }


def test_cameras_in_alphabetical_order():
    truth, found = objects(3, images=[0, 1, 2]), detections([0, 1, 1])
    slices = camera_slices(truth, found, ["CAM_FRONT", "CAM_BACK", "CAM_FRONT"])
    assert [(slice_.name, rows(slice_), slice_.images) for slice_ in slices] == [
        ("camera CAM_BACK", ([1], [1, 2]), 1),
        ("camera CAM_FRONT", ([0, 2], [0]), 2),
    ]
    assert camera_slices(objects(), detections(), []) == []


def test_a_rainy_night_is_both_and_other_words_follow():
    truth = objects(4, images=[0, 1, 2, 3])
    slices = condition_slices(truth, detections([1]), ["day", "night rain", "dusk", ""])
    assert [(slice_.name, rows(slice_), slice_.images) for slice_ in slices] == [
        ("condition day", ([0], []), 1),
        ("condition night", ([1], [0]), 1),
        ("condition rain", ([1], [0]), 1),
        ("condition dusk", ([2], []), 1),
    ]
