"""Cones, barriers and a work zone, for a ``SceneBuilder`` to accept or reject."""

from __future__ import annotations

import numpy as np

from drivemim.array_types import Floats
from drivemim.town.scene_builder import SceneBuilder
from drivemim.town.tracks import Size, Track

MOVABLE_OBJECTS = ("cone", "cone", "cone", "barrier", "barrier")
"""Kinds of the cones and barriers outside the work zone."""
_NUM_ZONE_CONES, _NUM_ZONE_BARRIERS = 5, 2
NUM_MOVABLE_OBJECTS = len(MOVABLE_OBJECTS) + _NUM_ZONE_CONES + _NUM_ZONE_BARRIERS
"""Largest number of cones and barriers in a scene; those without a free position are left out."""
_SIZES: dict[str, Size] = {"cone": (0.4, 0.4, 0.75), "barrier": (2.0, 0.5, 1.0)}
_HALF_LENGTH = 6.6  # from the middle of the work zone to its ends, metres
_CONE_OFFSET = 4.0  # from the middle of the street to the cones, metres
_ZONE_OFFSET = 5.4  # from the middle of the street to the middle of the work zone, metres
_CONSTRUCTION_VEHICLES = ("excavator", "loader")
_WORKING_SPEED = 0.4  # of a construction vehicle that moves while it works, metres per second


def work_zone_tracks(builder: SceneBuilder, construction_vehicle: bool) -> list[Track]:
    """Propose cones along the lane, a barrier at each end and optionally a construction vehicle."""
    middle, side = builder.work_zone
    objects = [
        ("cone", along, _CONE_OFFSET)
        for along in np.linspace(-_HALF_LENGTH, _HALF_LENGTH, _NUM_ZONE_CONES)
    ]
    objects += [("barrier", along, _ZONE_OFFSET) for along in (-_HALF_LENGTH, _HALF_LENGTH)]
    tracks = [
        Track(
            kind,
            _SIZES[kind],
            builder.street_points(np.pi, middle + float(along), side * left),
            builder.constant_yaw(np.pi),
            parked=True,
        )
        for kind, along, left in objects
    ]
    return [*tracks, _construction_vehicle(builder)] if construction_vehicle else tracks


def _construction_vehicle(builder: SceneBuilder) -> Track:
    """Propose an excavator or wheel loader that stands or moves slowly along the work zone."""
    kind = str(builder.generator.choice(_CONSTRUCTION_VEHICLES))
    size = builder.size(kind)
    along, side = builder.work_zone
    direction = builder.side()
    max_shift = _HALF_LENGTH - 0.6 - size[1] / 2
    shift: Floats | float = float(builder.generator.uniform(-max_shift, max_shift))
    if builder.generator.random() < 0.6:
        shift = direction * np.clip(
            _WORKING_SPEED * builder.times_S - max_shift * 0.7, -max_shift, max_shift
        )
    positions = builder.street_points(np.pi, along + shift, side * _ZONE_OFFSET)
    return Track(kind, size, positions, builder.constant_yaw(np.pi if direction > 0 else 0.0))


def construction_worker(builder: SceneBuilder) -> list[Track]:
    """Propose a construction worker who stands on the pavement at the work zone."""
    height = float(builder.generator.normal(1.74, 0.08))
    middle, side = builder.work_zone
    along = middle + float(builder.generator.uniform(-_HALF_LENGTH, _HALF_LENGTH))
    positions = builder.street_points(
        np.pi, along, side * float(builder.generator.uniform(7.4, 8.4))
    )
    yaw = builder.constant_yaw(float(builder.generator.uniform(-np.pi, np.pi)))
    return [Track("worker", (0.4 * height, 0.4 * height, height), positions, yaw)]


def movable_object(builder: SceneBuilder, kind: str) -> list[Track]:
    """Propose a traffic cone or barrier beside the lane."""
    street, near, far = builder.street(13.0, 45.0)
    left = builder.side() * float(builder.generator.uniform(4.6, 5.4))
    positions = builder.street_points(street, builder.generator.uniform(near, far), left)
    return [Track(kind, _SIZES[kind], positions, builder.constant_yaw(street), parked=True)]
