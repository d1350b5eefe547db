"""Find the rows of nuScenes' (or nuImages') sample_data that are images to index."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from drivemim.array_types import Ints
from drivemim.data.index.arrow import take
from drivemim.data.index.builders import plausible_intrinsics
from drivemim.data.index.builders.nuscenes_frames import Rig, SensorData
from drivemim.data.index.image_header import check_bit_depth, check_upright, read_header
from drivemim.errors import ConfigError, DataError
from drivemim.files import why_unreadable

_THREADS = 16
"""Number of threads that open images."""
_BATCH = 1000
"""Number of images that a thread opens before it takes the next ones."""


def check_missing_images(missing_images: str) -> None:
    """Check a builder's setting for missing images.

    Raises:
        ConfigError: if it is not ``error``, ``drop`` or ``ignore``.
    """
    if missing_images not in ("error", "drop", "ignore"):
        raise ConfigError(f"missing_images is {missing_images!r}, not error, drop or ignore")


def present_images(
    root: Path,
    data: SensorData,
    rig: Rig,
    missing_images: str,
    among: NDArray[np.bool_] | None = None,
) -> NDArray[np.bool_]:
    """Return True for rows of sample_data that are images to index; check that each can be read.

    Args:
        root: folder that paths are relative to.
        data: the rows.
        rig: their calibrations.
        missing_images: what to do about images that are missing: ``error``, ``drop`` (leave them
            out) or ``ignore`` (do not check any image).
        among: (D,) True for the rows that may be returned, for ``--keyframes-only``; None for all.

    Raises:
        FileNotFoundError: if an image does not exist, is empty or cannot be opened, and
            ``missing_images`` is ``error``.
        DataError: if an image's EXIF orientation would turn it, it has more than 8 bits per
            channel, or its width and height are swapped. Also if no row is an image to index.
    """
    kind = rig.kind[data.calibration]
    is_of_camera = (kind >= 0) & (kind < len(rig.cameras))
    _check_any(root, is_of_camera, "no row of sample_data.json is an image of a camera")
    is_image = is_of_camera & data.valid
    _check_any(root, is_image, f"all {is_of_camera.sum()} images have is_valid=false")
    if among is not None:
        is_image &= among
        _check_any(root, is_image, "no image is a keyframe, and --keyframes-only leaves out others")
    if missing_images == "ignore":
        return is_image
    chosen = np.flatnonzero(is_image)
    paths = take(data.path, chosen).to_pylist()
    problems = _reading_problems([f"{root}/{path}" for path in paths])
    present = np.zeros(len(is_image), bool)
    present[chosen] = [problem is None for problem in problems]
    absent = np.flatnonzero(~present[chosen])
    if len(absent) and missing_images != "drop":
        first = int(absent[0])
        raise FileNotFoundError(
            f"{root / paths[first]} (frame {data.token[chosen[first]].as_py()}) {problems[first]}, "
            f"{len(absent)} of {len(chosen)} images in all cannot be read; get them, or leave "
            "those frames out with --missing-images drop"
        )
    problem = f"all {len(chosen)} images are missing, and --missing-images drop leaves them out"
    _check_any(root, present, f"{problem}; check --root")
    _check_headers(root, data, np.flatnonzero(present))
    return present


def _check_any(root: Path, is_image: NDArray[np.bool_], reason: str) -> None:
    """Raise a DataError with the ``reason`` if no row is an image."""
    if not is_image.any():
        raise DataError(f"{root}: there are no frames to index: {reason}")


def _reading_problems(paths: Sequence[str]) -> list[str | None]:
    """Return why each file cannot be read, None if it can.

    Threads open many files at once, because each takes long on a network disk.
    """
    batches = [paths[start : start + _BATCH] for start in range(0, len(paths), _BATCH)]
    with ThreadPoolExecutor(_THREADS) as pool:
        problems = pool.map(lambda batch: [why_unreadable(path) for path in batch], batches)
        return list(chain.from_iterable(problems))


def _check_headers(root: Path, data: SensorData, images: Ints) -> None:
    """Check orientation, bit depth and size of one image per calibration.

    A camera usually writes all its files in the same way, and reading the headers of millions of
    files would take hours on a network disk. Every image is checked when it is read for training.
    """
    _, first = np.unique(data.calibration[images], return_index=True)
    for row in images[first]:
        path = root / data.path[row].as_py()
        with path.open("rb") as stream:
            header = read_header(stream)
        frame = data.token[row].as_py()
        check_upright(path, header, frame)
        check_bit_depth(path, header, frame)
        width, height = data.size[row].tolist()
        plausible_intrinsics.check_swapped_size(path, header.size, (width, height), frame)
