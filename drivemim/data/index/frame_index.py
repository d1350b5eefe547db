"""The columnar index of a data set: built once, memory-mapped by every process that reads it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from drivemim.array_types import Ints
from drivemim.data.index.arrow import index_in, strings
from drivemim.data.index.arrow_columns import column_from_arrow, column_to_arrow, strings_to_arrow
from drivemim.data.index.index_schema import (
    SECTIONS,
    Boxes,
    Frames,
    Names,
    Samples,
    Scenes,
    Tracks,
    columns_of,
)
from drivemim.data.index.scene_selection import select_scenes
from drivemim.data.index.source_files import Fingerprint, check_sources
from drivemim.errors import DataError, did_you_mean
from drivemim.files import ensure_writable, partial_path, remove_abandoned
from drivemim.geometry.poses import sensor_pose

FORMAT = 3
"""Version of the file's layout; files of other versions are refused."""
_METADATA = b"drivemim"
"""Key of an index's ``IndexInfo`` in the metadata of the Arrow file."""


class IndexInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Origin of an index.

    Attributes:
        source: ``nuscenes`` or ``nuimages`` for tables of these formats; ``frames`` or ``rig`` for
            folders, see ``build_index``; ``custom`` for data from ``IndexBuilder``.
        version: the data set's version folder; ``""`` for other sources than tables.
        data_root: folder that the frames' paths are relative to.
        command: the command that builds the index again.
        tables: the files that the index was built from, relative to ``data_root``.
        copies: pairs of rows of frames, little-endian int64: each frame that is identical to
            one of another scene, and the first frame with the same content; None if copies were not
            searched.
        lidar_values: number of float32 values per point in lidar files that are not ``.npy``.
        built: when the index was written, seconds since 1970.
        format: version of the file's layout.
    """

    source: str
    version: str
    data_root: str
    command: str
    tables: tuple[Fingerprint, ...] = ()
    copies: bytes | None = None
    lidar_values: int = 5
    built: float = 0.0
    format: int = FORMAT


class FrameIndex:
    """Every frame, sample, scene and box of a data set as memory-mapped NumPy columns.

    Opening takes the same time for any size, and processes share the mapped pages.

    Attributes:
        frames: one row per image.
        samples: one row per sample.
        scenes: one row per scene.
        boxes: one row per annotated object of a sample.
        tracks: one row per object.
        cameras: names; ``frames.camera`` is a position in them.
        categories: the source's own category names; ``boxes.category`` is a position in them.
        attributes: names; ``boxes.attribute`` is a position in them.
        levels: the source's own names of visibility levels whose meaning is unknown.
        info: origin of the index.
        path: the file.
        data_root: folder that ``frames.path`` is relative to.
    """

    frames: Frames
    samples: Samples
    scenes: Scenes
    boxes: Boxes
    tracks: Tracks
    cameras: tuple[str, ...]
    categories: tuple[str, ...]
    attributes: tuple[str, ...]
    levels: tuple[str, ...]

    def __init__(
        self, sections: Mapping[str, Any], info: IndexInfo, path: Path, data_root: Path
    ) -> None:
        self.frames = sections["frames"]
        self.samples = sections["samples"]
        self.scenes = sections["scenes"]
        self.boxes = sections["boxes"]
        self.tracks = sections["tracks"]
        names: Names = sections["names"]
        self.cameras = tuple(names.cameras)
        self.categories = tuple(names.categories)
        self.attributes = tuple(names.attributes)
        self.levels = tuple(names.levels)
        self.info = info
        self.path = path
        self.data_root = data_root

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        version: str | None = None,
        data_root: str | os.PathLike[str] | None = None,
    ) -> FrameIndex:
        """Map an index file.

        Args:
            path: file that ``drivemim index`` wrote.
            version: data set version that the index must have, or None for any.
            data_root: where the data lies now, if it moved since the index was built.

        Raises:
            FileNotFoundError: if the file does not exist.
            ValueError: if it is not an index, is older than its tables, or has another version.
        """
        path = Path(path)
        batch, info = _map(path)
        root = Path(data_root if data_root is not None else info.data_root)
        _check_version(info, path, version)
        check_sources(info.tables, root, path, command=info.command)
        return cls(_read_sections(batch, info, path), info, path, root)

    def __repr__(self) -> str:
        """Say what the index holds."""
        return (
            f"<FrameIndex {self.path}: {len(self.scenes)} scenes, {len(self.samples)} samples, "
            f"{len(self.frames)} frames of {len(self.cameras)} cameras, {len(self.boxes)} boxes>"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self.path, self.data_root)

    @cached_property
    def used_categories(self) -> NDArray[np.bool_]:
        """(categories,) True for categories that have boxes; COCO files also list others."""
        used = np.zeros(len(self.categories), np.bool_)
        used[np.unique(self.boxes.category)] = True
        return used

    @cached_property
    def copies(self) -> Ints:
        """Rows (C, 2) of frames that are identical to a frame of another scene.

        The second column is the first frame with the same content. There are no rows for nuScenes'
        and nuImages' tables, whose images are not compared, and in indices of older versions.
        """
        return np.frombuffer(self.info.copies or b"", "<i8").astype(np.int64).reshape(-1, 2)

    def image_path(self, row: int) -> Path:
        """Return the path of a frame's image."""
        return self.data_root / self.frames.path[row]

    def camera_to_global(self, rows: Ints | int) -> NDArray[np.float64]:
        """Return the poses (F, 4, 4) of frames' cameras, through each frame's own ego pose.

        Args:
            rows: (F,) rows of ``frames``, or a single row, which gives (4, 4).
        """
        return sensor_pose(self.frames.camera_to_ego[rows], self.frames.ego_to_global[rows])

    def camera_to_clip(self, rows: Ints) -> NDArray[np.float64]:
        """Return the poses (F, 4, 4) of frames' cameras in the clip frame: the first's ego pose.

        Args:
            rows: (F,) rows of ``frames``, at least one.
        """
        mounts, egos = self.frames.camera_to_ego[rows], self.frames.ego_to_global[rows]
        return sensor_pose(mounts, egos, reference_7=egos[0])

    def lidar_to_global(self, samples: Ints | int) -> NDArray[np.float64]:
        """Return the poses (S, 4, 4) of the lidar at samples, through its own ego poses."""
        return sensor_pose(
            self.samples.lidar_to_ego[samples], self.samples.lidar_ego_to_global[samples]
        )

    def camera_numbers(self, names: str | Iterable[str] | None) -> Ints:
        """Return the positions of cameras by name, in the given order; of all for None.

        Raises:
            DataError: if a name is not in the index; it suggests the nearest.
        """
        if names is None:
            return np.arange(len(self.cameras))
        known = {name: number for number, name in enumerate(self.cameras)}
        chosen = [names] if isinstance(names, str) else list(names)
        for name in chosen:
            if name not in known:
                raise DataError(
                    f"{self.path} has no camera {name!r}, only {', '.join(known)}"
                    f"{did_you_mean(name, known)}"
                )
        return np.array([known[name] for name in chosen], np.int64)

    def scene_rows(self, scenes: str | Sequence[str] | None) -> Ints:
        """Return the rows of scenes by name or split; see ``select_scenes``."""
        return select_scenes(self, scenes)

    def frame_rows(self, tokens: Sequence[str]) -> Ints:
        """Return the rows of frames by token.

        Raises:
            ValueError: if a token is not in the index.
        """
        rows = index_in(strings(tokens), strings_to_arrow(self.frames.token))
        if (rows < 0).any():
            missing = tokens[int(np.flatnonzero(rows < 0)[0])]
            raise DataError(f"{self.path} has no frame {missing!r}; is it another data set's?")
        return rows

    def find_paths(self, paths: Sequence[str]) -> Ints:
        """Return the rows of frames by the path of their image, -1 for unknown paths.

        Args:
            paths: relative to ``data_root``.
        """
        return index_in(strings(paths), strings_to_arrow(self.frames.path))


def check_out(out: str | os.PathLike[str]) -> None:
    """Check that an index can be written to a path, before anything is read.

    Raises:
        DataError: if the path's suffix is not ``.arrow``.
        OSError: if the file cannot be written, with the reason and the fix.
    """
    path = Path(out)
    if not path.name.endswith(".arrow"):
        fixed = path.parent / f"{path.stem or 'index'}.arrow"
        raise DataError(f"--out {path}: an index ends in .arrow; write --out {fixed}")
    ensure_writable(path, fix="name another place for the index with --out FILE")


def write_index(
    path: str | os.PathLike[str], sections: Mapping[str, Mapping[str, Any]], info: IndexInfo
) -> None:
    """Write an index beside ``path``, then rename it into place.

    Args:
        path: file to write; an older file is replaced only when the new one is complete.
        sections: columns by section and name; strings as lists or Arrow arrays, the others in any
            form that NumPy accepts, row by row.
        info: origin of the columns.

    Raises:
        DataError: if there are no frames.
    """
    path = Path(path)
    if len(sections["frames"]["token"]) == 0:
        raise DataError(f"{path} would have no frames: the {info.source} source has none")
    arrays: list[pa.Array] = []
    names: list[str] = []
    for section, cls in SECTIONS.items():
        for name, column in columns_of(cls).items():
            values = column_to_arrow(sections[section][name], column)
            arrays.append(pa.LargeListArray.from_arrays(pa.array([0, len(values)]), values))
            names.append(f"{section}.{name}")
    info = msgspec.structs.replace(info, built=time.time())
    schema = pa.schema(
        [pa.field(name, array.type) for name, array in zip(names, arrays, strict=True)],
        metadata={_METADATA: msgspec.json.encode(info)},
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(path)
    partial = partial_path(path)
    try:
        with pa.OSFile(str(partial), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
            writer.write_batch(pa.record_batch(arrays, schema=schema))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _reopen(path: Path, data_root: Path) -> FrameIndex:
    """Map an index that another process opened and compared with its tables."""
    batch, info = _map(path)
    return FrameIndex(_read_sections(batch, info, path), info, path, data_root)


def _map(path: Path) -> tuple[pa.RecordBatch, IndexInfo]:
    """Map the columns of an index file, and read its origin.

    Raises:
        FileNotFoundError: if the file does not exist.
        DataError: if it is not an index, or of another format.
    """
    if not path.is_file():
        raise FileNotFoundError(describe_missing_index(path))
    try:
        batch = pa.ipc.open_file(pa.memory_map(str(path))).get_batch(0)
        encoded = batch.schema.metadata[_METADATA]
    except (pa.ArrowInvalid, KeyError, TypeError) as error:
        raise DataError(
            f"{path} is not an index of DriveMIM ({error}); build it with drivemim index"
        ) from error
    return batch, _decode_info(encoded, path)


def describe_missing_index(path: Path) -> str:
    """Describe a path at which there is no index, with the nearest name or how to build it."""
    if path.is_dir():
        indices = sorted(str(index) for index in path.glob("*.arrow"))
        hint = f"it holds {', '.join(indices[:3])}" if indices else "build one with drivemim index"
        return f"{path} is a folder, not an index; {hint}"
    others = [other.name for other in path.parent.glob("*.arrow")]
    return f"no index at {path}" + (
        did_you_mean(path.name, others)
        or f"; build it with drivemim index nuscenes, nuimages, frames or rig (... --out {path})"
    )


def _decode_info(encoded: bytes, path: Path) -> IndexInfo:
    """Decode the origin of an index.

    Raises:
        DataError: if it cannot be decoded, or the index is of another format.
    """
    try:
        layout = msgspec.json.decode(encoded, type=dict[str, Any]).get("format")
        if layout == FORMAT:
            return msgspec.json.decode(encoded, type=IndexInfo)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path} has unreadable metadata ({error}); build it again") from error
    raise DataError(
        f"{path} has index format {layout}, this DriveMIM reads {FORMAT}; "
        "build it again with drivemim index"
    )


def _check_version(info: IndexInfo, path: Path, version: str | None) -> None:
    """Check that an index has a version; None for any.

    Raises:
        DataError: if it has another version.
    """
    if version is not None and version != info.version:
        source = "nuimages" if info.source == "nuimages" else "nuscenes"
        raise DataError(
            f"{path} was built for {info.version or info.source}, not for version={version!r}; run "
            f"drivemim index {source} --root {info.data_root} --version {version} "
            "and name the new file in the config"
        )


def _read_sections(batch: pa.RecordBatch, info: IndexInfo, path: Path) -> dict[str, Any]:
    """Return the sections of an index by name.

    Raises:
        DataError: if a column is missing.
    """
    sections: dict[str, Any] = {}
    try:
        cameras = len(batch.column("names.cameras").values)
        for section, cls in SECTIONS.items():
            columns = {
                name: column_from_arrow(batch.column(f"{section}.{name}").values, column, cameras)
                for name, column in columns_of(cls).items()
            }
            sections[section] = cls(**columns)
    except KeyError as error:
        raise DataError(f"{path} lacks the column {error}; rebuild with {info.command}") from None
    return sections
