"""Check that rotations of egos and boxes are to a frame with z up, and that egos drive along x.

The first row of each table that applies is reported. An axis within 45 degrees of up is upright.

========================================  ===================================  ===========
rotations as written                      as x, y, z, w                        result
========================================  ===================================  ===========
at least 10 % of the rows not upright     99 % of the rows are upright         error (1)
over 5 degrees less level on average      99 % of the rows are upright         error (1)
most rows not upright                     anything else                        error (1)
any row not upright                       anything else                        warning
========================================  ===================================  ===========

========================================  ===================================  ===========
drives as written                         as x, y, z, w                        result
========================================  ===================================  ===========
backwards for 90 % of the distance        ahead, and about as level            error
not ahead, in the median of a scene       anything else                        warning
========================================  ===================================  ===========

1. Only if there are enough rows: a few objects lie on their side.

Letters: P poses, R rotations, D steps of an ego.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from drivemim.array_types import Floats, Ints
from drivemim.data.index.builders.quaternion_order import MIN_UPRIGHT, WXYZ, from_xyzw, up_cosine
from drivemim.data.index.builders.source_rows import SourceRows
from drivemim.errors import DataError
from drivemim.geometry.poses import quaternion_to_matrix

ENOUGH_BOXES = 10
"""Fewest boxes that are evidence of their convention; a few objects lie on their side."""
_MANY_TURNED = 0.1
"""Fraction of rows that are not upright from which x, y, z, w may be the intended convention."""
_NEARLY_ALL = 0.99
"""Fraction of rows that must be upright as x, y, z, w if it is the intended convention."""
_MORE_LEVEL = 5.0
"""Degrees by which rows must be more level as x, y, z, w, on average, to be refused if they are
upright as written; no slope tilts an ego by that much on average."""
_LESS_LEVEL = 2.0
"""Degrees by which an ego may be less level as x, y, z, w if it drives backwards as written."""
_MOST_OF_THE_WAY = 0.9
"""Fraction of the distance that must be driven backwards for poses to be refused."""
_STEP = 500_000
"""Microseconds between poses that are compared with the direction of motion."""
_ENOUGH_METRES = 5.0
"""Shortest distance that is evidence of the direction of motion."""
_DRIVING = 2.0
"""Speed in m/s above which an ego drives."""
_AHEAD = 45.0
"""Largest angle, degrees, between the ego's x axis and the motion of an ego that drives ahead."""
_BACKWARDS = 120.0
"""Smallest such angle of an ego that drives backwards."""
Drive = tuple[str, Ints, Floats]
"""Source, times (P,) in microseconds, ascending, and ego poses (P, 7) of a scene."""
_log = logging.getLogger(__name__)


def check_upright_rotations(rows: SourceRows, rotation_R4: Floats, enough: int = 1) -> None:
    """Refuse rotations whose z axes are not up; see the first table of this module.

    A heading that is written as x, y, z, w tilts the z axis by its angle. Small headings stay
    upright, but are less level than as x, y, z, w. Right rotations look like this only if every row
    has the same roll and heads exactly along the world's -x axis.

    Args:
        rows: names of the rows.
        rotation_R4: rotation of each.
        enough: fewest rows that are refused; fewer give a warning.

    Raises:
        DataError: naming the first row that is turned, its rotation and the fix.
    """
    if len(rotation_R4) == 0:
        return
    up, up_as_xyzw = up_cosine(rotation_R4), up_cosine(from_xyzw(rotation_R4))
    tilt, tilt_as_xyzw = (float(_degrees_from_cosine(each).mean()) for each in (up, up_as_xyzw))
    turned = up < MIN_UPRIGHT
    is_upright_as_xyzw = (up_as_xyzw >= MIN_UPRIGHT).mean() >= _NEARLY_ALL
    is_less_level = turned.mean() >= _MANY_TURNED or tilt > tilt_as_xyzw + _MORE_LEVEL
    is_xyzw = is_upright_as_xyzw and is_less_level and len(up) >= enough
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
            f"{finding}; read as x, y, z, w it stays upright, but {WXYZ}: write w first"
        )
    if len(up) >= enough and np.median(up) < MIN_UPRIGHT:
        raise DataError(f"{finding}; write rotations to a frame with z up, as w, x, y, z")
    _log.warning(
        "%s. Unless they lie so, write rotations to a frame with z up, as w, x, y, z", finding
    )


def check_direction_of_motion(drives: Sequence[Drive]) -> None:
    """Refuse or warn of egos that do not drive along x; see the second table of this module.

    A heading near 0 that is written as x, y, z, w reads as one near 180 degrees, of an ego that is
    upright and drives backwards. A reversing ego has the same numbers only if it heads exactly
    along the world's -x axis all the time.

    A warning may be about an ego that reverses, has other axes, or has inverse poses.

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
            f"read as x, y, z, w it drives ahead, but {WXYZ}: write w first (if it does nothing "
            "but reverse, turn the world's axes by 90 degrees, which tells the two apart)"
        )
    for (source, _, _), (moved, rotation) in zip(drives, steps, strict=True):
        if np.linalg.norm(moved, axis=1).sum() < _ENOUGH_METRES:
            continue
        angle = float(np.median(_from_ahead(moved, rotation)))
        if angle > _AHEAD:
            _log.warning(
                "%s: the ego moves %.0f degrees (median) away from its x axis. Unless it drives "
                "so, write poses from the ego (x ahead, y left, z up) to the world, rotations as "
                "w, x, y, z; camera poses must refer to the same ego axes",
                source,
                angle,
            )


def _is_driven_as_xyzw(moved_D2: Floats, rotation_D4: Floats) -> bool:
    """Return whether an ego drives backwards as written, but ahead and as level as x, y, z, w."""
    length_D = np.linalg.norm(moved_D2, axis=1)
    if length_D.sum() < _ENOUGH_METRES:
        return False
    as_xyzw_D4 = from_xyzw(rotation_D4)
    backwards = _from_ahead(moved_D2, rotation_D4) > _BACKWARDS
    ahead = _from_ahead(moved_D2, as_xyzw_D4) < _AHEAD
    tilt, tilt_as_xyzw = (
        _degrees_from_cosine(up_cosine(each)).mean() for each in (rotation_D4, as_xyzw_D4)
    )
    share = length_D[backwards & ahead].sum() / length_D.sum()
    return bool(share >= _MOST_OF_THE_WAY and tilt_as_xyzw <= tilt + _LESS_LEVEL)


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


def _degrees_from_cosine(cosine_R: Floats) -> Floats:
    angle: Floats = np.degrees(np.arccos(np.clip(cosine_R, -1, 1)))
    return angle
