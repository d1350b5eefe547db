"""Reading the depth maps of a generated town."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from drivemim.array_types import Ints
from drivemim.data.index.frame_index import FrameIndex
from drivemim.generated import DEPTH_FOLDER


def has_depth(index: FrameIndex) -> bool:
    """Return whether a data set has depth maps beside its images; only towns can have them."""
    return (index.data_root / DEPTH_FOLDER).is_dir()


def read_depth(index: FrameIndex, rows_TN: Ints) -> NDArray[np.float32]:
    """Read the depth of a clip's frames.

    Args:
        index: index of a town that was generated with depth maps.
        rows_TN: rows of ``index.frames``, -1 for a missing frame; at least one is not -1.

    Returns:
        float32 (T, N, H, W), metres along each camera's z axis at the images' stored size, ``inf``
        for the sky; 0 for missing frames.

    Raises:
        FileNotFoundError: if a frame has no depth map.
    """
    maps = {int(row): _read(index, int(row)) for row in np.unique(rows_TN[rows_TN >= 0])}
    size = next(iter(maps.values())).shape
    depth = np.zeros((*rows_TN.shape, *size), np.float32)
    for frame in np.argwhere(rows_TN >= 0):
        depth[tuple(frame)] = maps[int(rows_TN[tuple(frame)])]
    return depth


def _read(index: FrameIndex, row: int) -> NDArray[np.float16]:
    """Read the depth map (H, W) of a frame, metres."""
    image = Path(index.frames.path[row])
    path = index.data_root / DEPTH_FOLDER / image.parent.name / f"{image.stem}.npz"
    if not path.is_file():
        raise FileNotFoundError(
            f"depth map {path} of frame {index.frames.token[row]} is missing; generate the town "
            "with drivemim town --depth"
        )
    with np.load(path) as stored:
        depth: NDArray[np.float16] = stored["depth"]
    return depth
