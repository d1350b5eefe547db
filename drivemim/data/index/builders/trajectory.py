"""The ego poses of a scene over time, and the limits within which they are interpolated.

Letters: P poses, B times before the first or after the last pose.
"""

from __future__ import annotations

from bisect import bisect_left

import numpy as np

from drivemim.array_types import Floats, Ints
from drivemim.data.index.builders.source_rows import SourceRows
from drivemim.errors import DataError
from drivemim.geometry.poses import interpolate_poses

LONGEST_BEYOND = 50_000
"""Maximum microseconds before the first or after the last pose at which a pose is extrapolated."""
LONGEST_POSE_GAP = 1_500_000
"""Maximum microseconds between two consecutive poses between which a pose is interpolated."""
BASELINE = 100_000
"""Smallest time, in microseconds, between the two poses from which a pose is extrapolated. A
shorter recording uses its first and its last pose."""
_UNITS = (1e3, 1e6, 1e9)
"""Factors between two of the units s, ms, us and ns."""
_FASTEST = 100.0
"""Largest median speed of a drive, metres per second. A higher one means that positions are not in
metres, or timestamps not in microseconds."""


class Trajectory:
    """Poses of the ego vehicle in the world.

    Args:
        times_P: microseconds, ascending.
        poses_P7: translation in metres and quaternion w x y z.
        rows: names of the poses, for errors.

    Raises:
        DataError: if there are no poses, the numbers of times and poses differ, times are not
            ascending, or the speed is impossible.
    """

    def __init__(self, times_P: Ints, poses_P7: Floats, rows: SourceRows) -> None:
        if len(times_P) == 0:
            raise DataError(f"{rows.file(0)}: there are no poses")
        if len(times_P) != len(poses_P7):
            raise DataError(f"{rows.file(0)}: {len(times_P)} timestamps, {len(poses_P7)} poses")
        is_not_later = np.diff(times_P, prepend=times_P[0] - 1) <= 0
        rows.refuse(
            is_not_later, "is not later than the pose before it; sort poses by time, each once"
        )
        self.times_P = times_P
        self.poses_P7 = poses_P7
        self.rows = rows
        self._times: list[int] = times_P.tolist()
        self._check_speed()

    def _check_speed(self) -> None:
        """Refuse poses with a median speed above ``_FASTEST``."""
        if len(self._times) < 2:
            return
        steps = np.linalg.norm(np.diff(self.poses_P7[:, :3], axis=0), axis=1)
        speeds = steps / np.diff(self.times_P) * 1e6
        if (speed := float(np.median(speeds))) > _FASTEST:
            raise DataError(
                f"{self.rows.file(0)}: the ego moves {speed:.3g} m/s (median); write positions in "
                "metres and timestamps in microseconds"
            )

    def check(self, time: int, what: str) -> None:
        """Refuse a time at which the pose is unknown.

        Args:
            time: microseconds.
            what: name of the file or value that has this time, for the error.

        Raises:
            DataError: if the time is too far before the first or after the last pose, or in a gap
                of more than ``LONGEST_POSE_GAP``.
        """
        first, last, file = self._times[0], self._times[-1], self.rows.file(0)
        if not first - LONGEST_BEYOND <= time <= last + LONGEST_BEYOND:
            beyond = first - time if time < first else time - last
            raise DataError(
                f"{what} is {beyond / 1e6:,.3f} s {'before' if time < first else 'after'} the "
                f"poses of {file}, which are from {first} to {last}{self._unit_hint(time)}; add "
                f"poses, or leave it out (poses are continued for {LONGEST_BEYOND / 1e6:g} s)"
            )
        after = bisect_left(self._times, time)
        if not 0 < after < len(self._times) or self._times[after] == time:
            return
        gap = self._times[after] - self._times[after - 1]
        if gap > LONGEST_POSE_GAP:
            names = self.rows.name(after - 1), self.rows.name(after)
            raise DataError(
                f"{what} is in a gap of {gap / 1e6:,.3f} s between {names[0]} and {names[1]} of "
                f"{file}; add poses, or leave it out (gaps up to {LONGEST_POSE_GAP / 1e6:g} s are "
                "interpolated)"
            )

    def _unit_hint(self, time: int) -> str:
        """Return a note if a time and those of the poses seem to have other units; else ``""``."""
        middle = max(abs(self._times[len(self._times) // 2]), 1)
        ratio = max(abs(time), 1) / middle
        for factor in _UNITS:
            if 0.5 < ratio / factor < 2 or 0.5 < ratio * factor < 2:
                return f" and seem to be in another unit (a factor of {factor:,.0f})"
        return ""

    def at(self, times_F: Ints) -> Floats:
        """Return the poses (F, 7) at times that ``check`` accepts.

        They are interpolated. Before the first pose and after the last one, the mean motion of the
        nearest 0.1 s (``BASELINE``) continues: between two poses that are closer in time, most of
        the motion would be noise. If the whole recording is shorter, its motion continues for no
        longer than its length.

        Args:
            times_F: microseconds.
        """
        poses_F7 = interpolate_poses(self.times_P, self.poses_P7, times_F)
        if len(self.times_P) > 1:
            last = len(self.times_P) - 1
            for end, is_beyond in (
                (0, times_F < self.times_P[0]),
                (last, times_F > self._times[-1]),
            ):
                poses_F7[is_beyond] = self._continued(end, times_F[is_beyond])
        return poses_F7

    def _continued(self, end: int, times_B: Ints) -> Floats:
        """Return the extrapolated poses (B, 7) before the first pose, or after the last one.

        Args:
            end: row of the first or the last pose.
            times_B: microseconds.
        """
        distance_P = np.abs(self.times_P - self.times_P[end])
        far = np.flatnonzero(distance_P >= BASELINE)
        other = int(far[distance_P[far].argmin()] if len(far) else distance_P.argmax())
        pair, baseline = sorted((end, other)), distance_P[other]
        times_B = np.clip(times_B, self.times_P[end] - baseline, self.times_P[end] + baseline)
        return interpolate_poses(self.times_P[pair], self.poses_P7[pair], times_B)
