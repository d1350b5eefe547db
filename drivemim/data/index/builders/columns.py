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


def neighbours(group: Ints) -> tuple[Ints, Ints]:
    """Return the previous and next row in runs of equal ``group``; -1 at the runs' ends."""
    rows = np.arange(len(group))
    same = np.concatenate([[False], group[1:] == group[:-1], [False]])
    return np.where(same[:-1], rows - 1, -1), np.where(same[1:], rows + 1, -1)


def runs(group: Ints, count: int) -> tuple[Ints, Ints]:
    """Return the start and length of each of ``count`` groups in the ascending column ``group``."""
    first = np.searchsorted(group, np.arange(count + 1))
    return first[:-1], np.diff(first)


def links_in_time(sequence: Ints, timestamp: Ints) -> Section:
    """Return the columns of frames that follow from their order.

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
    """Return the first row and the number of each camera's frames of a scene."""
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
    """Return the lidar columns of ``count`` samples without lidar."""
    return {
        "lidar_path": [""] * count,
        "lidar_to_ego": np.tile(IDENTITY_POSE, (count, 1)),
        "lidar_ego_to_global": np.tile(IDENTITY_POSE, (count, 1)),
    }
