"""Random vehicles and cycles for a ``SceneBuilder`` to accept or reject: driving, parked, ..."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from drivemim.town.ground import CROSSING, LANE_OFFSET
from drivemim.town.scene_builder import EGO_MIDDLE, Proposal, SceneBuilder
from drivemim.town.tracks import Size, Track, trailer_track

_HITCH = 0.2  # from a truck's rear end to the tip of the drawbar, metres


def vehicle_schedule(count: int) -> Iterator[tuple[Proposal, float | None]]:
    """Yield proposals for a scene's vehicles, and within how many metres each must be visible.

    The first proposals cover all moving vehicle classes of nuScenes' detection task and have a
    distance, so that every class is visible in every scene. Then follows a mix of driving and
    parked vehicles, whose distance is None: they need not be visible.

    Args:
        count: number of proposals.
    """
    required: list[tuple[Proposal, float | None]] = [
        (truck_with_trailer, 30.0),
        (leading_car, 25.0),
        (bus, 34.0),
        (motorcyclist, 18.0),
        (cyclist, 18.0),
    ]
    mixed: list[Proposal] = [
        partial(parked_cycle, kind="motorcycle"),
        partial(driving_vehicle, kind="truck"),
        cyclist,
        waiting_vehicle,
        partial(parked_cycle, kind="bicycle"),
        following_car,
        partial(driving_vehicle, kind=None),
        partial(parked_vehicle, kind="trailer"),
        waiting_vehicle,
        motorcyclist,
        partial(driving_vehicle, kind=None),
        cyclist,
    ]
    for index in range(count):
        if index < len(required):
            yield required[index]
            continue
        position, odd = divmod(index - len(required), 2)
        if odd or position >= len(mixed):
            yield parked_vehicle, None
        else:
            yield mixed[position], None


def _sample_vehicle_kind(builder: SceneBuilder, van_weight: float) -> str:
    """Sample a kind of vehicle.

    The probabilities are proportional to 0.5 for a sedan or hatchback, ``van_weight`` for a van and
    half of it for a truck or bus.
    """
    kinds = ("sedan", "hatchback", "van", "truck", "bus")
    weights = np.array([0.5, 0.5, van_weight, van_weight / 2, van_weight / 2])
    return str(builder.generator.choice(kinds, p=weights / weights.sum()))


def following_car(builder: SceneBuilder) -> list[Track]:
    """Propose a car that follows the ego car on its route and falls back."""
    size = builder.size("hatchback")
    return [_on_route(builder, "hatchback", size, -(size[1] / 2 + 4.0), -1)]


def leading_car(builder: SceneBuilder) -> list[Track]:
    """Propose a car ahead of the ego car (60 %), or a driving or parked sedan (20 % each)."""
    choice = builder.generator.random()
    if choice < 0.6:
        kind = _sample_vehicle_kind(builder, 0.0)
        size = builder.size(kind)
        gap = size[1] / 2 + builder.generator.uniform(9, 16) + EGO_MIDDLE
        return [_on_route(builder, kind, size, gap, 1)]
    return driving_vehicle(builder, "sedan") if choice < 0.8 else parked_vehicle(builder, "sedan")


def _on_route(builder: SceneBuilder, kind: str, size: Size, gap: float, direction: int) -> Track:
    """Return a vehicle whose middle is ``gap`` metres ahead of the ego car's rear axle.

    During the scene the gap grows (``direction`` 1) or shrinks (-1) by up to 4 m.
    """
    change = np.linspace(0, builder.generator.uniform(0, 4), len(builder.times_S))
    return Track(kind, size, *builder.route.at(builder.ego_distance_S + (gap + direction * change)))


def driving_vehicle(builder: SceneBuilder, kind: str | None) -> list[Track]:
    """Propose a vehicle with constant lane and speed, along or across the ego car's street."""
    kind = kind or _sample_vehicle_kind(builder, 0.25)
    return [_in_lane(builder, kind, builder.size(kind), float(builder.generator.uniform(4.5, 9.0)))]


def _in_lane(builder: SceneBuilder, kind: str, size: Size, speed: float) -> Track:
    """Return an oncoming vehicle (65 %) or one that comes from a side street."""
    if builder.generator.random() < 0.65:
        middle = float(builder.generator.uniform(-20, 35))
        start, street, left = middle + speed * builder.times_S[-1] / 2, 0.0, LANE_OFFSET
        along = start - speed * builder.times_S
        return Track(
            kind, size, builder.street_points(street, along, left), builder.constant_yaw(np.pi)
        )
    street = float(builder.generator.choice([np.pi / 2, -np.pi / 2]))
    along = builder.generator.uniform(-45, 10) + speed * builder.times_S
    return Track(
        kind, size, builder.street_points(street, along, -LANE_OFFSET), builder.constant_yaw(street)
    )


def truck_with_trailer(builder: SceneBuilder) -> list[Track]:
    """Propose a truck with a trailer, ahead on the ego car's route or in another lane."""
    truck = (2.45, float(builder.generator.uniform(7.2, 8.2)), 3.3)
    trailer = builder.size("trailer")
    # A right turn is too narrow for both; on a straight route the trailer would hide the truck.
    if builder.plan.turn <= 0 or builder.generator.random() < 0.1:
        truck_track = _in_lane(builder, "truck", truck, float(builder.generator.uniform(4.0, 7.5)))
        return [truck_track, trailer_track(truck_track, trailer, _HITCH)]
    gap = builder.generator.uniform(9, 16) + trailer[1] + _HITCH + truck[1] / 2 + EGO_MIDDLE
    truck_track = Track("truck", truck, *builder.route.at(builder.ego_distance_S + gap))
    return [truck_track, trailer_track(truck_track, trailer, _HITCH)]


def bus(builder: SceneBuilder) -> list[Track]:
    """Propose a bus that drives, waits at a stop line or parks at the kerb."""
    choice = builder.generator.random()
    if choice < 0.5:
        return driving_vehicle(builder, "bus")
    return waiting_vehicle(builder, "bus") if choice < 0.75 else parked_vehicle(builder, "bus")


def waiting_vehicle(builder: SceneBuilder, kind: str | None = None) -> list[Track]:
    """Propose a vehicle that waits at a stop line."""
    kind = kind or _sample_vehicle_kind(builder, 0.25)
    size = builder.size(kind)
    street = float(builder.generator.choice([0.0, np.pi / 2, -np.pi / 2]))
    along = CROSSING[1] + 1.8 + size[1] / 2 + float(builder.generator.choice([0, 0, 7.5]))
    return [
        Track(
            kind,
            size,
            builder.street_points(street, along, LANE_OFFSET),
            builder.constant_yaw(street + np.pi),
        )
    ]


def parked_vehicle(builder: SceneBuilder, kind: str | None = None) -> list[Track]:
    """Propose a vehicle in a parking bay."""
    kind = kind or _sample_vehicle_kind(builder, 0.15).replace("bus", "van")
    size = builder.size(kind)
    street, near, far = builder.street(CROSSING[1] + 4.5, 62.0)
    side = builder.side()
    middle = 5.3 if kind == "bus" else (4.68 if size[0] < 2.2 else 4.78)
    left = side * middle + builder.generator.uniform(-0.1, 0.1)
    yaw = street + (np.pi if side > 0 else 0.0) + builder.generator.normal(0, 0.02)
    positions = builder.street_points(street, builder.generator.uniform(near, far), left)
    return [Track(kind, size, positions, builder.constant_yaw(float(yaw)), parked=True)]


def cyclist(builder: SceneBuilder) -> list[Track]:
    """Propose a cyclist near the edge of the lane."""
    height = float(builder.generator.uniform(1.65, 1.85))
    street, _, far = builder.street(0.0, 45.0)
    outward = bool(builder.generator.random() < 0.5)
    speed = float(builder.generator.uniform(2.5, 5.5))
    sign = 1 if outward else -1
    along = builder.generator.uniform(0, far) + sign * speed * builder.times_S
    yaw = street if outward else street + np.pi
    positions = builder.street_points(
        street, along, -sign * float(builder.generator.uniform(2.6, 3.0))
    )
    return [Track("cyclist", (0.62, height, height), positions, builder.constant_yaw(yaw))]


def motorcyclist(builder: SceneBuilder) -> list[Track]:
    """Propose a motorcyclist behind or ahead of the ego car, or in another lane."""
    size = _motorcycle_size(builder, 1.5)
    if builder.generator.random() < 0.5:
        speed = float(builder.generator.uniform(5.0, 9.0))
        return [_in_lane(builder, "motorcyclist", size, speed)]
    gap = float(builder.generator.choice([-1.0, 1.0])) * float(builder.generator.uniform(6.0, 10.0))
    positions, yaws = builder.route.at(builder.ego_distance_S + EGO_MIDDLE + gap)
    return [Track("motorcyclist", size, positions, yaws)]


def parked_cycle(builder: SceneBuilder, kind: str) -> list[Track]:
    """Propose a parked "bicycle" or "motorcycle" at the kerb."""
    street, near, far = builder.street(12.0, 45.0)
    size = (0.55, 1.75, 1.05) if kind == "bicycle" else _motorcycle_size(builder, 1.15)
    left = builder.side() * (6.5 if kind == "bicycle" else 5.2)
    positions = builder.street_points(street, builder.generator.uniform(near, far), left)
    return [Track(kind, size, positions, builder.constant_yaw(street), parked=True)]


def _motorcycle_size(builder: SceneBuilder, height: float) -> Size:
    """Sample the size of a motorcycle; ``height`` is the height before scaling, metres."""
    scale = float(builder.generator.uniform(0.96, 1.05))
    return 0.8 * scale, 2.1 * scale, height * scale
