"""Ego poses at the times of images, by hand."""

import numpy as np
import pytest

from drivemim.data.index.builders.source_rows import SourceRows
from drivemim.data.index.builders.trajectory import Trajectory

START = 1_600_000_000_000_000


def _at(milliseconds, x, wanted):
    """Return x of the poses at times in milliseconds, from poses of an ego that looks along x."""
    poses = np.zeros((len(x), 7))
    poses[:, 0], poses[:, 3] = x, 1
    times = START + 1000 * np.array(milliseconds, np.int64)
    found = Trajectory(times, poses, SourceRows("poses.csv", lambda row: f"line {row}"))
    return found.at(START + 1000 * np.array(wanted, np.int64))[:, 0].tolist()


def test_poses_are_interpolated_between_and_at_the_ends():
    # 10 m/s, every 50 ms.
    times = [0, 50, 100, 150]
    x = [time / 100 for time in times]
    wanted = [-50, 0, 25, 150, 200]
    assert _at(times, x, wanted) == pytest.approx([-0.5, 0, 0.25, 1.5, 2])


def test_noise_of_two_near_poses_does_not_send_the_ego_away():
    """10 m/s; the last pose is 1 ms after the one before, and 2 cm ahead: 20 m/s.

    From 100 ms to 201 ms the ego moves 1.02 m; 50 ms at this speed are 0.505 m, not 1 m.
    """
    times, x = [0, 100, 200, 201], [0, 1, 2, 2.02]
    assert _at(times, x, [251]) == pytest.approx([2.02 + 0.05 * 1.02 / 0.101])
    # Mirrored in time: backwards from the first pose.
    times, x = [0, 1, 101, 201], [0, -0.02, 0.98, 1.98]
    assert _at(times, x, [-50]) == pytest.approx([-0.05 * 0.98 / 0.101])


def test_motion_is_extrapolated_for_no_longer_than_it_was_recorded():
    """Two poses 1 ms and 2 cm apart: at most 2 cm on, not 1 m."""
    assert _at([0, 1], [0, 0.02], [-50, 51]) == pytest.approx([-0.02, 0.04])
    # 40 ms are enough for 30 ms more.
    assert _at([0, 20, 40], [0, 0.2, 0.4], [70, 90]) == pytest.approx([0.7, 0.8])
    assert _at([0], [3], [-50, 0, 50]) == [3, 3, 3]


def test_turns_continue_at_the_ends():
    """A quarter turn per second: 50 ms beyond the last of two poses 0.5 s apart."""
    half = np.pi / 8
    poses = np.array([[0, 0, 0, 1, 0, 0, 0], [0, 0, 0, np.cos(half), 0, 0, np.sin(half)]])
    trajectory = Trajectory(np.array([0, 500_000]), poses, SourceRows("poses.csv", ["1", "2"]))
    (found,) = trajectory.at(np.array([550_000]))
    assert 2 * np.arctan2(found[6], found[3]) == pytest.approx(0.55 * np.pi / 2)
