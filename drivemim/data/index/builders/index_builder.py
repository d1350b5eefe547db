"""``IndexBuilder``: an index from any source, scene by scene."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from drivemim.data.classes import describe_unmapped
from drivemim.data.index.builders import (
    plausible_camera_rotations,
    plausible_intrinsics,
    plausible_poses,
    plausible_sizes,
)
from drivemim.data.index.builders.lens_distortion import Lens, refuse_distortion
from drivemim.data.index.builders.recorded_parts import RecordedCamera
from drivemim.data.index.builders.recorded_scene import RecordedScene
from drivemim.data.index.builders.recorded_sections import (
    box_rows,
    check_moments_near_images,
    recorded_cameras,
    recorded_sections,
    scene_frames,
)
from drivemim.data.index.builders.source_rows import SourceRows
from drivemim.data.index.builders.timing import LARGEST_OFFSET, microseconds
from drivemim.data.index.copies import recorded_copies
from drivemim.data.index.frame_index import FrameIndex, IndexInfo, check_out, write_index
from drivemim.data.index.source_files import Fingerprint, fingerprints
from drivemim.errors import DataError
from drivemim.files import plain_path
from drivemim.option_words import as_spoken, speaks_python

FEWEST_VALUES = 3
"""Smallest number of values of a lidar point: x, y and z."""
_log = logging.getLogger(__name__)


class IndexBuilder:
    """Builder of an index from any source.

    Values are checked when they are added: units, shapes, rotations, image files. Mistakes that
    only the whole recording shows (another order of quaternions, another unit of time, distorted
    images) are found when the index is written.

    Args:
        root: folder that contains all files; the index stores paths relative to it.
        rectified: whether the images are rectified although cameras have distortion coefficients.
        camera_rotations_as_written: whether to accept cameras' rotations that seem to be in another
            convention than w, x, y, z and camera to ego.
        lidar_values: number of float32 values per point in ``.bin`` files of lidar scans, the
            first three being x, y, z. 5 in nuScenes, 4 in KITTI.

    Raises:
        FileNotFoundError: if there is no folder ``root``.
        DataError: if ``lidar_values`` is below 3.

    Example:
        >>> builder = drivemim.IndexBuilder("data/drives")
        >>> scene = builder.add_scene("monday")
        >>> scene.add_poses(timestamps, poses)
        >>> scene.add_camera("front", intrinsics=[1000, 1000, 960, 540], size=(1920, 1080),
        ...                  camera_to_ego=[1.5, 0, 1.4, 0.5, -0.5, 0.5, -0.5])
        >>> scene.add_frame("front", "monday/front/0001.jpg", 1_600_000_000_000_000)
        >>> index = builder.write("data/drives.arrow")
    """

    def __init__(
        self,
        root: str | Path,
        *,
        rectified: bool = False,
        camera_rotations_as_written: bool = False,
        lidar_values: int = 5,
    ) -> None:
        self.root = plain_path(root)
        if not self.root.is_dir():
            raise FileNotFoundError(f"no folder {root}; the root is the folder of all images")
        if lidar_values < FEWEST_VALUES:
            raise DataError(f"lidar_values={lidar_values}: a point has at least x, y and z")
        self.rectified = rectified
        self.camera_rotations_as_written = camera_rotations_as_written
        self.lidar_values = lidar_values
        self.scenes: list[RecordedScene] = []
        self.sources: list[Fingerprint] = []

    @speaks_python
    def add_scene(self, name: str, *, split: str = "", description: str = "") -> RecordedScene:
        """Add a scene: one drive without interruption.

        Args:
            name: its name; configs select scenes by name or split.
            split: for example ``train`` or ``val``; empty for none.
            description: words on light and weather. Evaluations report scenes whose description
                has the word ``night`` or ``rain`` separately.

        Returns:
            The scene, to add cameras, poses, images and boxes to.

        Raises:
            DataError: if ``name`` is empty, or there is a scene of that name.
        """
        if not name or any(scene.name == name for scene in self.scenes):
            raise DataError(f"scene {name!r} is {'there already' if name else 'no name'}")
        scene = RecordedScene(self.root, name, split, description, self.lidar_values)
        self.scenes.append(scene)
        return scene

    @speaks_python
    def add_source(self, file: str | Path) -> None:
        """Record a file that the calling script reads, such as a table of poses.

        Call this before the script reads the file. When the file has changed since, the index is
        refused as out of date.

        Raises:
            FileNotFoundError: if the file does not exist.
        """
        path = plain_path(file)
        if not path.is_file():
            raise FileNotFoundError(f"no file {file}; add sources that exist")
        # The recorded path of a file outside of the root begins with "..". It is right only
        # between folders without links, so links are resolved.
        self.sources += fingerprints(self.root.resolve(), [path.parent.resolve() / path.name])

    @speaks_python
    def check(self) -> list[str]:
        """Return the problems for which :meth:`write` would refuse the recording.

        Each check reports its first problem: correct it, and call this again.
        """
        return [as_spoken(problem) for problem in recording_problems(self)]

    @speaks_python
    def write(self, path: str | Path) -> FrameIndex:
        """Check the recording as a whole, and write the index.

        Args:
            path: file to write, ``.arrow``.

        Returns:
            The index, opened.

        Raises:
            DataError: if there are problems. The message names the first; :meth:`check` returns
                that of every check.
            OSError: if the file cannot be written.
        """
        if problems := recording_problems(self):
            more = f" (the first of {len(problems)}; check() has all)" if problems[1:] else ""
            raise DataError(f"{problems[0]}{more}")
        command = "the script that calls drivemim.IndexBuilder"
        return write_recording(self, path, source="custom", command=command)


def write_recording(
    builder: IndexBuilder, out: str | os.PathLike[str], *, source: str, command: str
) -> FrameIndex:
    """Write the index of a recording for which ``recording_problems`` is empty.

    Args:
        builder: the recording.
        out: file to write.
        source: kind of the source, see ``IndexInfo``.
        command: command that builds the index again.

    Returns:
        The index, opened.
    """
    check_out(out)
    scenes = builder.scenes
    cameras = recorded_cameras(scenes)
    frames = [scene_frames(scene, cameras) for scene in scenes]
    categories = {name for scene in scenes for name in scene.boxes.columns["categories"]}
    if line := describe_unmapped(categories):
        _log.warning(line)
    sections = recorded_sections(scenes, frames, cameras)
    rows = sections["frames"]["scene"].tolist()
    info = IndexInfo(
        source=source,
        version="",
        data_root=str(builder.root),
        command=command,
        tables=tuple(builder.sources),
        copies=recorded_copies(
            builder.root,
            sections["frames"]["path"],
            [(scenes[row].split, scenes[row].name) for row in rows],
        ),
        lidar_values=builder.lidar_values,
    )
    write_index(out, sections, info)
    return FrameIndex.open(out)


def recording_problems(builder: IndexBuilder, *, is_partial: bool = False) -> list[str]:
    """Return the problems of a recording as a whole.

    Args:
        builder: the recording.
        is_partial: whether the caller left scenes or images out because of problems that it
            reports itself. Then scenes without images are no problem.

    Returns:
        messages of the problems; of each check the first.
    """
    empty = [] if is_partial else _empty_scenes(builder)
    has_images = any(files for scene in builder.scenes for files in scene.frames.values())
    checks = _checks(builder) if has_images else ()
    return empty + [problem for check in checks if (problem := _problem_of(check))]


def _empty_scenes(builder: IndexBuilder) -> list[str]:
    if not builder.scenes:
        return [f"{builder.root}: there are no scenes; add at least one"]
    return [
        f"{builder.root}: scene {scene.name!r} has no image; add one, or leave the scene out"
        for scene in builder.scenes
        if not any(scene.frames.values())
    ]


def _problem_of(check: Callable[[], None]) -> str:
    """Return the message of the DataError that a check raises; ``""`` if it raises none."""
    try:
        check()
    except DataError as error:
        return str(error)
    return ""


def _checks(builder: IndexBuilder) -> Iterator[Callable[[], None]]:
    """Yield the checks; each raises a DataError for the first row that it refuses."""
    checks = [
        _check_cameras,
        _check_principal_points,
        _check_clocks,
        _check_ego_poses,
        _check_boxes,
    ]
    if not builder.rectified:
        checks.append(_check_lenses)
    for check in checks:
        yield partial(check, builder)
    names = recorded_cameras(builder.scenes)
    for scene in builder.scenes:
        if scene.boxes.moments and any(scene.frames.values()):
            frames = scene_frames(scene, names)
            yield partial(check_moments_near_images, scene, frames, LARGEST_OFFSET)


def _used_cameras(builder: IndexBuilder) -> tuple[list[RecordedCamera], SourceRows]:
    """Return the cameras that have images, and their files and names for messages.

    A calibration that several scenes take from the same file is returned once.
    """
    by_source = {
        (camera.source, camera.name): camera
        for scene in builder.scenes
        for name, camera in scene.cameras.items()
        if scene.frames[name]
    }
    cameras = list(by_source.values())
    rows = SourceRows(lambda row: cameras[row].source, lambda row: repr(cameras[row].name))
    return cameras, rows


def _check_cameras(builder: IndexBuilder) -> None:
    cameras, rows = _used_cameras(builder)
    rotation = np.array([camera.mount[3:] for camera in cameras])
    plausible_camera_rotations.check_camera_rotations(
        rows, rotation, as_written=builder.camera_rotations_as_written
    )
    plausible_sizes.warn_of_low_cameras(rows, np.array([camera.mount[2] for camera in cameras]))


def _check_principal_points(builder: IndexBuilder) -> None:
    cameras, rows = _used_cameras(builder)
    plausible_intrinsics.check_principal_points(
        rows,
        np.array([camera.intrinsics[:2, 2] for camera in cameras]),
        np.array([camera.size for camera in cameras], np.int64),
        np.ones(len(cameras), bool),
        "intrinsics",
    )


def _check_lenses(builder: IndexBuilder) -> None:
    cameras, rows = _used_cameras(builder)
    lenses = [
        Lens(row, "", camera.intrinsics, camera.distortion, camera.size)
        for row, camera in enumerate(cameras)
    ]
    refuse_distortion(rows, lenses, ("intrinsics", "distortion"))


def _check_clocks(builder: IndexBuilder) -> None:
    """Refuse timestamps of images that are not microseconds."""
    names = recorded_cameras(builder.scenes)
    sequences = [
        (number, sorted(file.time for file in scene.frames.get(name, ())))
        for number, name in enumerate(names)
        for scene in builder.scenes
    ]
    microseconds(
        builder.root,
        np.array([time for _, times in sequences for time in times], np.int64),
        sequence=np.repeat(np.arange(len(sequences)), [len(times) for _, times in sequences]),
        kind=np.repeat([kind for kind, _ in sequences], [len(times) for _, times in sequences]),
        kinds=[f"{name}'s images" for name in names],
    )


def _check_ego_poses(builder: IndexBuilder) -> None:
    """Check the poses of trajectories, and those that were given with single images and scans."""
    trajectories = [scene.trajectory for scene in builder.scenes if scene.trajectory]
    file_poses = [
        (file.path, file.pose)
        for scene in builder.scenes
        for files in (*scene.frames.values(), scene.scans)
        for file in files
        if file.pose is not None
    ]
    file_rows = SourceRows(
        lambda row: str(builder.root / file_poses[row][0]), lambda _: "the ego pose"
    )
    rows = SourceRows.join(
        [*(trajectory.rows for trajectory in trajectories), file_rows],
        [*(len(trajectory.times_P) for trajectory in trajectories), len(file_poses)],
    )
    poses = [
        *(trajectory.poses_P7 for trajectory in trajectories),
        *(pose[None] for _, pose in file_poses),
    ]
    plausible_poses.check_upright_rotations(rows, np.concatenate(poses)[:, 3:])
    plausible_poses.check_direction_of_motion(
        [(each.rows.file(0), each.times_P, each.poses_P7) for each in trajectories]
        + [drive for scene in builder.scenes if (drive := _given_poses(scene))]
    )


def _given_poses(scene: RecordedScene) -> plausible_poses.Drive | None:
    """Return the poses that were given with a scene's images and scans, in the order of time.

    None if there are no such poses.
    """
    files = [file for files in (*scene.frames.values(), scene.scans) for file in files]
    poses = {file.time: file.pose for file in files if file.pose is not None}
    if not poses:
        return None
    times = sorted(poses)
    return (
        f"scene {scene.name!r}",
        np.array(times, np.int64),
        np.array([poses[time] for time in times]),
    )


def _check_boxes(builder: IndexBuilder) -> None:
    scenes = [scene for scene in builder.scenes if len(scene.boxes)]
    if not scenes:
        return
    rows = SourceRows.join([box_rows(scene) for scene in scenes], [len(s.boxes) for s in scenes])
    boxes_3d = [boxes for scene in scenes for boxes in scene.boxes.boxes_3d]
    rotation = np.concatenate([rotation for _, _, rotation in boxes_3d])
    plausible_poses.check_upright_rotations(rows, rotation, plausible_poses.ENOUGH_BOXES)
    names = [name for scene in scenes for name in scene.boxes.columns["categories"]]
    categories = sorted(set(names))
    positions = {name: position for position, name in enumerate(categories)}
    plausible_sizes.warn_of_wide_vehicles(
        rows.file(0),
        categories,
        np.array([positions[name] for name in names], np.int64),
        np.concatenate([size for _, size, _ in boxes_3d]),
    )
