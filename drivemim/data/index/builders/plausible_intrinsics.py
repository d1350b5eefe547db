"""Checks of cameras' intrinsics: their unit and layout, and the images that they belong to.

Letters: C calibrations, D rows of the table, X chosen rows.
"""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from drivemim.array_types import Bools, Floats
from drivemim.data.index.builders.source_rows import SourceRows
from drivemim.errors import DataError

_CENTRAL = 0.1
"""Largest distance of a principal point from the middle, as a fraction of the image's side."""
_MAX_ASPECT = 2.0
"""Largest ratio of the two focal lengths of a camera whose pixels are nearly square."""
_EDGE, _FAR = 0.9, 0.7
"""Fractions of an image's side. A principal point beyond the first belongs to a larger image, if it
is so in every image; beyond the second, it may."""
_PIXELS = "in pixels of the stored images, and their width and height"
_log = logging.getLogger(__name__)


def check_intrinsics(
    rows: SourceRows, matrices_C33: Floats, column: str = "camera_intrinsic"
) -> None:
    """Refuse matrices that are not a pinhole camera's in pixels; rows of NaN are not cameras.

    Focal lengths that differ by more than a factor of 2 give a warning.

    Args:
        rows: names of the cameras.
        matrices_C33: their intrinsics.
        column: what the source calls them.

    Raises:
        DataError: naming the first such row, its matrix and the fix.
    """
    bottom, focal = matrices_C33[:, 2], matrices_C33[:, [0, 1], [0, 1]]
    center = matrices_C33[:, :2, 2]
    is_camera = ~np.isnan(focal).any(axis=1)
    transposed = (center == 0).all(axis=1) & (bottom[:, :2] != 0).any(axis=1)
    normalised = (np.abs(center) <= 1).all(axis=1) & (np.abs(focal) < 10).all(axis=1)
    problems = [
        (transposed, "is transposed: write its rows as fx, 0, cx and 0, fy, cy and 0, 0, 1"),
        (~np.isclose(bottom, [0, 0, 1], atol=1e-6).all(axis=1), "has another bottom row than 0, 0, "
         "1: write fx, 0, cx and 0, fy, cy and 0, 0, 1, in pixels"),
        (normalised, "is a fraction of the image's size: multiply its first row by the width and "
         "its second row by the height, in pixels"),
        (~(focal > 1).all(axis=1), "has a focal length that is not above 1 pixel: write fx and fy "
         "in pixels"),
    ]  # fmt: skip
    for wrong, problem in problems:
        wrong = wrong & is_camera
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise DataError(
                f"{rows.file(row)}: {column} of {rows.name(row)} {matrices_C33[row].tolist()} "
                f"{problem} ({np.count_nonzero(wrong)} such rows)"
            )
    ratio = np.divide(*focal.T)
    unequal = is_camera & ((ratio > _MAX_ASPECT) | (ratio < 1 / _MAX_ASPECT))
    if unequal.any():
        row = int(np.flatnonzero(unequal)[0])
        _log.warning(
            "%s: %s of %s has fx %g and fy %g (%d such rows). Unless its pixels are that far from "
            "square, write fx and fy in pixels of the stored images",
            rows.file(row),
            column,
            rows.name(row),
            *focal[row].tolist(),
            np.count_nonzero(unequal),
        )


def warn_of_left_out(rows: SourceRows, left_out: Bools) -> None:
    """Warn of calibrations with intrinsics whose images are left out.

    Args:
        rows: names of the calibrations.
        left_out: True for those with intrinsics whose sensor is not a camera.
    """
    if left_out.any():
        _log.warning(
            "%s: %s has a camera_intrinsic, but the modality of its sensor is not 'camera', so its "
            "images are left out (%d such rows)",
            rows.file(int(np.flatnonzero(left_out)[0])),
            rows.name(int(np.flatnonzero(left_out)[0])),
            np.count_nonzero(left_out),
        )


def check_principal_points(
    rows: SourceRows,
    center_D2: Floats,
    size_D2: NDArray[np.int64],
    images: Bools,
    column: str = "camera_intrinsic",
) -> None:
    """Refuse images whose intrinsics belong to another image size.

    A principal point that is outside in both directions, or that is at the lower right corner in
    every image, belongs to a larger image. Images that were cropped after calibration can also have
    an unusual principal point, so other cases give a warning: a principal point outside in one
    direction, one that would be in the middle if cx and cy were swapped, or none near the middle.

    Args:
        rows: names of the images, or of their cameras.
        center_D2: cx, cy of each row's camera, pixels.
        size_D2: width and height of each row, pixels.
        images: True for rows that are images.
        column: what the source calls the intrinsics.

    Raises:
        DataError: naming the first such image.
    """
    chosen = np.flatnonzero(images)
    describe = partial(_describe_center, rows, center_D2, size_D2, column)
    fraction_X2 = center_D2[chosen] / size_D2[chosen]
    outside_X2 = (fraction_X2 < 0) | (fraction_X2 >= (_EDGE if (fraction_X2 >= _EDGE).all() else 1))
    if outside_X2.any():
        is_other = bool(outside_X2.all(axis=1).any())
        wrong = outside_X2.all(axis=1) if is_other else outside_X2.any(axis=1)
        row = int(chosen[np.flatnonzero(wrong)[0]])
        count = np.count_nonzero(wrong)
        found = f"{describe(row)} lies outside or at the edge ({count} such rows)"
        if is_other:
            raise DataError(f"{found}; write {column} {_PIXELS}")
    if (swapped := _have_swapped_centers(center_D2[chosen], size_D2[chosen])).any():
        _log.warning(
            "%s would be in the middle if cx and cy were swapped (%d such rows). Unless the images "
            "were cut so after calibration, write cx in the first row of %s and cy in the second",
            describe(int(chosen[np.flatnonzero(swapped)[0]])),
            np.count_nonzero(swapped),
            column,
        )
    elif outside_X2.any():
        _log.warning(
            "%s. Unless the images were cut after calibration, write %s %s", found, column, _PIXELS
        )
    elif len(chosen) and ((fraction_X2 > _FAR).all() or (fraction_X2 < 1 - _FAR).all()):
        _log.warning(
            "%s is not near the middle, and so it is in every image. Unless all were cut so after "
            "calibration, write %s %s",
            describe(int(chosen[0])),
            column,
            _PIXELS,
        )


def _describe_center(
    rows: SourceRows, center_D2: Floats, size_D2: NDArray[np.int64], column: str, row: int
) -> str:
    width, height = size_D2[row]
    return (
        f"{rows.file(row)}: {rows.name(row)} is {width} pixels wide and {height} high, and the "
        f"principal point {center_D2[row].tolist()} of its {column}"
    )


def _have_swapped_centers(center_X2: Floats, size_X2: NDArray[np.int64]) -> Bools:
    """Return whether principal points are in the middle only if cx and cy are swapped."""
    off_X2 = np.abs(center_X2 / size_X2 - 0.5)
    swapped_X2 = np.abs(center_X2[:, ::-1] / size_X2 - 0.5)
    found: Bools = (off_X2 > _CENTRAL).all(axis=1) & (swapped_X2 <= _CENTRAL).all(axis=1)
    return found


def check_image_size(
    path: Path, stored_hw: tuple[int, int] | None, size_wh: tuple[int, int], frame: str
) -> None:
    """Refuse a table row whose width and height are swapped relative to the image.

    Args:
        path: path of the image, for the error.
        stored_hw: height and width in the image's header; None if it does not say.
        size_wh: width and height in sample_data.json.
        frame: token of the row, for the error.
    """
    width, height = size_wh
    if stored_hw == (width, height) and width != height:
        raise DataError(
            f"sample_data.json gives frame {frame} width {width} and height {height}, but its "
            f"image {path} is {height} pixels wide and {width} high; swap width and height in "
            "sample_data.json"
        )
