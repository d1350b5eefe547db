"""Collision-free motion of a scene: ego car, vehicles, cyclists and pedestrians.

Letters: A objects, S time steps.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from drivemim.array_types import Floats
from drivemim.town import pedestrian_behaviors, vehicle_behaviors, work_zone
from drivemim.town.rig import yaw_matrix
from drivemim.town.route import (
    TIME_MARGIN,
    TIME_STEP,
    draw_junction,
    draw_plan,
    ego_distances,
    make_route,
)
from drivemim.town.scene_builder import EGO_LENGTH, EGO_WIDTH, SceneBuilder
from drivemim.town.town_config import TownConfig
from drivemim.town.tracks import Track

_FIRST_PEDESTRIAN_DISTANCE = 20.0  # the first pedestrian is visible from the ego car, metres
_MIN_VEHICLES = 4  # from this many vehicles on, one is a construction vehicle in the work zone


@dataclass(frozen=True)
class Traffic:
    """Ego car and all other tracks, world frame; times in seconds from the scene's start.

    Attributes:
        ego: track of the ego car's rear axle.
        tracks: tracks of all other objects.
        description: part of the scene's description, about the ego car.
    """

    ego: Track
    tracks: list[Track]
    description: str
    _positions_AS2: Floats = field(repr=False)
    _yaws_AS: Floats = field(repr=False)
    _travelled_AS: Floats = field(repr=False)

    def at(self, time: float) -> tuple[Floats, Floats, Floats]:
        """Return positions (A, 2), yaws (A) and travelled distances (A); the ego car is first."""
        position = (time + TIME_MARGIN) / TIME_STEP
        step = min(max(int(position), 0), self._yaws_AS.shape[1] - 2)
        fraction = position - step

        def interpolate(values: Floats) -> Floats:
            between: Floats = values[:, step] * (1 - fraction) + values[:, step + 1] * fraction
            return between

        return (
            interpolate(self._positions_AS2),
            interpolate(self._yaws_AS),
            interpolate(self._travelled_AS),
        )

    def speeds(self, time: float) -> Floats:
        """Return the speed of every track (without the ego car), metres per second."""
        before, after = self.at(time - TIME_STEP)[0], self.at(time + TIME_STEP)[0]
        speeds: Floats = np.linalg.norm(after - before, axis=1)[1:] / (2 * TIME_STEP)
        return speeds


def make_traffic(config: TownConfig, number: int, generator: np.random.Generator) -> Traffic:
    """Simulate the traffic of a scene.

    Args:
        config: number of vehicles and pedestrians, and length of the scene.
        number: number of the scene; selects what the ego car does.
        generator: source of randomness.
    """
    plan = draw_plan(generator, number)
    ego_distance_S = ego_distances(plan, config.seconds)
    route = make_route(plan, float(ego_distance_S[-1]))
    ego = Track("ego", (EGO_WIDTH, EGO_LENGTH, 1.5), *route.at(ego_distance_S))
    builder = SceneBuilder(ego, route, ego_distance_S, plan, generator)
    has_construction_vehicle = config.vehicles >= _MIN_VEHICLES
    builder.add(partial(work_zone.work_zone_tracks, construction_vehicle=has_construction_vehicle))
    _add_vehicles(builder, config.vehicles - has_construction_vehicle)
    _add_pedestrians(builder, config.pedestrians)
    for kind in work_zone.MOVABLE_OBJECTS:
        builder.add(partial(work_zone.movable_object, kind=kind))
    center_2, heading = draw_junction(generator)
    rotation = yaw_matrix(heading)[:2, :2]
    tracks = [
        replace(
            track,
            positions_S2=track.positions_S2 @ rotation.T + center_2,
            yaws_S=track.yaws_S + heading,
        )
        for track in [ego, *builder.tracks]
    ]
    return Traffic(
        tracks[0],
        tracks[1:],
        plan.description,
        np.stack([track.positions_S2 for track in tracks]),
        np.stack([track.yaws_S for track in tracks]),
        np.stack([track.travelled_distance() for track in tracks]),
    )


def _add_vehicles(builder: SceneBuilder, count: int) -> None:
    """Add at most ``count`` vehicles and cycles; leave out those without a free position."""
    remaining = count
    for propose, max_distance in vehicle_behaviors.vehicle_schedule(count):
        if remaining <= 0:
            return
        remaining -= max(builder.add(propose, max_distance=max_distance, max_tracks=remaining), 1)


def _add_pedestrians(builder: SceneBuilder, count: int) -> None:
    """Add at most ``count`` pedestrians, the first of them near the ego car."""
    for index in range(count):
        if index == 3:  # one of four or more pedestrians works at the work zone
            builder.add(work_zone.construction_worker)
            continue
        propose = (
            pedestrian_behaviors.crossing_pedestrian
            if index % 3 == 1
            else pedestrian_behaviors.pavement_pedestrian
        )
        builder.add(propose, max_distance=_FIRST_PEDESTRIAN_DISTANCE if index == 0 else None)
