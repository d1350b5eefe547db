"""Results in the format of nuScenes' detection task, and checks of them.

The official evaluation fails on some mistakes with an assertion that names no sample. It silently
scores others (a wrong frame of reference, a turned heading). This module checks everything first
and names the sample token of each mistake. Plausibility checks are in
``drivemim.evaluation.nuscenes_plausibility``.

Letters: S samples.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import msgspec
import numpy as np
from numpy.typing import NDArray

from drivemim.data.classes import ATTRIBUTES, CLASS_ATTRIBUTES, DETECTION_CLASSES
from drivemim.data.index.frame_index import FrameIndex
from drivemim.errors import DataError
from drivemim.evaluation.nuscenes_plausibility import (
    ResultColumns,
    SamplePoses,
    check_frame_of_reference,
    check_headings,
)
from drivemim.evaluation.view_merging import GlobalBoxes
from drivemim.geometry import quaternion_to_matrix

MAX_BOXES = 500
"""Largest number of boxes per sample that the official evaluation accepts."""
MAX_TILT = math.radians(20)
"""Radians between a box's z axis and the global z axis; a larger angle means a wrong frame."""
# ``meta`` of a results file: the sensors that were used.
META = {
    "use_camera": True, "use_lidar": False, "use_radar": False, "use_map": False,
    "use_external": False,
}  # fmt: skip


class _Box(msgspec.Struct):
    """A box of a results file."""

    sample_token: str
    translation: tuple[float, float, float]
    size: tuple[float, float, float]
    rotation: tuple[float, float, float, float]
    velocity: tuple[float, float]
    detection_name: str
    detection_score: float
    attribute_name: str


def sample_poses(index: FrameIndex, rows: Sequence[int] | NDArray[np.int64]) -> SamplePoses:
    """Return the vehicle's poses at some samples, at the lidar's time like the devkit.

    Args:
        index: index of nuScenes' tables.
        rows: rows of ``index.samples``.
    """
    rows = np.asarray(rows, np.int64)
    poses = index.samples.lidar_ego_to_global[rows]
    return SamplePoses(
        tokens=tuple(index.samples.token[row] for row in rows),
        positions_S3=poses[:, :3],
        rotations_S4=poses[:, 3:],
        scenes_S=np.asarray(index.samples.scene[rows], np.int64),
        timestamps_S=np.asarray(index.samples.timestamp[rows], np.int64),
    )


def results_document(merged: Mapping[str, GlobalBoxes], tokens: Sequence[str]) -> dict[str, Any]:
    """Convert detections to the official results format.

    Args:
        merged: boxes by sample token.
        tokens: every sample of the evaluation; a sample without boxes gets an empty list.

    Returns:
        ``meta`` (the sensors used: cameras) and ``results``.
    """
    nothing = GlobalBoxes.none()
    boxes_by_token = {**dict.fromkeys(tokens, nothing), **merged}
    return {
        "meta": dict(META),
        "results": {token: _box_dicts(token, boxes) for token, boxes in boxes_by_token.items()},
    }


def _box_dicts(token: str, boxes: GlobalBoxes) -> list[dict[str, Any]]:
    columns = zip(
        boxes.centers_M3.tolist(),
        boxes.sizes_M3.tolist(),
        boxes.rotations_M4.tolist(),
        boxes.velocities_M2.tolist(),
        boxes.labels_M.tolist(),
        boxes.scores_M.tolist(),
        boxes.attributes_M.tolist(),
        strict=True,
    )
    return [
        {
            "sample_token": token,
            "translation": center,
            "size": size,
            "rotation": rotation,
            "velocity": velocity,
            "detection_name": DETECTION_CLASSES[label],
            "detection_score": score,
            "attribute_name": ATTRIBUTES[attribute] if attribute >= 0 else "",
        }
        for center, size, rotation, velocity, label, score, attribute in columns
    ]


def check_results(
    document: Mapping[str, Any], samples: SamplePoses, *, headings: bool = True
) -> None:
    """Refuse results that make the official evaluation fail or score the wrong thing.

    Args:
        document: ``meta`` and ``results``, as returned by ``results_document``.
        samples: every sample of the evaluation and the vehicle's pose there.
        headings: whether to compare headings with velocities; see ``check_headings``.

    Raises:
        DataError: if a box is wrong; it names the sample's token, the box, the mistake and the fix.
    """
    results = _check_document(document, samples)
    columns = [
        _check_sample(token, results[token], position)
        for position, token in enumerate(samples.tokens)
    ]
    joined = ResultColumns.join(columns)
    check_frame_of_reference(joined, samples)
    if headings:
        check_headings(joined, samples)


def _check_document(document: Mapping[str, Any], samples: SamplePoses) -> Mapping[str, Any]:
    """Check everything but the boxes, and return ``results``."""
    for key in ("meta", "results"):
        if not isinstance(document.get(key), dict):
            raise DataError(f"results lack the object {key!r}; the official format has both")
    for name in META:
        if not isinstance(document["meta"].get(name), bool):
            raise DataError(
                f"meta of the results must say {name} with true or false, "
                f"not {document['meta'].get(name)!r}"
            )
    results: dict[str, Any] = document["results"]
    known = set(samples.tokens)
    missing = [token for token in samples.tokens if token not in results]
    if missing:
        raise DataError(
            f"sample {missing[0]} is missing in the results{_and_more(missing)}; a sample without "
            "detections needs an empty list"
        )
    unknown = [token for token in results if token not in known]
    if unknown:
        raise DataError(
            f"sample {unknown[0]} of the results is none of the {len(known)} that are "
            f"evaluated{_and_more(unknown)}; are they of another split or data set?"
        )
    return results


def _and_more(tokens: Sequence[str]) -> str:
    return f" (and {len(tokens) - 1} more)" if len(tokens) > 1 else ""


def _check_sample(token: str, entries: Any, position: int) -> ResultColumns:
    """Check each box of a sample by itself, and return the boxes' numbers.

    Args:
        token: token of the sample.
        entries: boxes of the sample in the results.
        position: position of the sample in ``SamplePoses``.
    """
    if isinstance(entries, list) and len(entries) > MAX_BOXES:
        raise DataError(
            f"sample {token} has {len(entries)} boxes, more than the {MAX_BOXES} that the official "
            "evaluation takes; keep those with the highest scores"
        )
    try:
        boxes = msgspec.convert(entries, list[_Box])
    except msgspec.ValidationError as error:
        raise DataError(f"sample {token}: {error}, where $[N] is box N of the sample") from None
    for number, box in enumerate(boxes):
        _check_names(token, number, box)
    M = len(boxes)
    centers_M3 = np.array([box.translation for box in boxes], float).reshape(M, 3)
    rotations_M4 = np.array([box.rotation for box in boxes], float).reshape(M, 4)
    velocities_M2 = np.array([box.velocity for box in boxes], float).reshape(M, 2)
    sizes_M3 = np.array([box.size for box in boxes], float).reshape(M, 3)
    scores_M = np.array([box.detection_score for box in boxes], float)

    for key, values, bad in (
        ("translation", centers_M3, ~np.isfinite(centers_M3).all(axis=1)),
        ("velocity", velocities_M2, ~np.isfinite(velocities_M2).all(axis=1)),
        ("size", sizes_M3, ~(np.isfinite(sizes_M3) & (sizes_M3 > 0)).all(axis=1)),
        ("detection_score", scores_M, ~((scores_M >= 0) & (scores_M <= 1))),
        ("rotation", rotations_M4, ~(np.abs(np.linalg.norm(rotations_M4, axis=1) - 1) < 0.01)),
    ):
        if bad.any():
            row = int(np.argmax(bad))
            _refuse(token, row, boxes[row], f"{key} {values[row].tolist()} {_MUST[key]}")
    up_M = quaternion_to_matrix(rotations_M4)[:, 2, 2]
    if (up_M < math.cos(MAX_TILT)).any():
        row = int(np.argmin(up_M))
        _refuse(token, row, boxes[row], f"rotation {rotations_M4[row].tolist()} {_TILTED}")
    return ResultColumns(
        samples_M=np.full(M, position),
        labels_M=np.array([DETECTION_CLASSES.index(box.detection_name) for box in boxes], np.int64),
        centers_M3=centers_M3,
        rotations_M4=rotations_M4,
        velocities_M2=velocities_M2,
    )


_MUST = {
    "translation": "must be finite metres in the global frame",
    "velocity": "must be finite metres per second; write 0 if it is unknown",
    "size": "must be finite metres above 0: width, length, height",
    "detection_score": "must be in [0, 1]",
    "rotation": "must be a quaternion w x y z of length 1",
}
_TILTED = (
    "is not a rotation about the global z axis (w, 0, 0, z); write w x y z, from the box to the "
    "global frame and not to a camera's"
)


def _check_names(token: str, number: int, box: _Box) -> None:
    """Refuse a box with a wrong token, or an unknown class or attribute."""
    if box.sample_token != token:
        _refuse(token, number, box, f"sample_token {box.sample_token!r} is not that of its sample")
    if box.detection_name not in CLASS_ATTRIBUTES:
        known = ", ".join(DETECTION_CLASSES)
        _refuse(token, number, box, f"detection_name {box.detection_name!r} is none of {known}")
    if not box.attribute_name:
        return
    if box.attribute_name not in ATTRIBUTES:
        known = ", ".join(ATTRIBUTES)
        _refuse(token, number, box, f"attribute_name {box.attribute_name!r} is none of {known}")
    allowed = CLASS_ATTRIBUTES[box.detection_name]
    if box.attribute_name not in allowed:
        _refuse(
            token,
            number,
            box,
            f"attribute_name {box.attribute_name!r} does not belong to {box.detection_name}; "
            f"write {' or '.join(repr(name) for name in (*allowed, ''))}",
        )


def _refuse(token: str, number: int, box: _Box, what: str) -> NoReturn:
    raise DataError(f"sample {token}, box {number} ({box.detection_name}): {what}")
