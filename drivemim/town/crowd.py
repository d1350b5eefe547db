"""Placement of a scene's tracks: random proposals, kept if they do not collide."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from drivemim.town.lookout import Footprint, Lookout, is_opaque
from drivemim.town.route import MARGIN, STEP, Plan, Route
from drivemim.town.surfaces import Floats
from drivemim.town.tracks import SIZE_RANGES, Size, Track

EGO_LENGTH, EGO_WIDTH, EGO_MIDDLE = 4.6, 1.9, 1.4
_EVERY = 4  # collisions and visibility are checked every 4 steps, 0.2 s

Proposal = Callable[["Crowd"], Sequence[Track]]
"""Function that draws tracks that belong together; called again if they cannot be kept."""


class Crowd:
    """Propose tracks in the junction's frame and keep those that do not collide.

    Args:
        ego: track of the ego car's rear axle.
        route: line that the ego car drives along.
        driven_S: distance of the ego car along the route at every step, metres.
        plan: how the ego car drives.
        generator: source of randomness.

    Attributes:
        tracks: tracks kept so far, without the ego car.
        times_S: times of the simulation's steps, seconds from the scene's start.
        site: distance in metres from the junction to the middle of the work site on the ego car's
            street, and the site's side when leaving the junction: 1 left, -1 right.
    """

    def __init__(
        self, ego: Track, route: Route, driven_S: Floats, plan: Plan, generator: np.random.Generator
    ) -> None:
        self.tracks: list[Track] = []
        self.route, self.driven_S, self.plan, self.random = route, driven_S, plan, generator
        self.times_S = np.arange(len(driven_S)) * STEP - MARGIN
        self._reach = float(max(30.0, driven_S[-1] - driven_S[0]))
        shift = np.stack([np.cos(ego.yaws_S), np.sin(ego.yaws_S)], -1) * EGO_MIDDLE
        middle = Track(ego.kind, ego.size_wlh, ego.places_S2 + shift, ego.yaws_S)
        self._ego_discs = middle.discs(0.35, _EVERY)
        self._discs: list[Footprint] = []
        self._shown: dict[int, float] = {}
        times_S = self.times_S[::_EVERY]
        scene_S = (times_S > -0.01) & (times_S < self.times_S[-1] - MARGIN + 0.01)
        self._lookout = Lookout(middle.places_S2[::_EVERY], scene_S)
        self.site = (
            max(plan.start - float(generator.uniform(2, 12)), 21.5),
            float(generator.choice([-1.0, 1.0])),
        )

    def add(
        self, propose: Proposal, *, near: float | None = None, room: int = 99, attempts: int = 30
    ) -> int:
        """Keep the first of several proposals that does not collide.

        Args:
            propose: draws tracks.
            near: metres. If given, all tracks must also be within this distance and in sight of
                the ego car for a while, and tracks added later must not hide them all that time.
                The last tenth of the attempts ignores this.
            room: a proposal with more tracks than this is not kept.
            attempts: number of proposals without ``near``; with it, ten times as many.

        Returns:
            Number of tracks kept; 0 if every proposal failed.
        """
        tries = attempts * (1 if near is None else 10)
        for attempt in range(tries):
            tracks = propose(self)
            if len(tracks) > room:
                return 0
            discs = [track.discs(0.12, _EVERY) for track in tracks]
            wanted = None if attempt >= 0.9 * tries else near
            if wanted is not None and not self._are_met(tracks, discs, wanted):
                continue
            if self._collides(discs) or self._hides(discs):
                continue
            if wanted is not None:
                self._shown.update(dict.fromkeys(self._numbers(tracks), wanted))
            self.tracks.extend(tracks)
            self._discs.extend(discs)
            return len(tracks)
        return 0

    def _numbers(self, tracks: Sequence[Track]) -> range:
        """Return the positions that tracks get in ``tracks`` when they are kept."""
        return range(len(self.tracks), len(self.tracks) + len(tracks))

    def _are_met(self, tracks: Sequence[Track], discs: list[Footprint], near: float) -> bool:
        """Return whether all the tracks are near and in sight of the ego car for a while."""
        for number, track in enumerate(tracks):
            screens = [*self._discs, *discs[:number], *discs[number + 1 :]]
            if not self._lookout.meets(track.places_S2[::_EVERY], near, screens):
                return False
        return True

    def _collides(self, discs: list[Footprint]) -> bool:
        """Return whether new tracks come too close to any other at any time."""
        old = [self._ego_discs, *self._discs]
        old_SD2, new_SN2 = (np.concatenate([centres for centres, _ in p], 1) for p in (old, discs))
        old_D, new_N = (np.concatenate([radii for _, radii in part]) for part in (old, discs))
        gaps = np.linalg.norm(new_SN2[:, :, None] - old_SD2[:, None], axis=-1)
        return bool((gaps <= new_N[:, None] + old_D[None]).any())

    def _hides(self, discs: list[Footprint]) -> bool:
        """Return whether new tracks hide a track that must stay visible."""
        if not any(is_opaque(footprint) for footprint in discs):
            return False
        for number, near in self._shown.items():
            screens = [*self._discs[:number], *self._discs[number + 1 :], *discs]
            places_S2 = self.tracks[number].places_S2[::_EVERY]
            if not self._lookout.meets(places_S2, near, screens):
                return True
        return False

    def arm(self, near: float, far: float) -> tuple[float, float, float]:
        """Draw a street: its direction away from the junction, and the stretch to place things on.

        The direction is in radians; the ends of the stretch are in metres from the junction.
        """
        leaving = self.plan.turn * np.pi / 2
        others = [angle for angle in (0.0, np.pi / 2, -np.pi / 2) if angle != leaving]
        choice = self.random.random()
        if choice < 0.5:
            return np.pi, near, far
        if choice < 0.85:
            return leaving, near, max(far * 0.8, min(self._reach, 70.0))
        return others[int(self.random.integers(2))], near, far * 0.6

    def place(self, arm: float, along_S: Floats | float, left_S: Floats | float) -> Floats:
        """Return points ``along`` a street from the junction, ``left`` of its outward direction."""
        outward = np.array([np.cos(arm), np.sin(arm)])
        leftward = np.array([-outward[1], outward[0]])
        along = np.broadcast_to(along_S, len(self.times_S))[:, None]
        left = np.broadcast_to(left_S, len(self.times_S))[:, None]
        places: Floats = along * outward + left * leftward
        return places

    def constant(self, yaw: float) -> Floats:
        """Return a heading that does not change."""
        return np.full(len(self.times_S), yaw)

    def size(self, kind: str) -> Size:
        """Draw the width, length and height of a vehicle, metres."""
        low_high = np.array(SIZE_RANGES[kind])
        share = float(self.random.random())
        width, length, height = low_high[:, 0] + share * (low_high[:, 1] - low_high[:, 0])
        return float(width), float(length), float(height)

    def side(self) -> float:
        """Draw left (1) or right (-1) with equal probability."""
        return float(self.random.choice([-1.0, 1.0]))
