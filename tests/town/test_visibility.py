"""Visibility from an ego car that stands on a street along x, worked out by hand."""

import numpy as np

from drivemim.town.route import LEAD_IN, DrivingPlan, make_route
from drivemim.town.scene_builder import SceneBuilder
from drivemim.town.tracks import Track
from drivemim.town.visibility import LineOfSight

EGO = (-30.0, 0.0)
STEPS = 6


def still(x, y):
    return np.tile([float(x), float(y)], (STEPS, 1))


def is_visible(position, *occluders, max_distance=50.0):
    line_of_sight = LineOfSight(still(*EGO), np.ones(STEPS, bool))
    return line_of_sight.is_visible(still(*position), max_distance, occluders)


def disc(x, y, radius):
    return still(x, y)[:, None], np.array([radius])


def test_distance_and_time():
    assert is_visible((-10, 0), max_distance=20.1)
    assert not is_visible((-10, 0), max_distance=19.9)
    # Four time steps are required, or all if fewer are tested.
    late = still(-10, 0)
    late[:3] = 1000.0
    assert not LineOfSight(still(*EGO), np.ones(STEPS, bool)).is_visible(late, 50.0, [])
    assert LineOfSight(still(*EGO), np.arange(STEPS) >= 3).is_visible(late, 50.0, [])


def test_a_large_object_between_occludes():
    assert not is_visible((-10, 0), disc(-20, 0.9, 1.0))
    assert is_visible((-10, 0), disc(-20, 1.1, 1.0))
    assert is_visible((-10, 0), disc(-20, 0.0, 0.8))  # too small to occlude
    assert is_visible((-10, 0), disc(-5, 0.0, 2.0))  # behind


def test_houses_at_the_corner_occlude():
    assert is_visible((0, 9))
    assert not is_visible((0, 30))  # half way there, (-15, 15) is in a house


def test_later_tracks_do_not_occlude_a_track_that_must_be_visible():
    plan = DrivingPlan(0, 0.0, 8.0, 40.0)
    distances = np.full(80, LEAD_IN)  # it stands for four seconds
    route = make_route(plan, LEAD_IN + 10.0)
    ego = Track("ego", (1.9, 4.6, 1.5), *route.at(distances))
    builder = SceneBuilder(ego, route, distances, plan, np.random.default_rng(0))
    start = ego.positions_S2[0]

    def stands(kind, size, ahead, left):
        positions = np.tile(start + [ahead, left], (len(distances), 1))
        return lambda builder: [Track(kind, size, positions, np.zeros(len(distances)))]

    person = stands("adult", (0.7, 0.7, 1.75), 20.0, 0.0)
    assert builder.add(person, max_distance=25.0) == 1
    bus = (2.5, 10.0, 3.2)
    assert builder.add(stands("bus", bus, 12.0, 0.0)) == 0
    assert builder.add(stands("bus", bus, 12.0, 4.0)) == 1
    assert [track.kind for track in builder.tracks] == ["adult", "bus"]
