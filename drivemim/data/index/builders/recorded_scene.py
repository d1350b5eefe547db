"""One scene of an ``IndexBuilder``: cameras, poses, images, lidar scans and boxes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from drivemim.array_types import Floats
from drivemim.data.index.builders.folder_frames import image_size
from drivemim.data.index.builders.plausible_intrinsics import check_intrinsics
from drivemim.data.index.builders.recorded_parts import (
    RecordedBoxes,
    RecordedCamera,
    RecordedFile,
)
from drivemim.data.index.builders.recorded_values import (
    boxes_of,
    intrinsics_of,
    mount_of,
    moved_boxes,
    poses_of,
    size_of,
    timestamps_of,
)
from drivemim.data.index.builders.source_rows import SourceRows
from drivemim.data.index.builders.trajectory import Trajectory
from drivemim.data.index.lidar_files import check_scan
from drivemim.errors import DataError, did_you_mean
from drivemim.files import RealPaths, path_from, why_unreadable
from drivemim.geometry.poses import pose_from_vector
from drivemim.option_words import speaks_python

Values = Sequence[Any] | NDArray[Any]
"""Values of one dimension, in any form that Python or NumPy has."""


class RecordedScene:
    """A scene to index; ``IndexBuilder.add_scene`` makes it.

    Coordinates are in metres. The world has z up. The ego frame has x ahead, y to the left and z
    up; a camera's frame has x to the right, y down and z ahead. A pose maps points of one frame to
    another (``camera_to_ego``). It is either 7 numbers, the translation and the quaternion w, x, y,
    z, or a 4x4 matrix.
    """

    def __init__(
        self, root: Path, name: str, split: str, description: str, lidar_values: int
    ) -> None:
        self.root = root
        self._lidar_values = lidar_values
        self.name = name
        self.split = split
        self.description = description
        self.cameras: dict[str, RecordedCamera] = {}
        self.frames: dict[str, list[RecordedFile]] = {}
        self.scans: list[RecordedFile] = []
        self.boxes = RecordedBoxes()
        self.lidar_mount: Floats | None = None
        self.trajectory: Trajectory | None = None
        self._times: dict[str, dict[int, str]] = {}
        self._paths: set[str] = set()
        self._real = RealPaths()

    @speaks_python
    def add_poses(
        self, timestamps: Any, poses: ArrayLike, *, rows: SourceRows | None = None
    ) -> None:
        """Add the ego poses, from which those of images and scans are interpolated.

        Args:
            timestamps: (P,) whole microseconds, ascending.
            poses: (P, 7) or (P, 4, 4), ego to world.
            rows: names of the poses for messages; None to name them by position (``pose 3``).

        Raises:
            DataError: if a pose is invalid, times are not ascending, or the scene has poses
                already.
        """
        if self.trajectory is not None:
            raise DataError(f"scene {self.name!r} has poses already; add all of them at once")
        rows = rows or SourceRows(f"scene {self.name!r}", lambda row: f"pose {row}")
        self.trajectory = Trajectory(timestamps_of(timestamps, rows), poses_of(poses, rows), rows)

    @speaks_python
    def add_camera(
        self,
        name: str,
        *,
        intrinsics: ArrayLike,
        size: Values,
        camera_to_ego: ArrayLike,
        distortion: Values = (),
        source: str | None = None,
    ) -> None:
        """Add a camera with its calibration.

        Args:
            name: name of the camera, the same in every scene.
            intrinsics: 3x3 matrix, or fx, fy, cx, cy; pixels of the stored images.
            size: width and height of the images, pixels.
            camera_to_ego: pose of the camera in the ego frame.
            distortion: OpenCV's k1, k2, p1, p2, k3, ...; anything but zeros is refused when the
                index is written, unless ``IndexBuilder`` has ``rectified=True``.
            source: file that the calibration is from, for messages; None for this scene.

        Raises:
            DataError: if a value is invalid, or the camera was added already.
        """
        source = source or f"scene {self.name!r}"
        rows = SourceRows(source, [repr(name)])
        if not name or name in self.cameras:
            raise DataError(f"{source}: camera {name!r} is {'given twice' if name else 'no name'}")
        matrix = intrinsics_of(intrinsics, rows)
        check_intrinsics(rows, matrix[None], "intrinsics")
        self.cameras[name] = RecordedCamera(
            name=name,
            intrinsics=matrix,
            size=size_of(size, rows),
            mount=mount_of(camera_to_ego, rows),
            distortion=tuple(float(each) for each in distortion),
            source=source,
        )
        self.frames[name] = []
        self._times[name] = {}

    @speaks_python
    def add_lidar(self, lidar_to_ego: ArrayLike, *, source: str | None = None) -> None:
        """Add the lidar with its pose in the ego frame, before its scans.

        Args:
            lidar_to_ego: pose of the lidar in the ego frame.
            source: file that the pose is from, for messages; None for this scene.

        Raises:
            DataError: if the pose is invalid, or the scene has a lidar already.
        """
        if self.lidar_mount is not None:
            raise DataError(f"scene {self.name!r} has a lidar already; an index has one per scene")
        rows = SourceRows(source or f"scene {self.name!r}", ["the lidar"])
        self.lidar_mount = mount_of(lidar_to_ego, rows)

    @speaks_python
    def add_frame(
        self,
        camera: str,
        image: str | Path,
        timestamp: int,
        *,
        pose: ArrayLike | None = None,
    ) -> None:
        """Add an image.

        Args:
            camera: name of the camera.
            image: the file, absolute or relative to the builder's root.
            timestamp: whole microseconds.
            pose: the ego pose at that time; None to interpolate those of ``add_poses``.

        Raises:
            DataError: if the camera is unknown or has an image at that time; if the file was added
                already, is outside of the builder's root, is not a readable image or has another
                size than the calibration; or if the ego pose is unknown at that time.
            FileNotFoundError: if the file does not exist.
        """
        if camera not in self.cameras:
            raise DataError(
                f"{image}: scene {self.name!r} has no camera {camera!r}, only "
                f"{', '.join(self.cameras) or 'none'}{did_you_mean(camera, self.cameras)}"
            )
        path = self._file(image)
        time = int(timestamp)
        if time in self._times[camera]:
            raise DataError(
                f"{self.root / path} and {self.root / self._times[camera][time]} are both images "
                f"of {camera} at {time}; give each its own timestamp"
            )
        ego_pose = self._checked_pose(pose, time, path)
        self._check_size(path, self.cameras[camera])
        self._paths.add(path)
        self._times[camera][time] = path
        self.frames[camera].append(RecordedFile(path, time, ego_pose))

    @speaks_python
    def add_scan(self, file: str | Path, timestamp: int, *, pose: ArrayLike | None = None) -> None:
        """Add a lidar scan: a sample gets the nearest one, at most 0.1 s away.

        Args:
            file: ``.npy`` with an array (P, 3 or more) of x, y, z in the lidar's frame, metres, or
                ``.bin`` with ``IndexBuilder``'s ``lidar_values`` float32 numbers per point.
            timestamp: whole microseconds.
            pose: the ego pose at that time; None to interpolate those of ``add_poses``.

        Raises:
            DataError: if the scene has no lidar; if the file was added already, is outside of the
                builder's root or has another format; or if the ego pose is unknown at that time.
            FileNotFoundError: if the file does not exist.
        """
        if self.lidar_mount is None:
            raise DataError(f"{file}: scene {self.name!r} has no lidar; call add_lidar first")
        path = self._file(file)
        check_scan(self.root / path, self._lidar_values)
        time = int(timestamp)
        ego_pose = self._checked_pose(pose, time, path)
        self._paths.add(path)
        self.scans.append(RecordedFile(path, time, ego_pose))

    @speaks_python
    def add_boxes(
        self,
        timestamp: int,
        *,
        tracks: Values = (),
        categories: Values = (),
        centers: ArrayLike = (),
        sizes: ArrayLike = (),
        rotations: ArrayLike = (),
        attributes: Values | None = None,
        visibility: Values | None = None,
        lidar_points: Values | None = None,
        frame: ArrayLike | None = None,
        rows: SourceRows | None = None,
    ) -> None:
        """Add the boxes of one annotated moment.

        Call this without boxes if the annotators found no object. Boxes of one moment may also be
        added with several calls.

        Args:
            timestamp: whole microseconds.
            tracks: (M,) the object of each box, the same in the whole scene.
            categories: (M,) source categories, such as ``vehicle.car`` or ``pedestrian``.
            centers: (M, 3) metres.
            sizes: (M, 3) width, length, height, metres.
            rotations: (M,) yaw in radians about the z axis, (M, 4) quaternions w, x, y, z, or
                (M, 3, 3) matrices. The box's x axis points ahead.
            attributes: (M,) such as ``vehicle.moving``; ``""`` for none.
            visibility: (M,) 1 (0-40 %) to 4 (80-100 %), 0 if unknown.
            lidar_points: (M,) returns inside the box, -1 if unknown.
            frame: pose in the world of the axes in which centres and rotations are given, for
                example ``scene.pose_at(timestamp)`` for the ego's; None for the world's.
            rows: names of the boxes for messages; None to name them by position (``box 3``).

        Raises:
            DataError: if a value is invalid, the arguments have different numbers of values, an
                object occurs twice at that time or has two categories, or one call says that the
                moment has no boxes and another adds some.
        """
        time, count = int(timestamp), len(tracks)
        rows = rows or SourceRows(
            f"boxes of scene {self.name!r} at {time}",
            lambda row: f"box {row}" if count else "the moment",
        )
        columns: dict[str, list[Any]] = {
            "categories": [str(each) for each in categories],
            "attributes": [""] * count if attributes is None else [str(a) for a in attributes],
            "visibility": [0] * count if visibility is None else list(visibility),
            "lidar_points": [-1] * count if lidar_points is None else list(lidar_points),
        }
        boxes_3d = boxes_of(centers, sizes, rotations, rows)
        if frame is not None:
            boxes_3d = moved_boxes(boxes_3d, poses_of([frame], rows)[0])
        self.boxes.add(time, [str(track) for track in tracks], columns, boxes_3d, rows)

    @speaks_python
    def pose_at(self, timestamp: int) -> NDArray[np.float64]:
        """Return the ego pose (4, 4), ego to world, interpolated from ``add_poses``.

        Args:
            timestamp: whole microseconds.

        Raises:
            DataError: if the scene has no poses, or none near that time.
        """
        if self.trajectory is None:
            raise DataError(f"scene {self.name!r} has no poses; call add_poses first")
        self.trajectory.check(int(timestamp), f"timestamp {timestamp}")
        (pose,) = self.trajectory.at(np.array([timestamp], np.int64))
        return pose_from_vector(pose)

    def _checked_pose(self, pose: ArrayLike | None, time: int, path: str) -> Floats | None:
        """Return ``pose`` as 7 numbers; if it is None, check that it can be interpolated."""
        if pose is not None:
            ego_pose: Floats = poses_of([pose], SourceRows(self.root / path, ["the ego pose"]))[0]
            return ego_pose
        if self.trajectory is None:
            raise DataError(
                f"{self.root / path} has no ego pose: give pose, or call add_poses before"
            )
        self.trajectory.check(time, f"{self.root / path} at {time}")
        return None

    def _file(self, file: str | os.PathLike[str]) -> str:
        """Return a file's path relative to the root; refuse one that is unusable or known."""
        full = self.root / file
        if problem := why_unreadable(full):
            raise FileNotFoundError(f"{full} {problem}; correct the path or leave it out")
        path = path_from(self.root, full, self._real)
        if os.path.isabs(path):
            raise DataError(f"{full} is outside of the builder's root {self.root}")
        if path in self._paths:
            raise DataError(f"{full} was added before; add each file once")
        return path

    def _check_size(self, path: str, camera: RecordedCamera) -> None:
        size = image_size(self.root / path)
        if size != camera.size:
            width, height = camera.size
            hint = " (width and height are swapped)" if size == (height, width) else ""
            raise DataError(
                f"{self.root / path} is {size[0]}x{size[1]} pixels, but {camera.source} says that "
                f"{camera.name} has {width}x{height}{hint}; correct its width and height, and "
                "calibrate for the stored images"
            )
