"""Assign a scene's images to samples, for sources that have no samples of their own.

An annotated moment is a sample. Each camera's nearest image is its keyframe, if it is close enough;
the other images between two annotated moments are sweeps, whose boxes are interpolated. Images
without annotated moments around them form samples without boxes: one image per camera each.

Letters: A annotated moments, O images that belong to none of them, G groups of such images.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from drivemim.array_types import Bools, Ints
from drivemim.data.index.builders.nuscenes_boxes import MAX_TIME_DIFFERENCE

LARGEST_LAG = 100_000
"""Maximum microseconds between a sample and its keyframes or its lidar scan: the time of a lidar's
turn, as annotations may have the time of its end. Images at 10 Hz are at most half of that away."""
LONGEST_STRETCH = round(MAX_TIME_DIFFERENCE * 1e6)
"""Maximum microseconds between two annotated moments between which boxes are interpolated."""
_PART = 0.9
"""Maximum time between the images of a sample without boxes, as a fraction of the time from one
image of a camera to the next: the cameras of a rig may take their images in turn."""
_LONGEST_GROUP = 500_000
"""The same maximum for slow cameras, microseconds."""


@dataclass(frozen=True, eq=False)
class SceneSamples:
    """S samples of a scene with F images.

    Attributes:
        timestamp: (S,) microseconds, ascending.
        of_frame: (F,) sample of each image; of a sweep, the one that follows it.
        annotated: (F,) True for keyframes of annotated moments.
        listed: (F,) True for images that stand for their camera in their sample, so that clips can
            begin there.
    """

    timestamp: Ints
    of_frame: Ints
    annotated: Bools
    listed: Bools


def assign_samples(time_F: Ints, camera_F: Ints, moments_A: Ints) -> SceneSamples:
    """Assign images to samples.

    Args:
        time_F: microseconds; no camera has two images at one time.
        camera_F: number of the camera of each image.
        moments_A: the annotated moments, microseconds, ascending.
    """
    key_F = _keyframes(time_F, camera_F, moments_A)
    following_F = np.searchsorted(moments_A, time_F)
    between_F = (following_F > 0) & (following_F < len(moments_A))
    gap_A = np.diff(moments_A, prepend=moments_A[:1])
    between_F[between_F] = gap_A[following_F[between_F]] <= LONGEST_STRETCH
    moment_F = np.where(key_F >= 0, key_F, np.where(between_F, following_F, -1))
    others = np.flatnonzero(moment_F < 0)
    longest = _longest_group(time_F, camera_F)
    group_O, starts_G = _group(time_F[others], camera_F[others], following_F[others], longest)
    timestamp = np.concatenate([moments_A, starts_G]).astype(np.int64)
    order = np.argsort(timestamp, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    of_frame = moment_F.copy()
    of_frame[others] = len(moments_A) + group_O
    return SceneSamples(
        timestamp=timestamp[order],
        of_frame=rank[of_frame],
        annotated=key_F >= 0,
        listed=(key_F >= 0) | (moment_F < 0),
    )


def nearest(times: Ints, moments: Ints, limit: int) -> Ints:
    """Return the row of the nearest time for each moment; -1 if it is too far away.

    Args:
        times: microseconds, ascending.
        moments: microseconds.
        limit: maximum difference, microseconds.
    """
    if len(times) == 0:
        return np.full(len(moments), -1, np.int64)
    after = np.clip(np.searchsorted(times, moments), 0, len(times) - 1)
    before = np.maximum(after - 1, 0)
    closer = np.abs(times[before] - moments) <= np.abs(times[after] - moments)
    row = np.where(closer, before, after)
    return np.where(np.abs(times[row] - moments) <= limit, row, -1)


def _keyframes(time_F: Ints, camera_F: Ints, moments_A: Ints) -> Ints:
    """Return the moment of which each image is the keyframe, -1 for other images."""
    moment_F = np.full(len(time_F), -1, np.int64)
    for camera in np.unique(camera_F):
        own = np.flatnonzero(camera_F == camera)
        own = own[np.argsort(time_F[own], kind="stable")]
        place_A = nearest(time_F[own], moments_A, LARGEST_LAG)
        filmed = np.flatnonzero(place_A >= 0)
        frame, off = own[place_A[filmed]], np.abs(time_F[own[place_A[filmed]]] - moments_A[filmed])
        # Of two moments near one image, the nearer one is written last.
        order = np.lexsort((-filmed, -off))
        moment_F[frame[order]] = filmed[order]
    return moment_F


def _longest_group(time_F: Ints, camera_F: Ints) -> float:
    """Return the maximum microseconds between the images of a sample without boxes."""
    gaps = [
        np.median(np.diff(np.sort(time_F[camera_F == camera])))
        for camera in np.unique(camera_F)
        if np.count_nonzero(camera_F == camera) > 1
    ]
    return float(min(_PART * min(gaps), _LONGEST_GROUP)) if gaps else _LONGEST_GROUP


def _group(time_O: Ints, camera_O: Ints, stretch_O: Ints, longest: float) -> tuple[Ints, Ints]:
    """Return the group of images of one step, and the time at which each group begins.

    Args:
        time_O: microseconds, of the images to group.
        camera_O: their cameras.
        stretch_O: number of the stretch between annotated moments that each is in; no group has
            images of two, because samples are in the order of time.
        longest: maximum microseconds between the images of a group.
    """
    group_O = np.zeros(len(time_O), np.int64)
    starts: list[int] = []
    cameras: set[int] = set()
    stretch = -1
    for row in np.lexsort((camera_O, time_O)):
        time, camera = int(time_O[row]), int(camera_O[row])
        is_far = not starts or time - starts[-1] > longest
        if is_far or camera in cameras or stretch_O[row] != stretch:
            starts.append(time)
            cameras = set()
            stretch = int(stretch_O[row])
        cameras.add(camera)
        group_O[row] = len(starts) - 1
    return group_O, np.array(starts, np.int64)
