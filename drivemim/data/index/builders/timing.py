"""Checks of timestamps: unit, uniqueness, and a common clock of samples and keyframes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from drivemim.array_types import Floats, Ints
from drivemim.errors import DataError

_SHORTEST_GAP, _LONGEST_GAP = 5_000, 5_000_000
"""Microseconds between two frames of a camera: 200 per second to one in five seconds. The factor
between the two is 1,000, so that every gap fits exactly one unit."""
_LONGEST_DATED_GAP = 20_000_000
"""Longest gap if the timestamps, read as microseconds since 1970, are of a plausible year
(``_DATED``). Longer gaps are still refused: nanoseconds since a computer was switched on can look
like such timestamps."""
_DATED = (1e14, 1e16)
"""Microseconds since 1970 of the years 1973 to 2286."""
_FOREVER = 1e17
"""Timestamps from which on the unit must be nanoseconds, whatever the gaps: as microseconds since
1970, this is the year 5138."""
LARGEST_OFFSET = 1_000_000
"""Maximum microseconds between a sample and its keyframes; 50,000 in nuScenes."""
_LARGEST_POSE_OFFSET = 50_000
"""Microseconds between an image and its ego pose above which a pose is of another time. They are 0
in nuScenes and nuImages and up to 50,000 in tables with one pose per sample. If each image had the
pose of the next one (nuScenes has 12 images per second), they would be 83,333."""
_log = logging.getLogger(__name__)


def microseconds(
    path: Path,
    timestamp: NDArray[Any],
    *,
    sequence: Ints,
    kind: Ints,
    kinds: Sequence[str],
) -> Ints:
    """Return timestamps as whole microseconds, or refuse those in another unit.

    The unit is determined from the median gap between consecutive timestamps, separately for each
    kind: lidar, cameras and samples may have different rates.

    Args:
        path: file that has the timestamps, for errors.
        timestamp: (F,) whole numbers or fractions, ascending within a sequence.
        sequence: (F,) number of each timestamp's sequence; sequences are contiguous.
        kind: (F,) position in ``kinds`` of what each timestamp belongs to.
        kinds: what timestamps belong to, such as ``CAM_FRONT's frames``, for errors.

    Raises:
        DataError: if the unit is another one. The message names it, and the factor to microseconds.
    """
    gap, same = np.diff(timestamp), sequence[1:] == sequence[:-1]
    for number, name in enumerate(kinds):
        moments = timestamp[kind == number]
        if len(moments) == 0:
            continue
        # Gaps of 0 are left out: if timestamps are seconds without fractions, most gaps are 0.
        gaps = gap[same & (kind[1:] == number) & (gap > 0)]
        middle, median = np.median(moments), np.median(gaps) if len(gaps) else None
        unit = _unit(median, middle)
        if unit is not None:
            word, factor = unit
            apart = "" if median is None else f", {median:,.6g} apart (median)"
            raise DataError(
                f"{path}: timestamps of {name} are about {middle:.0f}{apart}: these are {word}, "
                f"not microseconds; {factor} and build the index again"
            )
    whole: Ints = np.round(timestamp).astype(np.int64)
    return whole


def _unit(
    gap: float | np.floating[Any] | None, moment: float | np.floating[Any]
) -> tuple[str, str] | None:
    """Return the unit of timestamps and its conversion to microseconds; None for microseconds.

    Args:
        gap: median gap between consecutive timestamps; None if there are no gaps.
        moment: median timestamp.
    """
    longest = _LONGEST_DATED_GAP if _DATED[0] <= moment <= _DATED[1] else _LONGEST_GAP
    if moment >= _FOREVER or (gap is not None and gap > longest):
        return "nanoseconds", "divide them by 1,000"
    if gap is None or gap >= _SHORTEST_GAP:
        return None
    if gap >= _SHORTEST_GAP / 1_000:
        return "milliseconds", "multiply them by 1,000"
    return "seconds", "multiply them by 1,000,000"


def check_moments(path: Path, scene: Ints, timestamp: Ints, tokens: pa.Array, what: str) -> None:
    """Refuse two samples of a scene at the same time, because their order is undefined.

    Args:
        path: file that has the samples, for errors.
        scene: (S,) scene of each sample, ascending.
        timestamp: (S,) microseconds, ascending within a scene.
        tokens: (S,) tokens of the samples.
        what: what errors call the samples: ``samples``, or ``images`` if each image is one.

    Raises:
        DataError: if there are such samples. The message names the first two.
    """
    twice = np.flatnonzero((scene[1:] == scene[:-1]) & (timestamp[1:] == timestamp[:-1]))
    if len(twice):
        first = int(twice[0])
        raise DataError(
            f"{path}: {what} {tokens[first].as_py()!r} and {tokens[first + 1].as_py()!r} of one "
            f"scene are at one time, {timestamp[first]} ({len(twice)} such pairs); give each its "
            "own timestamp, or remove one"
        )


def check_offsets(folder: Path, of_samples: Ints, of_keyframes: Ints) -> None:
    """Refuse samples and keyframes on different clocks: boxes would be interpolated wrongly.

    Args:
        folder: folder of the tables, for errors.
        of_samples: (K,) microseconds, of the sample of each keyframe.
        of_keyframes: (K,) microseconds, of the keyframes.

    Raises:
        DataError: if the median difference is above ``LARGEST_OFFSET``.
    """
    offset = float(np.median(np.abs(of_keyframes - of_samples))) if len(of_samples) else 0.0
    if offset > LARGEST_OFFSET:
        raise DataError(
            f"{folder}: timestamps of keyframes in sample_data.json are {offset / 1e6:,.1f} s "
            "(median) off those of their samples in sample.json; both must be microseconds of one "
            "clock"
        )


def warn_of_pose_times(folder: Path, of_images: Ints | Floats, of_poses: Floats) -> None:
    """Warn if most images, or lidar scans, have an ego pose of another time.

    Args:
        folder: folder of the tables.
        of_images: (F,) microseconds, of each image.
        of_poses: (F,) microseconds, of its ego pose; NaN if unknown.
    """
    offset = np.abs(of_images - of_poses)
    offset = offset[~np.isnan(offset)]
    far = int((offset > _LARGEST_POSE_OFFSET).sum())
    if 2 * far > len(offset):
        _log.warning(
            "%s: %d of %d images and lidar scans have an ego pose that is more than %g s before "
            "or after them (median %.3g s), by the timestamps in ego_pose.json. Boxes and motion "
            "will be displaced; name the pose of the image's own time in ego_pose_token",
            folder / "sample_data.json",
            far,
            len(offset),
            _LARGEST_POSE_OFFSET / 1e6,
            float(np.median(offset)) / 1e6,
        )
