"""Ground truth of frames: annotated boxes as each camera sees them at its own timestamp."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from drivemim.datasets.index import FrameIndex


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameBoxes:
    """Boxes of F frames, M in all: those of frame ``f`` are rows ``offsets[f]:offsets[f + 1]``.

    Attributes:
        offsets: (F + 1,) int64.
        frame: (M,) position among the frames asked for.
        box: (M,) row in ``index.boxes``.
        boxes: (M, 4) x1 y1 x2 y2 pixels of the stored image, clipped to it.
        label: (M,) position in ``CLASSES``, -1 for categories that are no class.
        track: (M,) row in ``index.tracks``.
        depth: (M,) metres to the box's centre along the camera's z axis; inf when unknown.
        distance: (M,) metres from the ego vehicle to the box's centre on the ground plane; NaN
            when unknown.
        visibility: (M,) 1 to 4 as nuScenes has it, 0 unknown.
        truncation: (M,) share of the box outside the image, in [0, 1].
        lidar_points: (M,) -1 unknown.
        radar_points: (M,) -1 unknown.
        moving: (M,) 1 moving, 0 standing, -1 unknown.
    """

    offsets: NDArray[np.int64]
    frame: NDArray[np.int64]
    box: NDArray[np.int64]
    boxes: NDArray[np.float64]
    label: NDArray[np.int64]
    track: NDArray[np.int64]
    depth: NDArray[np.float64]
    distance: NDArray[np.float64]
    visibility: NDArray[np.int64]
    truncation: NDArray[np.float64]
    lidar_points: NDArray[np.int64]
    radar_points: NDArray[np.int64]
    moving: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1


def frame_boxes(
    index: FrameIndex,
    rows: NDArray[np.int64],
    *,
    class_map: Mapping[str, str | None] | None = None,
    keep_unlabelled: bool = False,
    min_size: float = 0.0,
) -> FrameBoxes:
    """Boxes of frames as their cameras see them.

    Args:
        index: the data set.
        rows: (F,) rows of ``index.frames``.
        class_map: category to class name or None; ``drivemim.datasets.classes.DEFAULT`` for None.
        keep_unlabelled: whether to keep boxes whose category is no class, with label -1.
        min_size: boxes narrower or lower than this many pixels are left out.

    Returns:
        the boxes that are in the image, frame by frame.
    """
    raise NotImplementedError
