"""Checks for numbers of a source that follow another convention than nuScenes'.

Letters: P poses, R rotations, C cameras, D steps of an ego.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from drivemim.array_types import Bools, Floats, Ints
from drivemim.data.index.builders.source_rows import SourceRows
from drivemim.errors import DataError
from drivemim.geometry.poses import quaternion_to_matrix

_UPRIGHT = float(np.cos(np.radians(45)))
"""Cosine of the largest angle at which an axis counts as vertical: rigs pitch and roll."""
_MOST, _ALL = 0.9, 0.99
"""Smallest fractions of rows for which a convention counts as kept, and as the intended one."""
_APART = float(np.cos(np.radians(10)))
"""Cosine of half the angle, 20 degrees, above which two cameras have mounts of their own."""
ENOUGH_BOXES = 10
"""Fewest boxes that are evidence of their convention; a few objects lie on their side."""
_WIDE = 1.3
"""Width over length of vehicles above which the two are probably swapped."""
_LOWEST = 0.3
"""Height in metres above the ground of a camera that is mounted low."""
_STEP, _ENOUGH_METRES = 500_000, 5.0
"""Microseconds between poses that are compared with the direction of motion, and the distance over
which they are evidence."""
_DRIVING, _SIDEWAYS, _BACKWARDS = 2.0, 45.0, 120.0
"""Speed in m/s above which an ego drives, and angles in degrees to its x axis."""
_TILTED, _AS_LEVEL = 5.0, 2.0
"""Degrees by which x, y, z, w levels rows more, on average, than any slope could, and by which it
may level them less if the motion speaks for it."""
Drive = tuple[str, Ints, Floats]
"""Source, times (P,) in microseconds, ascending, and ego poses (P, 7) of a scene."""
_VEHICLES = frozenset({"vehicle", "car", "truck", "bus"})
_FORMAT = "rotations are w, x, y, z"
_LEVELLER = 15.0
"""Another convention is the intended one only if it levels the cameras by this angle, degrees, on
average."""
_ALIKE = 8.0
"""Usual angle, degrees, at which mounted cameras look up or down."""
_AS_WRITTEN = (
    "If the cameras are mounted so, add --camera-rotations-as-written to the drivemim index command"
)
_log = logging.getLogger(__name__)


def check_camera_rotations(
    rows: SourceRows, rotation_C4: Floats, *, as_written: bool = False
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
        rows: names of the cameras.
        rotation_C4: camera to ego.
        as_written: warn where the rotations would be refused.

    Raises:
        DataError: naming the first row that is turned, and the convention.
    """
    down = _down(rotation_C4)
    wrong = down < _UPRIGHT
    if not wrong.any():
        _warn_of_tilted_cameras(rows, rotation_C4)
        return
    row = int(np.flatnonzero(wrong)[0])
    angle = np.degrees(np.arccos(np.clip(down[row], -1, 1)))
    finding = (
        f"{rows.file(row)}: rotation {rotation_C4[row].tolist()} of {rows.name(row)} turns the "
        f"camera's y axis {angle:.0f} degrees away from down in the ego frame "
        f"({np.count_nonzero(wrong)} such rows)"
    )
    other, fix = _other_convention(rotation_C4, wrong)
    if fix and not as_written:
        raise DataError(f"{finding}; {other}. {fix}. {_AS_WRITTEN}")
    _log.warning(
        "%s%s. Look at the camera's images: if they show the road at the bottom, the rotation is "
        "wrong; write it from the camera's axes (x right, y down, z ahead) to the ego's (x ahead, "
        "y left, z up) as w, x, y, z. If they show it at a side or at the top, or the camera looks "
        "up or down, the rotation may be right",
        finding,
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
            "rotations are from camera to ego: write the inverse rotation, and the camera's place "
            "as translation"
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


def _warn_of_tilted_cameras(rows: SourceRows, rotation_C4: Floats) -> None:
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
        "%s: %s looks %.0f degrees up and %s looks %.0f degrees down; read as x, y, z, w every "
        "camera is level, and they look to the sides instead, but %s. Unless they are mounted so, "
        "write w first",
        rows.file(up),
        rows.name(up),
        tilt[up],
        rows.name(down),
        -tilt[down],
        _FORMAT,
    )


def _have_mounts_apart(rotation_R4: Floats) -> bool:
    """Return whether any rotation differs from the first by more than two logs of one camera."""
    unit_R4 = rotation_R4 / np.linalg.norm(rotation_R4, axis=1, keepdims=True)
    return bool((np.abs(unit_R4 @ unit_R4[0]) < _APART).any())


def check_upright_rotations(rows: SourceRows, rotation_R4: Floats, enough: int = 1) -> None:
    """Refuse rotations that tilt the z axis in most rows, or that are upright only as x, y, z, w.

    A heading that is written as x, y, z, w tilts the z axis by its angle. Rows that are clearly
    more level on average if they are read so are refused, too: an upright ego or box would have to
    roll by that angle, and head along the world's -x axis, in all rows.

    A few turned rows give a warning, and so do fewer rows than ``enough``: an object may lie on its
    side.

    Args:
        rows: names of the rows.
        rotation_R4: rotation of each.
        enough: fewest rows that are refused.

    Raises:
        DataError: naming the first row that is turned, its rotation and the fix.
    """
    if len(rotation_R4) == 0:
        return
    up, other = _up(rotation_R4), _up(_from_xyzw(rotation_R4))
    tilt, other_tilt = (float(_degrees_from_cosine(each).mean()) for each in (up, other))
    turned = up < _UPRIGHT
    is_level = (other >= _UPRIGHT).mean() >= _ALL
    is_xyzw = is_level and (turned.mean() > 1 - _MOST or tilt > other_tilt + _TILTED)
    is_xyzw &= len(up) >= enough
    if not (turned.any() or is_xyzw):
        return
    row = int(np.flatnonzero(turned)[0] if turned.any() else up.argmin())
    extent = (
        f"more than 45 degrees ({np.count_nonzero(turned)} of {len(up)} rows)"
        if turned.any()
        else f"{tilt:.0f} degrees (mean of {len(up)} rows)"
    )
    finding = (
        f"{rows.file(row)}: rotation {rotation_R4[row].tolist()} of {rows.name(row)} turns the z "
        f"axis away from up by {extent}"
    )
    if is_xyzw:
        raise DataError(
            f"{finding}; read as x, y, z, w it stays upright, but {_FORMAT}: write w first"
        )
    if len(up) >= enough and np.median(up) < _UPRIGHT:
        raise DataError(f"{finding}; write rotations to a frame with z up, as w, x, y, z")
    _log.warning(
        "%s. Unless they lie so, write rotations to a frame with z up, as w, x, y, z", finding
    )


def warn_of_low_cameras(rows: SourceRows, height_C: Floats) -> None:
    """Warn if no camera is above the ego's origin, which is then not on the ground.

    Args:
        rows: names of the cameras.
        height_C: z in the ego frame, metres.
    """
    if len(height_C) and height_C.max() < _LOWEST:
        row = int(height_C.argmax())
        _log.warning(
            "%s: the highest camera, %s, is at z = %.2f m in the ego frame. The ego's origin must "
            "be on the ground (below the rear axle, for example): masks that follow the ground "
            "assume it at z = 0",
            rows.file(row),
            rows.name(row),
            height_C[row],
        )


def check_direction_of_motion(drives: Sequence[Drive]) -> None:
    """Check that egos drive along their x axes; refuse headings that are written as x, y, z, w.

    A heading near 0 that is written so reads as one near 180 degrees, of an ego that is upright and
    drives backwards. It is refused if the whole recording drives backwards as written and ahead as
    x, y, z, w, and is about as level so. An ego that reverses has the same numbers only if it heads
    exactly along the world's -x axis all the time.

    Scenes that move in another direction give a warning: the ego may reverse, its axes may be
    others, or its poses inverse.

    Args:
        drives: the ego poses of each scene.

    Raises:
        DataError: naming the first source, and the fix.
    """
    steps = [_driving_steps(times, poses) for _, times, poses in drives]
    if not steps:
        return
    moved_D2, rotation_D4 = (np.concatenate(each) for each in zip(*steps, strict=True))
    if _is_driven_as_xyzw(moved_D2, rotation_D4):
        raise DataError(
            f"{drives[0][0]}: the ego drives backwards in the whole recording; with its rotations "
            f"read as x, y, z, w it drives ahead, but {_FORMAT}: write w first (if it does nothing "
            "but reverse, turn the world's axes by 90 degrees, which tells the two apart)"
        )
    for (source, _, _), (moved, rotation) in zip(drives, steps, strict=True):
        if np.linalg.norm(moved, axis=1).sum() < _ENOUGH_METRES:
            continue
        angle = float(np.median(_from_ahead(moved, rotation)))
        if angle > _SIDEWAYS:
            _log.warning(
                "%s: the ego moves %.0f degrees (median) away from its x axis. Unless it drives "
                "so, write poses from the ego (x ahead, y left, z up) to the world, rotations as "
                "w, x, y, z; camera poses must refer to the same ego axes",
                source,
                angle,
            )


def _is_driven_as_xyzw(moved_D2: Floats, rotation_D4: Floats) -> bool:
    """Return whether an ego drives backwards, but ahead and as level as x, y, z, w."""
    length_D = np.linalg.norm(moved_D2, axis=1)
    if length_D.sum() < _ENOUGH_METRES:
        return False
    as_xyzw_D4 = _from_xyzw(rotation_D4)
    backwards = _from_ahead(moved_D2, rotation_D4) > _BACKWARDS
    ahead = _from_ahead(moved_D2, as_xyzw_D4) < _SIDEWAYS
    tilt, other = (_degrees_from_cosine(_up(each)).mean() for each in (rotation_D4, as_xyzw_D4))
    share = length_D[backwards & ahead].sum() / length_D.sum()
    return bool(share >= _MOST and other <= tilt + _AS_LEVEL)


def _driving_steps(times_P: Ints, poses_P7: Floats) -> tuple[Floats, Floats]:
    """Return the steps in which an ego drives: (D, 2) metres on the ground, and (D, 4) rotations.

    Args:
        times_P: microseconds, ascending.
        poses_P7: ego to world: translation in metres and quaternion w x y z.
    """
    elapsed_P = times_P - times_P[0]
    count = max(round(int(elapsed_P[-1]) / _STEP), 1)
    moments = np.linspace(0, int(elapsed_P[-1]), count + 1).astype(np.int64)
    chosen = np.unique(np.searchsorted(elapsed_P, moments))
    seconds, poses = elapsed_P[chosen] / 1e6, poses_P7[chosen]
    moved = np.diff(poses[:, :2], axis=0)
    driving = np.linalg.norm(moved, axis=1) > _DRIVING * np.diff(seconds)
    return moved[driving], poses[:-1][driving, 3:]


def _from_ahead(moved_D2: Floats, rotation_D4: Floats) -> Floats:
    """Return the angle (D,) between the motion and the ego's x axis on the ground, degrees."""
    ahead_D2 = quaternion_to_matrix(rotation_D4)[:, :2, 0]
    across = ahead_D2[:, 0] * moved_D2[:, 1] - ahead_D2[:, 1] * moved_D2[:, 0]
    angle: Floats = np.degrees(np.abs(np.arctan2(across, (ahead_D2 * moved_D2).sum(axis=1))))
    return angle


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


def _from_xyzw(rotation_R4: Floats) -> Floats:
    return rotation_R4[:, [3, 0, 1, 2]]


def _up(rotation_R4: Floats) -> Floats:
    """Return the cosine of the angle between the rotated z axis and z."""
    _, x, y, _ = rotation_R4.T
    cosine: Floats = 1 - 2 * (x * x + y * y) / np.square(rotation_R4).sum(axis=1)
    return cosine


def _degrees_from_cosine(cosine_R: Floats) -> Floats:
    angle: Floats = np.degrees(np.arccos(np.clip(cosine_R, -1, 1)))
    return angle


def _elevation(rotation_C4: Floats) -> Floats:
    """Return how far above the horizon each camera looks, degrees."""
    angle: Floats = np.degrees(np.arcsin(np.clip(_up(rotation_C4), -1, 1)))
    return angle


def _down(rotation_R4: Floats) -> Floats:
    """Return the cosine of the angle between the rotated y axis and -z."""
    w, x, y, z = rotation_R4.T
    cosine: Floats = -2 * (y * z + w * x) / np.square(rotation_R4).sum(axis=1)
    return cosine
