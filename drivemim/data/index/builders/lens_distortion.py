"""Checks of lens distortion: how far it moves pixels, and whether the images can be indexed."""

from __future__ import annotations

import logging
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from drivemim.array_types import Ints
from drivemim.data.index.builders.nuscenes_frames import Rig, SensorData
from drivemim.errors import DataError

_COEFFICIENTS = (4, 5, 8, 12, 14)
"""Valid numbers of coefficients in OpenCV's lens model."""
_log = logging.getLogger(__name__)


def refuse_distortion(folder: Path, data: SensorData, rig: Rig, chosen: Ints) -> None:
    """Refuse images with lens distortion, because projected boxes would lie on wrong pixels.

    Args:
        folder: folder of the tables.
        data: rows of sample_data.json.
        rig: their calibrations.
        chosen: rows that become frames.

    Raises:
        DataError: naming the worst calibration, its coefficients and its pixel shift.
    """
    worst, shift = _worst(data, rig, chosen)
    if worst >= 0:
        raise DataError(
            f"{folder / 'calibrated_sensor'}.json: {rig.tokens[worst].as_py()!r} "
            f"({rig.cameras[rig.kind[worst]]}) has camera_distortion {rig.distortion[worst]}, "
            f"which moves pixels{shift}; boxes are projected through an ideal camera. Rectify the "
            "images (cv2.undistort) and write the new camera_intrinsic with a camera_distortion of "
            "zeros; if the images are rectified already and the coefficients are those of the "
            "lens, use --rectified"
        )


def warn_of_distortion(folder: Path, data: SensorData, rig: Rig, chosen: Ints) -> None:
    """Warn of lens distortion if boxes are drawn in the images, and are therefore still correct.

    Args:
        folder: folder of the tables.
        data: rows of sample_data.json.
        rig: their calibrations.
        chosen: rows that become frames.
    """
    worst, shift = _worst(data, rig, chosen)
    if worst >= 0:
        _log.warning(
            "%s: the images are not rectified: camera_distortion moves pixels of %s%s. Boxes lie "
            "right; intrinsics are those of the ideal camera",
            folder / "calibrated_sensor.json",
            rig.cameras[rig.kind[worst]],
            shift,
        )


def largest_shift(
    intrinsics_33: NDArray[np.float64], coefficients: list[float], size: tuple[int, int]
) -> float:
    """Return the largest distance in pixels by which a lens moves points on the image's border.

    Args:
        intrinsics_33: of the ideal camera, pixels.
        coefficients: OpenCV's k1, k2, p1, p2, k3, ...
        size: width and height, pixels.
    """
    width, height = size
    along = np.linspace(0, 1, 33)
    border_B2 = np.concatenate([
        np.stack([along * width, np.full(33, edge)], axis=1) for edge in (0, height)
    ] + [np.stack([np.full(33, edge), along * height], axis=1) for edge in (0, width)])  # fmt: skip
    rays_B3 = np.column_stack([border_B2, np.ones(len(border_B2))]) @ np.linalg.inv(intrinsics_33).T
    seen, _ = cv2.projectPoints(
        rays_B3, np.zeros(3), np.zeros(3), intrinsics_33, np.array(coefficients, np.float64)
    )
    return float(np.linalg.norm(seen.reshape(-1, 2) - border_B2, axis=1).max())


def _worst(data: SensorData, rig: Rig, chosen: Ints) -> tuple[int, str]:
    """Return the calibration with the largest shift (-1 for none), and the shift in words."""
    used, first = np.unique(data.calibration[chosen], return_index=True)
    shifts: dict[int, float] = {}
    for calibration, row in zip(used.tolist(), chosen[first].tolist(), strict=True):
        coefficients = rig.distortion[calibration]
        if not coefficients:
            continue
        if len(coefficients) not in _COEFFICIENTS or not np.isfinite(coefficients).all():
            return calibration, " in a way that OpenCV's model of a lens does not describe"
        width, height = data.size[row].tolist()
        shifts[calibration] = largest_shift(
            rig.intrinsics[calibration], coefficients, (width, height)
        )
    if not shifts:
        return -1, ""
    worst = max(shifts, key=lambda calibration: shifts[calibration])
    return worst, f" by up to {shifts[worst]:.1f} at the image's border"
