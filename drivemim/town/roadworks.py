"""Proposals of cones, barriers and the work site of a scene."""

from __future__ import annotations

import numpy as np

from drivemim.town.crowd import Crowd
from drivemim.town.surfaces import Floats
from drivemim.town.tracks import Size, Track

STREET_FURNITURE = ("cone", "cone", "cone", "barrier", "barrier")
"""Cones and barriers along the streets, without those of the work site."""
_SITE_CONES = 5
FURNITURE = len(STREET_FURNITURE) + _SITE_CONES + 2
"""Number of cones and barriers in a scene."""
_SIZES: dict[str, Size] = {"cone": (0.4, 0.4, 0.75), "barrier": (2.0, 0.5, 1.0)}
_REACH = 6.6  # from the middle of a work site to its ends, metres
_EDGE = 4.0  # from the middle of the street to its cones, metres
_LEFT = 5.4  # from the middle of the street to the middle of the work site, metres
_MACHINES = ("excavator", "loader")
_CREEP = 0.4  # speed of a machine that moves while it works, metres per second


def work_site(crowd: Crowd, machine: bool) -> list[Track]:
    """Propose cones along the lane, a barrier at each end, and optionally a machine between."""
    middle, side = crowd.site
    spots = [("cone", along, _EDGE) for along in np.linspace(-_REACH, _REACH, _SITE_CONES)]
    spots += [("barrier", along, _LEFT) for along in (-_REACH, _REACH)]
    tracks = [
        Track(
            kind,
            _SIZES[kind],
            crowd.place(np.pi, middle + float(along), side * left),
            crowd.constant(np.pi),
            parked=True,
        )
        for kind, along, left in spots
    ]
    return [*tracks, _machine(crowd)] if machine else tracks


def _machine(crowd: Crowd) -> Track:
    """Propose an excavator or wheel loader that stands or creeps along the work site."""
    kind = str(crowd.random.choice(_MACHINES))
    size = crowd.size(kind)
    along, side = crowd.site
    ahead = crowd.side()
    room = _REACH - 0.6 - size[1] / 2
    moved: Floats | float = float(crowd.random.uniform(-room, room))
    if crowd.random.random() < 0.6:
        moved = ahead * np.clip(_CREEP * crowd.times_S - room * 0.7, -room, room)
    places = crowd.place(np.pi, along + moved, side * _LEFT)
    return Track(kind, size, places, crowd.constant(np.pi if ahead > 0 else 0.0))


def site_worker(crowd: Crowd) -> list[Track]:
    """Propose a construction worker who stands on the pavement at the work site."""
    height = float(crowd.random.normal(1.74, 0.08))
    middle, side = crowd.site
    along = middle + float(crowd.random.uniform(-_REACH, _REACH))
    places = crowd.place(np.pi, along, side * float(crowd.random.uniform(7.4, 8.4)))
    yaw = crowd.constant(float(crowd.random.uniform(-np.pi, np.pi)))
    return [Track("worker", (0.4 * height, 0.4 * height, height), places, yaw)]


def street_furniture(crowd: Crowd, kind: str) -> list[Track]:
    """Propose a traffic cone or barrier beside the lane."""
    arm, near, far = crowd.arm(13.0, 45.0)
    left = crowd.side() * float(crowd.random.uniform(4.6, 5.4))
    places = crowd.place(arm, crowd.random.uniform(near, far), left)
    return [Track(kind, _SIZES[kind], places, crowd.constant(arm), parked=True)]
