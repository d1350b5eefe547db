"""Checks for numbers in nuScenes-format tables that follow another convention than nuScenes'."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from drivemim.array_types import Bools, Floats
from drivemim.errors import DataError

_UPRIGHT = float(np.cos(np.radians(45)))
"""Cosine of the largest angle at which an axis counts as vertical: rigs pitch and roll."""
_MOST, _ALL = 0.9, 0.99
"""Smallest fractions of rows for which a convention counts as kept, and as the intended one."""
_APART = float(np.cos(np.radians(10)))
"""Cosine of half the angle, 20 degrees, above which two cameras have mounts of their own."""
_ENOUGH = {"sample_annotation": 10}
"""Fewest rows of a table that are evidence of its convention; a few objects lie on their side."""
_CENTRAL = 0.1
"""Largest distance of a principal point from the middle, as a fraction of the image's side."""
_MOST_ASPECT = 2.0
"""Largest ratio of the two focal lengths of a camera whose pixels are nearly square."""
_WIDE = 1.3
"""Width over length of vehicles above which the two are probably swapped."""
_VEHICLES = frozenset({"vehicle", "car", "truck", "bus"})
_EDGE, _FAR = 0.9, 0.7
"""Fractions of an image's side. A principal point beyond the first belongs to a larger image, if it
is so in every image; beyond the second, it may."""
_PIXELS = (
    "write camera_intrinsic in pixels of the stored images, and width and height in their columns"
)
_FORMAT = "nuScenes' tables have rotations as w, x, y, z"
_LEVELLER = 15.0
"""Another convention is the intended one only if it levels the cameras by this angle, degrees, on
average."""
_ALIKE = 8.0
"""Usual angle, degrees, at which mounted cameras look up or down."""
_AS_WRITTEN = (
    "If the cameras are mounted so, add --camera-rotations-as-written to the drivemim index command"
)
_log = logging.getLogger(__name__)


def check_intrinsics(folder: Path, tokens: pa.Array, matrices_C33: Floats) -> None:
    """Refuse matrices that are not a pinhole camera's in pixels; rows of NaN are not cameras.

    Focal lengths that differ by more than a factor of 2 give a warning.

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
                f"{folder / 'calibrated_sensor'}.json: camera_intrinsic of {tokens[row].as_py()!r} "
                f"{matrices_C33[row].tolist()} {problem} ({np.count_nonzero(wrong)} such rows)"
            )
    ratio = np.divide(*focal.T)
    unequal = is_camera & ((ratio > _MOST_ASPECT) | (ratio < 1 / _MOST_ASPECT))
    if unequal.any():
        row = int(np.flatnonzero(unequal)[0])
        _log.warning(
            "%s: camera_intrinsic of %r has fx %g and fy %g (%d such rows). Unless its pixels are "
            "that far from square, write fx and fy in pixels of the stored images",
            folder / "calibrated_sensor.json",
            tokens[row].as_py(),
            *focal[row].tolist(),
            np.count_nonzero(unequal),
        )


def check_principal_points(
    folder: Path, tokens: pa.Array, center_D2: Floats, size_D2: NDArray[np.int64], images: Bools
) -> None:
    """Refuse images whose camera_intrinsic belongs to another image size.

    A principal point that is outside in both directions, or that is at the lower right corner in
    every image, belongs to a larger image. Images that were cropped after calibration can also have
    an unusual principal point, so other cases give a warning: a principal point outside in one
    direction, one that would be in the middle if cx and cy were swapped, or none near the middle.

    Args:
        folder: folder of the tables.
        tokens: tokens of sample_data.json.
        center_D2: cx, cy of each row's camera, pixels.
        size_D2: width and height of each row, pixels.
        images: True for rows that are images.

    Raises:
        DataError: naming the first such image.
    """
    chosen = np.flatnonzero(images)
    fraction_X2 = center_D2[chosen] / size_D2[chosen]
    outside_X2 = (fraction_X2 < 0) | (fraction_X2 >= (_EDGE if (fraction_X2 >= _EDGE).all() else 1))
    if outside_X2.any():
        is_other = bool(outside_X2.all(axis=1).any())
        wrong = outside_X2.all(axis=1) if is_other else outside_X2.any(axis=1)
        row = int(chosen[np.flatnonzero(wrong)[0]])
        width, height = size_D2[row]
        found = (
            f"{folder / 'sample_data'}.json: {tokens[row].as_py()!r} is {width} pixels wide and "
            f"{height} high, and the principal point {center_D2[row].tolist()} of its "
            f"camera_intrinsic lies outside or at the edge ({np.count_nonzero(wrong)} such rows)"
        )
        if is_other:
            raise DataError(f"{found}; {_PIXELS}")
    if (swapped := _have_swapped_centers(center_D2[chosen], size_D2[chosen])).any():
        row = int(chosen[np.flatnonzero(swapped)[0]])
        _log.warning(
            "%s: %r is %d pixels wide and %d high, and the principal point %s of its "
            "camera_intrinsic would be in the middle if cx and cy were swapped (%d such rows). "
            "Unless the images were cut so after calibration, write cx in the first row of "
            "camera_intrinsic and cy in the second",
            folder / "sample_data.json",
            tokens[row].as_py(),
            *size_D2[row].tolist(),
            center_D2[row].tolist(),
            np.count_nonzero(swapped),
        )
    elif outside_X2.any():
        _log.warning("%s. Unless the images were cut after calibration, %s", found, _PIXELS)
    elif len(chosen) and ((fraction_X2 > _FAR).all() or (fraction_X2 < 1 - _FAR).all()):
        _log.warning(
            "%s: no image has its principal point near the middle; the first, %r, is %d pixels "
            "wide and %d high, and has it at %s. Unless all were cut so after calibration, %s",
            folder / "sample_data.json",
            tokens[int(chosen[0])].as_py(),
            *size_D2[chosen[0]].tolist(),
            center_D2[chosen[0]].tolist(),
            _PIXELS,
        )


def _have_swapped_centers(center_X2: Floats, size_X2: NDArray[np.int64]) -> Bools:
    """Return whether principal points are in the middle only if cx and cy are swapped."""
    off_X2 = np.abs(center_X2 / size_X2 - 0.5)
    swapped_X2 = np.abs(center_X2[:, ::-1] / size_X2 - 0.5)
    found: Bools = (off_X2 > _CENTRAL).all(axis=1) & (swapped_X2 <= _CENTRAL).all(axis=1)
    return found


def check_camera_rotations(
    folder: Path, tokens: pa.Array, rotation_C4: Floats, *, as_written: bool = False
) -> None:
    """Check that the cameras' y axes point down, like in an image.

    If some do not, but all would under another convention, that convention may be the intended one.
    The rotations are refused if several mounts are turned, and the other convention also makes the
    cameras look more level than the one as written. All rows of one camera have one mount. Other
    cases give a warning: the cameras may look up or down, one may be mounted on its side, or
    several upside down. A rig of a front and a rear camera in x, y, z, w gives a warning only,
    because the same numbers describe a rear camera that is mounted upside down.

    If all y axes point down, cameras that look up and down by the angles at which they would look
    to the left and to the right as x, y, z, w give a warning.

    Args:
        folder: folder of the tables.
        tokens: tokens of the cameras' rows.
        rotation_C4: camera to ego.
        as_written: warn where the rotations would be refused.

    Raises:
        DataError: naming the first row that is turned, and the convention.
    """
    down = _down(rotation_C4)
    wrong = down < _UPRIGHT
    if not wrong.any():
        _warn_of_tilted_cameras(folder, tokens, rotation_C4)
        return
    row = int(np.flatnonzero(wrong)[0])
    angle = np.degrees(np.arccos(np.clip(down[row], -1, 1)))
    found = (
        f"{folder / 'calibrated_sensor'}.json: rotation {rotation_C4[row].tolist()} of "
        f"{tokens[row].as_py()!r} turns the camera's y axis {angle:.0f} degrees away from down "
        f"in the ego frame ({np.count_nonzero(wrong)} such rows)"
    )
    other, fix = _other_convention(rotation_C4, wrong)
    if fix and not as_written:
        raise DataError(f"{found}; {other}. {fix}. {_AS_WRITTEN}")
    _log.warning(
        "%s%s. Look at the camera's images: if they show the road at the bottom, the rotation is "
        "wrong; write it from the camera's axes (x right, y down, z ahead) to the ego's (x ahead, "
        "y left, z up) as w, x, y, z. If they show it at a side or at the top, or the camera looks "
        "up or down, the rotation may be right",
        found,
        other and f"; {other}, and the same numbers may be a camera that is mounted so",
    )


def _other_convention(rotation_C4: Floats, wrong: Bools) -> tuple[str, str]:
    """Return the convention under which every camera is upright, and the fix if it is intended.

    Args:
        rotation_C4: camera to ego.
        wrong: True for cameras whose y axis does not point down.

    Returns:
        the convention, empty if there is none; the fix, empty if the rotations as written may be
        right.
    """
    is_evidence = _have_mounts_apart(rotation_C4[wrong])
    if (_down(rotation_C4 * [1, -1, -1, -1]) >= _UPRIGHT).all():
        fix = (
            "nuScenes' tables have camera to ego: write the inverse rotation, and the camera's "
            "place as translation"
        )
        return "read as ego to camera every camera is upright", fix if is_evidence else ""
    xyzw_C4 = _from_xyzw(rotation_C4)
    if not (_down(xyzw_C4) >= _UPRIGHT).all():
        return "", ""
    # Read as x, y, z, w, a rear camera is upside down, a left one looks up, a right one down.
    down, ahead = _down(rotation_C4), _up(rotation_C4)[wrong]
    turned = (down < -_UPRIGHT).any() or (ahead.max() > _UPRIGHT and ahead.min() < -_UPRIGHT)
    # Read so, two rear cameras upside down, turned 30 degrees, are upright and look 30 degrees up.
    tilt, other = (np.abs(_elevation(each)).mean() for each in (rotation_C4, xyzw_C4))
    is_intended = is_evidence and turned and tilt > other + _LEVELLER
    fix = f"{_FORMAT}: write w first" if is_intended else ""
    return "read as x, y, z, w every camera is upright", fix


def _warn_of_tilted_cameras(folder: Path, tokens: pa.Array, rotation_C4: Floats) -> None:
    """Warn of upright cameras that look up and down, and would look to the sides as x, y, z, w."""
    if len(rotation_C4) == 0:
        return
    tilt, other = _elevation(rotation_C4), _elevation(_from_xyzw(rotation_C4))
    if not (tilt.max() > _ALIKE and tilt.min() < -_ALIKE and np.abs(other).max() <= _ALIKE):
        return
    if (_down(_from_xyzw(rotation_C4)) < np.cos(np.radians(_ALIKE))).any():
        return
    up, down = int(tilt.argmax()), int(tilt.argmin())
    _log.warning(
        "%s: %r looks %.0f degrees up and %r looks %.0f degrees down; read as x, y, z, w every "
        "camera is level, and they look to the sides instead. %s. Unless they are mounted so, "
        "write w first",
        folder / "calibrated_sensor.json",
        tokens[up].as_py(),
        tilt[up],
        tokens[down].as_py(),
        -tilt[down],
        _FORMAT,
    )


def _have_mounts_apart(rotation_R4: Floats) -> bool:
    """Return whether any rotation differs from the first by more than two logs of one camera."""
    unit_R4 = rotation_R4 / np.linalg.norm(rotation_R4, axis=1, keepdims=True)
    return bool((np.abs(unit_R4 @ unit_R4[0]) < _APART).any())


def check_upright_rotations(
    folder: Path, table: str, tokens: pa.Array, rotation_R4: Floats
) -> None:
    """Refuse rotations that tilt the z axis in most rows, or that are upright only as x, y, z, w.

    A few turned rows give a warning, and so do few rows of ``sample_annotation``: an object may lie
    on its side.

    Raises:
        DataError: naming the first row that is turned, its rotation and the fix.
    """
    up = _up(rotation_R4)
    turned = up < _UPRIGHT
    if not turned.any():
        return
    row = int(np.flatnonzero(turned)[0])
    found = (
        f"{folder / table}.json: rotation {rotation_R4[row].tolist()} of {tokens[row].as_py()!r} "
        f"turns the z axis away from up by more than 45 degrees ({np.count_nonzero(turned)} of "
        f"{len(up)} rows)"
    )
    if len(up) >= _ENOUGH.get(table, 1):
        is_xyzw = (_up(_from_xyzw(rotation_R4)) >= _UPRIGHT).mean() >= _ALL
        if turned.mean() > 1 - _MOST and is_xyzw:
            raise DataError(
                f"{found}; read as x, y, z, w it stays upright. {_FORMAT}: write w first"
            )
        if np.median(up) < _UPRIGHT:
            raise DataError(f"{found}; write rotations to a frame with z up, as w, x, y, z")
    _log.warning(
        "%s. Unless they lie so, write rotations to a frame with z up, as w, x, y, z", found
    )


def warn_of_wide_vehicles(
    folder: Path, names: list[str], category_M: NDArray[np.int64], size_M3: Floats
) -> None:
    """Warn if vehicles are wider than long: ``size`` is probably length, width, height.

    Args:
        folder: folder of the tables.
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
            folder / "sample_annotation.json",
            width,
            length,
        )


def check_relative(folder: Path, tokens: pa.Array, paths: list[str]) -> None:
    """Refuse a ``filename`` that is an absolute path.

    Raises:
        DataError: naming the first such row.
    """
    wrong = [row for row, path in enumerate(paths) if path.startswith("/")]
    if wrong:
        raise DataError(
            f"{folder / 'sample_data'}.json: filename {paths[wrong[0]]!r} of "
            f"{tokens[wrong[0]].as_py()!r} begins with / ({len(wrong)} such rows); write it "
            "relative to the data root, as samples/CAM_FRONT/name.jpg"
        )


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


def _from_xyzw(rotation_R4: Floats) -> Floats:
    return rotation_R4[:, [3, 0, 1, 2]]


def _up(rotation_R4: Floats) -> Floats:
    """Return the cosine of the angle between the rotated z axis and z."""
    _, x, y, _ = rotation_R4.T
    cosine: Floats = 1 - 2 * (x * x + y * y) / np.square(rotation_R4).sum(axis=1)
    return cosine


def _elevation(rotation_C4: Floats) -> Floats:
    """Return how far above the horizon each camera looks, degrees."""
    angle: Floats = np.degrees(np.arcsin(np.clip(_up(rotation_C4), -1, 1)))
    return angle


def _down(rotation_R4: Floats) -> Floats:
    """Return the cosine of the angle between the rotated y axis and -z."""
    w, x, y, z = rotation_R4.T
    cosine: Floats = -2 * (y * z + w * x) / np.square(rotation_R4).sum(axis=1)
    return cosine
