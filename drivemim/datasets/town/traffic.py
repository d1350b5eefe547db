"""Who moves through a scene, and how: cars, cyclists, pedestrians, none through another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from drivemim.datasets.town.config import TownConfig
from drivemim.datasets.town.ground import CROSSING, LANE
from drivemim.datasets.town.rig import yaw_matrix
from drivemim.datasets.town.route import (
    MARGIN,
    STEP,
    Route,
    draw_plan,
    drive,
    junction,
    make_route,
    time_grid,
)
from drivemim.datasets.town.surfaces import Floats
from drivemim.datasets.town.vehicles import SHAPES

EGO_LENGTH, EGO_WIDTH = 4.6, 1.9
_EGO_MIDDLE = 1.4


@dataclass(frozen=True)
class Track:
    """One object's life.

    Attributes:
        kind: key of ``vehicles.SHAPES``, or "adult", "child", "worker", "cyclist", "bicycle",
            "cone", "barrier".
        size_wlh: width, length, height of its box, metres.
        places_S2: on the ground, metres, one a step of the simulation.
        yaws_S: radians, unwrapped.
        parked: it stands still for the whole scene and means to.
    """

    kind: str
    size_wlh: tuple[float, float, float]
    places_S2: Floats
    yaws_S: Floats
    parked: bool = False

    @property
    def walks(self) -> bool:
        """Whether it is a pedestrian."""
        return self.kind in ("adult", "child", "worker")

    def travelled(self) -> Floats:
        """Distance covered since the simulation began, metres, one a step."""
        steps = np.linalg.norm(np.diff(self.places_S2, axis=0), axis=1)
        return np.concatenate([[0.0], np.cumsum(steps)])


@dataclass(frozen=True)
class Traffic:
    """Ego car and everybody else, in the world frame; times in seconds from the scene's start."""

    ego: Track
    tracks: list[Track]
    description: str
    _places_AS2: Floats = field(repr=False)
    _yaws_AS: Floats = field(repr=False)
    _travelled_AS: Floats = field(repr=False)

    def at(self, time: float) -> tuple[Floats, Floats, Floats]:
        """Places (A, 2), yaws (A) and travelled distances (A); the ego car comes first."""
        exact = (time + MARGIN) / STEP
        step = min(max(int(exact), 0), self._yaws_AS.shape[1] - 2)
        share = exact - step

        def blend(values: Floats) -> Floats:
            mixed: Floats = values[:, step] * (1 - share) + values[:, step + 1] * share
            return mixed

        return blend(self._places_AS2), blend(self._yaws_AS), blend(self._travelled_AS)

    def speeds(self, time: float) -> Floats:
        """Speed of every track (without the ego car), metres a second."""
        before, after = self.at(time - STEP)[0], self.at(time + STEP)[0]
        speeds: Floats = np.linalg.norm(after - before, axis=1)[1:] / (2 * STEP)
        return speeds


def make_traffic(config: TownConfig, number: int, generator: np.random.Generator) -> Traffic:
    """Simulate a scene.

    Args:
        config: how many take part, and for how long.
        number: of the scene; decides what the ego car does.
        generator: source of randomness.
    """
    plan = draw_plan(generator, number)
    driven = drive(plan, config.seconds)
    route = make_route(plan, float(driven[-1]))
    ego_places, ego_yaws = route.at(driven)
    ego = Track("ego", (EGO_WIDTH, EGO_LENGTH, 1.5), ego_places, ego_yaws)
    crowd = _Crowd(ego, route, driven, plan.turn, generator, len(time_grid(config.seconds)))
    _fill_vehicles(crowd, config.vehicles)
    _fill_people(crowd, config.pedestrians)
    for kind in ("cone", "cone", "cone", "barrier", "barrier"):
        crowd.try_often(partial(crowd.street_furniture, kind))
    centre_2, heading = junction(generator)
    turned = yaw_matrix(heading)[:2, :2]
    moved = [
        Track(
            track.kind,
            track.size_wlh,
            track.places_S2 @ turned.T + centre_2,
            track.yaws_S + heading,
            track.parked,
        )
        for track in [ego, *crowd.tracks]
    ]
    return Traffic(
        moved[0],
        moved[1:],
        plan.description,
        np.stack([track.places_S2 for track in moved]),
        np.stack([track.yaws_S for track in moved]),
        np.stack([track.travelled() for track in moved]),
    )


def _fill_vehicles(crowd: _Crowd, count: int) -> None:
    """Lead and following cars, a bus and a truck, then the others, until ``count`` are placed."""
    makers = [
        lambda: crowd.convoy(1),
        lambda: crowd.driving("bus"),
        lambda: crowd.driving("truck"),
        lambda: crowd.cyclist(),
        lambda: crowd.cyclist(),
        lambda: crowd.waiting(),
        lambda: crowd.convoy(-1),
        lambda: crowd.driving(None),
        lambda: crowd.cyclist(),
        lambda: crowd.standing_bicycle(),
        lambda: crowd.waiting(),
        lambda: crowd.driving(None),
        lambda: crowd.driving(None),
    ]
    for place in range(count):
        special = place // 2 if place % 2 == 0 else len(makers)
        maker = makers[special] if special < len(makers) else crowd.parked_vehicle
        crowd.try_often(maker)


def _fill_people(crowd: _Crowd, count: int) -> None:
    for place in range(count):
        maker = crowd.crosser if place % 3 == 1 else crowd.passer_by
        crowd.try_often(maker)


class _Crowd:
    """Proposes tracks in the junction's frame and keeps those that hit nobody."""

    def __init__(
        self,
        ego: Track,
        route: Route,
        driven_S: Floats,
        turn: int,
        generator: np.random.Generator,
        steps: int,
    ) -> None:
        self.tracks: list[Track] = []
        self._route, self._driven_S, self._turn = route, driven_S, turn
        self._random, self._steps = generator, steps
        self._times = np.arange(steps) * STEP - MARGIN
        self._reach = float(max(30.0, driven_S[-1] - driven_S[0]))
        shift = np.stack([np.cos(ego.yaws_S), np.sin(ego.yaws_S)], -1) * _EGO_MIDDLE
        middle = Track(ego.kind, ego.size_wlh, ego.places_S2 + shift, ego.yaws_S)
        self._discs_SD2, self._radii_D = _discs(middle, 0.35)
        self._ego_S2 = middle.places_S2

    def try_often(self, propose: Callable[[], Track], attempts: int = 30) -> None:
        """Keep the first of several proposals that collides with nobody."""
        for _ in range(attempts):
            track = propose()
            discs, radii = _discs(track, 0.12)
            gaps = np.linalg.norm(discs[:, :, None] - self._discs_SD2[:, None], axis=-1)
            if (gaps > radii[:, None] + self._radii_D[None]).all():
                self._discs_SD2 = np.concatenate([self._discs_SD2, discs], axis=1)
                self._radii_D = np.concatenate([self._radii_D, radii])
                self.tracks.append(track)
                return

    def _arm(self, near: float, far: float) -> tuple[float, float, float]:
        """Direction of a street leaving the junction, and the stretch of it to place things on."""
        leaving = self._turn * np.pi / 2
        others = [angle for angle in (0.0, np.pi / 2, -np.pi / 2) if angle != leaving]
        choice = self._random.random()
        if choice < 0.5:
            return np.pi, near, far
        if choice < 0.85:
            return leaving, near, max(far * 0.8, min(self._reach, 70.0))
        return others[int(self._random.integers(2))], near, far * 0.6

    def _place(self, arm: float, along_S: Floats | float, left_S: Floats | float) -> Floats:
        """Points ``along`` an arm from the junction, ``left`` of its outward direction."""
        outward = np.array([np.cos(arm), np.sin(arm)])
        leftward = np.array([-outward[1], outward[0]])
        along = np.broadcast_to(along_S, self._steps)[:, None]
        left = np.broadcast_to(left_S, self._steps)[:, None]
        places: Floats = along * outward + left * leftward
        return places

    def _size(self, kind: str) -> tuple[float, float, float]:
        low_high = np.array(SHAPES[kind].size_wlh)
        share = float(self._random.random())
        width, length, height = low_high[:, 0] + share * (low_high[:, 1] - low_high[:, 0])
        return float(width), float(length), float(height)

    def _kind(self, large: float) -> str:
        kinds = ("sedan", "hatchback", "van", "truck", "bus")
        shares = np.array([0.5, 0.5, large, large / 2, large / 2])
        return str(self._random.choice(kinds, p=shares / shares.sum()))

    def convoy(self, direction: int) -> Track:
        """A vehicle that drives the ego car's route ahead of it (1) or behind it (-1)."""
        kind = "hatchback" if direction < 0 else self._kind(0.2)
        size = self._size(kind)
        gap = size[1] / 2 + (self._random.uniform(9, 16) if direction > 0 else 4.0)
        drift = np.linspace(0, self._random.uniform(0, 4), self._steps)
        distances = self._driven_S + direction * (gap + _EGO_MIDDLE * (direction > 0) + drift)
        places, yaws = self._route.at(distances)
        return Track(kind, size, places, yaws)

    def driving(self, kind: str | None) -> Track:
        """A vehicle that keeps its lane and speed along or across the ego car's street."""
        kind = kind or self._kind(0.25)
        size = self._size(kind)
        speed = float(self._random.uniform(4.5, 9.0))
        if self._random.random() < 0.65:
            meet = float(self._random.uniform(-20, 35))
            start, arm, left = meet + speed * self._times[-1] / 2, 0.0, LANE
            along = start - speed * self._times
            return Track(kind, size, self._place(arm, along, left), self._constant(np.pi))
        arm = float(self._random.choice([np.pi / 2, -np.pi / 2]))
        along = self._random.uniform(-45, 10) + speed * self._times
        return Track(kind, size, self._place(arm, along, -LANE), self._constant(arm))

    def waiting(self) -> Track:
        """A vehicle standing at a stop line."""
        kind = self._kind(0.25)
        size = self._size(kind)
        arm = float(self._random.choice([0.0, np.pi / 2, -np.pi / 2]))
        along = CROSSING[1] + 1.8 + size[1] / 2 + float(self._random.choice([0, 0, 7.5]))
        return Track(kind, size, self._place(arm, along, LANE), self._constant(arm + np.pi))

    def parked_vehicle(self) -> Track:
        """A vehicle in a parking bay."""
        kind = self._kind(0.15).replace("bus", "van")
        size = self._size(kind)
        arm, near, far = self._arm(CROSSING[1] + 4.5, 62.0)
        side = float(self._random.choice([-1.0, 1.0]))
        left = side * (4.68 if size[0] < 2.2 else 4.78) + self._random.uniform(-0.1, 0.1)
        yaw = arm + (np.pi if side > 0 else 0.0) + self._random.normal(0, 0.02)
        places = self._place(arm, self._random.uniform(near, far), left)
        return Track(kind, size, places, self._constant(float(yaw)), parked=True)

    def cyclist(self) -> Track:
        """Somebody riding a bicycle near the edge of the lane."""
        height = float(self._random.uniform(1.65, 1.85))
        arm, _, far = self._arm(0.0, 45.0)
        outward = bool(self._random.random() < 0.5)
        speed = float(self._random.uniform(2.5, 5.5))
        sign = 1 if outward else -1
        along = self._random.uniform(0, far) + sign * speed * self._times
        yaw = arm if outward else arm + np.pi
        places = self._place(arm, along, -sign * float(self._random.uniform(2.6, 3.0)))
        return Track("cyclist", (0.62, height, height), places, self._constant(yaw))

    def standing_bicycle(self) -> Track:
        """A bicycle left at the kerb."""
        arm, near, far = self._arm(12.0, 45.0)
        left = float(self._random.choice([-1.0, 1.0])) * 6.5
        places = self._place(arm, self._random.uniform(near, far), left)
        return Track("bicycle", (0.55, 1.75, 1.05), places, self._constant(arm), parked=True)

    def street_furniture(self, kind: str) -> Track:
        """A traffic cone or barrier beside the lane."""
        arm, near, far = self._arm(13.0, 45.0)
        left = float(self._random.choice([-1.0, 1.0])) * float(self._random.uniform(4.6, 5.4))
        size = (0.4, 0.4, 0.75) if kind == "cone" else (2.0, 0.5, 1.0)
        places = self._place(arm, self._random.uniform(near, far), left)
        return Track(kind, size, places, self._constant(arm), parked=True)

    def passer_by(self) -> Track:
        """Somebody walking along a pavement, or standing on it."""
        kind, size = self._person()
        arm, near, far = self._arm(4.0, 58.0)
        left = float(self._random.choice([-1.0, 1.0])) * float(self._random.uniform(7.0, 9.3))
        start = float(self._random.uniform(near, far))
        if self._random.random() < 0.3:
            yaw = float(self._random.uniform(-np.pi, np.pi))
            return Track(kind, size, self._place(arm, start, left), self._constant(yaw))
        outward = bool(self._random.random() < 0.5)
        speed = float(self._random.uniform(0.8, 1.7)) * (1 if outward else -1)
        sway = left + 0.15 * np.sin(0.8 * self._times + start)
        places = self._place(arm, start + speed * (self._times - self._times.mean()), sway)
        return Track(kind, size, places, self._constant(arm if outward else arm + np.pi))

    def crosser(self) -> Track:
        """Somebody crossing a street, on the crossing or away from it, once the time comes."""
        kind, size = self._person()
        arm, near, far = self._arm(7.0, 45.0)
        if self._random.random() < 0.55:
            along = float(self._random.uniform(*CROSSING))
        else:
            along = float(self._random.uniform(near, far))
        side = float(self._random.choice([-1.0, 1.0]))
        speed = float(self._random.uniform(1.0, 1.9))
        begin = float(self._random.uniform(-6.0, self._times[-1] - 1))
        kerb = float(self._random.uniform(6.3, 7.4))
        left = side * (kerb - np.clip(speed * (self._times - begin), 0, kerb + 8.0))
        drift = along + 0.1 * np.sin(left)
        yaw = arm - side * np.pi / 2
        return Track(kind, size, self._place(arm, drift, left), self._constant(yaw))

    def _person(self) -> tuple[str, tuple[float, float, float]]:
        kind = str(self._random.choice(["adult", "child", "worker"], p=[0.82, 0.12, 0.06]))
        height = float(self._random.normal(1.74, 0.08) if kind != "child" else 1.2)
        return kind, (0.4 * height, 0.4 * height, height)

    def _constant(self, yaw: float) -> Floats:
        return np.full(self._steps, yaw)


def _discs(track: Track, margin: float) -> tuple[Floats, Floats]:
    """Discs that cover a track's footprint every 0.2 s: centres (S, D, 2) and radii (D)."""
    width, length, _ = track.size_wlh
    count = max(int(np.ceil(length / width)), 1) if not track.walks else 1
    forward = np.stack([np.cos(track.yaws_S), np.sin(track.yaws_S)], -1)[::4]
    offsets = (np.arange(count) + 0.5) / count * length - length / 2
    centres = track.places_S2[::4, None] + forward[:, None] * offsets[:, None]
    radius = np.hypot(width, length / count) / 2 * (0.75 if track.walks else 0.92) + margin
    return centres, np.full(count, radius)
