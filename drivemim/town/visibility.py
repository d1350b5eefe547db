"""Visibility from the ego car: distances and lines of sight on the ground plane.

Letters: S time steps, D discs, N points on a line of sight.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from drivemim.array_types import Floats
from drivemim.town.ground import PAVEMENT_WIDTH, ROAD_HALF_WIDTH

Footprint = tuple[Floats, Floats]
"""Discs that cover an object: centres (S, D, 2) and radii (D), metres."""

_MIN_OCCLUDER_RADIUS = 0.9  # metres; smaller discs do not block the line of sight
_HOUSE_OFFSET = ROAD_HALF_WIDTH + PAVEMENT_WIDTH  # from a street's middle to its houses, metres
_MIN_VISIBLE_STEPS = 4  # an object counts as visible if it is so in this many tested time steps


def is_opaque(footprint: Footprint) -> bool:
    """Return whether an object is large enough to occlude others."""
    return float(footprint[1][0]) > _MIN_OCCLUDER_RADIUS


class LineOfSight:
    """Test whether the ego car can see an object, at some time steps of a scene.

    Args:
        ego_S2: middle of the ego car at every time step, metres, in the junction's frame.
        in_scene_S: bool, True for the time steps that are tested.
    """

    def __init__(self, ego_S2: Floats, in_scene_S: NDArray[np.bool_]) -> None:
        self._in_scene_S = in_scene_S
        self._ego_S2 = ego_S2[in_scene_S]

    def is_visible(
        self, positions_S2: Floats, max_distance: float, occluders: Sequence[Footprint]
    ) -> bool:
        """Return whether an object is close and not occluded in at least four time steps.

        If fewer than four time steps are tested, the object must be close and not occluded in all.

        Args:
            positions_S2: middle of the object at every time step, metres.
            max_distance: largest distance of an object that is close, metres.
            occluders: discs of all other objects.
        """
        ray_S2 = positions_S2[self._in_scene_S] - self._ego_S2
        distance_S = np.linalg.norm(ray_S2, axis=-1)
        needed = min(_MIN_VISIBLE_STEPS, len(distance_S))
        if (distance_S < max_distance).sum() < needed:
            return False
        visible_S = (distance_S < max_distance) & self._on_streets(ray_S2)
        large = [footprint for footprint in occluders if is_opaque(footprint)]
        if large and visible_S.sum() >= needed:
            centers_SD2 = np.concatenate([centers for centers, _ in large], axis=1)
            centers_SD2 = centers_SD2[self._in_scene_S] - self._ego_S2[:, None]
            radii_D = np.concatenate([radii for _, radii in large])
            fraction_SD = (centers_SD2 * ray_S2[:, None]).sum(-1)
            fraction_SD /= np.maximum(distance_S, 1e-6)[:, None] ** 2
            closest_SD2 = np.clip(fraction_SD, 0, 1)[..., None] * ray_S2[:, None]
            miss_distance_SD = np.linalg.norm(centers_SD2 - closest_SD2, axis=-1)
            visible_S &= (miss_distance_SD >= radii_D).all(axis=1)
        return bool(visible_S.sum() >= needed)

    def _on_streets(self, ray_S2: Floats) -> NDArray[np.bool_]:
        """Return whether each line of sight stays between the houses along the two streets."""
        fractions = np.linspace(0, 1, 12)[:, None]
        points_SN2 = self._ego_S2[:, None] + ray_S2[:, None] * fractions
        free_S: NDArray[np.bool_] = ~(np.abs(points_SN2) > _HOUSE_OFFSET).all(-1).any(1)
        return free_S
