"""Place a scene's tracks by rejection sampling: random proposals without collisions.

Letters: S time steps, D and N discs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from drivemim.array_types import Floats
from drivemim.town.route import TIME_MARGIN, TIME_STEP, DrivingPlan, Route
from drivemim.town.tracks import SIZE_RANGES, Size, Track
from drivemim.town.visibility import Footprint, LineOfSight, is_opaque

EGO_LENGTH, EGO_WIDTH = 4.6, 1.9  # metres
EGO_MIDDLE = 1.4  # from the rear axle to the middle of the car, metres
_STRIDE = 4  # collisions and visibility are checked every 4 steps, 0.2 s

Proposal = Callable[["SceneBuilder"], Sequence[Track]]
"""Function that samples the tracks of one object or group; called again if they are rejected."""


class SceneBuilder:
    """Propose tracks in the junction's frame and keep those that do not collide.

    The junction's frame has its origin in the middle of the junction; x points along the street, in
    the direction in which the ego car approaches the junction.

    Args:
        ego: track of the ego car's rear axle.
        route: line that the ego car drives along.
        ego_distance_S: distance of the ego car along the route at every time step, metres.
        plan: how the ego car drives.
        generator: source of randomness.

    Attributes:
        tracks: tracks added so far, without the ego car.
        times_S: simulated times, seconds from the scene's start.
        work_zone: distance in metres from the junction to the middle of the work zone on the ego
            car's street, and the zone's side when leaving the junction: 1 left, -1 right.
    """

    def __init__(
        self,
        ego: Track,
        route: Route,
        ego_distance_S: Floats,
        plan: DrivingPlan,
        generator: np.random.Generator,
    ) -> None:
        self.tracks: list[Track] = []
        self.route, self.ego_distance_S = route, ego_distance_S
        self.plan, self.generator = plan, generator
        self.times_S = np.arange(len(ego_distance_S)) * TIME_STEP - TIME_MARGIN
        self._ego_path_length = float(max(30.0, ego_distance_S[-1] - ego_distance_S[0]))
        shift = np.stack([np.cos(ego.yaws_S), np.sin(ego.yaws_S)], -1) * EGO_MIDDLE
        middle = Track(ego.kind, ego.size_wlh, ego.positions_S2 + shift, ego.yaws_S)
        self._ego_discs = middle.footprint_discs(0.35, _STRIDE)
        self._discs: list[Footprint] = []
        # Index of a track that must stay visible -> ``max_distance`` of ``add``.
        self._max_distances: dict[int, float] = {}
        times_S = self.times_S[::_STRIDE]
        in_scene_S = (times_S > -0.01) & (times_S < self.times_S[-1] - TIME_MARGIN + 0.01)
        self._line_of_sight = LineOfSight(middle.positions_S2[::_STRIDE], in_scene_S)
        self.work_zone = (
            max(plan.start - float(generator.uniform(2, 12)), 21.5),
            float(generator.choice([-1.0, 1.0])),
        )

    def add(
        self,
        propose: Proposal,
        *,
        max_distance: float | None = None,
        max_tracks: int = 99,
        attempts: int = 30,
    ) -> int:
        """Add the first of several proposals that does not collide.

        Args:
            propose: samples the tracks of a proposal.
            max_distance: metres. If given, all tracks must also be visible from the ego car within
                this distance for four checked time steps, and tracks added later must not occlude
                them. The last tenth of the attempts ignores ``max_distance``.
            max_tracks: a proposal with more tracks ends the attempts: nothing is added.
            attempts: number of proposals; ten times as many if ``max_distance`` is given.

        Returns:
            Number of tracks added; 0 if every proposal failed or one had too many tracks.
        """
        num_attempts = attempts * (1 if max_distance is None else 10)
        for attempt in range(num_attempts):
            tracks = propose(self)
            if len(tracks) > max_tracks:
                return 0
            discs = [track.footprint_discs(0.12, _STRIDE) for track in tracks]
            limit = None if attempt >= 0.9 * num_attempts else max_distance
            if limit is not None and not self._are_visible(tracks, discs, limit):
                continue
            if self._collides(discs) or self._occludes(discs):
                continue
            if limit is not None:
                self._max_distances.update(dict.fromkeys(self._next_indices(tracks), limit))
            self.tracks.extend(tracks)
            self._discs.extend(discs)
            return len(tracks)
        return 0

    def _next_indices(self, tracks: Sequence[Track]) -> range:
        """Return the indices that new tracks will have in ``self.tracks``."""
        return range(len(self.tracks), len(self.tracks) + len(tracks))

    def _are_visible(
        self, tracks: Sequence[Track], discs: list[Footprint], max_distance: float
    ) -> bool:
        """Return whether the ego car can see all the tracks within ``max_distance``."""
        for number, track in enumerate(tracks):
            occluders = [*self._discs, *discs[:number], *discs[number + 1 :]]
            if not self._line_of_sight.is_visible(
                track.positions_S2[::_STRIDE], max_distance, occluders
            ):
                return False
        return True

    def _collides(self, discs: list[Footprint]) -> bool:
        """Return whether new tracks overlap the ego car or an added track at any time."""
        old = [self._ego_discs, *self._discs]
        old_SD2, new_SN2 = (
            np.concatenate([centers for centers, _ in footprints], 1) for footprints in (old, discs)
        )
        old_D, new_N = (
            np.concatenate([radii for _, radii in footprints]) for footprints in (old, discs)
        )
        gaps = np.linalg.norm(new_SN2[:, :, None] - old_SD2[:, None], axis=-1)
        return bool((gaps <= new_N[:, None] + old_D[None]).any())

    def _occludes(self, discs: list[Footprint]) -> bool:
        """Return whether new tracks occlude a track that must stay visible."""
        if not any(is_opaque(footprint) for footprint in discs):
            return False
        for number, max_distance in self._max_distances.items():
            occluders = [*self._discs[:number], *self._discs[number + 1 :], *discs]
            positions_S2 = self.tracks[number].positions_S2[::_STRIDE]
            if not self._line_of_sight.is_visible(positions_S2, max_distance, occluders):
                return True
        return False

    def street(self, near: float, far: float) -> tuple[float, float, float]:
        """Sample a street and the stretch of it to place an object on.

        Args:
            near: smallest distance from the junction, metres.
            far: largest distance from the junction on the street that the ego car comes from,
                metres; the stretches of the other streets are derived from it.

        Returns:
            Direction of the street away from the junction, radians, and both ends of the stretch,
            metres from the junction.
        """
        exit_street = self.plan.turn * np.pi / 2
        side_streets = [angle for angle in (0.0, np.pi / 2, -np.pi / 2) if angle != exit_street]
        choice = self.generator.random()
        if choice < 0.5:
            return np.pi, near, far
        if choice < 0.85:
            return exit_street, near, max(far * 0.8, min(self._ego_path_length, 70.0))
        return side_streets[int(self.generator.integers(2))], near, far * 0.6

    def street_points(
        self, street: float, along_S: Floats | float, left_S: Floats | float
    ) -> Floats:
        """Return points on a street at every time step, (S, 2) metres.

        Args:
            street: direction of the street away from the junction, radians.
            along_S: distance from the junction, metres.
            left_S: offset to the left of the street's middle, looking away from the junction.
        """
        outward = np.array([np.cos(street), np.sin(street)])
        leftward = np.array([-outward[1], outward[0]])
        along = np.broadcast_to(along_S, len(self.times_S))[:, None]
        left = np.broadcast_to(left_S, len(self.times_S))[:, None]
        positions: Floats = along * outward + left * leftward
        return positions

    def constant_yaw(self, yaw: float) -> Floats:
        """Return the same yaw at every time step."""
        return np.full(len(self.times_S), yaw)

    def size(self, kind: str) -> Size:
        """Sample the width, length and height of a vehicle, metres."""
        low_high = np.array(SIZE_RANGES[kind])
        fraction = float(self.generator.random())
        width, length, height = low_high[:, 0] + fraction * (low_high[:, 1] - low_high[:, 0])
        return float(width), float(length), float(height)

    def side(self) -> float:
        """Return left (1) or right (-1) with equal probability."""
        return float(self.generator.choice([-1.0, 1.0]))
