"""Checks of lens distortion: how far it moves pixels, and whether the images can be indexed.

Letters: B points on the image's border.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from drivemim.array_types import Ints
from drivemim.data.index.builders.nuscenes_frames import Rig, SensorData
from drivemim.data.index.builders.source_rows import SourceRows
from drivemim.errors import DataError

_COEFFICIENTS = (4, 5, 8, 12, 14)
"""Valid numbers of coefficients in OpenCV's lens model."""
_BORDER_POINTS = 33
"""Points on each side of the image whose shift is computed."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Lens:
    """The lens of a camera that has images.

    Attributes:
        row: row of its calibration in the source.
        camera: name of the camera for messages; empty if the name of the row says it already.
        intrinsics_33: of the camera without distortion, pixels.
        coefficients: OpenCV's k1, k2, p1, p2, k3, ...; empty or zeros without distortion.
        size: width and height of the images, pixels.
    """

    row: int
    camera: str
    intrinsics_33: NDArray[np.float64]
    coefficients: Sequence[float]
    size: tuple[int, int]


def used_lenses(data: SensorData, rig: Rig, chosen: Ints) -> list[Lens]:
    """Return the lenses with which the images of an index were taken.

    Args:
        data: rows of sample_data.json.
        rig: their calibrations.
        chosen: rows of ``data`` that become frames.
    """
    used, first = np.unique(data.calibration[chosen], return_index=True)
    return [
        Lens(
            row=calibration,
            camera=rig.cameras[rig.kind[calibration]],
            intrinsics_33=rig.intrinsics[calibration],
            coefficients=rig.distortion[calibration],
            size=(int(data.size[row, 0]), int(data.size[row, 1])),
        )
        for calibration, row in zip(used.tolist(), chosen[first].tolist(), strict=True)
    ]


def refuse_distortion(
    rows: SourceRows,
    lenses: Sequence[Lens],
    names: tuple[str, str] = ("camera_intrinsic", "camera_distortion"),
) -> None:
    """Refuse images with lens distortion, because projected boxes would lie on wrong pixels.

    Args:
        rows: files and names of the calibrations, for the error.
        lenses: lenses of the calibrations that have images.
        names: what the source calls intrinsics and distortion.

    Raises:
        DataError: if a lens distorts. The message names the worst calibration, its coefficients
            and its pixel shift.
    """
    worst, shift = _worst(lenses)
    if worst is not None:
        intrinsics, distortion = names
        raise DataError(
            f"{rows.file(worst.row)}: {rows.name(worst.row)}"
            f"{f' ({worst.camera})' if worst.camera else ''} has {distortion} "
            f"{list(worst.coefficients)}, which moves pixels{shift}; boxes are projected through "
            f"an ideal camera. Rectify the images (cv2.undistort) and write the new {intrinsics} "
            f"with a {distortion} of zeros; if the images are rectified already and the "
            "coefficients are those of the lens, use --rectified"
        )


def warn_of_distortion(rows: SourceRows, lenses: Sequence[Lens]) -> None:
    """Warn of lens distortion of images whose boxes are drawn in them.

    These boxes lie right without a projection, so the images are not refused.

    Args:
        rows: files of the calibrations, for the warning.
        lenses: lenses of the calibrations that have images.
    """
    worst, shift = _worst(lenses)
    if worst is not None:
        _log.warning(
            "%s: the images are not rectified: camera_distortion moves pixels of %s%s. Boxes lie "
            "right; intrinsics are those of the ideal camera",
            rows.file(worst.row),
            worst.camera,
            shift,
        )


def largest_shift(
    intrinsics_33: NDArray[np.float64], coefficients: list[float], size: tuple[int, int]
) -> float:
    """Return the largest distance in pixels by which a lens moves points on the image's border.

    Args:
        intrinsics_33: of the camera without distortion, pixels.
        coefficients: OpenCV's k1, k2, p1, p2, k3, ...
        size: width and height of the image, pixels.
    """
    width, height = size
    count = _BORDER_POINTS
    along = np.linspace(0, 1, count)
    border_B2 = np.concatenate(
        [np.stack([along * width, np.full(count, y)], axis=1) for y in (0, height)]
        + [np.stack([np.full(count, x), along * height], axis=1) for x in (0, width)]
    )
    rays_B3 = np.column_stack([border_B2, np.ones(len(border_B2))]) @ np.linalg.inv(intrinsics_33).T
    distorted, _ = cv2.projectPoints(
        rays_B3, np.zeros(3), np.zeros(3), intrinsics_33, np.array(coefficients, np.float64)
    )
    return float(np.linalg.norm(distorted.reshape(-1, 2) - border_B2, axis=1).max())


def _worst(lenses: Sequence[Lens]) -> tuple[Lens | None, str]:
    """Return the lens that moves pixels furthest, and by how much, as the end of a sentence.

    Lenses without distortion are ignored; if there are no others, return None and ``""``. The first
    lens whose coefficients are not of OpenCV's model is the worst.
    """
    worst, largest = None, 0.0
    for lens in lenses:
        if not any(lens.coefficients):
            continue
        coefficients = list(lens.coefficients)
        if len(coefficients) not in _COEFFICIENTS or not np.isfinite(coefficients).all():
            return lens, " in a way that OpenCV's model of a lens does not describe"
        shift = largest_shift(lens.intrinsics_33, coefficients, lens.size)
        if worst is None or shift > largest:
            worst, largest = lens, shift
    return worst, f" by up to {largest:.1f} at the image's border" if worst else ""
