"""Columns that several builders fill in the same way."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivemim.array_types import Ints
from drivemim.data.index.index_schema import time_keys

Section = dict[str, Any]
"""Columns of one section of an index by name."""
IDENTITY_POSE = (0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0)
"""x, y, z in metres and the quaternion w, x, y, z of no movement."""


def neighbours(group: Ints) -> tuple[Ints, Ints]:
    """Return for each row the previous and the next row, where these have an equal ``group``.

    The previous row is -1 at the start of a run of equal values, the next row at its end.
    """
    rows = np.arange(len(group))
    same = np.concatenate([[False], group[1:] == group[:-1], [False]])
    return np.where(same[:-1], rows - 1, -1), np.where(same[1:], rows + 1, -1)


def runs(group: Ints, count: int) -> tuple[Ints, Ints]:
    """Return the first row and the number of rows of each group.

    Args:
        group: number of each row's group, ascending; groups may have no rows.
        count: number of groups.
    """
    first = np.searchsorted(group, np.arange(count + 1))
    return first[:-1], np.diff(first)


def links_in_time(sequence: Ints, timestamp: Ints) -> Section:
    """Return the columns of frames that their order determines.

    Args:
        sequence: (F,) scene * cameras + camera, ascending.
        timestamp: (F,) microseconds, ascending within a sequence.

    Returns:
        the columns ``previous``, ``next`` and ``key``.
    """
    previous, following = neighbours(sequence)
    elapsed = timestamp - timestamp[np.searchsorted(sequence, sequence)]
    return {"previous": previous, "next": following, "key": time_keys(sequence, elapsed)}


def frames_of_scenes(frames: Section, scenes: int, cameras: int) -> Section:
    """Return the columns ``first_frame`` and ``frame_count`` of the section ``scenes``.

    Args:
        frames: the section ``frames``, sorted by scene and camera.
        scenes: number of scenes.
        cameras: number of cameras.
    """
    first, count = runs(frames["scene"] * cameras + frames["camera"], scenes * cameras)
    return {
        "first_frame": first.reshape(scenes, cameras),
        "frame_count": count.reshape(scenes, cameras),
    }


def drawn_boxes(corners_M4: NDArray[np.float64]) -> Section:
    """Return the columns of boxes whose only known geometry is the box in the image.

    Args:
        corners_M4: x1 y1 x2 y2 pixels of the stored image.

    Returns:
        the section ``boxes`` without token, sample, track, category, attribute and crowd.
    """
    count = len(corners_M4)
    return {
        "center": np.full((count, 3), np.nan),
        "size": np.full((count, 3), np.nan),
        "rotation": np.full((count, 4), np.nan),
        "velocity": np.full((count, 2), np.nan),
        "image_box": corners_M4,
        "visibility": np.zeros(count),
        "lidar_points": np.full(count, -1),
        "radar_points": np.full(count, -1),
        "previous": np.full(count, -1),
    }


def no_lidar(count: int) -> Section:
    """Return the lidar columns of the section ``samples`` for ``count`` samples without lidar."""
    return {
        "lidar_path": [""] * count,
        "lidar_to_ego": np.tile(IDENTITY_POSE, (count, 1)),
        "lidar_ego_to_global": np.tile(IDENTITY_POSE, (count, 1)),
    }
