"""Ego rotations that are written as x, y, z, w, found by the motion and by the up axis."""

import numpy as np
import pytest

from drivemim.data.index.builders.plausible_poses import (
    check_direction_of_motion,
    check_upright_rotations,
)
from drivemim.data.index.builders.source_rows import SourceRows
from drivemim.errors import DataError


def _drive(headings, seconds, speed=10.0, *, as_xyzw=False, course=0.0, roll=0.0, pitch=0.0):
    """Return source, times and poses of an ego; all angles in degrees.

    Args:
        headings: first and last heading.
        seconds: duration; poses are 0.1 s apart.
        speed: metres per second ahead; below 0 to reverse.
        as_xyzw: whether quaternions are written in that order.
        course: of the motion, from the heading.
        roll: about the ego's x axis.
        pitch: about the ego's y axis.
    """
    count = round(10 * seconds) + 1
    heading = np.radians(np.linspace(*headings, count))
    yaw, r, p = heading / 2, np.radians(roll) / 2, np.radians(pitch) / 2
    # The product of turns about z, y and x.
    cy, sy, cp, sp, cr, sr = (f(a) for a in (yaw, p, r) for f in (np.cos, np.sin))
    wxyz = np.stack(
        [
            cy * cp * cr + sy * sp * sr,
            cy * cp * sr - sy * sp * cr,
            cy * sp * cr + sy * cp * sr,
            sy * cp * cr - cy * sp * sr,
        ],
        axis=1,
    )
    way = heading + np.radians(course)
    steps = 0.1 * speed * np.stack([np.cos(way), np.sin(way)], axis=1)
    place = np.concatenate([np.zeros((1, 2)), np.cumsum(steps[:-1], axis=0)])
    rotation = wxyz[:, [1, 2, 3, 0]] if as_xyzw else wxyz
    times = 1_600_000_000_000_000 + 100_000 * np.arange(count)
    return "poses.csv", times, np.concatenate([place, np.zeros((count, 1)), rotation], axis=1)


def _check(*drives):
    rotations = np.concatenate([poses[:, 3:] for _, _, poses in drives])
    check_upright_rotations(SourceRows("poses.csv", lambda row: f"line {row + 2}"), rotations)
    check_direction_of_motion(drives)


def test_a_heading_as_xyzw_tilts_the_ego_and_drives_backwards():
    """Of a heading of 30 degrees: half the angle is 15 degrees, the quaternion 0, 0, sin, cos."""
    _, _, poses = _drive((30, 30), 1, as_xyzw=True)
    np.testing.assert_allclose(poses[0, 3:], [0, 0, np.sin(np.pi / 12), np.cos(np.pi / 12)])
    with pytest.raises(DataError, match=r"line 2 turns .* by 30 degrees \(mean of 11 rows\); read"):
        _check(_drive((30, 30), 1, as_xyzw=True))


@pytest.mark.parametrize("seconds", [0.6, 1, 3, 30])
@pytest.mark.parametrize("headings", [(0, 0), (1, -1), (-3, 3), (0, 4), (10, 10), (-44, -40)])
def test_headings_below_45_degrees_as_xyzw_are_refused(headings, seconds):
    _check(_drive(headings, seconds))
    with pytest.raises(DataError, match="write w first"):
        _check(_drive(headings, seconds, as_xyzw=True))
    # On a slope of 4 degrees, leaning by 2.
    _check(_drive(headings, seconds, pitch=-4, roll=2))
    with pytest.raises(DataError, match="write w first"):
        _check(_drive(headings, seconds, as_xyzw=True, pitch=-4, roll=2))


def test_short_scenes_are_evidence_together():
    """Each scene is 4 m long. A scene in which the ego stands is no evidence."""
    short = _drive((0, 0), 0.4, as_xyzw=True)
    _check(short)
    with pytest.raises(DataError, match="the ego drives backwards in the whole recording"):
        _check(short, _drive((0, 0), 5, speed=0, as_xyzw=True), short)


@pytest.mark.parametrize(
    "drives",
    [
        [((0, 0), 5, 0.0)],  # parked
        [((180, 180), 5, 0.0)],
        [((0, 0), 3, -3.0)],  # reversing
        [((170, 170), 3, -3.0)],
        [((185, 160), 3, -3.0)],
        [((180, 180), 3, -3.0), ((180, 180), 3, 8.0)],  # reversing, then ahead
        [((180, 180), 5, 10.0)],
        [((0, 360), 20, 5.0)],  # a circle
    ],
)
def test_parked_and_reversing_egos_are_not_refused(drives):
    _check(*(_drive(*drive) for drive in drives))
    _check(*(_drive(*drive, pitch=12) for drive in drives))
    _check(*(_drive(*drive, roll=3, pitch=-6) for drive in drives))


def test_motion_away_from_the_x_axis_is_a_warning(caplog):
    """After 5 m; a scene of two seconds was too short for it."""
    _check(_drive((90, 90), 2, course=90))
    assert "poses.csv: the ego moves 90 degrees (median) away from its x axis" in caplog.text
    caplog.clear()
    _check(_drive((0, 0), 3, speed=-3))
    assert "moves 180 degrees (median)" in caplog.text
    caplog.clear()
    _check(_drive((90, 90), 0.4, course=90), _drive((20, 60), 9), _drive((0, 0), 9, speed=1))
    assert caplog.text == ""


def test_boxes_as_xyzw_on_a_straight_road_are_refused():
    """Twelve cars that head 10 degrees to the left or to the right."""
    yaw = np.radians(np.tile([10.0, -10.0], 6)) / 2
    zero = np.zeros(12)
    rows = SourceRows("boxes.csv", lambda row: f"line {row}")
    check_upright_rotations(rows, np.stack([np.cos(yaw), zero, zero, np.sin(yaw)], axis=1), 10)
    as_xyzw = np.stack([zero, zero, np.sin(yaw), np.cos(yaw)], axis=1)
    with pytest.raises(DataError, match=r"by 10 degrees \(mean of 12 rows\); read as x, y, z, w"):
        check_upright_rotations(rows, as_xyzw, 10)
    check_upright_rotations(rows, as_xyzw[:9], 10)
