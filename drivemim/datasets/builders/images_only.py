"""Columns of data sets whose boxes are drawn in single images: no 3-D boxes and no lidar."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Section = dict[str, Any]
IDENTITY_POSE = (0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0)


def drawn_boxes(corners_M4: NDArray[np.float64]) -> Section:
    """Columns of boxes of which only the place in the image is known.

    Args:
        corners_M4: x1 y1 x2 y2 pixels of the stored image.

    Returns:
        the section ``boxes`` without token, sample, track, category and attribute.
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
    """The lidar columns of ``count`` samples that have none."""
    still = np.tile(IDENTITY_POSE, (count, 1))
    return {"lidar_path": [""] * count, "lidar_to_ego": still, "lidar_ego_to_global": still}
