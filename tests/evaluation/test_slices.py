import math

import numpy as np
import pytest

from drivemim.evaluation.slices import (
    Objects,
    camera_slices,
    condition_slices,
    distance_axis,
    mean_of_known,
    visibility_axis,
)


def objects(distances=(), visibilities=None) -> Objects:
    count = len(distances)
    return Objects(
        images_M=np.zeros(count, np.int64),
        boxes_M4=np.zeros((count, 4)),
        labels_M=np.zeros(count, np.int64),
        ignored_M=np.zeros(count, bool),
        distances_M=np.asarray(distances, float),
        visibilities_M=np.asarray(visibilities or [0] * count, np.int64),
    )


def test_distance_edges_belong_to_the_farther_slice():
    axis = distance_axis(objects([0.0, 19.99, 20.0, 39.9, 40.0, 300.0]), (0, 20, 40))
    assert axis.names == ("distance 0-20 m", "distance 20-40 m", "distance 40+ m")
    assert axis.bins_M.tolist() == [0, 0, 1, 1, 2, 2]


def test_unknown_and_too_near_distances_are_in_no_slice():
    axis = distance_axis(objects([math.inf, math.nan, 3.0]), (5, 10))
    assert axis.bins_M.tolist() == [-1, -1, -1]


@pytest.mark.parametrize("edges", [(), (0, 0), (20, 10)])
def test_distance_edges_must_increase(edges):
    with pytest.raises(ValueError, match="increasing metres"):
        distance_axis(objects([1.0]), edges)


def test_visibility_levels_and_the_unknown():
    axis = visibility_axis(objects([1.0] * 6, [1, 2, 3, 4, 0, 5]))
    assert axis.names == ("visibility 1", "visibility 2", "visibility 3", "visibility 4")
    assert axis.bins_M.tolist() == [0, 1, 2, 3, -1, -1]


def test_cameras_in_alphabetical_order():
    slices = camera_slices(["CAM_FRONT", "CAM_BACK", "CAM_FRONT"])
    assert [(each.name, each.images.tolist()) for each in slices] == [
        ("camera CAM_BACK", [1]),
        ("camera CAM_FRONT", [0, 2]),
    ]
    assert camera_slices([]) == []


def test_a_rainy_night_is_both_and_other_words_follow():
    slices = condition_slices(["day", "night rain", "dusk", ""])
    assert [(each.name, each.images.tolist()) for each in slices] == [
        ("condition day", [0]),
        ("condition night", [1]),
        ("condition rain", [1]),
        ("condition dusk", [2]),
    ]


def test_mean_of_known():
    assert mean_of_known([0.25, math.nan, 0.75]) == 0.5
    assert math.isnan(mean_of_known([math.nan]))
    assert math.isnan(mean_of_known([]))
