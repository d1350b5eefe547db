"""Frames of folders of images and videos: each folder of images and each video is a sequence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from PIL import Image

from drivemim.data.index.builders.folders import Folder
from drivemim.data.index.builders.sequences import SequenceFrame
from drivemim.data.index.builders.videos import extract_videos
from drivemim.data.index.image_header import check_depth, check_upright, read_header
from drivemim.errors import DataError
from drivemim.files import RealPaths, path_from

_NAMED = 50
"""Largest number of refused images that an error names."""


def frames_of_images(root: Path, recordings: Sequence[Folder], base: Path) -> list[SequenceFrame]:
    """Return the images of folders below ``root``; every folder is one sequence.

    Args:
        root: the folder that the user named.
        recordings: folders with recordings below it.
        base: folder that paths are relative to.

    Raises:
        DataError: if images cannot be read, their EXIF orientation would turn them, or they have
            more than 8 bits per channel.
    """
    sizes = _image_sizes([each.path / file for each in recordings for file in each.images])
    frames = []
    for recording in recordings:
        folder = recording.path.relative_to(base)
        name = folder.as_posix()
        # Images directly in the base get its name, unless something in it already has that name.
        if folder == Path() and not (base / base.name).exists():
            name = base.name
        frames += [
            SequenceFrame(
                scene=("", name),
                number=number,
                path=(folder / file).as_posix(),
                size=sizes[recording.path / file],
                source=root,
            )
            for number, file in enumerate(recording.images)
        ]
    return frames


def check_videos(recordings: Iterable[tuple[Path, Sequence[Folder]]], real: RealPaths) -> None:
    """Refuse a video that would be extracted twice, before any video is extracted.

    Args:
        recordings: each root with the folders with recordings below it.
        real: cache of real paths, to compare files.

    Raises:
        DataError: naming both paths.
    """
    listed: dict[str, tuple[Path, Path]] = {}
    for root, folders in recordings:
        for video in _videos(folders):
            file = real(video)
            if file in listed:
                first, by = listed[file]
                name = "" if first == video else f" as {first}"
                raise DataError(
                    f"{video} is listed twice, by {by}{name} and {root}; an index contains each "
                    "video once: check --root"
                )
            listed[file] = video, root


def frames_of_videos(
    root: Path, recordings: Sequence[Folder], base: Path, store: Path, rate: float
) -> list[SequenceFrame]:
    """Return the frames of videos below ``root``; every video is one sequence.

    Args:
        root: the folder that the user named.
        recordings: folders with recordings below it.
        base: folder that contains the videos; frames' paths are relative to it, or absolute if
            outside.
        store: folder that the frames are extracted into.
        rate: frames per second to extract.

    Raises:
        DataError: if a video cannot be read or has no frames.
    """
    videos = _videos(recordings)
    if not videos:
        return []
    real = RealPaths()
    return [
        SequenceFrame(
            scene=("", video.video.relative_to(base).as_posix()),
            number=number,
            path=path_from(base, path, real),
            size=image_size(path),
            source=root,
            time=time,
        )
        for video in extract_videos(videos, base, store, rate)
        for number, (path, time) in enumerate(zip(video.paths, video.times, strict=True))
    ]


def _videos(recordings: Iterable[Folder]) -> list[Path]:
    return [folder.path / name for folder in recordings for name in folder.videos]


def _image_sizes(paths: Sequence[Path]) -> dict[Path, tuple[int, int]]:
    """Return width and height of every image.

    Raises:
        DataError: with the reason of the first that is refused, and the paths of the others.
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
    names = ", ".join(str(path) for path in others[:_NAMED])
    more = f" and {len(others) - _NAMED} more" if len(others) > _NAMED else ""
    raise DataError(f"{refused[first]}. {len(others)} more are refused: {names}{more}")


def image_size(path: Path) -> tuple[int, int]:
    """Return width and height from the file's header.

    Raises:
        DataError: if it cannot be read, its EXIF orientation would turn the image, or it has more
            than 8 bits per channel.
    """
    try:
        with Image.open(path) as image:
            width, height = image.size
        with path.open("rb") as stream:
            header = read_header(stream)
        check_upright(path, header)
        check_depth(path, header)
    except OSError as error:
        raise DataError(
            f"{path} is not a readable image ({error}); remove or replace it"
        ) from error
    return int(width), int(height)
