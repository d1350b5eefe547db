"""Filters for ignored boxes, on boxes made by hand."""

import math

import numpy as np
import pytest

from drivemim.data.boxes.ground_truth import FrameBoxes
from drivemim.data.detection.box_filters import BoxFilters
from drivemim.errors import ConfigError


def boxes_of(**columns):
    count = 3
    base = dict(
        offsets=np.array([0, count]),
        frame=np.zeros(count, np.int64),
        box=np.arange(count),
        boxes=np.array([[0, 0, 10, 20], [0, 0, 30, 30], [5, 5, 65, 45]], float),
        center=np.full((count, 3), np.nan),
        rotation=np.full((count, 4), np.nan),
        label=np.zeros(count, np.int64),
        track=np.arange(count),
        depth=np.full(count, np.inf),
        distance=np.full(count, np.nan),
        visibility=np.zeros(count, np.int64),
        truncation=np.zeros(count),
        lidar_points=np.full(count, -1),
        radar_points=np.full(count, -1),
        moving=np.full(count, -1),
        crowd=np.zeros(count, bool),
    )
    return FrameBoxes(**{**base, **{name: np.array(value) for name, value in columns.items()}})


@pytest.mark.parametrize(
    ("filters", "columns", "ignored"),
    [
        ({}, {}, [0, 0, 0]),
        # What lies on a limit passes. The boxes are 10 x 20, 30 x 30 and 60 x 40 pixels.
        ({"min_width": 30}, {}, [1, 0, 0]),
        ({"min_width": 30.5}, {}, [1, 1, 0]),
        ({"min_height": 20}, {}, [0, 0, 0]),
        ({"min_height": 20.5}, {}, [1, 0, 0]),
        ({"min_area": 900}, {}, [1, 0, 0]),
        ({"min_area": 901}, {}, [1, 1, 0]),
        ({"min_visibility": 3}, {"visibility": [0, 2, 3]}, [0, 1, 0]),
        ({"min_visibility": 2}, {"visibility": [1, 2, 4]}, [1, 0, 0]),
        ({"max_distance": 40}, {"distance": [np.nan, 40.0, 40.1]}, [0, 0, 1]),
        ({"max_truncation": 0.5}, {"truncation": [0.5, 0.51, 0.0]}, [0, 1, 0]),
        ({"max_truncation": 0.0}, {"truncation": [0.0, 0.01, 1.0]}, [0, 1, 1]),
        ({"min_lidar_points": 1}, {"lidar_points": [-1, 0, 1]}, [0, 1, 0]),
        ({"min_lidar_points": 5}, {"lidar_points": [4, 5, 6]}, [1, 0, 0]),
        # Lidar and radar together; unknown where either is.
        ({"min_points": 3}, {"lidar_points": [2, 2, 0], "radar_points": [0, 1, 3]}, [1, 0, 0]),
        ({"min_points": 3}, {"lidar_points": [-1, 2, 1], "radar_points": [0, -1, 0]}, [0, 0, 1]),
        ({"min_width": 30, "min_lidar_points": 1}, {"lidar_points": [5, 0, 1]}, [1, 1, 0]),
    ],
)
def test_filters_by_hand(filters, columns, ignored):
    reasons = BoxFilters.from_dict(filters).reasons(boxes_of(**columns))
    assert np.any(list(reasons.values()), axis=0).tolist() == [bool(x) for x in ignored]


@pytest.mark.parametrize(
    ("name", "value", "range_"),
    [
        ("max_truncation", 50, r"\[0, 1\]"),
        ("min_visibility", 5, r"\[0, 4\]"),
        ("min_width", -1, r"\[0, inf\]"),
        ("max_distance", math.nan, r"\[0, inf\]"),
        ("min_area", "900", r"\[0, inf\]"),
    ],
)
def test_a_limit_out_of_range_is_refused(name, value, range_):
    with pytest.raises(ConfigError, match=f"{name}={value!r} is not a number in {range_}"):
        BoxFilters.from_dict({name: value})
