"""Tracks of objects: category, size, and position and yaw at every time step.

Letters: S time steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from drivemim.array_types import Floats
from drivemim.town.composite_vehicles import COMPOSITE_VEHICLES
from drivemim.town.vehicles import VEHICLE_SHAPES

Size = tuple[float, float, float]

_CATEGORIES = {
    "adult": "human.pedestrian.adult",
    "child": "human.pedestrian.child",
    "worker": "human.pedestrian.construction_worker",
    "cyclist": "vehicle.bicycle",
    "bicycle": "vehicle.bicycle",
    "motorcyclist": "vehicle.motorcycle",
    "motorcycle": "vehicle.motorcycle",
    "cone": "movable_object.trafficcone",
    "barrier": "movable_object.barrier",
    **{kind: shape.category for kind, shape in VEHICLE_SHAPES.items()},
    **{kind: vehicle.category for kind, vehicle in COMPOSITE_VEHICLES.items()},
}
_CYCLE_ATTRIBUTES = {
    "cyclist": "cycle.with_rider",
    "motorcyclist": "cycle.with_rider",
    "bicycle": "cycle.without_rider",
    "motorcycle": "cycle.without_rider",
}
# Slower objects have the attribute "standing" or "stopped"; metres per second.
_MIN_PEDESTRIAN_SPEED, _MIN_VEHICLE_SPEED = 0.2, 0.3
SIZE_RANGES = {
    **{kind: shape.size_wlh for kind, shape in VEHICLE_SHAPES.items()},
    **{kind: vehicle.size_wlh for kind, vehicle in COMPOSITE_VEHICLES.items()},
}
"""Width, length and height of each kind of vehicle: (low, high), metres."""


@dataclass(frozen=True)
class Track:
    """Track of one object through a scene.

    Attributes:
        kind: key of ``VEHICLE_SHAPES`` or ``COMPOSITE_VEHICLES``, or "adult", "child", "worker",
            "cyclist", "bicycle", "motorcyclist", "motorcycle", "cone", "barrier".
        size_wlh: width, length, height of its box, metres.
        positions_S2: positions on the ground, metres, one per time step.
        yaws_S: radians, unwrapped.
        parked: whether the object is parked for the whole scene, not just stopped.
    """

    kind: str
    size_wlh: Size
    positions_S2: Floats
    yaws_S: Floats
    parked: bool = False

    @property
    def is_pedestrian(self) -> bool:
        """True for a pedestrian."""
        return self.kind in ("adult", "child", "worker")

    @property
    def category(self) -> str:
        """Category in nuScenes."""
        return _CATEGORIES[self.kind]

    def attribute(self, speed: float) -> str:
        """Return the nuScenes attribute at a speed (metres per second), or '' for none."""
        if self.is_pedestrian:
            return "pedestrian.moving" if speed > _MIN_PEDESTRIAN_SPEED else "pedestrian.standing"
        if self.kind in SIZE_RANGES:
            if self.parked:
                return "vehicle.parked"
            return "vehicle.moving" if speed > _MIN_VEHICLE_SPEED else "vehicle.stopped"
        return _CYCLE_ATTRIBUTES.get(self.kind, "")

    def travelled_distance(self) -> Floats:
        """Return the distance covered since the simulation began, metres, one per time step."""
        steps = np.linalg.norm(np.diff(self.positions_S2, axis=0), axis=1)
        return np.concatenate([[0.0], np.cumsum(steps)])

    def footprint_discs(self, margin: float, stride: int) -> tuple[Floats, Floats]:
        """Return discs that approximate the object's footprint.

        Args:
            margin: added to the radii, metres.
            stride: the discs are computed at every ``stride``-th time step only.

        Returns:
            Centres (S, D, 2) and radii (D), metres.
        """
        width, length, _ = self.size_wlh
        count = max(int(np.ceil(length / width)), 1) if not self.is_pedestrian else 1
        forward = np.stack([np.cos(self.yaws_S), np.sin(self.yaws_S)], -1)[::stride]
        offsets = (np.arange(count) + 0.5) / count * length - length / 2
        centers = self.positions_S2[::stride, None] + forward[:, None] * offsets[:, None]
        # Discs around the full corners would keep objects too far apart: shrink them.
        radius = (
            np.hypot(width, length / count) / 2 * (0.75 if self.is_pedestrian else 0.92) + margin
        )
        return centers, np.full(count, radius)


def trailer_track(truck: Track, size_wlh: Size, gap: float) -> Track:
    """Return the track of a trailer: a rigid rod from the truck's hitch pulls its middle.

    The wheels are at the trailer's middle, so the middle always moves in the trailer's direction.

    Args:
        truck: the towing vehicle; it may stop but not reverse.
        size_wlh: size of the trailer, drawbar included, metres.
        gap: from the truck's rear end to the tip of the drawbar on a straight road, metres.
    """
    forward = np.stack([np.cos(truck.yaws_S), np.sin(truck.yaws_S)], -1)
    hitch_S2 = truck.positions_S2 - forward * (truck.size_wlh[1] / 2)
    rod = gap + size_wlh[1] / 2
    positions_S2 = np.empty_like(hitch_S2)
    middle = hitch_S2[0] - forward[0] * rod
    for step, hitch in enumerate(hitch_S2):
        back = middle - hitch
        middle = hitch + back * (rod / np.linalg.norm(back))
        positions_S2[step] = middle
    ahead = hitch_S2 - positions_S2
    yaws_S = np.unwrap(np.arctan2(ahead[:, 1], ahead[:, 0]))
    return Track("trailer", size_wlh, positions_S2, yaws_S)
