"""Reading of lidar scans: nuScenes' files, other files of float32 numbers, and NumPy arrays."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivemim.array_types import Floats32
from drivemim.errors import DataError

_VALUES = 5
"""Numbers per point in nuScenes' files: x, y, z, intensity and ring."""
_PCD = (b"# .PCD", b"VERSION")
"""First bytes of files of the Point Cloud Library."""
SCAN_SUFFIXES = (".npy", ".bin")
"""Suffixes of the files that ``IndexBuilder`` accepts."""


def read_scan(path: Path, *, sample: str, values: int = _VALUES) -> Floats32:
    """Return the points of one scan in the lidar's own axes: float32 (P, 3), metres.

    Args:
        path: a nuScenes ``.pcd.bin`` file, another file of float32 numbers, or a ``.npy`` file.
        sample: token of the scan's sample, for errors.
        values: numbers per point in files that are not ``.npy``; the first three are x, y, z.

    Raises:
        FileNotFoundError: if the file does not exist.
        ValueError: if the file's size is not a multiple of a point's size, it is a PCD file, or a
            ``.npy`` file cannot be read or its array is not (P, 3 or more) numbers.
    """
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(
            f"lidar scan {path} of sample {sample} is missing; restore it, or load clips without "
            "lidar_points"
        ) from None
    if path.suffix == ".npy":
        return _array(path, data, sample)
    if data.startswith(_PCD):
        raise DataError(
            f"lidar scan {path} of sample {sample} is a PCD file, not {values} float32 numbers a "
            "return; convert it"
        )
    if len(data) % (4 * values):
        raise DataError(
            f"lidar scan {path} of sample {sample} has {len(data)} bytes, not a multiple of "
            f"{4 * values}; copy or unpack it again"
        )
    return np.frombuffer(data, "<f4").reshape(-1, values)[:, :3]


def _array(path: Path, data: bytes, sample: str) -> Floats32:
    """Return x, y, z of the array in a ``.npy`` file."""
    try:
        points = np.load(BytesIO(data))
    except (ValueError, EOFError) as error:
        raise DataError(
            f"lidar scan {path} of sample {sample} cannot be read ({error}); write it again with "
            "numpy.save"
        ) from None
    if problem := _array_problem(points):
        raise DataError(f"lidar scan {path} of sample {sample} {problem}")
    return np.asarray(points[:, :3], np.float32)


def check_scan(path: Path, values: int) -> None:
    """Check that a file can be a scan, without reading its points.

    Args:
        path: the file.
        values: numbers per point in ``.bin`` files.

    Raises:
        DataError: if its suffix, size or array is not that of a scan.
    """
    if path.suffix not in SCAN_SUFFIXES:
        raise DataError(f"lidar scan {path} is not one of {', '.join(SCAN_SUFFIXES)}; convert it")
    if path.suffix == ".npy":
        _check_array(path)
        return
    with path.open("rb") as stream:
        if stream.read(len(max(_PCD, key=len))).startswith(_PCD):
            raise DataError(f"lidar scan {path} is a PCD file; convert it to .npy")
    size = path.stat().st_size
    if size % (4 * values):
        raise DataError(
            f"lidar scan {path} has {size} bytes, not a multiple of {4 * values}: {values} "
            "float32 numbers per point; correct the number of values, or copy the file again"
        )


def _check_array(path: Path) -> None:
    """Check the array of a ``.npy`` file without reading its numbers."""
    try:
        points = np.load(path, mmap_mode="r")
    except (ValueError, EOFError) as error:
        raise DataError(
            f"lidar scan {path} cannot be read ({error}); write it again with numpy.save"
        ) from None
    if problem := _array_problem(points):
        raise DataError(f"lidar scan {path} {problem}")


def _array_problem(points: NDArray[Any]) -> str:
    """Return what is wrong with the array of a ``.npy`` file, for messages; empty if nothing is."""
    if points.ndim == 2 and points.shape[1] >= 3 and points.dtype.kind in "fiu":
        return ""
    return (
        f"is an array {points.shape} of {points.dtype}; write numbers (P, 3) or more: x, y, z in "
        "metres"
    )
