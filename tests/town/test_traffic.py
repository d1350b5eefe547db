from dataclasses import replace

import numpy as np
import pytest

from drivemim.data.classes import CLASS_ATTRIBUTES, NUSCENES_DETECTION
from drivemim.town import TownConfig
from drivemim.town.route import LEAD_IN, DrivingPlan, ego_distances, make_route, simulation_times
from drivemim.town.tracks import Track, trailer_track
from drivemim.town.traffic import make_traffic


@pytest.fixture(scope="module", params=range(5))
def traffic(request):
    return make_traffic(TownConfig(), request.param, np.random.default_rng([5, request.param]))


@pytest.mark.parametrize("turn", [-1, 0, 1])
def test_routes_are_smooth_and_end_in_the_right_lane(turn):
    route = make_route(DrivingPlan(turn, 0.0, 8.0, 30.0), 60.0)
    steps = np.linalg.norm(np.diff(route.points_P2, axis=0), axis=1)
    np.testing.assert_allclose(steps, 0.1, atol=0.06)
    directions = np.arctan2(*np.diff(route.points_P2, axis=0).T[::-1])
    assert np.abs(directions - route.headings_P[1:]).max() < 0.05
    positions, _ = route.at(np.array([LEAD_IN, LEAD_IN + 60.0]))
    np.testing.assert_allclose(positions[0], [-30.0, -1.75], atol=0.11)
    expected = {0: (1, -1.75), 1: (0, 1.75), -1: (0, -1.75)}[turn]  # keep to the right
    assert positions[1][expected[0]] == pytest.approx(expected[1], abs=0.05)


def test_a_vehicle_stops_before_the_line_and_continues():
    driven = ego_distances(DrivingPlan(0, 2.0, 8.0, 26.0), 10.0)
    speeds = np.diff(driven) / 0.05
    standing = speeds == 0
    assert standing.sum() * 0.05 == pytest.approx(2.0, abs=0.3)
    assert driven[:-1][standing].max() < LEAD_IN + 26.0 - 14.0
    assert speeds[-1] > 4.0
    assert speeds.min() >= 0


def test_all_kinds_of_agents_are_present(traffic):
    kinds = [track.kind for track in traffic.tracks]
    people = [track for track in traffic.tracks if track.is_pedestrian]
    assert len(people) >= 34
    assert sum(kind in ("sedan", "hatchback", "van", "truck", "bus") for kind in kinds) >= 18
    assert {"bus", "truck", "trailer", "cyclist", "bicycle"} <= set(kinds)
    assert {"motorcyclist", "motorcycle", "cone", "barrier"} <= set(kinds)
    assert kinds.count("excavator") + kinds.count("loader") == 1
    near = 0
    for time in (0.0, 4.0, 8.0):
        positions, _, _ = traffic.at(time)
        distances = np.linalg.norm(positions[1:] - positions[0], axis=1)
        is_pedestrian = np.array([track.is_pedestrian for track in traffic.tracks])
        near += (is_pedestrian & (distances < 40)).sum() / 3
    assert near >= 15


def test_tracks_do_not_collide(traffic):
    """Discs of 70 % of the half width around the middles of two objects never overlap."""
    halves = np.array([track.size_wlh[0] / 2 for track in [traffic.ego, *traffic.tracks]])
    halves *= 0.7
    for time in np.arange(0, 8.01, 0.5):
        positions, yaws, _ = traffic.at(time)
        positions = positions.copy()
        positions[0] += 1.4 * np.array([np.cos(yaws[0]), np.sin(yaws[0])])
        gaps = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
        gaps[np.diag_indices(len(gaps))] = np.inf
        assert (gaps > halves[:, None] + halves[None]).all()


def test_moving_tracks_face_where_they_go(traffic):
    for time in (1.0, 5.0):
        before, yaws, _ = traffic.at(time)
        step = traffic.at(time + 0.05)[0] - before
        speeds = traffic.speeds(time)
        for number, track in enumerate(traffic.tracks):
            if speeds[number] < 0.35:
                continue
            heading = np.arctan2(step[number + 1, 1], step[number + 1, 0])
            turned = (heading - yaws[number + 1] + np.pi) % (2 * np.pi) - np.pi
            assert abs(turned) < 0.3, track.kind


def test_people_have_human_sizes_and_speeds(traffic):
    for number, track in enumerate(traffic.tracks):
        if track.is_pedestrian:
            assert 1.1 < track.size_wlh[2] < 2.1
            assert traffic.speeds(3.0)[number] < 2.2


def test_times_cover_the_scene_and_a_margin():
    times = simulation_times(3.0)
    assert times[0] == -1.0
    assert times[-1] == pytest.approx(4.0)


def test_positions_between_steps_are_interpolated(traffic):
    lower, upper = traffic.at(1.0)[0], traffic.at(1.05)[0]
    np.testing.assert_allclose(traffic.at(1.02)[0], lower * 0.6 + upper * 0.4, atol=1e-9)


def driven(points):
    """A truck 8 m long on a path with one point per time step."""
    points = np.array(points, np.float64)
    ahead = np.gradient(points, axis=0)
    return Track("truck", (2.5, 8.0, 3.3), points, np.unwrap(np.arctan2(ahead[:, 1], ahead[:, 0])))


def test_a_trailer_keeps_its_distance_on_a_straight_road():
    truck = driven([(0.4 * step, 3.0) for step in range(50)])
    trailer = trailer_track(truck, (2.4, 6.0, 3.2), 0.2)
    # 4 m to the truck's rear end, 0.2 m of gap, 3 m to the trailer's middle
    np.testing.assert_allclose(trailer.positions_S2, truck.positions_S2 - [7.2, 0.0], atol=1e-9)
    np.testing.assert_allclose(trailer.yaws_S, 0.0, atol=1e-12)


def test_a_trailer_in_a_long_turn_runs_on_the_circle_of_a_rod_pulled_at_its_tip():
    angles = np.arange(0, 12 * np.pi, 0.002)
    truck = driven(20.0 * np.stack([np.cos(angles), np.sin(angles)], -1))
    trailer = trailer_track(truck, (2.4, 6.0, 3.2), 0.2)
    # The hitch, 4 m behind, runs on a circle of radius sqrt(20^2 + 4^2); the middle of the
    # trailer, pulled along a tangent 3.2 m long, on one of sqrt(20^2 + 4^2 - 3.2^2).
    radius = np.linalg.norm(trailer.positions_S2[-1])
    assert radius == pytest.approx(np.sqrt(400 + 16 - 3.2**2), abs=0.01)
    step = np.diff(trailer.positions_S2[-2:], axis=0)[0]
    heading = np.array([np.cos(trailer.yaws_S[-1]), np.sin(trailer.yaws_S[-1])])
    assert step @ heading / np.linalg.norm(step) > 0.9999


def test_a_trailer_stands_while_its_truck_does():
    positions = [(0.4 * min(step, 20), 0.1 * min(step, 20)) for step in range(40)]
    truck = driven(positions)
    still = Track(truck.kind, truck.size_wlh, truck.positions_S2, np.full(40, truck.yaws_S[0]))
    trailer = trailer_track(still, (2.4, 6.0, 3.2), 0.2)
    assert np.ptp(trailer.positions_S2[20:], axis=0).max() < 1e-12


def test_trailers_hang_on_their_trucks(traffic):
    towed = [n for n, track in enumerate(traffic.tracks) if track.kind == "trailer"]
    towed = [n for n in towed if not traffic.tracks[n].parked]
    assert towed
    for number in towed:
        truck, trailer = traffic.tracks[number - 1], traffic.tracks[number]
        assert truck.kind == "truck"
        gap = truck.positions_S2 - trailer.positions_S2
        turned = trailer.yaws_S - truck.yaws_S
        assert np.abs(turned).max() < np.radians(50)
        heading = np.stack([np.cos(trailer.yaws_S), np.sin(trailer.yaws_S)], -1)
        tip = trailer.positions_S2 + heading * (trailer.size_wlh[1] / 2 + 0.2)
        np.testing.assert_allclose(
            np.linalg.norm(truck.positions_S2 - tip, axis=1), truck.size_wlh[1] / 2, atol=1e-6
        )
        assert np.linalg.norm(gap, axis=1).max() < 9.0


def test_every_object_has_a_category_and_an_attribute_of_its_class(traffic):
    for track in traffic.tracks:
        name = NUSCENES_DETECTION[track.category]
        for speed in (0.0, 5.0):
            attribute = track.attribute(speed)
            allowed = CLASS_ATTRIBUTES[name]
            assert attribute in allowed if allowed else attribute == ""
    car = Track("sedan", (1.8, 4.5, 1.5), np.zeros((2, 2)), np.zeros(2))
    assert [car.attribute(speed) for speed in (0.29, 0.31)] == ["vehicle.stopped", "vehicle.moving"]
    assert replace(car, parked=True).attribute(0.0) == "vehicle.parked"
    states = {
        (track.kind, track.attribute(5.0)) for track in traffic.tracks if "motorc" in track.kind
    }
    assert states == {
        ("motorcyclist", "cycle.with_rider"),
        ("motorcycle", "cycle.without_rider"),
    }


def test_a_construction_vehicle_works_between_its_barriers(traffic):
    (vehicle,) = [t for t in traffic.tracks if t.kind in ("excavator", "loader")]
    barriers = [t for t in traffic.tracks if t.kind == "barrier"][:2]
    ends = [barrier.positions_S2[0] for barrier in barriers]
    along = (ends[1] - ends[0]) / np.linalg.norm(ends[1] - ends[0])
    reach = (vehicle.positions_S2 - ends[0]) @ along
    assert reach.min() > vehicle.size_wlh[1] / 2
    assert reach.max() < np.linalg.norm(ends[1] - ends[0]) - vehicle.size_wlh[1] / 2
    assert np.linalg.norm(np.diff(vehicle.positions_S2, axis=0), axis=1).max() <= 0.4 * 0.05 + 1e-9
