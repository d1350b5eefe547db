"""Assign a scene's images to samples, for sources that have no samples of their own.

An annotated moment is a sample. Each camera's nearest image is its keyframe, if it is close enough.
The other images between two annotated moments are sweeps, whose boxes are interpolated. Images that
are not between annotated moments, or between two that are far apart, form samples without boxes;
each of these has at most one image per camera.

Letters: A annotated moments, O images that belong to none of them, G groups of such images.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from drivemim.array_types import Bools, Ints
from drivemim.data.index.builders.nuscenes_boxes import MAX_TIME_DIFFERENCE

LARGEST_LAG = 100_000
"""Maximum microseconds between a sample and its keyframes or its lidar scan. It is the time of one
rotation of a lidar at 10 Hz: annotations may have the time at which the rotation ends. A camera at
10 Hz always has an image within half of it."""
LONGEST_STRETCH = round(MAX_TIME_DIFFERENCE * 1e6)
"""Maximum microseconds between two annotated moments between which boxes are interpolated."""
_GROUP_FRACTION = 0.9
"""Maximum time between the images of a sample without boxes, as a fraction of the time from one
image of a camera to its next. It is this large because the cameras of a rig may take their images
one after the other."""
_LONGEST_GROUP = 500_000
"""Maximum microseconds between the images of a sample without boxes, however slow the cameras."""


@dataclass(frozen=True, eq=False)
class SceneSamples:
    """S samples of a scene with F images.

    Attributes:
        timestamp: (S,) microseconds, ascending.
        of_frame: (F,) sample of each image; for a sweep, the sample that follows it.
        annotated: (F,) True for keyframes of annotated moments.
        listed: (F,) True for images that are in the column ``keyframes`` of their sample: all but
            sweeps. Clips can begin at these.
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

    Returns:
        the samples: all annotated moments, and the samples without boxes.
    """
    key_F = _keyframes(time_F, camera_F, moments_A)
    following_F = np.searchsorted(moments_A, time_F)
    between_F = (following_F > 0) & (following_F < len(moments_A))
    gap_A = np.diff(moments_A, prepend=moments_A[:1])
    between_F[between_F] = gap_A[following_F[between_F]] <= LONGEST_STRETCH
    moment_F = np.where(key_F >= 0, key_F, np.where(between_F, following_F, -1))
    # Images that belong to no annotated moment are grouped into samples without boxes.
    rows_O = np.flatnonzero(moment_F < 0)
    longest = _longest_group(time_F, camera_F)
    group_O, starts_G = _group(time_F[rows_O], camera_F[rows_O], following_F[rows_O], longest)
    timestamp = np.concatenate([moments_A, starts_G]).astype(np.int64)
    order = np.argsort(timestamp, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    of_frame = moment_F.copy()
    of_frame[rows_O] = len(moments_A) + group_O
    return SceneSamples(
        timestamp=timestamp[order],
        of_frame=rank[of_frame],
        annotated=key_F >= 0,
        listed=(key_F >= 0) | (moment_F < 0),
    )


def nearest(times: Ints, moments: Ints, limit: int) -> Ints:
    """Return for each moment the row of the nearest time; -1 if it is too far away.

    Args:
        times: microseconds, ascending; may be empty.
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
    """Return for each image the annotated moment whose keyframe it is, -1 for none."""
    moment_F = np.full(len(time_F), -1, np.int64)
    for camera in np.unique(camera_F):
        images = np.flatnonzero(camera_F == camera)
        images = images[np.argsort(time_F[images], kind="stable")]
        nearest_A = nearest(time_F[images], moments_A, LARGEST_LAG)
        moments = np.flatnonzero(nearest_A >= 0)
        keyframes = images[nearest_A[moments]]
        distance = np.abs(time_F[keyframes] - moments_A[moments])
        # Two moments can have the same nearest image. The nearer moment, or of two equally near
        # ones the earlier, is written last, so that it remains.
        order = np.lexsort((-moments, -distance))
        moment_F[keyframes[order]] = moments[order]
    return moment_F


def _longest_group(time_F: Ints, camera_F: Ints) -> float:
    """Return the maximum microseconds between the images of a sample without boxes."""
    gaps = [
        np.median(np.diff(np.sort(time_F[camera_F == camera])))
        for camera in np.unique(camera_F)
        if np.count_nonzero(camera_F == camera) > 1
    ]
    return float(min(_GROUP_FRACTION * min(gaps), _LONGEST_GROUP)) if gaps else _LONGEST_GROUP


def _group(time_O: Ints, camera_O: Ints, following_O: Ints, longest: float) -> tuple[Ints, Ints]:
    """Group images of different cameras that were taken at about the same time.

    Args:
        time_O: microseconds, of the images to group.
        camera_O: number of the camera of each image.
        following_O: number of the annotated moment that follows each image. A group has only images
            with the same one: a sample cannot be both before and after an annotated moment.
        longest: maximum microseconds between the images of a group.

    Returns:
        the number of each image's group, and the time of each group's first image.
    """
    group_O = np.zeros(len(time_O), np.int64)
    starts: list[int] = []
    cameras: set[int] = set()
    following = -1
    for row in np.lexsort((camera_O, time_O)):
        time, camera = int(time_O[row]), int(camera_O[row])
        is_far = not starts or time - starts[-1] > longest
        if is_far or camera in cameras or following_O[row] != following:
            starts.append(time)
            cameras = set()
            following = int(following_O[row])
        cameras.add(camera)
        group_O[row] = len(starts) - 1
    return group_O, np.array(starts, np.int64)
