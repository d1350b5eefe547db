"""Warnings of heights and sizes, in metres, that suggest another origin or order of axes.

Letters: C cameras, M boxes.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from drivemim.array_types import Floats
from drivemim.data.index.builders.source_rows import SourceRows

_LOWEST_CAMERA = 0.3
"""Height in metres above the ground of a camera that is mounted low."""
_WIDE = 1.3
"""Width over length of vehicles above which the two are probably swapped."""
_VEHICLES = frozenset({"vehicle", "car", "truck", "bus"})
_log = logging.getLogger(__name__)


def warn_of_low_cameras(rows: SourceRows, height_C: Floats) -> None:
    """Warn if no camera is above the ego's origin, which is then not on the ground.

    Args:
        rows: names of the cameras.
        height_C: z in the ego frame, metres.
    """
    if len(height_C) and height_C.max() < _LOWEST_CAMERA:
        row = int(height_C.argmax())
        _log.warning(
            "%s: the highest camera, %s, is at z = %.2f m in the ego frame. The ego's origin must "
            "be on the ground (below the rear axle, for example): masks that follow the ground "
            "assume it at z = 0",
            rows.file(row),
            rows.name(row),
            height_C[row],
        )


def warn_of_wide_vehicles(
    source: str | Path, names: list[str], category_M: NDArray[np.int64], size_M3: Floats
) -> None:
    """Warn if vehicles are wider than long: ``size`` is probably length, width, height.

    Args:
        source: what has the sizes.
        names: names of the categories.
        category_M: category of each box.
        size_M3: size of each box: width, length, height.
    """
    is_vehicle = np.array([bool(_VEHICLES & set(name.split("."))) for name in names], bool)
    sizes = size_M3[is_vehicle[category_M]] if len(names) else size_M3[:0]
    if len(sizes) == 0:
        return
    width, length, _ = np.median(sizes, axis=0)
    if width > _WIDE * length:
        _log.warning(
            "%s: the median vehicle is %.2f m wide and %.2f m long: size is width, length, height; "
            "if these are written as length, width, height, swap the first two",
            source,
            width,
            length,
        )
