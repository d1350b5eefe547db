"""Build a ``FrameIndex`` from folders of image sequences, with a COCO file's boxes if there is one.

Nothing is known of these cameras, so a pinhole of 53 degrees is assumed that stands still:
fx = fy = image width, principal point at the centre, identity poses; ``calibrated`` is False.
"""

from __future__ import annotations

import math
import os
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from drivemim.datasets.builders.coco import CocoBox, CocoFile, read_coco
from drivemim.datasets.builders.columns import (
    IDENTITY_POSE,
    Ints,
    Section,
    drawn_boxes,
    neighbours,
    no_lidar,
    runs,
)
from drivemim.datasets.image_header import check_upright, read_header
from drivemim.datasets.index import IndexInfo, fingerprints, write_index
from drivemim.datasets.index_schema import time_keys
from drivemim.errors import DataError

CAMERA = "camera"
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")


@dataclass(frozen=True)
class _Frame:
    """One image.

    Attributes:
        scene: key of its sequence: (split, name).
        number: of the frame in its sequence.
        path: relative to the data root.
        size: width and height, pixels.
        source: the folder or COCO file that lists it.
        boxes: drawn in it.
    """

    scene: tuple[str, str]
    number: int
    path: str
    size: tuple[int, int]
    source: Path
    boxes: tuple[CocoBox, ...] = ()


def build_frames_index(
    roots: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    coco: Sequence[str | os.PathLike[str]] = (),
    rate: float = 10.0,
) -> Path:
    """Index folders of sequences.

    Every folder that holds images is a sequence, its images in the order of their names (numbers
    by value). A COCO file instead names its images' sequences and frame numbers itself, in the
    fields ``sequence`` and ``frame``; its paths are relative to the first root that has them.
    With COCO files, only what they list is indexed, plus the roots that they do not touch.

    Args:
        roots: folders; the index's data root is the folder that holds them all.
        out: file to write.
        coco: COCO files; the stem of each names a split of its own.
        rate: frames a second, to give timestamps to frame numbers.

    Returns:
        ``out``.

    Raises:
        FileNotFoundError: if a folder, a COCO file or an image it lists is not there, or there are
            no images.
        ValueError: if a COCO file or an image is broken, an image is listed twice, has another size
            than the COCO file says, or has an EXIF orientation that would turn it.
    """
    if not 0 < rate < math.inf:
        raise ValueError(f"rate is {rate}; use frames a second above 0")
    folders = _check_folders(roots)
    data_root = Path(os.path.commonpath(folders))
    files = [Path(path).absolute() for path in coco]
    prints = fingerprints(data_root, [path for path in files if path.is_file()])
    frames, categories = _read_frames(folders, files, data_root)
    command = ["tools/create_index.py", "frames"]
    command += [part for folder in folders for part in ("--root", f"{folder}")]
    command += [part for path in files for part in ("--coco", f"{path}")]
    info = IndexInfo(
        source="frames",
        version="",
        data_root=str(data_root),
        command=shlex.join([*command, "--rate", f"{rate}", "--out", os.fspath(out)]),
        tables=prints,
    )
    write_index(out, _sections(frames, categories, rate), info)
    return Path(out)


def _check_folders(roots: Sequence[str | os.PathLike[str]]) -> list[Path]:
    folders = [Path(root).absolute() for root in roots]
    for folder in folders:
        if not folder.is_dir():
            raise FileNotFoundError(f"no folder {folder}; check --root")
    if not folders:
        raise ValueError("no folder given; use --root DIR")
    return folders


def _read_frames(
    folders: Sequence[Path], files: Sequence[Path], data_root: Path
) -> tuple[list[_Frame], list[str]]:
    """Frames in the index's order, and the names of all categories."""
    categories: list[str] = []
    frames: list[_Frame] = []
    touched: set[Path] = set()
    for path in files:
        parsed = read_coco(path)
        categories += [name for name in parsed.categories if name not in categories]
        root = _root_of(parsed, folders)
        touched.add(root)
        frames += _frames_of_coco(parsed, root, data_root)
    for folder in folders:
        if folder not in touched:
            frames += _frames_of_folder(folder, data_root)
    if not frames:
        raise FileNotFoundError(
            f"no images ({', '.join(SUFFIXES)}) under {', '.join(map(str, folders))}"
        )
    _check_listed_once(frames)
    return sorted(frames, key=lambda frame: (frame.scene, frame.number, frame.path)), categories


def _check_listed_once(frames: Sequence[_Frame]) -> None:
    """A second copy would be an image without boxes, or one of train that is in val as well."""
    listed: dict[str, Path] = {}
    for frame in frames:
        if frame.path in listed:
            raise DataError(
                f"{frame.path} is listed twice, by {listed[frame.path]} and {frame.source}; an "
                "index has an image once: check --root and --coco"
            )
        listed[frame.path] = frame.source


def _root_of(parsed: CocoFile, folders: Sequence[Path]) -> Path:
    """The folder that a COCO file's paths are relative to."""
    if not parsed.images:
        return folders[0]
    name = parsed.images[0].file_name
    for folder in folders:
        if (folder / name).is_file():
            return folder
    raise FileNotFoundError(
        f"{parsed.path} lists {name}, which is in none of {', '.join(map(str, folders))}; "
        "give the folder that its paths are relative to as --root"
    )


def _frames_of_coco(parsed: CocoFile, root: Path, data_root: Path) -> list[_Frame]:
    prefix = root.relative_to(data_root)
    frames = []
    for position, image in enumerate(parsed.images):
        if not (root / image.file_name).is_file():
            raise FileNotFoundError(
                f"{root / image.file_name} is missing, {parsed.path} lists it (id {image.id})"
            )
        size = _size(root / image.file_name)
        if size != (image.width, image.height):
            raise DataError(
                f"{root / image.file_name} is {size[0]}x{size[1]} pixels, but {parsed.path} says "
                f"{image.width}x{image.height} (id {image.id}); correct the one that is wrong"
            )
        folder = str(Path(image.file_name).parent)
        frames.append(
            _Frame(
                scene=(parsed.path.stem, image.sequence or (prefix / folder).as_posix()),
                number=position if image.frame is None else image.frame,
                path=(prefix / image.file_name).as_posix(),
                size=size,
                source=parsed.path,
                boxes=parsed.boxes_of(image.id),
            )
        )
    return frames


def _frames_of_folder(root: Path, data_root: Path) -> list[_Frame]:
    """Every folder of images below ``root`` (or ``root`` itself) is one sequence."""
    frames = []
    for parent, files in _walk(root):
        images = sorted((name for name in files if name.lower().endswith(SUFFIXES)), key=_natural)
        folder = Path(parent).relative_to(data_root)
        scene = ("", Path(parent).name if folder == Path() else folder.as_posix())
        frames += [
            _Frame(
                scene=scene,
                number=number,
                path=(folder / name).as_posix(),
                size=_size(Path(parent) / name),
                source=root,
            )
            for number, name in enumerate(images)
        ]
    return frames


def _walk(root: Path) -> Iterator[tuple[str, list[str]]]:
    """Folders below ``root`` and their files, through links but into none from within itself."""
    for parent, folders, files in os.walk(root, followlinks=True):
        inside = Path(parent).resolve()
        folders[:] = sorted(
            name for name in folders if not inside.is_relative_to((inside / name).resolve())
        )
        yield parent, files


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Sort key under which frame_10 follows frame_9."""
    parts = re.findall(r"\d+|\D+", name)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]


def _size(path: Path) -> tuple[int, int]:
    """Width and height by the file's header.

    Raises:
        DataError: if it cannot be read, or its EXIF orientation would turn the image.
    """
    try:
        with Image.open(path) as image:
            width, height = image.size
        with path.open("rb") as stream:
            check_upright(path, read_header(stream))
    except OSError as error:
        raise DataError(f"{path} is no readable image ({error}); remove or replace it") from error
    return int(width), int(height)


def _sections(frames: list[_Frame], categories: list[str], rate: float) -> dict[str, Section]:
    count = len(frames)
    scenes = sorted({frame.scene for frame in frames})
    numbers = {scene: number for number, scene in enumerate(scenes)}
    scene = np.array([numbers[frame.scene] for frame in frames])
    rows = np.arange(count)
    first, length = runs(scene, len(scenes))
    previous, following = neighbours(scene)
    frame_number = np.array([frame.number for frame in frames], np.int64)
    timestamp = np.round(frame_number / rate * 1e6).astype(np.int64)
    shared = {
        "token": [frame.path for frame in frames],
        "scene": scene,
        "timestamp": timestamp,
        "previous": previous,
        "next": following,
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
            "key": time_keys(scene, timestamp - timestamp[first[scene]]),
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


def _scenes(scenes: list[tuple[str, str]], first: Ints, length: Ints) -> Section:
    """Scenes whose ``length`` frames (and samples) begin at ``first``."""
    return {
        "token": ["/".join(filter(None, name)) for name in scenes],
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


def _boxes(frames: list[_Frame], categories: list[str]) -> tuple[Section, Section]:
    """Boxes drawn in the images; one without a track of its own is a track of one."""
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
