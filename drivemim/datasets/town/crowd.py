"""Everybody of a scene while it is made up: proposals are kept when they hit nobody."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from drivemim.datasets.town.lookout import Footprint, Lookout, is_opaque
from drivemim.datasets.town.route import MARGIN, STEP, Plan, Route
from drivemim.datasets.town.surfaces import Floats
from drivemim.datasets.town.tracks import SIZE_RANGES, Size, Track

EGO_LENGTH, EGO_WIDTH, EGO_MIDDLE = 4.6, 1.9, 1.4
_EVERY = 4  # collisions and views are looked at every 0.2 s

Proposal = Callable[["Crowd"], Sequence[Track]]
"""Makes up tracks that belong together; called again when they cannot be kept."""


class Crowd:
    """Proposes tracks in the junction's frame and keeps those that hit nobody.

    Args:
        ego: the ego car, without the shift from its rear axle to its middle.
        route: the line it drives along.
        driven_S: metres it has driven along the route at every step.
        plan: how it drives.
        generator: source of randomness.

    Attributes:
        tracks: everybody kept so far, without the ego car.
        times_S: of the simulation's steps, seconds from the scene's start.
        site: distance in metres from the junction to the middle of the work site on the ego car's
            street, and the site's side: 1 left, -1 right of one who leaves the junction.
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
        """Keep the first of several proposals that collides with nobody.

        Args:
            propose: makes up tracks.
            near: when given, all of them must also come within so many metres of the ego car
                and be in sight of it for a while, and nobody who is added later may hide them all
                that time. Given up in the last tenth of the attempts.
            room: proposals of more tracks than this are not kept.
            attempts: how often a proposal without ``near`` is made; with it, ten times as often.

        Returns:
            How many tracks were kept; 0 when every proposal failed.
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
        """Positions that tracks get when they are kept."""
        return range(len(self.tracks), len(self.tracks) + len(tracks))

    def _are_met(self, tracks: Sequence[Track], discs: list[Footprint], near: float) -> bool:
        """Whether the ego car gets to see all of them."""
        for number, track in enumerate(tracks):
            screens = [*self._discs, *discs[:number], *discs[number + 1 :]]
            if not self._lookout.meets(track.places_S2[::_EVERY], near, screens):
                return False
        return True

    def _collides(self, discs: list[Footprint]) -> bool:
        """Whether newcomers come too close to anybody at any time."""
        old = [self._ego_discs, *self._discs]
        old_SD2, new_SN2 = (np.concatenate([centres for centres, _ in p], 1) for p in (old, discs))
        old_D, new_N = (np.concatenate([radii for _, radii in part]) for part in (old, discs))
        gaps = np.linalg.norm(new_SN2[:, :, None] - old_SD2[:, None], axis=-1)
        return bool((gaps <= new_N[:, None] + old_D[None]).any())

    def _hides(self, discs: list[Footprint]) -> bool:
        """Whether newcomers hide somebody who is to be seen."""
        if not any(is_opaque(footprint) for footprint in discs):
            return False
        for number, near in self._shown.items():
            screens = [*self._discs[:number], *self._discs[number + 1 :], *discs]
            places_S2 = self.tracks[number].places_S2[::_EVERY]
            if not self._lookout.meets(places_S2, near, screens):
                return True
        return False

    def arm(self, near: float, far: float) -> tuple[float, float, float]:
        """Direction of a street leaving the junction, and the stretch of it to place things on."""
        leaving = self.plan.turn * np.pi / 2
        others = [angle for angle in (0.0, np.pi / 2, -np.pi / 2) if angle != leaving]
        choice = self.random.random()
        if choice < 0.5:
            return np.pi, near, far
        if choice < 0.85:
            return leaving, near, max(far * 0.8, min(self._reach, 70.0))
        return others[int(self.random.integers(2))], near, far * 0.6

    def place(self, arm: float, along_S: Floats | float, left_S: Floats | float) -> Floats:
        """Points ``along`` an arm from the junction, ``left`` of its outward direction."""
        outward = np.array([np.cos(arm), np.sin(arm)])
        leftward = np.array([-outward[1], outward[0]])
        along = np.broadcast_to(along_S, len(self.times_S))[:, None]
        left = np.broadcast_to(left_S, len(self.times_S))[:, None]
        places: Floats = along * outward + left * leftward
        return places

    def constant(self, yaw: float) -> Floats:
        """A heading that does not change."""
        return np.full(len(self.times_S), yaw)

    def size(self, kind: str) -> Size:
        """Width, length and height of a vehicle, metres."""
        low_high = np.array(SIZE_RANGES[kind])
        share = float(self.random.random())
        width, length, height = low_high[:, 0] + share * (low_high[:, 1] - low_high[:, 0])
        return float(width), float(length), float(height)

    def side(self) -> float:
        """Left (1) or right (-1), as likely."""
        return float(self.random.choice([-1.0, 1.0]))
