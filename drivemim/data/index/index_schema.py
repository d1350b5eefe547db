"""The sections of a ``FrameIndex``: their columns with types and shapes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivemim.array_types import Bools, Floats, Ints

SmallInts = NDArray[np.int32]

CAMERAS = -2
"""In a column's shape, this stands for the number of cameras of the index."""


_KEY_BITS = 40
"""Bits of a key for the time; 2**40 microseconds are about 12 days."""


class Strings:
    """A read-only column of strings over two flat buffers; a string is decoded when it is read.

    Args:
        offsets: int64, where each string begins in ``data``, and where the last one ends.
        data: uint8, the strings' UTF-8 bytes, concatenated.
    """

    def __init__(self, offsets: Ints, data: NDArray[np.uint8]) -> None:
        self._offsets = offsets
        self._data = data

    def __len__(self) -> int:
        return max(len(self._offsets) - 1, 0)

    def __getitem__(self, row: int | np.integer[Any]) -> str:
        if not 0 <= row < len(self):
            raise IndexError(f"row {row} of a column of {len(self)} strings")
        return self._data[self._offsets[row] : self._offsets[row + 1]].tobytes().decode()

    def __iter__(self) -> Iterator[str]:
        return (self[row] for row in range(len(self)))

    @property
    def buffers(self) -> tuple[Ints, NDArray[np.uint8]]:
        """Offsets and bytes, for code that searches the column without decoding it."""
        return self._offsets, self._data


@dataclass(frozen=True)
class Column:
    """Storage of a column: a NumPy type name or ``string``, and the shape of one row."""

    kind: str
    shape: tuple[int, ...] = ()


def _column(kind: str, *shape: int) -> Any:
    """Declare a column of a section class; see ``Column``."""
    return field(metadata={"column": Column(kind, shape)})


def columns_of(section: type) -> dict[str, Column]:
    """Return the columns of a section class by name."""
    return {each.name: each.metadata["column"] for each in fields(section)}


def time_keys(sequence: Ints, elapsed: Ints) -> Ints:
    """Return keys that sort frames by sequence, then by time.

    Args:
        sequence: scene * cameras + camera.
        elapsed: microseconds since the sequence's first frame; clipped to 0 and to about 12 days.
    """
    return (sequence << _KEY_BITS) + np.clip(elapsed, 0, (1 << _KEY_BITS) - 1)


@dataclass(frozen=True, eq=False)
class Frames:
    """One row per image, sorted by scene, camera, timestamp.

    Attributes:
        token: the source's own token of the image (nuScenes: its sample_data).
        scene: row of the scene.
        sample: row of the sample to which the source assigns it; for a nuScenes sweep the keyframe
            that follows it.
        camera: position in ``FrameIndex.cameras``.
        timestamp: microseconds.
        path: image file, relative to the data root.
        width: width of the stored image, pixels.
        height: height of the stored image, pixels.
        intrinsics: (F, 3, 3), pixels.
        camera_to_ego: (F, 7), translation in metres and quaternion w x y z.
        ego_to_global: (F, 7), the ego pose at the image's own timestamp.
        keyframe: whether the boxes of its sample were annotated for this image; False for images
            of rigs without annotation.
        previous: row of the same camera's previous frame, -1 at a scene's start.
        next: row of the same camera's next frame, -1 at a scene's end.
        calibrated: whether intrinsics and poses were measured (not assumed).
        key: ascending through the whole column, so that one binary search finds any time of any
            camera; see ``time_keys``.
    """

    token: Strings = _column("string")
    scene: SmallInts = _column("int32")
    sample: SmallInts = _column("int32")
    camera: SmallInts = _column("int32")
    timestamp: Ints = _column("int64")
    path: Strings = _column("string")
    width: SmallInts = _column("int32")
    height: SmallInts = _column("int32")
    intrinsics: Floats = _column("float64", 3, 3)
    camera_to_ego: Floats = _column("float64", 7)
    ego_to_global: Floats = _column("float64", 7)
    keyframe: Bools = _column("bool")
    previous: Ints = _column("int64")
    next: Ints = _column("int64")
    calibrated: Bools = _column("bool")
    key: Ints = _column("int64")

    def __len__(self) -> int:
        return len(self.timestamp)


@dataclass(frozen=True, eq=False)
class Samples:
    """One row per sample, sorted by scene and timestamp.

    In a folder, every image is a sample. In a rig, every annotated moment is a sample; of images
    without annotated moments around them, one per camera forms a sample without boxes.

    Attributes:
        token: the source's own token.
        scene: row of the scene.
        timestamp: microseconds.
        previous: row of the scene's previous sample, -1 at its start.
        next: row of the scene's next sample, -1 at its end.
        first_box: row in ``boxes`` of the sample's first box; the others follow.
        box_count: number of the sample's boxes.
        keyframes: (S, cameras) row in ``frames`` of each camera's frame of the sample, -1 for none.
        lidar_path: file of the LIDAR_TOP scan, relative to the data root; ``""`` for none.
        lidar_to_ego: (S, 7), translation in metres and quaternion w x y z.
        lidar_ego_to_global: (S, 7), the ego pose at the lidar's timestamp.
    """

    token: Strings = _column("string")
    scene: SmallInts = _column("int32")
    timestamp: Ints = _column("int64")
    previous: Ints = _column("int64")
    next: Ints = _column("int64")
    first_box: Ints = _column("int64")
    box_count: Ints = _column("int64")
    keyframes: Ints = _column("int64", CAMERAS)
    lidar_path: Strings = _column("string")
    lidar_to_ego: Floats = _column("float64", 7)
    lidar_ego_to_global: Floats = _column("float64", 7)

    def __len__(self) -> int:
        return len(self.timestamp)


@dataclass(frozen=True, eq=False)
class Scenes:
    """One row per scene.

    Attributes:
        token: the source's own token; ``SPLIT:NAME`` in a folder or a rig.
        name: nuScenes' scene name, nuImages' sample token, or the scene's folder, COCO
            ``sequence`` or CocoVID video.
        description: the source's own description.
        split: in nuImages, the part of the version after the last dash (``train``); in a rig, the
            split in ``scene.json``; else the stem of the scene's COCO file, ``""`` without one.
        described: whether the description gives light and weather.
        night: whether the description mentions night.
        rain: whether the description mentions rain.
        first_sample: row in ``samples`` of the scene's first sample; the others follow.
        sample_count: number of the scene's samples.
        first_frame: (scenes, cameras), row in ``frames`` of a camera's first frame; the others
            follow.
        frame_count: (scenes, cameras), number of a camera's frames.
    """

    token: Strings = _column("string")
    name: Strings = _column("string")
    description: Strings = _column("string")
    split: Strings = _column("string")
    described: Bools = _column("bool")
    night: Bools = _column("bool")
    rain: Bools = _column("bool")
    first_sample: Ints = _column("int64")
    sample_count: Ints = _column("int64")
    first_frame: Ints = _column("int64", CAMERAS)
    frame_count: Ints = _column("int64", CAMERAS)

    def __len__(self) -> int:
        return len(self.night)


@dataclass(frozen=True, eq=False)
class Boxes:
    """One row per annotated object of a sample, sorted by sample.

    Attributes:
        token: the source's own token.
        sample: row of the sample.
        track: row in ``tracks``; the same for all boxes of an object in a scene.
        category: position in ``FrameIndex.categories``.
        center: (M, 3) metres, global frame; NaN for boxes drawn in the image.
        size: (M, 3) metres: width, length, height; NaN for boxes drawn in the image.
        rotation: (M, 4) quaternion w x y z, global frame; NaN for boxes drawn in the image.
        velocity: (M, 2) metres per second, global frame, like the devkit's ``box_velocity``; NaN
            if unknown.
        image_box: (M, 4) x1 y1 x2 y2 pixels of boxes drawn in the image; NaN for 3-D boxes.
        visibility: nuScenes' level, 1 (0-40 % visible) to 4 (80-100 %); 0 if unknown. Levels of the
            source whose meaning is unknown are negative: -1 for the first of
            ``FrameIndex.levels``, -2 for the second, ...
        lidar_points: number of lidar points inside the box, -1 if unknown.
        radar_points: number of radar points inside the box, -1 if unknown.
        attribute: position in ``FrameIndex.attributes``, -1 for none.
        previous: row of the same track's box in the previous sample, -1 for none.
        crowd: whether the box is neither an object nor background: drawn around many objects
            (COCO's ``iscrowd``), or marked ``ignore``.
    """

    token: Strings = _column("string")
    sample: SmallInts = _column("int32")
    track: SmallInts = _column("int32")
    category: SmallInts = _column("int32")
    center: Floats = _column("float64", 3)
    size: Floats = _column("float64", 3)
    rotation: Floats = _column("float64", 4)
    velocity: Floats = _column("float64", 2)
    image_box: Floats = _column("float64", 4)
    visibility: SmallInts = _column("int32")
    lidar_points: SmallInts = _column("int32")
    radar_points: SmallInts = _column("int32")
    attribute: SmallInts = _column("int32")
    previous: Ints = _column("int64")
    crowd: Bools = _column("bool")

    def __len__(self) -> int:
        return len(self.sample)


@dataclass(frozen=True, eq=False)
class Tracks:
    """One row per object.

    Attributes:
        token: the source's own token (nuScenes: its instance).
        category: position in ``FrameIndex.categories``.
    """

    token: Strings = _column("string")
    category: SmallInts = _column("int32")

    def __len__(self) -> int:
        return len(self.category)


@dataclass(frozen=True, eq=False)
class Names:
    """Names to which rows of other sections refer by position."""

    cameras: Strings = _column("string")
    categories: Strings = _column("string")
    attributes: Strings = _column("string")
    levels: Strings = _column("string")


SECTIONS: dict[str, type] = {
    "frames": Frames,
    "samples": Samples,
    "scenes": Scenes,
    "boxes": Boxes,
    "tracks": Tracks,
    "names": Names,
}
"""Classes of all sections of an index, by name."""
