import numpy as np
import pytest

from drivemim.datasets.town import TownConfig
from drivemim.datasets.town.route import RUN_UP, Plan, drive, make_route, time_grid
from drivemim.datasets.town.traffic import make_traffic


@pytest.fixture(scope="module", params=range(5))
def traffic(request):
    return make_traffic(TownConfig(), request.param, np.random.default_rng([5, request.param]))


@pytest.mark.parametrize("turn", [-1, 0, 1])
def test_routes_are_smooth_and_end_in_the_right_lane(turn):
    route = make_route(Plan(turn, 0.0, 8.0, 30.0), 60.0)
    steps = np.linalg.norm(np.diff(route.points_P2, axis=0), axis=1)
    np.testing.assert_allclose(steps, 0.1, atol=0.06)
    directions = np.arctan2(*np.diff(route.points_P2, axis=0).T[::-1])
    assert np.abs(directions - route.headings_P[1:]).max() < 0.05
    places, _ = route.at(np.array([RUN_UP, RUN_UP + 60.0]))
    np.testing.assert_allclose(places[0], [-30.0, -1.75], atol=0.11)
    expected = {0: (1, -1.75), 1: (0, 1.75), -1: (0, -1.75)}[turn]  # keep to the right
    assert places[1][expected[0]] == pytest.approx(expected[1], abs=0.05)


def test_a_stop_stands_still_before_the_line_and_goes_on():
    driven = drive(Plan(0, 2.0, 8.0, 26.0), 10.0)
    speeds = np.diff(driven) / 0.05
    standing = speeds == 0
    assert standing.sum() * 0.05 == pytest.approx(2.0, abs=0.3)
    assert driven[:-1][standing].max() < RUN_UP + 26.0 - 14.0
    assert speeds[-1] > 4.0
    assert speeds.min() >= 0


def test_everybody_takes_part(traffic):
    kinds = [track.kind for track in traffic.tracks]
    people = [track for track in traffic.tracks if track.walks]
    assert len(people) >= 34
    assert sum(kind in ("sedan", "hatchback", "van", "truck", "bus") for kind in kinds) >= 18
    assert {"bus", "truck", "cyclist", "bicycle", "cone"} <= set(kinds)
    near = 0
    for time in (0.0, 4.0, 8.0):
        places, _, _ = traffic.at(time)
        away = np.linalg.norm(places[1:] - places[0], axis=1)
        walks = np.array([track.walks for track in traffic.tracks])
        near += (walks & (away < 40)).sum() / 3
    assert near >= 15


def test_nobody_drives_through_anybody(traffic):
    """Discs of half a width in the middle of two objects never overlap."""
    halves = np.array([track.size_wlh[0] / 2 for track in [traffic.ego, *traffic.tracks]])
    halves *= 0.7
    for time in np.arange(0, 8.01, 0.5):
        places, yaws, _ = traffic.at(time)
        places = places.copy()
        places[0] += 1.4 * np.array([np.cos(yaws[0]), np.sin(yaws[0])])
        gaps = np.linalg.norm(places[:, None] - places[None], axis=-1)
        gaps[np.diag_indices(len(gaps))] = np.inf
        assert (gaps > halves[:, None] + halves[None]).all()


def test_moving_tracks_face_where_they_go(traffic):
    for time in (1.0, 5.0):
        before, yaws, _ = traffic.at(time)
        step = traffic.at(time + 0.05)[0] - before
        speeds = traffic.speeds(time)
        for number, track in enumerate(traffic.tracks):
            if speeds[number] < 0.5 or track.kind == "child":
                continue
            heading = np.arctan2(step[number + 1, 1], step[number + 1, 0])
            turned = (heading - yaws[number + 1] + np.pi) % (2 * np.pi) - np.pi
            assert abs(turned) < 0.3, track.kind


def test_people_have_human_sizes_and_speeds(traffic):
    for number, track in enumerate(traffic.tracks):
        if track.walks:
            assert 1.1 < track.size_wlh[2] < 2.1
            assert traffic.speeds(3.0)[number] < 2.2


def test_times_cover_the_scene_and_a_margin():
    times = time_grid(3.0)
    assert times[0] == -1.0
    assert times[-1] == pytest.approx(4.0)


def test_positions_between_steps_are_interpolated(traffic):
    lower, upper = traffic.at(1.0)[0], traffic.at(1.05)[0]
    np.testing.assert_allclose(traffic.at(1.02)[0], lower * 0.6 + upper * 0.4, atol=1e-9)
