"""Helpers of the checks of rotations: vertical axes, and quaternions in the order x, y, z, w.

Letters: R rotations.
"""

from __future__ import annotations

import numpy as np

from drivemim.array_types import Floats

MIN_UPRIGHT = float(np.cos(np.radians(45)))
"""Smallest cosine between an axis that counts as upright and the vertical: rigs pitch and roll."""
WXYZ = "rotations are w, x, y, z"
"""The convention, for messages."""


def from_xyzw(rotation_R4: Floats) -> Floats:
    """Return quaternions w, x, y, z whose source wrote x, y, z, w."""
    return rotation_R4[:, [3, 0, 1, 2]]


def up_cosine(rotation_R4: Floats) -> Floats:
    """Return the cosine (R,) of the angle between the rotated z axis and z."""
    _, x, y, _ = rotation_R4.T
    cosine: Floats = 1 - 2 * (x * x + y * y) / np.square(rotation_R4).sum(axis=1)
    return cosine
