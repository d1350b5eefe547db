"""Visibility from the ego car: distances and lines of sight on the ground plane."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from drivemim.town.ground import PAVEMENT, ROAD_HALF_WIDTH
from drivemim.town.surfaces import Floats

Footprint = tuple[Floats, Floats]
"""Discs that cover an object: centres (S, D, 2) and radii (D), metres."""

_OPAQUE = 0.9  # larger discs block the line of sight; radius in metres
_STREET = ROAD_HALF_WIDTH + PAVEMENT  # houses may block the view farther from both streets
_MET_FOR = 4  # instants in which an object must be visible


def is_opaque(footprint: Footprint) -> bool:
    """Return whether an object is large enough to hide others."""
    return float(footprint[1][0]) > _OPAQUE


class Lookout:
    """Test which objects the ego car can see, at some instants of a scene.

    Args:
        eyes_S2: middle of the ego car at every instant, metres, in the junction's frame.
        counted_S: bool, True for the instants that count.
    """

    def __init__(self, eyes_S2: Floats, counted_S: NDArray[np.bool_]) -> None:
        self._counted_S = counted_S
        self._eyes_S2 = eyes_S2[counted_S]

    def meets(self, places_S2: Floats, near: float, screens: Sequence[Footprint]) -> bool:
        """Return whether an object is near and in sight in at least four instants.

        With fewer than four instants, it must be so in all of them.

        Args:
            places_S2: middle of the object at every instant, metres.
            near: largest distance that counts, metres.
            screens: discs of all other objects.
        """
        ray_S2 = places_S2[self._counted_S] - self._eyes_S2
        away_S = np.linalg.norm(ray_S2, axis=-1)
        needed = min(_MET_FOR, len(away_S))
        if (away_S < near).sum() < needed:
            return False
        clear_S = (away_S < near) & self._on_streets(ray_S2)
        large = [footprint for footprint in screens if is_opaque(footprint)]
        if large and clear_S.sum() >= needed:
            centres_SD2 = np.concatenate([centres for centres, _ in large], axis=1)
            centres_SD2 = centres_SD2[self._counted_S] - self._eyes_S2[:, None]
            radii_D = np.concatenate([radii for _, radii in large])
            share_SD = (centres_SD2 * ray_S2[:, None]).sum(-1)
            share_SD /= np.maximum(away_S, 1e-6)[:, None] ** 2
            feet_SD2 = np.clip(share_SD, 0, 1)[..., None] * ray_S2[:, None]
            passes_SD = np.linalg.norm(centres_SD2 - feet_SD2, axis=-1)
            clear_S &= (passes_SD >= radii_D).all(axis=1)
        return bool(clear_S.sum() >= needed)

    def _on_streets(self, ray_S2: Floats) -> NDArray[np.bool_]:
        """Return whether each ray stays between the houses of the two streets."""
        shares = np.linspace(0, 1, 12)[:, None]
        points_SN2 = self._eyes_S2[:, None] + ray_S2[:, None] * shares
        inside_S: NDArray[np.bool_] = ~(np.abs(points_SN2) > _STREET).all(-1).any(1)
        return inside_S
