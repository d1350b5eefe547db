"""Convert the images of tables in nuScenes' format (also nuImages) to an index's frames."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from posixpath import normpath

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from drivemim.array_types import Floats, Ints
from drivemim.data.index.arrow import strings, take
from drivemim.data.index.builders import nuscenes_schema as schema
from drivemim.data.index.builders import nuscenes_tables as tables
from drivemim.data.index.builders import plausible_intrinsics
from drivemim.data.index.builders.columns import Section, links_in_time
from drivemim.data.index.builders.nuscenes_links import check_neighbours
from drivemim.data.index.builders.nuscenes_tables import join, numbers, read_table
from drivemim.data.index.builders.plausible_camera_rotations import check_camera_rotations
from drivemim.data.index.builders.plausible_poses import check_upright_rotations
from drivemim.data.index.builders.source_rows import SourceRows
from drivemim.data.index.builders.timing import microseconds, warn_of_pose_times
from drivemim.errors import DataError
from drivemim.files import posix_name

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rig:
    """Calibrations, C rows in the order of calibrated_sensor.json.

    Attributes:
        cameras: names of the cameras, sorted.
        tokens: (C,) tokens of calibrated_sensor.json.
        sensor: (C,) row of sensor.json.
        kind: (C,) position in ``cameras``, ``len(cameras)`` for LIDAR_TOP, -1 for other sensors.
        mounts: (C, 7) sensor to ego: translation in metres and quaternion w x y z.
        intrinsics: (C, 3, 3) pixels; NaN for sensors that are not cameras.
        distortion: OpenCV's coefficients of each calibration; empty without distortion.
    """

    cameras: list[str]
    tokens: pa.Array
    sensor: Ints
    kind: Ints
    mounts: Floats
    intrinsics: Floats
    distortion: list[list[float]]


@dataclass(frozen=True)
class SensorData:
    """Columns of sample_data.json, D rows in the file's order.

    Attributes:
        token: (D,) token of each row.
        path: (D,) path of the file, relative to the data root.
        ego_pose: (D,) token of a row of ego_pose.json.
        sample: (D,) row of sample.json.
        calibration: (D,) row of calibrated_sensor.json.
        timestamp: (D,) as in the file; :func:`frame_columns` checks that it is in microseconds.
        keyframe: (D,) whether it is a keyframe.
        size: (D, 2) width and height, pixels.
        valid: (D,) False for rows that the source marks as invalid.
    """

    token: pa.Array
    path: pa.Array
    ego_pose: pa.Array
    sample: Ints
    calibration: Ints
    timestamp: Ints | Floats
    keyframe: NDArray[np.bool_]
    size: Ints
    valid: NDArray[np.bool_]


def read_rig(folder: Path, *, rotations_as_written: bool = False) -> Rig:
    """Read sensor.json and calibrated_sensor.json of a version folder.

    Args:
        folder: folder of the tables.
        rotations_as_written: whether to accept cameras' rotations that seem to be in another
            convention, with a warning.

    Raises:
        DataError: if a row is invalid, or there are no cameras.
    """
    sensors = read_table(folder, schema.Sensor, "sensor")
    calibrations = read_table(folder, schema.CalibratedSensor, "calibrated_sensor")
    tokens = tables.tokens_of(calibrations)
    sensor = join(
        folder,
        strings([each.sensor_token for each in calibrations]),
        tables.tokens_of(sensors),
        column="calibrated_sensor.sensor_token",
        table="sensor",
        owners=tokens,
    )
    channels = [each.channel for each in sensors]
    problem = "has the channel of an earlier sensor"
    tables.check_rows(
        folder, "sensor", tables.tokens_of(sensors), tables.repeats(channels), problem
    )
    cameras = sorted(each.channel for each in sensors if each.modality == "camera")
    if not cameras:
        modalities = ", ".join(sorted({repr(each.modality) for each in sensors})) or "no sensor"
        raise DataError(
            f"{folder / 'sensor.json'}: no sensor has the modality 'camera' ({modalities}), so "
            "there are no images to index; correct it"
        )
    kinds = {camera: position for position, camera in enumerate(cameras)}
    kinds["LIDAR_TOP"] = len(cameras)
    kind = np.array([kinds.get(each.channel, -1) for each in sensors], np.int64)[sensor]
    mounts = numbers((c.translation + c.rotation for c in calibrations), len(calibrations), 7)
    tables.check_rotations(folder, "calibrated_sensor", tokens, mounts[:, 3:])
    is_camera = (kind >= 0) & (kind < len(cameras))
    intrinsics = _intrinsics(folder, calibrations, tokens, is_camera)
    rows = SourceRows.of_table(folder, "calibrated_sensor", tokens)
    plausible_intrinsics.check_intrinsics(rows, intrinsics)
    of_cameras = np.flatnonzero(is_camera)
    check_camera_rotations(
        rows.take(of_cameras), mounts[of_cameras, 3:], as_written=rotations_as_written
    )
    return Rig(
        cameras=cameras,
        tokens=tokens,
        sensor=sensor,
        kind=kind,
        mounts=mounts,
        intrinsics=intrinsics,
        distortion=[_coefficients(each) for each in calibrations],
    )


def _coefficients(calibration: schema.CalibratedSensor) -> list[float]:
    """Return the coefficients of lens distortion; empty if there are none or only zeros."""
    coefficients = calibration.camera_distortion or []
    return coefficients if any(coefficients) else []


def _intrinsics(
    folder: Path,
    calibrations: list[schema.CalibratedSensor],
    tokens: pa.Array,
    is_camera: NDArray[np.bool_],
) -> Floats:
    """Return matrices (C, 3, 3), NaN for sensors that are not cameras."""
    has_matrix = np.array([len(each.camera_intrinsic) == 3 for each in calibrations], bool)
    rows = SourceRows.of_table(folder, "calibrated_sensor", tokens)
    plausible_intrinsics.warn_of_left_out(rows, ~is_camera & has_matrix)
    tables.check_rows(folder, "calibrated_sensor", tokens, is_camera & ~has_matrix,
                      "is a camera's and has no 3 x 3 camera_intrinsic")  # fmt: skip
    matrices = np.full((len(calibrations), 3, 3), np.nan)
    chosen = np.flatnonzero(is_camera)
    lines = chain.from_iterable(calibrations[row].camera_intrinsic for row in chosen)
    matrices[chosen] = numbers(lines, 3 * len(chosen), 3).reshape(-1, 3, 3)
    is_singular = np.zeros(len(calibrations), bool)
    is_singular[chosen] = np.linalg.det(matrices[chosen]) == 0
    tables.check_rows(folder, "calibrated_sensor", tokens, is_singular,
                      "has a camera_intrinsic of determinant 0")  # fmt: skip
    return matrices


def read_sensor_data(
    folder: Path, rig: Rig, samples: pa.Array, scenes: Mapping[str, Ints]
) -> SensorData:
    """Read sample_data.json.

    Args:
        folder: folder of the tables.
        rig: the calibrations of the same tables.
        samples: tokens of sample.json, in the file's order.
        scenes: scene of each row of sample.json. The key is the word for a scene in errors.

    Raises:
        DataError: if a row is invalid, or refers to a row that does not exist.
    """
    rows = read_table(folder, schema.SampleData, "sample_data")
    token = tables.tokens_of(rows)
    before, after = (
        join(folder, strings([getattr(row, column) for row in rows]), token,
             column=f"sample_data.{column}", table="sample_data", owners=token, optional=True)
        for column in ("prev", "next")
    )  # fmt: skip
    sample = join(folder, strings([row.sample_token for row in rows]), samples,
                  column="sample_data.sample_token", table="sample", owners=token)  # fmt: skip
    calibration = join(
        folder,
        strings([row.calibrated_sensor_token for row in rows]),
        rig.tokens,
        column="sample_data.calibrated_sensor_token",
        table="calibrated_sensor",
        owners=token,
    )
    timestamp = np.array([row.timestamp for row in rows])
    groups = {"sensor": rig.sensor[calibration]}
    groups |= {name: scene[sample] for name, scene in scenes.items()}
    check_neighbours(folder, "sample_data", token, timestamp, (before, after), groups)
    size = np.array([[row.width, row.height] for row in rows], np.int64).reshape(-1, 2)
    is_image = np.isin(rig.kind[calibration], np.arange(len(rig.cameras)))
    tables.check_rows(folder, "sample_data", token, is_image & (size < 1).any(axis=1),
                      "is an image without a width or a height")  # fmt: skip
    valid = _valid(folder, rows)
    center = rig.intrinsics[:, :2, 2][calibration]
    plausible_intrinsics.check_principal_points(
        SourceRows.of_table(folder, "sample_data", token), center, size, is_image & valid
    )
    tables.check_relative(folder, token, [row.filename for row in rows])
    path = strings([normpath(posix_name(row.filename)) for row in rows])
    if pc.count_distinct(path).as_py() < len(path):
        tables.check_rows(folder, "sample_data", token, tables.repeats(path.to_pylist()),
                          "names the file of an earlier row")  # fmt: skip
    return SensorData(
        token=token,
        path=path,
        ego_pose=strings([row.ego_pose_token for row in rows]),
        sample=sample,
        calibration=calibration,
        timestamp=timestamp,
        keyframe=np.array([row.is_key_frame for row in rows], bool),
        size=size,
        valid=valid,
    )


def _valid(folder: Path, rows: list[schema.SampleData]) -> NDArray[np.bool_]:
    """Return False for rows that the source marks as invalid, and warn of their number."""
    valid = np.array([row.is_valid for row in rows], bool)
    if not valid.all():
        _log.warning(
            "%s: %d of %d rows have is_valid=false and are left out",
            folder / "sample_data.json",
            np.count_nonzero(~valid),
            len(valid),
        )
    return valid


def read_ego_poses(folder: Path, data: SensorData, used: NDArray[np.bool_]) -> Floats:
    """Return the ego pose (D, 7) of every row of sample_data; zeros for rows not ``used``."""
    rows = read_table(folder, schema.EgoPose, "ego_pose")
    chosen = np.flatnonzero(used)
    pose = join(
        folder,
        take(data.ego_pose, chosen),
        tables.tokens_of(rows),
        column="sample_data.ego_pose_token",
        table="ego_pose",
        owners=take(data.token, chosen),
    )
    values = np.empty((len(rows), 7))
    values[:, :3] = numbers((row.translation for row in rows), len(rows), 3)
    values[:, 3:] = numbers((row.rotation for row in rows), len(rows), 4)
    tokens = tables.tokens_of(rows)
    tables.check_rotations(folder, "ego_pose", tokens, values[:, 3:])
    check_upright_rotations(SourceRows.of_table(folder, "ego_pose", tokens), values[:, 3:])
    times = np.array([np.nan if row.timestamp is None else row.timestamp for row in rows], float)
    warn_of_pose_times(folder, data.timestamp[chosen], times[pose])
    poses = np.zeros((len(used), 7))
    poses[chosen] = values[pose]
    return poses


def frame_columns(
    folder: Path, data: SensorData, rig: Rig, poses: Floats, chosen: Ints, scene: Ints
) -> Section:
    """Return the section ``frames``, without the column ``sample``.

    Args:
        folder: folder of the tables, for errors.
        data: rows of sample_data.json.
        rig: their calibrations.
        poses: (D, 7) ego pose of each row.
        chosen: (F,) rows that become frames, sorted by scene, camera and timestamp.
        scene: (F,) scene of each frame.

    Raises:
        DataError: if timestamps are not microseconds.
    """
    camera = rig.kind[data.calibration[chosen]]
    sequence = scene * len(rig.cameras) + camera
    timestamp = microseconds(
        folder / "sample_data.json",
        data.timestamp[chosen],
        sequence=sequence,
        kind=camera,
        kinds=[f"{name}'s frames" for name in rig.cameras],
    )
    return {
        "token": take(data.token, chosen),
        "scene": scene,
        "camera": camera,
        "timestamp": timestamp,
        "path": take(data.path, chosen),
        "width": data.size[chosen, 0],
        "height": data.size[chosen, 1],
        "intrinsics": rig.intrinsics[data.calibration[chosen]],
        "camera_to_ego": rig.mounts[data.calibration[chosen]],
        "ego_to_global": poses[chosen],
        "keyframe": data.keyframe[chosen],
        "calibrated": np.ones(len(chosen), bool),
        **links_in_time(sequence, timestamp),
    }
