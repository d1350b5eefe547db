"""Who is seen from the ego car, by hand: it stands on a street that runs along x."""

import numpy as np

from drivemim.town.crowd import Crowd
from drivemim.town.lookout import Lookout
from drivemim.town.route import RUN_UP, Plan, make_route
from drivemim.town.tracks import Track

EYE = (-30.0, 0.0)
STEPS = 6


def still(x, y):
    return np.tile([float(x), float(y)], (STEPS, 1))


def meets(place, *screens, near=50.0, counted=STEPS):
    lookout = Lookout(still(*EYE), np.arange(STEPS) < counted)
    return lookout.meets(still(*place), near, screens)


def disc(x, y, radius):
    return still(x, y)[:, None], np.array([radius])


def test_distance_and_time():
    assert meets((-10, 0), near=20.1)
    assert not meets((-10, 0), near=19.9)
    # Four instants are asked for, or all where there are fewer.
    late = still(-10, 0)
    late[:3] = 1000.0
    assert not Lookout(still(*EYE), np.ones(STEPS, bool)).meets(late, 50.0, [])
    assert Lookout(still(*EYE), np.arange(STEPS) >= 3).meets(late, 50.0, [])


def test_what_is_large_and_between_hides():
    assert not meets((-10, 0), disc(-20, 0.9, 1.0))
    assert meets((-10, 0), disc(-20, 1.1, 1.0))
    assert meets((-10, 0), disc(-20, 0.0, 0.8))  # too small to hide anybody
    assert meets((-10, 0), disc(-5, 0.0, 2.0))  # behind


def test_houses_at_the_corner_hide():
    assert meets((0, 9))
    assert not meets((0, 30))  # half way there, (-15, 15) is in a house


def test_nobody_comes_to_stand_before_one_who_is_to_be_seen():
    plan = Plan(0, 0.0, 8.0, 40.0)
    driven = np.full(80, RUN_UP)  # it stands for four seconds
    route = make_route(plan, RUN_UP + 10.0)
    ego = Track("ego", (1.9, 4.6, 1.5), *route.at(driven))
    crowd = Crowd(ego, route, driven, plan, np.random.default_rng(0))
    start = ego.places_S2[0]

    def stands(kind, size, ahead, left):
        place = np.tile(start + [ahead, left], (len(driven), 1))
        return lambda crowd: [Track(kind, size, place, np.zeros(len(driven)))]

    person = stands("adult", (0.7, 0.7, 1.75), 20.0, 0.0)
    assert crowd.add(person, near=25.0) == 1
    bus = (2.5, 10.0, 3.2)
    assert crowd.add(stands("bus", bus, 12.0, 0.0)) == 0
    assert crowd.add(stands("bus", bus, 12.0, 4.0)) == 1
    assert [track.kind for track in crowd.tracks] == ["adult", "bus"]
