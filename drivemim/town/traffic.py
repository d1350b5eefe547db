"""Simulated motion of a scene: ego car, vehicles, cyclists and pedestrians, without collisions."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from drivemim.town import drivers, roadworks, walkers
from drivemim.town.config import TownConfig
from drivemim.town.crowd import EGO_LENGTH, EGO_WIDTH, Crowd
from drivemim.town.rig import yaw_matrix
from drivemim.town.route import MARGIN, STEP, draw_plan, drive, junction, make_route
from drivemim.town.surfaces import Floats
from drivemim.town.tracks import Track

_PERSON_NEAR = 20.0
_DUG_FROM = 4  # from this many vehicles on, one of them is a machine at the work site


@dataclass(frozen=True)
class Traffic:
    """Ego car and all other tracks, world frame; times in seconds from the scene's start."""

    ego: Track
    tracks: list[Track]
    description: str
    _places_AS2: Floats = field(repr=False)
    _yaws_AS: Floats = field(repr=False)
    _travelled_AS: Floats = field(repr=False)

    def at(self, time: float) -> tuple[Floats, Floats, Floats]:
        """Return places (A, 2), yaws (A) and travelled distances (A); the ego car comes first."""
        exact = (time + MARGIN) / STEP
        step = min(max(int(exact), 0), self._yaws_AS.shape[1] - 2)
        share = exact - step

        def blend(values: Floats) -> Floats:
            mixed: Floats = values[:, step] * (1 - share) + values[:, step + 1] * share
            return mixed

        return blend(self._places_AS2), blend(self._yaws_AS), blend(self._travelled_AS)

    def speeds(self, time: float) -> Floats:
        """Return the speed of every track (without the ego car), metres per second."""
        before, after = self.at(time - STEP)[0], self.at(time + STEP)[0]
        speeds: Floats = np.linalg.norm(after - before, axis=1)[1:] / (2 * STEP)
        return speeds


def make_traffic(config: TownConfig, number: int, generator: np.random.Generator) -> Traffic:
    """Simulate a scene.

    Args:
        config: number of vehicles and pedestrians, and length of the scene.
        number: number of the scene; decides what the ego car does.
        generator: source of randomness.
    """
    plan = draw_plan(generator, number)
    driven = drive(plan, config.seconds)
    route = make_route(plan, float(driven[-1]))
    ego = Track("ego", (EGO_WIDTH, EGO_LENGTH, 1.5), *route.at(driven))
    crowd = Crowd(ego, route, driven, plan, generator)
    dug = config.vehicles >= _DUG_FROM
    crowd.add(partial(roadworks.work_site, machine=dug))
    _fill_vehicles(crowd, config.vehicles - dug)
    _fill_people(crowd, config.pedestrians)
    for kind in roadworks.STREET_FURNITURE:
        crowd.add(partial(roadworks.street_furniture, kind=kind))
    centre_2, heading = junction(generator)
    turned = yaw_matrix(heading)[:2, :2]
    moved = [
        replace(
            track,
            places_S2=track.places_S2 @ turned.T + centre_2,
            yaws_S=track.yaws_S + heading,
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


def _fill_vehicles(crowd: Crowd, count: int) -> None:
    """Add at most ``count`` vehicles and cycles; leave out those that find no place."""
    room = count
    for propose, near in drivers.programme(count):
        if room <= 0:
            return
        room -= max(crowd.add(propose, near=near, room=room), 1)


def _fill_people(crowd: Crowd, count: int) -> None:
    """Add at most ``count`` people, the first of them near the ego car."""
    for place in range(count):
        if place == 3:
            crowd.add(roadworks.site_worker)
            continue
        maker = walkers.crosser if place % 3 == 1 else walkers.passer_by
        crowd.add(maker, near=_PERSON_NEAR if place == 0 else None)
