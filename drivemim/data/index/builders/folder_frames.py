"""Frames of folders of images and videos: each folder of images and each video is a sequence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from PIL import Image

from drivemim.data.index.builders.folders import Folder
from drivemim.data.index.builders.sequences import SceneKey, SequenceFrame
from drivemim.data.index.builders.videos import extract_videos
from drivemim.data.index.image_header import (
    PILLOW_ERRORS,
    check_bit_depth,
    check_upright,
    read_header,
)
from drivemim.errors import DataError
from drivemim.files import RealPaths, path_from

_MAX_NAMED = 50
"""Largest number of refused images that an error names."""


def frames_of_images(root: Path, folders: Sequence[Folder], data_root: Path) -> list[SequenceFrame]:
    """Return the images of folders as frames; every folder is one sequence.

    Args:
        root: the folder that the user named.
        folders: ``root`` and folders below it, those that hold images or videos.
        data_root: folder that the frames' paths are relative to.

    Raises:
        DataError: if images cannot be read, their EXIF orientation would turn them, or they have
            more than 8 bits per channel.
    """
    sizes = _image_sizes([folder.path / file for folder in folders for file in folder.images])
    frames = []
    for folder in folders:
        relative = folder.path.relative_to(data_root)
        name = relative.as_posix()
        # The relative path of the data root is empty. Its sequence gets its name, unless a file or
        # folder in it has that name, too.
        if relative == Path() and not (data_root / data_root.name).exists():
            name = data_root.name
        frames += [
            SequenceFrame(
                scene=SceneKey(split="", name=name),
                number=number,
                path=(relative / file).as_posix(),
                size=sizes[folder.path / file],
                source=root,
            )
            for number, file in enumerate(folder.images)
        ]
    return frames


def check_videos(listed: Iterable[tuple[Path, Sequence[Folder]]], real: RealPaths) -> None:
    """Refuse a video that would be extracted twice, before any video is extracted.

    Args:
        listed: each root with its folders that hold images or videos.
        real: cache of real paths, to recognise a video under two names.

    Raises:
        DataError: if a video is listed twice; the message names both paths.
    """
    listings: dict[str, tuple[Path, Path]] = {}
    for root, folders in listed:
        for video in _videos(folders):
            file = real(video)
            if file in listings:
                first, first_root = listings[file]
                name = "" if first == video else f" as {first}"
                raise DataError(
                    f"{video} is listed twice, by {first_root}{name} and {root}; an index "
                    "contains each video once: check --root"
                )
            listings[file] = video, root


def frames_of_videos(
    root: Path,
    folders: Sequence[Folder],
    data_root: Path,
    extracted_to: Path,
    frames_per_second: float,
) -> list[SequenceFrame]:
    """Return the frames of videos below ``root``; every video is one sequence.

    Args:
        root: the folder that the user named.
        folders: ``root`` and folders below it, those that hold images or videos.
        data_root: folder that contains the videos; the frames' paths are relative to it, or
            absolute if ``extracted_to`` is outside of it.
        extracted_to: folder that the frames are extracted to.
        frames_per_second: number of frames to extract from a second of a video.

    Raises:
        DataError: if a video cannot be read or has no frames.
    """
    videos = _videos(folders)
    if not videos:
        return []
    real = RealPaths()
    return [
        SequenceFrame(
            scene=SceneKey(split="", name=video.video.relative_to(data_root).as_posix()),
            number=number,
            path=path_from(data_root, path, real),
            size=image_size(path),
            source=root,
            time=time,
        )
        for video in extract_videos(videos, data_root, extracted_to, frames_per_second)
        for number, (path, time) in enumerate(zip(video.paths, video.times, strict=True))
    ]


def _videos(folders: Iterable[Folder]) -> list[Path]:
    return [folder.path / name for folder in folders for name in folder.videos]


def _image_sizes(paths: Sequence[Path]) -> dict[Path, tuple[int, int]]:
    """Return width and height of every image.

    Raises:
        DataError: if images are refused. The message has the reason for the first one, and names
            the others.
    """
    sizes: dict[Path, tuple[int, int]] = {}
    refused: dict[Path, DataError] = {}
    for path in paths:
        try:
            sizes[path] = image_size(path)
        except DataError as error:
            refused[path] = error
    if not refused:
        return sizes
    first, *others = refused
    if not others:
        raise refused[first]
    names = ", ".join(str(path) for path in others[:_MAX_NAMED])
    more = f" and {len(others) - _MAX_NAMED} more" if len(others) > _MAX_NAMED else ""
    raise DataError(f"{refused[first]}. {len(others)} more are refused: {names}{more}")


def image_size(path: Path) -> tuple[int, int]:
    """Return the width and height of an image from its header.

    Raises:
        DataError: if the image cannot be read, its EXIF orientation would turn it, or it has more
            than 8 bits per channel.
    """
    try:
        with Image.open(path) as image:
            width, height = image.size
        with path.open("rb") as stream:
            header = read_header(stream)
    except PILLOW_ERRORS as error:
        raise DataError(
            f"{path} is not a readable image ({error}); remove or replace it"
        ) from error
    check_upright(path, header)
    check_bit_depth(path, header)
    return int(width), int(height)
