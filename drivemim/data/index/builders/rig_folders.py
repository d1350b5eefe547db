"""Builder of a ``FrameIndex`` from rig folders: ``SCENE/CAMERA/TIMESTAMP.jpg`` with calibration.

A rig folder has, for each scene, one folder of images per camera and ``poses.csv``, and may have
``boxes.csv``, ``scene.json`` and a folder ``lidar``. ``calibration.json`` is in the scene's folder
or above it. The guide ``docs/guides/rig.md`` describes the files.
"""

from __future__ import annotations

import os
import shlex
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drivemim.data.index.builders.folders import Folder, list_folders
from drivemim.data.index.builders.index_builder import (
    FEWEST_VALUES,
    IndexBuilder,
    recording_problems,
    write_recording,
)
from drivemim.data.index.builders.other_sources import check_images_found
from drivemim.data.index.builders.recorded_scene import RecordedScene
from drivemim.data.index.builders.rig_calibration import (
    CALIBRATION,
    SCENE,
    RigCalibration,
    SceneWords,
    read_calibration,
    read_scene_words,
)
from drivemim.data.index.builders.rig_tables import (
    BOXES,
    POSES,
    TIMESTAMPS,
    read_boxes,
    read_poses,
    read_timestamps,
)
from drivemim.data.index.builders.source_rows import ProblemList
from drivemim.data.index.frame_index import check_out
from drivemim.data.index.lidar_files import SCAN_SUFFIXES
from drivemim.errors import DataError, did_you_mean
from drivemim.files import plain_path

LIDAR = "lidar"
"""Name of the folder of a scene's lidar scans."""
_NUSCENES_VALUES = 5
"""Values per lidar point in nuScenes, for calibrations that give none: they have no .bin files."""


@dataclass(frozen=True)
class _SceneFolder:
    """Folder of a scene.

    Attributes:
        path: the folder.
        name: name of the scene.
        root: the root that contains the folder.
        cameras: the folders of images, one per camera.
    """

    path: Path
    name: str
    root: Path
    cameras: list[Folder]


def build_rig_index(
    roots: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    rectified: bool = False,
    camera_rotations_as_written: bool = False,
) -> Path:
    """Index rig folders.

    Args:
        roots: folders of scenes. The index's data root is the folder that contains all of them.
        out: file to write.
        rectified: whether the images are rectified although ``calibration.json`` has distortion
            coefficients; the coefficients are then not used.
        camera_rotations_as_written: whether to accept cameras' rotations that seem to be in another
            convention than w, x, y, z and camera to ego.

    Returns:
        ``out``.

    Raises:
        FileNotFoundError: if a root does not exist, or has no images.
        DataError: if there are problems. The message names the first; :func:`record_rig` returns
            all.
    """
    check_out(out)
    builder, problems = record_rig(
        roots, rectified=rectified, camera_rotations_as_written=camera_rotations_as_written
    )
    command = ["drivemim", "index", "rig"]
    command += [part for root in roots for part in ("--root", f"{plain_path(root)}")]
    command += ["--rectified"] if rectified else []
    command += ["--camera-rotations-as-written"] if camera_rotations_as_written else []
    if problems:
        more = f" ({len(problems)} problems in all; {shlex.join([*command, '--check'])} lists them)"
        raise DataError(f"{problems[0]}{more if problems[1:] else ''}")
    command += ["--out", os.fspath(out)]
    write_recording(builder, out, source="rig", command=shlex.join(command))
    return Path(out)


def record_rig(
    roots: Sequence[str | os.PathLike[str]],
    *,
    rectified: bool = False,
    camera_rotations_as_written: bool = False,
) -> tuple[IndexBuilder, list[str]]:
    """Read rig folders without writing an index; see :func:`build_rig_index`.

    Returns:
        The recording, and its problems, each one line with file and row.

    Raises:
        FileNotFoundError: if a root does not exist, or has no images.
        DataError: if one root contains another.
    """
    folders = _check_roots(roots)
    base = Path(os.path.commonpath(folders))
    problems = ProblemList()
    listed = list_folders(folders, others_read=SCAN_SUFFIXES)
    check_images_found(
        sum(len(folder.images) for _, subfolders in listed for folder in subfolders), folders
    )
    scenes = [
        scene
        for root, subfolders in listed
        for scene in _scene_folders(root, subfolders, base, problems)
    ]
    for root in folders:
        _check_no_other_scenes(root, {scene.path for scene in scenes}, problems)
    builder = IndexBuilder(
        base, rectified=rectified, camera_rotations_as_written=camera_rotations_as_written
    )
    calibrations = _read_calibrations(builder, scenes, problems)
    builder.lidar_values = _lidar_values(calibrations, problems)
    for scene in scenes:
        _add_scene(builder, scene, calibrations.get(scene.path), problems)
    return builder, problems.found + recording_problems(builder, is_partial=bool(problems.found))


def _check_roots(roots: Sequence[str | os.PathLike[str]]) -> list[Path]:
    folders = [plain_path(root) for root in roots]
    if not folders:
        raise DataError("no folder given; use --root DIR")
    for folder in folders:
        if not folder.is_dir():
            raise FileNotFoundError(f"no folder {folder}; check --root")
        outer = [other for other in folders if other is not folder and folder.is_relative_to(other)]
        if outer:
            raise DataError(f"--root {folder} is in --root {outer[0]}; give one of them")
    return folders


def _scene_folders(
    root: Path, subfolders: Sequence[Folder], base: Path, problems: ProblemList
) -> list[_SceneFolder]:
    """Return the folders that contain folders of images, sorted by path.

    Args:
        root: the root.
        subfolders: folders below it with images or videos.
        base: folder that scene names are relative to.
        problems: gets a problem for each folder with videos, and if the root itself has images.
    """
    cameras: defaultdict[Path, list[Folder]] = defaultdict(list)
    for folder in subfolders:
        if folder.videos:
            problems.add(
                f"{folder.path / folder.videos[0]}: videos are not read here; extract their "
                "frames, named by timestamp"
            )
        if folder.path == root:
            problems.add(f"{root} has images itself; a rig's images are in folders SCENE/CAMERA")
        elif folder.images:
            cameras[folder.path.parent].append(folder)
    return [
        _SceneFolder(
            path=path,
            name=path.relative_to(base).as_posix() if path != base else base.name,
            root=root,
            cameras=sorted(cameras[path], key=lambda folder: folder.path),
        )
        for path in sorted(cameras)
    ]


def _check_no_other_scenes(root: Path, scene_paths: set[Path], problems: ProblemList) -> None:
    """Report folders that have poses or boxes of a scene, but no images."""
    for name in (POSES, BOXES):
        for path in sorted(root.rglob(name)):
            if path.parent not in scene_paths:
                problems.add(f"{path}: there are no folders of images beside it, one per camera")


def _read_calibrations(
    builder: IndexBuilder, scenes: Sequence[_SceneFolder], problems: ProblemList
) -> dict[Path, RigCalibration]:
    """Return the calibration of each scene's folder: its own, or the nearest one above it.

    Scenes whose calibration is missing or broken are left out, and reported.
    """
    read: dict[Path, RigCalibration | None] = {}
    of_scenes = {}
    for scene in scenes:
        above = [scene.path, *scene.path.parents]
        candidates = [each / CALIBRATION for each in above[: above.index(scene.root) + 1]]
        path = next((candidate for candidate in candidates if candidate.is_file()), None)
        if path is None:
            problems.add(
                f"{scene.path} has no {CALIBRATION}, and neither has {scene.root}; write one there"
            )
            continue
        if path not in read:
            builder.add_source(path)
            read[path] = read_calibration(path, problems)
        if (calibration := read[path]) is not None:
            of_scenes[scene.path] = calibration
    return of_scenes


def _lidar_values(calibrations: dict[Path, RigCalibration], problems: ProblemList) -> int:
    """Return the number of values per lidar point in ``.bin`` files.

    It is reported if calibrations give different numbers, because an index has only one, or a
    number below 3.
    """
    path_of = {
        each.lidar_values: each.path
        for each in calibrations.values()
        if each.lidar_values is not None
    }
    if len(path_of) > 1:
        (first_values, first_path), (values, path) = list(path_of.items())[:2]
        problems.add(
            f"{path}: lidar has {values} values per point, but {first_values} in {first_path}; an "
            "index has one number: write .npy files"
        )
    values = next(iter(path_of), _NUSCENES_VALUES)
    if values < FEWEST_VALUES:
        problems.add(f"{path_of[values]}: lidar has {values} values per point; x, y and z are 3")
    return max(values, FEWEST_VALUES)


def _add_scene(
    builder: IndexBuilder,
    folder: _SceneFolder,
    calibration: RigCalibration | None,
    problems: ProblemList,
) -> None:
    """Add a scene to the recording, and report its problems."""
    for name in (POSES, SCENE, BOXES):
        if (folder.path / name).is_file():
            builder.add_source(folder.path / name)
    words = SceneWords()
    with problems.collect():
        words = read_scene_words(folder.path / SCENE)
    scene = builder.add_scene(folder.name, split=words.split, description=words.description)
    has_poses = _add_poses(scene, folder.path / POSES, problems)
    if calibration is not None:
        for camera in folder.cameras:
            _add_camera(builder, scene, camera, calibration, has_poses, problems)
        if has_poses:
            _add_scans(builder, scene, folder.path / LIDAR, calibration, problems)
    if (folder.path / BOXES).is_file():
        with problems.collect():
            for boxes in read_boxes(folder.path / BOXES, problems):
                _add_boxes(scene, boxes, problems)


def _add_poses(scene: RecordedScene, path: Path, problems: ProblemList) -> bool:
    """Add the poses of a scene; return False, and report why, if there are none."""
    if not path.is_file():
        problems.add(
            f"{path} is missing: the ego's poses over time, with the columns "
            "timestamp,x,y,z,qw,qx,qy,qz"
        )
        return False
    with problems.collect():
        if poses := read_poses(path, problems):
            times, values, rows = poses
            scene.add_poses(times, values, rows=rows)
    return scene.trajectory is not None


def _add_camera(
    builder: IndexBuilder,
    scene: RecordedScene,
    folder: Folder,
    calibration: RigCalibration,
    has_poses: bool,
    problems: ProblemList,
) -> None:
    """Add a camera and, if the scene has poses, its images."""
    name, calibrated = folder.path.name, calibration.cameras
    if name not in calibrated:
        problems.add(
            f"{folder.path}: {calibration.path} has no camera {name!r}, only "
            f"{', '.join(calibrated) or 'none'}{did_you_mean(name, calibrated)}"
        )
        return
    times = _times(builder, folder.path, folder.images, problems)
    arguments = calibrated[name]
    if arguments is None:
        return
    with problems.collect():
        scene.add_camera(name, **arguments)
        for image, time in times if has_poses else ():
            with problems.collect():
                scene.add_frame(name, folder.path / image, time)


def _add_scans(
    builder: IndexBuilder,
    scene: RecordedScene,
    folder: Path,
    calibration: RigCalibration,
    problems: ProblemList,
) -> None:
    """Add the lidar and its scans, if there are any."""
    if not folder.is_dir():
        return
    files = sorted(path.name for path in folder.iterdir() if path.suffix in SCAN_SUFFIXES)
    if calibration.lidar_to_ego is None:
        problems.add(f"{folder}: {calibration.path} has no lidar; write its pose there")
        return
    if calibration.lidar_values is None and any(name.endswith(".bin") for name in files):
        problems.add(
            f"{calibration.path}: lidar has no values, the number of float32 numbers per point in "
            ".bin files (5 in nuScenes, 4 in KITTI)"
        )
        return
    with problems.collect():
        scene.add_lidar(calibration.lidar_to_ego, source=str(calibration.path))
        for name, time in _times(builder, folder, files, problems):
            with problems.collect():
                scene.add_scan(folder / name, time)


def _add_boxes(scene: RecordedScene, boxes: dict[str, Any], problems: ProblemList) -> None:
    """Add the boxes of a moment; if any has a problem, report all problems and add none.

    Args:
        scene: the scene.
        boxes: arguments of ``RecordedScene.add_boxes``.
        problems: gets the problems.
    """
    rows, columns = boxes["rows"], {name: boxes[name] for name in ("categories", "visibility")}
    row_problems = list(scene.boxes.problems(boxes["timestamp"], boxes["tracks"], columns))
    for row, problem in row_problems:
        problems.add(f"{rows.file(row)}: {rows.name(row)} {problem}")
    if not row_problems:
        with problems.collect():
            scene.add_boxes(**boxes)


def _times(
    builder: IndexBuilder, folder: Path, files: Sequence[str], problems: ProblemList
) -> list[tuple[str, int]]:
    """Return files with their timestamps, see ``read_timestamps``; record ``timestamps.csv``."""
    if (folder / TIMESTAMPS).is_file():
        builder.add_source(folder / TIMESTAMPS)
    return read_timestamps(folder, files, problems)
