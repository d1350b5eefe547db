"""Builder of a ``FrameIndex`` from folders of images and videos, with boxes from COCO files.

The calibration of these cameras is unknown. The index contains an assumed one: a static pinhole
camera with a horizontal field of view of 53 degrees (fx = fy = image width), the principal point at
the image's centre, and identity poses. The column ``calibrated`` is False.
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
from drivemim.data.index.builders.coco import read_coco
from drivemim.data.index.builders.coco_frames import frames_of_coco
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
from drivemim.files import RealPaths, path_from, plain_path

_LOG = logging.getLogger(__name__)
CAMERA = "camera"
"""Name of the only camera of the index."""
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
    """Index folders of images and videos.

    Every folder that holds images is a sequence; its images are sorted by name, with numbers by
    value. Every video is also a sequence; its frames are extracted into a folder beside the index.
    A COCO file may instead give the sequences and frame numbers of its images, in the fields
    ``sequence`` and ``frame`` or those of CocoVID. Its paths are relative to its own folder if the
    images lie there, else to the root that has them. If a root contains images of a COCO file, only
    the images of COCO files are indexed in it. All other roots are indexed completely.

    Args:
        roots: folders. The data root of the index is the folder that contains all of them and all
            extracted frames.
        out: file to write.
        coco: COCO files. The stem or the folder of each names the split of its images, see
            ``split_names``.
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
    base, extracted_to = Path(os.path.commonpath(folders)), frames_folder(plain_path(out))
    files = [plain_path(path) for path in coco]
    # The recorded path of a file outside of the data root begins with "..". It is right only
    # between folders without links, so links are resolved.
    sources = [path.parent.resolve() / path.name for path in files if path.is_file()]
    source_prints = fingerprints(base.resolve(), sources)
    frames, categories = _read_frames(folders, files, base, extracted_to, video_rate)
    data_root = _data_root(frames, base, extracted_to)
    if data_root != base:
        frames, source_prints = _relative_to_root(frames, source_prints, base, data_root)
    _warn_of_unmapped(frames)
    rates = ["--rate", f"{rate}", "--video-rate", f"{video_rate}"]
    info = IndexInfo(
        source="frames",
        version="",
        data_root=str(data_root),
        command=shlex.join([*_command(folders, files), *rates, "--out", os.fspath(out)]),
        tables=source_prints,
        copies=_copies(frames, data_root),
    )
    write_index(out, _sections(frames, categories, rate), info)
    return Path(out)


def _warn_of_unmapped(frames: Sequence[SequenceFrame]) -> None:
    """Warn of categories of boxes that the default classes do not have."""
    if line := describe_unmapped({box.category for frame in frames for box in frame.boxes}):
        _LOG.warning(line)


def _command(folders: Sequence[Path], files: Sequence[Path]) -> list[str]:
    """Return the command that builds the index again, without rates and ``--out``."""
    command = ["drivemim", "index", "frames"]
    command += [part for folder in folders for part in ("--root", f"{folder}")]
    return command + [part for path in files for part in ("--coco", f"{path}")]


def _copies(frames: Sequence[SequenceFrame], data_root: Path) -> bytes:
    """Return the record of identical images in different scenes, and warn of them."""
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
    folders: Sequence[Path],
    files: Sequence[Path],
    base: Path,
    extracted_to: Path,
    video_rate: float,
) -> tuple[list[SequenceFrame], list[str]]:
    """Return the frames in the index's order, and the names of all categories.

    Args:
        folders: the roots.
        files: COCO files.
        base: folder that contains all roots; the frames' paths are relative to it.
        extracted_to: folder that frames of videos are extracted to.
        video_rate: frames per second to extract from videos; 0 to leave videos out.
    """
    categories: list[str] = []
    frames: list[SequenceFrame] = []
    with_coco: set[Path] = set()  # roots of which only the images of COCO files are indexed
    real = RealPaths()
    for path, split in zip(files, split_names(files), strict=True):
        parsed = read_coco(path)
        categories += [name for name in parsed.categories if name not in categories]
        image_folder = base_folder(parsed, folders, real)
        with_coco |= touched_roots(parsed, image_folder, folders, real)
        frames += frames_of_coco(parsed, split, image_folder, base, real)
    listed = list_folders(folder for folder in folders if folder not in with_coco)
    for root, subfolders in listed:
        frames += frames_of_images(root, subfolders, base)
    _check_listed_once(frames, base, real)
    if video_rate:
        check_videos(listed, real)
        for root, subfolders in listed:
            frames += frames_of_videos(root, subfolders, base, extracted_to, video_rate)
    check_images_found(len(frames), folders)
    return arrange(frames), categories


def _check_listed_once(frames: Sequence[SequenceFrame], data_root: Path, real: RealPaths) -> None:
    """Refuse an image that is listed twice: one of its frames could lack its boxes.

    It could also be in two splits.
    """
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


def _data_root(frames: Sequence[SequenceFrame], base: Path, extracted_to: Path) -> Path:
    """Return the folder that contains all frames, including those extracted from videos.

    Args:
        frames: the frames. Their paths are relative to ``base``, or absolute if they were
            extracted outside of it.
        base: folder that contains all roots.
        extracted_to: folder of the extracted frames.
    """
    outside = [Path(frame.path).is_relative_to(extracted_to) for frame in frames]
    if all(outside):
        return extracted_to
    return Path(os.path.commonpath([base, extracted_to])) if any(outside) else base


def _relative_to_root(
    frames: Sequence[SequenceFrame],
    source_prints: Sequence[Fingerprint],
    base: Path,
    data_root: Path,
) -> tuple[list[SequenceFrame], tuple[Fingerprint, ...]]:
    """Return frames and fingerprints with paths relative to ``data_root`` instead of ``base``."""
    real = RealPaths()
    real_base, real_root = base.resolve(), data_root.resolve()
    return (
        [replace(frame, path=path_from(data_root, base / frame.path, real)) for frame in frames],
        tuple(
            structs.replace(each, name=os.path.relpath(real_base / each.name, real_root))
            for each in source_prints
        ),
    )


def _sections(
    frames: list[SequenceFrame], categories: list[str], rate: float
) -> dict[str, Section]:
    """Return the sections of the index; every frame is its own sample.

    Args:
        frames: in the index's order.
        categories: names, in the order of their numbers.
        rate: frames per second, to convert frame numbers to timestamps.
    """
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
    """Return the section ``scenes``.

    Args:
        scenes: names of the scenes.
        first: row of each scene's first frame. Samples have the same rows.
        length: number of frames of each scene.
    """
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
    """Return the sections ``boxes`` and ``tracks``; a box without a track gets one of its own."""
    numbers = {name: number for number, name in enumerate(categories)}
    tracks: dict[tuple[Any, ...], int] = {}
    track_tokens: list[str] = []
    sample, track, category, corners, crowd, tokens = [], [], [], [], [], []
    for row, frame in enumerate(frames):
        for position, box in enumerate(frame.boxes):
            token = f"{frame.path}#{position}"
            key = (*frame.scene, box.track) if box.track else (token,)
            if key not in tracks:
                tracks[key] = len(tracks)
                track_tokens.append("/".join(key))
            tokens.append(token)
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
