"""Proposals of vehicles and cycles: driving, towing, waiting and parked."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from drivemim.town.crowd import EGO_MIDDLE, Crowd, Proposal
from drivemim.town.ground import CROSSING, LANE
from drivemim.town.tracks import Size, Track, tow

_HITCH = 0.2


def programme(count: int) -> Iterator[tuple[Proposal, float | None]]:
    """Yield proposals for a scene's vehicles, each with the distance it must come within (metres).

    The first ones cover all driving classes of nuScenes' detection task, so that even a quiet
    scene shows them; then follows a mix of driving and parked vehicles.

    Args:
        count: number of proposals.
    """
    shown: list[tuple[Proposal, float | None]] = [
        (towing, 30.0),
        (leading_car, 25.0),
        (bus, 34.0),
        (motorcyclist, 18.0),
        (cyclist, 18.0),
    ]
    mixed: list[Proposal] = [
        partial(standing_cycle, kind="motorcycle"),
        partial(driving, kind="truck"),
        cyclist,
        waiting,
        partial(standing_cycle, kind="bicycle"),
        follower,
        partial(driving, kind=None),
        partial(parked_vehicle, kind="trailer"),
        waiting,
        motorcyclist,
        partial(driving, kind=None),
        cyclist,
    ]
    for place in range(count):
        if place < len(shown):
            yield shown[place]
            continue
        special, odd = divmod(place - len(shown), 2)
        if odd or special >= len(mixed):
            yield parked_vehicle, None
        else:
            yield mixed[special], None


def _kind(crowd: Crowd, large: float) -> str:
    kinds = ("sedan", "hatchback", "van", "truck", "bus")
    shares = np.array([0.5, 0.5, large, large / 2, large / 2])
    return str(crowd.random.choice(kinds, p=shares / shares.sum()))


def follower(crowd: Crowd) -> list[Track]:
    """Propose a car that follows the ego car on its route and falls back."""
    size = crowd.size("hatchback")
    return [_on_route(crowd, "hatchback", size, -(size[1] / 2 + 4.0), -1)]


def leading_car(crowd: Crowd) -> list[Track]:
    """Propose a car ahead of the ego car (60 %), or a driving or parked sedan (20 % each)."""
    choice = crowd.random.random()
    if choice < 0.6:
        kind = _kind(crowd, 0.0)
        size = crowd.size(kind)
        gap = size[1] / 2 + crowd.random.uniform(9, 16) + EGO_MIDDLE
        return [_on_route(crowd, kind, size, gap, 1)]
    return driving(crowd, "sedan") if choice < 0.8 else parked_vehicle(crowd, "sedan")


def _on_route(crowd: Crowd, kind: str, size: Size, gap: float, direction: int) -> Track:
    """Return a vehicle ``gap`` metres ahead of the ego car's rear axle.

    During the scene it gains (``direction`` 1) or loses (-1) up to 4 m.
    """
    drift = np.linspace(0, crowd.random.uniform(0, 4), len(crowd.times_S))
    return Track(kind, size, *crowd.route.at(crowd.driven_S + (gap + direction * drift)))


def driving(crowd: Crowd, kind: str | None) -> list[Track]:
    """Propose a vehicle with constant lane and speed, along or across the ego car's street."""
    kind = kind or _kind(crowd, 0.25)
    return [_in_lane(crowd, kind, crowd.size(kind), float(crowd.random.uniform(4.5, 9.0)))]


def _in_lane(crowd: Crowd, kind: str, size: Size, speed: float) -> Track:
    if crowd.random.random() < 0.65:
        meet = float(crowd.random.uniform(-20, 35))
        start, arm, left = meet + speed * crowd.times_S[-1] / 2, 0.0, LANE
        along = start - speed * crowd.times_S
        return Track(kind, size, crowd.place(arm, along, left), crowd.constant(np.pi))
    arm = float(crowd.random.choice([np.pi / 2, -np.pi / 2]))
    along = crowd.random.uniform(-45, 10) + speed * crowd.times_S
    return Track(kind, size, crowd.place(arm, along, -LANE), crowd.constant(arm))


def towing(crowd: Crowd) -> list[Track]:
    """Propose a truck with a trailer, ahead on the ego car's route or in another lane."""
    truck = (2.45, float(crowd.random.uniform(7.2, 8.2)), 3.3)
    trailer = crowd.size("trailer")
    # A right turn is too narrow for both; on a straight route the trailer would hide the truck.
    if crowd.plan.turn <= 0 or crowd.random.random() < 0.1:
        puller = _in_lane(crowd, "truck", truck, float(crowd.random.uniform(4.0, 7.5)))
        return [puller, tow(puller, trailer, _HITCH)]
    gap = crowd.random.uniform(9, 16) + trailer[1] + _HITCH + truck[1] / 2 + EGO_MIDDLE
    puller = Track("truck", truck, *crowd.route.at(crowd.driven_S + gap))
    return [puller, tow(puller, trailer, _HITCH)]


def bus(crowd: Crowd) -> list[Track]:
    """Propose a bus that drives, waits at a stop line or parks at the kerb."""
    choice = crowd.random.random()
    if choice < 0.5:
        return driving(crowd, "bus")
    return waiting(crowd, "bus") if choice < 0.75 else parked_vehicle(crowd, "bus")


def waiting(crowd: Crowd, kind: str | None = None) -> list[Track]:
    """Propose a vehicle that waits at a stop line."""
    kind = kind or _kind(crowd, 0.25)
    size = crowd.size(kind)
    arm = float(crowd.random.choice([0.0, np.pi / 2, -np.pi / 2]))
    along = CROSSING[1] + 1.8 + size[1] / 2 + float(crowd.random.choice([0, 0, 7.5]))
    return [Track(kind, size, crowd.place(arm, along, LANE), crowd.constant(arm + np.pi))]


def parked_vehicle(crowd: Crowd, kind: str | None = None) -> list[Track]:
    """Propose a vehicle in a parking bay."""
    kind = kind or _kind(crowd, 0.15).replace("bus", "van")
    size = crowd.size(kind)
    arm, near, far = crowd.arm(CROSSING[1] + 4.5, 62.0)
    side = crowd.side()
    middle = 5.3 if kind == "bus" else (4.68 if size[0] < 2.2 else 4.78)
    left = side * middle + crowd.random.uniform(-0.1, 0.1)
    yaw = arm + (np.pi if side > 0 else 0.0) + crowd.random.normal(0, 0.02)
    places = crowd.place(arm, crowd.random.uniform(near, far), left)
    return [Track(kind, size, places, crowd.constant(float(yaw)), parked=True)]


def cyclist(crowd: Crowd) -> list[Track]:
    """Propose a cyclist near the edge of the lane."""
    height = float(crowd.random.uniform(1.65, 1.85))
    arm, _, far = crowd.arm(0.0, 45.0)
    outward = bool(crowd.random.random() < 0.5)
    speed = float(crowd.random.uniform(2.5, 5.5))
    sign = 1 if outward else -1
    along = crowd.random.uniform(0, far) + sign * speed * crowd.times_S
    yaw = arm if outward else arm + np.pi
    places = crowd.place(arm, along, -sign * float(crowd.random.uniform(2.6, 3.0)))
    return [Track("cyclist", (0.62, height, height), places, crowd.constant(yaw))]


def motorcyclist(crowd: Crowd) -> list[Track]:
    """Propose a motorcyclist behind or ahead of the ego car, or in another lane."""
    size = _motorcycle_size(crowd, 1.5)
    if crowd.random.random() < 0.5:
        speed = float(crowd.random.uniform(5.0, 9.0))
        return [_in_lane(crowd, "motorcyclist", size, speed)]
    gap = float(crowd.random.choice([-1.0, 1.0])) * float(crowd.random.uniform(6.0, 10.0))
    places, yaws = crowd.route.at(crowd.driven_S + EGO_MIDDLE + gap)
    return [Track("motorcyclist", size, places, yaws)]


def standing_cycle(crowd: Crowd, kind: str) -> list[Track]:
    """Propose a parked "bicycle" or "motorcycle" at the kerb."""
    arm, near, far = crowd.arm(12.0, 45.0)
    size = (0.55, 1.75, 1.05) if kind == "bicycle" else _motorcycle_size(crowd, 1.15)
    left = crowd.side() * (6.5 if kind == "bicycle" else 5.2)
    places = crowd.place(arm, crowd.random.uniform(near, far), left)
    return [Track(kind, size, places, crowd.constant(arm), parked=True)]


def _motorcycle_size(crowd: Crowd, height: float) -> Size:
    scale = float(crowd.random.uniform(0.96, 1.05))
    return 0.8 * scale, 2.1 * scale, height * scale
