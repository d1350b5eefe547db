"""Read a rig's ``calibration.json`` and ``scene.json``."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from drivemim.data.index.builders.source_rows import ProblemList
from drivemim.data.index.json_text import JsonText
from drivemim.errors import DataError, did_you_mean

CALIBRATION = "calibration.json"
SCENE = "scene.json"
_INTRINSICS = ("fx", "fy", "cx", "cy")
"""Fields of a camera that replace its ``intrinsics``."""


class _Camera(msgspec.Struct, forbid_unknown_fields=True):
    """A camera: size in pixels; translation (metres) and rotation from camera to ego; intrinsics.

    The intrinsics are a 3x3 matrix, or the four fields of ``_INTRINSICS``, in pixels.
    """

    width: int
    height: int
    translation: tuple[float, float, float]
    rotation: list[Any]
    intrinsics: list[list[float]] | None = None
    fx: float | None = None
    fy: float | None = None
    cx: float | None = None
    cy: float | None = None
    distortion: list[float] = []


class _Lidar(msgspec.Struct, forbid_unknown_fields=True):
    """The lidar: translation (metres) and rotation from lidar to ego; values per point in .bin."""

    translation: tuple[float, float, float]
    rotation: list[Any]
    values: int | None = None


class _Document(msgspec.Struct, forbid_unknown_fields=True):
    """``calibration.json``, its entries not yet decoded, so that each is reported on its own."""

    cameras: dict[str, msgspec.Raw]
    lidar: msgspec.Raw = msgspec.Raw(b"null")


class SceneWords(msgspec.Struct, forbid_unknown_fields=True):
    """``scene.json``: the split, and words on light and weather."""

    split: str = ""
    description: str = ""


@dataclass(eq=False)
class RigCalibration:
    """The calibration of a rig.

    Attributes:
        path: the file.
        cameras: arguments of ``RecordedScene.add_camera`` by name; None for a broken entry.
        lidar_to_ego: argument of ``RecordedScene.add_lidar``; None if the file has no lidar, or a
            broken one.
        lidar_values: float32 values per point in ``.bin`` files; None if the file does not say.
    """

    path: Path
    cameras: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    lidar_to_ego: Any = None
    lidar_values: int | None = None


def read_calibration(path: Path, problems: ProblemList) -> RigCalibration | None:
    """Read a calibration.

    Args:
        path: the file.
        problems: gets one problem for each broken entry.

    Returns:
        The calibration, or None if the file as a whole is broken.
    """
    calibration = None
    with problems.collect():
        document: _Document = _decode(path, path.read_bytes(), _Document, "")
        calibration = RigCalibration(path)
        for name, raw in document.cameras.items():
            calibration.cameras[name] = None
            with problems.collect():
                camera: _Camera = _decode(path, bytes(raw), _Camera, f"camera {name!r}: ")
                calibration.cameras[name] = _arguments(path, name, camera)
        if bytes(document.lidar) != b"null":
            lidar: _Lidar = _decode(path, bytes(document.lidar), _Lidar, "lidar: ")
            calibration.lidar_to_ego = _pose(path, "lidar", lidar.translation, lidar.rotation)
            calibration.lidar_values = lidar.values
    return calibration


def read_scene_words(path: Path) -> SceneWords:
    """Read the split and the description of a scene; both are empty if it has no ``scene.json``.

    Args:
        path: the file.

    Raises:
        DataError: if the file has other fields or types.
    """
    if not path.is_file():
        return SceneWords()
    words: SceneWords = _decode(path, path.read_bytes(), SceneWords, "")
    return words


def _decode(path: Path, content: bytes, kind: type[msgspec.Struct], what: str) -> Any:
    """Return a part of a file as an object of the class ``kind``.

    Args:
        path: the file, for errors.
        content: JSON text of the part.
        kind: class of the part.
        what: start of errors after the file's name, such as ``lidar: ``.

    Raises:
        DataError: if the part has other fields or types. The message names the nearest field for an
            unknown one, or all fields if none is near.
    """
    text = JsonText(path, content, begin=f"{path}: {what}", fix="correct the file")
    try:
        return text.decode(kind)
    except msgspec.ValidationError as error:
        unknown = re.search(r"unknown field `(.*?)`", str(error))
        names = [each.name for each in msgspec.structs.fields(kind)]
        hint = did_you_mean(unknown[1], names) if unknown else ""
        fields = f"; its fields are {', '.join(names)}" if unknown and not hint else ""
        raise DataError(f"{path}: {what}{error}{hint}{fields}") from None


def _arguments(path: Path, name: str, camera: _Camera) -> dict[str, Any]:
    """Return the arguments of ``RecordedScene.add_camera``; refuse ambiguous intrinsics."""
    four_values = [getattr(camera, name) for name in _INTRINSICS]
    num_given = sum(value is not None for value in four_values)
    has_matrix = camera.intrinsics is not None
    if has_matrix == (num_given > 0) or 0 < num_given < len(_INTRINSICS):
        raise DataError(
            f"{path}: camera {name!r} needs either intrinsics, a 3x3 matrix, or fx, fy, cx and cy "
            "in pixels"
        )
    return {
        "intrinsics": camera.intrinsics if has_matrix else four_values,
        "size": (camera.width, camera.height),
        "camera_to_ego": _pose(path, f"camera {name!r}", camera.translation, camera.rotation),
        "distortion": camera.distortion,
        "source": str(path),
    }


def _pose(path: Path, what: str, translation: tuple[float, ...], rotation: list[Any]) -> Any:
    """Return a pose as 7 numbers, or as a 4x4 matrix if the rotation is a matrix."""
    if len(rotation) == 4 and all(isinstance(each, (int, float)) for each in rotation):
        return [*translation, *rotation]
    if len(rotation) == 3 and all(isinstance(row, list) and len(row) == 3 for row in rotation):
        rows = [[*row, shift] for row, shift in zip(rotation, translation, strict=True)]
        return [*rows, [0.0, 0.0, 0.0, 1.0]]
    raise DataError(
        f"{path}: {what} has the rotation {rotation}; write a quaternion [w, x, y, z] or a 3x3 "
        "matrix, from the sensor's axes to the ego's"
    )
