"""Builder of a ``FrameIndex`` from folders of images and videos, with boxes from COCO files.

The calibration of these cameras is unknown, so a static pinhole camera of 53 degrees is assumed:
fx = fy = image width, principal point at the centre, identity poses; ``calibrated`` is False.
"""

from __future__ import annotations

import logging
import math
import os
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from drivemim.array_types import Ints
from drivemim.data.classes import describe_unmapped
from drivemim.data.index.builders.coco import CocoFile, read_coco
from drivemim.data.index.builders.coco_fields import CocoImage
from drivemim.data.index.builders.coco_images import base_folder, touched_roots
from drivemim.data.index.builders.coco_splits import split_names
from drivemim.data.index.builders.columns import (
    IDENTITY_POSE,
    Section,
    drawn_boxes,
    links_in_time,
    no_lidar,
    runs,
)
from drivemim.data.index.builders.folder_frames import (
    check_videos,
    frames_of_images,
    frames_of_videos,
    image_size,
)
from drivemim.data.index.builders.folders import list_folders
from drivemim.data.index.builders.other_sources import check_images_found
from drivemim.data.index.builders.sequences import (
    SceneKey,
    SequenceFrame,
    arrange,
    frame_microseconds,
)
from drivemim.data.index.builders.videos import frames_folder
from drivemim.data.index.copies import recorded_copies
from drivemim.data.index.frame_index import IndexInfo, check_out, write_index
from drivemim.data.index.source_files import Fingerprint, fingerprints
from drivemim.errors import ConfigError, DataError
from drivemim.files import RealPaths, path_from, plain_path, why_unreadable

_LOG = logging.getLogger(__name__)
CAMERA = "camera"
VIDEO_RATE = 2.0
"""Frames per second that are extracted from videos: the rate of nuScenes' annotated samples."""


def build_frames_index(
    roots: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    coco: Sequence[str | os.PathLike[str]] = (),
    rate: float = 10.0,
    video_rate: float = VIDEO_RATE,
) -> Path:
    """Index folders of sequences.

    Every folder that holds images is a sequence; its images are sorted by name, with numbers by
    value. Every video is also a sequence; its frames are extracted into a folder beside the index.
    A COCO file may instead give the sequences and frame numbers of its images, in the fields
    ``sequence`` and ``frame`` or CocoVID's. Its paths are relative to its own folder if the images
    lie there, else to the root that has them. With COCO files, only the images that they list are
    indexed, plus everything in the roots that contain none of these.

    Args:
        roots: folders; the index's data root is the folder that contains all of them, and the
            extracted frames if there are any.
        out: file to write.
        coco: COCO files; the stem of each names its split, or its folder, see ``split_names``.
        rate: frames per second, to convert frame numbers to timestamps.
        video_rate: frames per second to extract from videos, which have timestamps; 0 to leave
            videos out.

    Returns:
        ``out``.

    Raises:
        OSError: if a folder, a COCO file or an image it lists does not exist, there are no images,
            or the index cannot be written.
        ConfigError: if there is no folder, or a rate is out of range.
        DataError: if a COCO file, an image or a video is broken or listed twice; an image could be
            one of two files, has another size than in the COCO file, or has an EXIF orientation
            that would turn it; or a folder cannot be read.
    """
    _check_rates(rate, video_rate)
    folders = _check_folders(roots)
    check_out(out)
    base, store = Path(os.path.commonpath(folders)), frames_folder(plain_path(out))
    files = [plain_path(path) for path in coco]
    # Real folders: a path from the data root, which may be a link, to a file outside needs "..".
    sources = [path.parent.resolve() / path.name for path in files if path.is_file()]
    prints = fingerprints(base.resolve(), sources)
    frames, categories = _read_frames(folders, files, base, store, video_rate)
    data_root = _data_root(frames, base, store)
    if data_root != base:
        frames, prints = _moved(frames, prints, base, data_root)
    _warn_of_unmapped(frames)
    rates = ["--rate", f"{rate}", "--video-rate", f"{video_rate}"]
    info = IndexInfo(
        source="frames",
        version="",
        data_root=str(data_root),
        command=shlex.join([*_command(folders, files), *rates, "--out", os.fspath(out)]),
        tables=prints,
        copies=_copies(frames, data_root),
    )
    write_index(out, _sections(frames, categories, rate), info)
    return Path(out)


def _warn_of_unmapped(frames: Sequence[SequenceFrame]) -> None:
    if line := describe_unmapped({box.category for frame in frames for box in frame.boxes}):
        _LOG.warning(line)


def _command(folders: Sequence[Path], files: Sequence[Path]) -> list[str]:
    """Return the command that builds the index again, without rates and ``--out``."""
    command = ["drivemim", "index", "frames"]
    command += [part for folder in folders for part in ("--root", f"{folder}")]
    return command + [part for path in files for part in ("--coco", f"{path}")]


def _copies(frames: Sequence[SequenceFrame], data_root: Path) -> bytes:
    """Return the pairs of identical images of different scenes, and warn of them."""
    scenes = [frame.scene for frame in frames]
    return recorded_copies(data_root, [frame.path for frame in frames], scenes)


def _check_rates(rate: float, video_rate: float) -> None:
    for name, value in (("rate", rate), ("video_rate", video_rate)):
        if not isinstance(value, (int, float)):
            raise ConfigError(f"{name} is {value!r}; use a number of frames per second")
    if not 0 < rate < math.inf:
        raise ConfigError(f"rate is {rate}; use a number of frames per second above 0")
    if not 0 <= video_rate < math.inf:
        raise ConfigError(
            f"video_rate is {video_rate}; use a number of frames per second above 0, or 0 to leave "
            "videos out"
        )


def _check_folders(roots: Sequence[str | os.PathLike[str]]) -> list[Path]:
    folders = [plain_path(root) for root in roots]
    for folder in folders:
        if not folder.is_dir():
            raise FileNotFoundError(f"no folder {folder}; check --root")
    if not folders:
        raise ConfigError("no folder given; use --root DIR")
    return folders


def _read_frames(
    folders: Sequence[Path], files: Sequence[Path], base: Path, store: Path, video_rate: float
) -> tuple[list[SequenceFrame], list[str]]:
    """Return the frames in the index's order, and the names of all categories."""
    categories: list[str] = []
    frames: list[SequenceFrame] = []
    touched: set[Path] = set()
    real = RealPaths()
    for path, split in zip(files, split_names(files), strict=True):
        parsed = read_coco(path)
        categories += [name for name in parsed.categories if name not in categories]
        paths_from = base_folder(parsed, folders, real)
        touched |= touched_roots(parsed, paths_from, folders, real)
        frames += _frames_of_coco(parsed, split, paths_from, base, real)
    listed = list_folders(folder for folder in folders if folder not in touched)
    for root, found in listed:
        frames += frames_of_images(root, found, base)
    _check_listed_once(frames, base, real)
    if video_rate:
        check_videos(listed, real)
        for root, found in listed:
            frames += frames_of_videos(root, found, base, store, video_rate)
    check_images_found(len(frames), folders)
    return arrange(frames), categories


def _check_listed_once(frames: Sequence[SequenceFrame], data_root: Path, real: RealPaths) -> None:
    """Refuse a file that is listed twice: it could lack its boxes, or be in two splits."""
    listed: dict[str, SequenceFrame] = {}
    for frame in frames:
        file = real(data_root / frame.path)
        if file in listed:
            first = listed[file]
            name = "" if first.path == frame.path else f" as {first.path}"
            raise DataError(
                f"{frame.path} is listed twice, by {first.source}{name} and {frame.source}; an "
                "index contains each image once: check --root and --coco"
            )
        listed[file] = frame


def _frames_of_coco(
    parsed: CocoFile, split: str, base: Path, data_root: Path, real: RealPaths
) -> list[SequenceFrame]:
    if not parsed.images:
        raise DataError(f"{parsed.path} lists no images; correct it, or leave it out")
    own = path_from(data_root, parsed.path.parent, real)
    frames = []
    for image in parsed.images:
        file = base / image.file_name
        if problem := why_unreadable(file):
            raise FileNotFoundError(
                f"{file} {problem}, {parsed.path} lists it (id {image.id})"
                f"{_below_root(image.file_name, base)}"
            )
        size = image_size(file)
        if size != (image.width, image.height):
            raise DataError(
                f"{parsed.path} says that {image.file_name} (id {image.id}) is {image.width}x"
                f"{image.height} pixels, but {file} is {size[0]}x{size[1]}"
                f"{_exchanged(size, image)}; give width, height and boxes of the stored image"
            )
        path = path_from(data_root, file, real)
        frames.append(
            SequenceFrame(
                scene=SceneKey(split, image.sequence or Path(path).parent.as_posix()),
                namespace=own if image.sequence else None,
                number=image.frame,
                path=path,
                size=size,
                source=parsed.path,
                boxes=parsed.boxes_of(image.id),
            )
        )
    return frames


def _below_root(name: str, base: Path) -> str:
    """Return the advice for a name that begins with a slash by mistake."""
    relative = name.lstrip("/")
    if relative == name or not (base / relative).is_file():
        return ""
    return f"; {base / relative} is there: write file_name without the slash at its beginning"


def _exchanged(size: tuple[int, int], image: CocoImage) -> str:
    if size != (image.height, image.width):
        return ""
    return " (width and height are swapped, or the image was rotated after it was annotated)"


def _data_root(frames: Sequence[SequenceFrame], base: Path, store: Path) -> Path:
    """Return the folder that contains all frames, including those extracted outside ``base``."""
    outside = [Path(frame.path).is_relative_to(store) for frame in frames]
    if all(outside):
        return store
    return Path(os.path.commonpath([base, store])) if any(outside) else base


def _moved(
    frames: Sequence[SequenceFrame], prints: Sequence[Fingerprint], base: Path, data_root: Path
) -> tuple[list[SequenceFrame], tuple[Fingerprint, ...]]:
    """Make paths relative to ``data_root`` that were absolute or relative to ``base``."""
    real = RealPaths()
    inside, target = base.resolve(), data_root.resolve()
    return (
        [replace(frame, path=path_from(data_root, base / frame.path, real)) for frame in frames],
        tuple(
            structs.replace(each, name=os.path.relpath(inside / each.name, target))
            for each in prints
        ),
    )


def _sections(
    frames: list[SequenceFrame], categories: list[str], rate: float
) -> dict[str, Section]:
    count = len(frames)
    scenes = sorted({frame.scene for frame in frames})
    numbers = {scene: number for number, scene in enumerate(scenes)}
    scene = np.array([numbers[frame.scene] for frame in frames])
    rows = np.arange(count)
    first, length = runs(scene, len(scenes))
    timestamp = frame_microseconds(frames, rate)
    links = links_in_time(scene, timestamp)
    shared = {
        "token": [frame.path for frame in frames],
        "scene": scene,
        "timestamp": timestamp,
        "previous": links["previous"],
        "next": links["next"],
    }
    size = np.array([frame.size for frame in frames], np.int64)
    box_count = np.array([len(frame.boxes) for frame in frames], np.int64)
    still = np.tile(IDENTITY_POSE, (count, 1))
    boxes, tracks = _boxes(frames, categories)
    return {
        "frames": {
            **shared,
            "sample": rows,
            "camera": np.zeros(count),
            "path": shared["token"],
            "width": size[:, 0],
            "height": size[:, 1],
            "intrinsics": _assumed_intrinsics(size),
            "camera_to_ego": still,
            "ego_to_global": still,
            "keyframe": np.ones(count),
            "calibrated": np.zeros(count),
            "key": links["key"],
        },
        "samples": {
            **shared,
            "first_box": np.cumsum(box_count) - box_count,
            "box_count": box_count,
            "keyframes": rows,
            **no_lidar(count),
        },
        "scenes": _scenes(scenes, first, length),
        "boxes": boxes,
        "tracks": tracks,
        "names": {"cameras": [CAMERA], "categories": categories, "attributes": [], "levels": []},
    }


def _scenes(scenes: list[SceneKey], first: Ints, length: Ints) -> Section:
    """Return the section of scenes; their ``length`` frames (and samples) begin at ``first``."""
    return {
        "token": [f"{split}:{name}" for split, name in scenes],
        "name": [name for _, name in scenes],
        "description": [""] * len(scenes),
        "split": [split for split, _ in scenes],
        "described": np.zeros(len(scenes)),
        "night": np.zeros(len(scenes)),
        "rain": np.zeros(len(scenes)),
        "first_sample": first,
        "sample_count": length,
        "first_frame": first,
        "frame_count": length,
    }


def _assumed_intrinsics(size: Ints) -> NDArray[np.float64]:
    matrices = np.zeros((len(size), 3, 3))
    matrices[:, 0, 0] = matrices[:, 1, 1] = size[:, 0]
    matrices[:, :2, 2] = size / 2
    matrices[:, 2, 2] = 1
    return matrices


def _boxes(frames: list[SequenceFrame], categories: list[str]) -> tuple[Section, Section]:
    """Return the boxes drawn in the images, and tracks; a box without a track gets its own."""
    numbers = {name: number for number, name in enumerate(categories)}
    tracks: dict[tuple[Any, ...], int] = {}
    track_tokens: list[str] = []
    sample, track, category, corners, crowd, tokens = [], [], [], [], [], []
    for row, frame in enumerate(frames):
        for position, box in enumerate(frame.boxes):
            own = f"{frame.path}#{position}"
            key = (*frame.scene, box.track) if box.track else (own,)
            if key not in tracks:
                tracks[key] = len(tracks)
                track_tokens.append("/".join(key))
            tokens.append(own)
            sample.append(row)
            track.append(tracks[key])
            category.append(numbers[box.category])
            corners.append(box.corners)
            crowd.append(box.crowd)
    track_category = np.zeros(len(tracks), np.int64)
    track_category[track] = category
    boxes = {
        "token": tokens,
        "sample": np.array(sample, np.int64),
        "track": np.array(track, np.int64),
        "category": np.array(category, np.int64),
        "attribute": np.full(len(sample), -1),
        "crowd": np.array(crowd, bool),
        **drawn_boxes(np.array(corners, np.float64).reshape(-1, 4)),
    }
    return boxes, {"token": track_tokens, "category": track_category}
