"""Check that cameras' rotations are from camera to ego, as quaternions w, x, y, z.

A camera's y axis should point down, like in an image; one within 45 degrees does. The first row of
this table that applies is reported:

==================================  ==================================  ===========
as written                          in another convention               result
==================================  ==================================  ===========
some y axes do not point down       ego to camera: all point down       error (1)
some y axes do not point down       x, y, z, w: all point down, and     error (1)
                                    the cameras look more level (2)
some y axes do not point down       anything else                       warning
all point down, but some cameras    x, y, z, w: all cameras are level   warning
look up and some down               and look to the sides instead
==================================  ==================================  ===========

1. Only a warning if the rows whose y axes do not point down are of one mount, because a single
   camera may be mounted in any way; or if the user takes rotations as written.
2. By 15 degrees on average. As written, one camera must also be upside down, or one must look up
   and one down, as rear and side cameras do in x, y, z, w. A rig of a front and a rear camera in
   x, y, z, w gives a warning only, because the same numbers describe a rear camera that is
   mounted upside down.

Letters: C cameras.
"""

from __future__ import annotations

import logging

import numpy as np

from drivemim.array_types import Bools, Floats
from drivemim.data.index.builders.quaternion_order import MIN_UPRIGHT, WXYZ, from_xyzw, up_cosine
from drivemim.data.index.builders.source_rows import SourceRows
from drivemim.errors import DataError

_SAME_MOUNT = float(np.cos(np.radians(10)))
"""Smallest cosine of half the angle between rotations of one mount. Within 20 degrees they count as
one: a camera's calibration differs between logs."""
_MIN_LEVELLING = 15.0
"""Degrees by which the cameras must look more level in another convention, on average, for it to be
the intended one."""
_USUAL_PITCH = 8.0
"""Usual angle, degrees, at which mounted cameras look up or down."""
_AS_WRITTEN = (
    "If the cameras are mounted so, add --camera-rotations-as-written to the drivemim index command"
)
_log = logging.getLogger(__name__)


def check_camera_rotations(
    rows: SourceRows, rotation_C4: Floats, *, as_written: bool = False
) -> None:
    """Refuse or warn of cameras whose y axes do not point down; see the table of this module.

    Args:
        rows: names of the cameras.
        rotation_C4: camera to ego.
        as_written: warn where the rotations would be refused.

    Raises:
        DataError: naming the first row that is turned, and the convention.
    """
    down = _down(rotation_C4)
    is_turned = down < MIN_UPRIGHT
    if not is_turned.any():
        _warn_of_tilted_cameras(rows, rotation_C4)
        return
    row = int(np.flatnonzero(is_turned)[0])
    angle = np.degrees(np.arccos(np.clip(down[row], -1, 1)))
    finding = (
        f"{rows.file(row)}: rotation {rotation_C4[row].tolist()} of {rows.name(row)} turns the "
        f"camera's y axis {angle:.0f} degrees away from down in the ego frame "
        f"({np.count_nonzero(is_turned)} such rows)"
    )
    other, fix = _other_convention(rotation_C4, is_turned)
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


def _other_convention(rotation_C4: Floats, is_turned: Bools) -> tuple[str, str]:
    """Return the convention under which every camera is upright, and the fix if it is intended.

    Args:
        rotation_C4: camera to ego.
        is_turned: True for cameras whose y axis does not point down.

    Returns:
        the convention, empty if there is none; the fix, empty if the rotations as written may be
        right.
    """
    is_evidence = _have_several_mounts(rotation_C4[is_turned])
    if (_down(rotation_C4 * [1, -1, -1, -1]) >= MIN_UPRIGHT).all():
        fix = (
            "rotations are from camera to ego: write the inverse rotation, and the camera's place "
            "as translation"
        )
        return "read as ego to camera every camera is upright", fix if is_evidence else ""
    xyzw_C4 = from_xyzw(rotation_C4)
    if not (_down(xyzw_C4) >= MIN_UPRIGHT).all():
        return "", ""
    # In x, y, z, w, a rear camera is upside down, a left one looks up, a right one down.
    viewing_up = up_cosine(rotation_C4)[is_turned]
    some_up_some_down = viewing_up.max() > MIN_UPRIGHT and viewing_up.min() < -MIN_UPRIGHT
    is_like_xyzw = (_down(rotation_C4) < -MIN_UPRIGHT).any() or some_up_some_down
    # Two rear cameras that are mounted upside down and turned by 30 degrees are upright as
    # x, y, z, w, too, but look 30 degrees up then.
    tilt, other_tilt = (np.abs(_elevation(each)).mean() for each in (rotation_C4, xyzw_C4))
    is_intended = is_evidence and is_like_xyzw and tilt > other_tilt + _MIN_LEVELLING
    fix = f"{WXYZ}: write w first" if is_intended else ""
    return "read as x, y, z, w every camera is upright", fix


def _warn_of_tilted_cameras(rows: SourceRows, rotation_C4: Floats) -> None:
    """Warn of upright cameras that look up and down, and would look to the sides as x, y, z, w."""
    if len(rotation_C4) == 0:
        return
    xyzw_C4 = from_xyzw(rotation_C4)
    tilt = _elevation(rotation_C4)
    if not (tilt.max() > _USUAL_PITCH and tilt.min() < -_USUAL_PITCH):
        return
    is_level = np.abs(_elevation(xyzw_C4)).max() <= _USUAL_PITCH
    if not is_level or (_down(xyzw_C4) < np.cos(np.radians(_USUAL_PITCH))).any():
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
        WXYZ,
    )


def _have_several_mounts(rotation_C4: Floats) -> bool:
    """Return whether any rotation differs from the first by more than those of one mount do."""
    unit_C4 = rotation_C4 / np.linalg.norm(rotation_C4, axis=1, keepdims=True)
    return bool((np.abs(unit_C4 @ unit_C4[0]) < _SAME_MOUNT).any())


def _elevation(rotation_C4: Floats) -> Floats:
    """Return how far above the horizon each camera looks, degrees."""
    angle: Floats = np.degrees(np.arcsin(np.clip(up_cosine(rotation_C4), -1, 1)))
    return angle


def _down(rotation_C4: Floats) -> Floats:
    """Return the cosine of the angle between the rotated y axis and -z."""
    w, x, y, z = rotation_C4.T
    cosine: Floats = -2 * (y * z + w * x) / np.square(rotation_C4).sum(axis=1)
    return cosine
