"""Checks of cameras' intrinsics (unit, layout, the images that they belong to) and image sizes.

Letters: C calibrations, D rows of the table, X chosen rows.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from drivemim.array_types import Bools, Floats, Ints
from drivemim.data.index.builders.source_rows import SourceRows
from drivemim.errors import DataError

_CENTRAL = 0.1
"""Largest distance of a principal point from the middle, as a fraction of the image's side."""
_MAX_ASPECT = 2.0
"""Largest ratio of the two focal lengths of a camera whose pixels are nearly square."""
_AT_EDGE = 0.9
"""If every principal point lies beyond this fraction of the width and of the height, the intrinsics
are those of a larger image: an error."""
_FAR = 0.7
"""If every principal point lies beyond this fraction of the width or of the height, or all lie as
far to the other side, the intrinsics may be those of another image size: a warning."""
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
        (~np.isclose(bottom, [0, 0, 1], atol=1e-6).all(axis=1), "has a bottom row other than 0, 0, "
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
    size_D2: Ints,
    images: Bools,
    column: str = "camera_intrinsic",
) -> None:
    """Refuse images whose intrinsics belong to another image size.

    A principal point that is outside in both directions, or that is at the lower right corner in
    every image, belongs to a larger image. Images that were cropped after calibration can also have
    an unusual principal point, so other cases give a warning: a principal point outside in one
    direction, one that would be in the middle if cx and cy were swapped, or one that is far from
    the middle in every image, to the same side.

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
    if not len(chosen):
        return
    fraction_X2 = center_D2[chosen] / size_D2[chosen]
    at_corner = bool((fraction_X2 >= _AT_EDGE).all())
    outside_X2 = (fraction_X2 < 0) | (fraction_X2 >= (_AT_EDGE if at_corner else 1))
    one_side_2 = (fraction_X2 > _FAR).all(axis=0) | (fraction_X2 < 1 - _FAR).all(axis=0)
    in_pixels = f"write {column} in pixels of the stored images, and their width and height"
    # The first problem that any image has is reported.
    problems = (
        (outside_X2.all(axis=1), True, f"lies outside or at the edge ({{count}} such rows); "
         f"{in_pixels}"),
        (_have_swapped_centers(fraction_X2, size_D2[chosen]), False, "would be in the middle if cx "
         "and cy were swapped ({count} such rows). Unless the images were cropped like this after "
         f"calibration, write cx in the first row of {column} and cy in the second"),
        (outside_X2.any(axis=1), False, "lies outside or at the edge ({count} such rows). Unless "
         f"the images were cropped after calibration, {in_pixels}"),
        (np.full(len(chosen), one_side_2.any()), False, "is far from the middle, to the same side "
         "in every image. Unless all were cropped like this after calibration, " + in_pixels),
    )  # fmt: skip
    for wrong_X, is_error, problem in problems:
        if wrong_X.any():
            row = int(chosen[wrong_X.argmax()])
            width, height = size_D2[row]
            message = (
                f"{rows.file(row)}: {rows.name(row)} is {width} pixels wide and {height} high, and "
                f"the principal point {center_D2[row].tolist()} of its {column} "
                + problem.format(count=np.count_nonzero(wrong_X))
            )
            if is_error:
                raise DataError(message)
            _log.warning("%s", message)
            return


def _have_swapped_centers(fraction_X2: Floats, size_X2: Ints) -> Bools:
    """Return whether principal points are in the middle only if cx and cy are swapped."""
    swapped_X2 = (fraction_X2 * size_X2)[:, ::-1] / size_X2
    is_off_X = (np.abs(fraction_X2 - 0.5) > _CENTRAL).all(axis=1)
    is_swapped_X: Bools = is_off_X & (np.abs(swapped_X2 - 0.5) <= _CENTRAL).all(axis=1)
    return is_swapped_X


def check_swapped_size(
    path: Path, header_hw: tuple[int, int] | None, size_wh: tuple[int, int], frame: str
) -> None:
    """Refuse a table row whose width and height are swapped relative to the image.

    Args:
        path: path of the image, for the error.
        header_hw: height and width in the image's header; None if it does not say.
        size_wh: width and height in sample_data.json.
        frame: token of the row, for the error.

    Raises:
        DataError: naming the image, both sizes and the fix.
    """
    width, height = size_wh
    if header_hw == (width, height) and width != height:
        raise DataError(
            f"sample_data.json gives frame {frame} width {width} and height {height}, but its "
            f"image {path} is {height} pixels wide and {width} high; swap width and height in "
            "sample_data.json"
        )
