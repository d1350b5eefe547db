"""List folders of images and videos, without label maps and without the files of other programs."""

from __future__ import annotations

import json
import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mmengine.logging import print_log

from drivemim.data.index.builders.label_maps import label_maps_of, named_label_maps
from drivemim.data.index.builders.sequences import by_numbers
from drivemim.errors import DataError
from drivemim.option_words import as_spoken

IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
"""Suffixes of images that are read."""
VIDEOS = (".mp4", ".avi", ".mkv", ".mov", ".m4v", ".webm")
"""Suffixes of videos that are read."""
_OTHER_FORMATS = frozenset(
    (
        ".tif", ".tiff", ".gif", ".jfif", ".jpe", ".jp2", ".j2k", ".jxl", ".avif", ".heic", ".heif",
        ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".exr", ".hdr", ".raw", ".dng", ".cr2", ".cr3",
        ".nef", ".arw", ".raf", ".rw2", ".npy", ".npz",  # images
        ".h264", ".h265", ".264", ".265", ".hevc", ".mjpeg", ".mpg", ".mpeg", ".m2ts", ".mts",
        ".ts", ".wmv", ".flv", ".3gp", ".ogv", ".mxf", ".bag", ".mcap",  # videos
    )
)  # fmt: skip
"""Suffixes of images and videos that are not read."""
EXTRACTED = "drivemim-extracted.txt"
"""Marker file in a folder of frames that were extracted from videos; the folder is skipped."""
PREDICTIONS_FILE = "predictions.json"
"""Name of the file of results of ``drivemim predict``; other programs write files of this name."""
_MAX_NAMED = 10
"""Largest number of suffixes that an error names."""
_SYSTEM_FILES = frozenset(
    (
        "@eadir", "#recycle", "@recycle", "#snapshot",  # network storage
        "__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini",  # desktops
        "$recycle.bin", "system volume information", "lost+found",  # file systems
    )
)  # fmt: skip
"""Files and folders, in lower case, that other programs leave in folders of recordings."""


@dataclass(frozen=True)
class Folder:
    """A folder that holds images or videos.

    Attributes:
        path: path of the folder.
        images: their names, in order.
        videos: their names, in order.
    """

    path: Path
    images: tuple[str, ...]
    videos: tuple[str, ...]


def list_folders(
    roots: Iterable[Path], *, add: str = "add --root", others_read: Sequence[str] = ()
) -> list[tuple[Path, list[Folder]]]:
    """Return the folders with images or videos below each root, including the root itself.

    These are left out, and reported:

    - all hidden files, and files of file managers, notebooks and network storage (``._1.jpg``,
      ``@eaDir``, ...); folders of runs and of predictions
    - label maps, see ``label_maps_of`` and ``named_label_maps``
    - images and videos of formats that are not read

    Folders of frames that were extracted from videos are left out, too, without a report.

    Args:
        roots: the folders.
        add: how to read a folder of label maps after all, for the line that reports it.
        others_read: suffixes of other files that the caller reads; these are not reported.

    Raises:
        DataError: if a folder cannot be read; the message names it.
    """
    skipped: Counter[str] = Counter()
    others: Counter[str] = Counter()
    listed = [
        (root, _without_label_maps(_folders(root, skipped, others), root, add)) for root in roots
    ]
    if skipped:
        kinds = ", ".join(f"{kind} ({count})" for kind, count in sorted(skipped.items()))
        print_log(f"skipped {skipped.total()} files and folders that are not recordings: {kinds}")
    unread = _OTHER_FORMATS - set(others_read)
    left_out = {suffix: count for suffix, count in others.items() if suffix in unread}
    if left_out:
        print_log(
            f"left out {sum(left_out.values())} files of formats that are not read: "
            f"{_counts(left_out)}; convert them to one of {', '.join((*IMAGES, *VIDEOS))}, or "
            "rename those that are"
        )
    return listed


def describe_others(roots: Iterable[Path]) -> str:
    """Return the end of an error about folders without images and videos: what they hold instead.

    Returns:
        the suffixes of their files with the number of each; ``""`` if there are no files.
    """
    others: Counter[str] = Counter()
    for root in roots:
        for _ in _folders(root, Counter(), others):
            pass
    if not others:
        return ""
    return (
        f"; there are {_counts(dict(others.most_common(_MAX_NAMED)))}"
        f"{' and more' if len(others) > _MAX_NAMED else ''}: convert images and videos to one of "
        "these formats, or check the path"
    )


def _counts(suffixes: Mapping[str, int]) -> str:
    return ", ".join(f"{suffix} ({count})" for suffix, count in sorted(suffixes.items()))


def _folders(root: Path, skipped: Counter[str], others: Counter[str]) -> Iterator[Folder]:
    """Yield ``root`` and the folders below it, those with images or videos.

    Links to folders are followed, except to a folder that contains the link.

    Args:
        root: the folder.
        skipped: counter to which the names of skipped files and folders are added.
        others: counter to which the suffixes of files are added that are neither images nor videos;
            a file without a suffix is counted by its name.
    """
    for parent, folders, files in os.walk(root, followlinks=True, onerror=_refuse):
        inside = Path(parent).resolve()
        folders[:] = [
            name
            for name in sorted(_without_system_files(folders, skipped))
            if not inside.is_relative_to((inside / name).resolve())
            and not (inside / name / EXTRACTED).exists()
            and not _has_results(inside / name, skipped)
        ]
        names = sorted(_without_system_files(files, skipped), key=by_numbers)
        images = tuple(name for name in names if name.lower().endswith(IMAGES))
        videos = tuple(name for name in names if name.lower().endswith(VIDEOS))
        others.update(
            Path(name).suffix.lower() or name
            for name in names
            if not name.lower().endswith((*IMAGES, *VIDEOS))
        )
        if images or videos:
            yield Folder(Path(parent), images, videos)


def _has_results(folder: Path, skipped: Counter[str]) -> bool:
    """Return whether a run or ``drivemim predict`` wrote a folder, and add it to ``skipped``.

    A run's ``last_checkpoint`` contains the name of a checkpoint. ``predictions.json`` alone proves
    nothing: another program may have written it beside its images.
    """
    with suppress(OSError, ValueError):
        is_run = (folder / "last_checkpoint").read_text().strip().endswith(".pth")
        if is_run:
            skipped[f"{folder.name} (of a run)"] += 1
            return True
    if read_predictions(folder) is None:
        return False
    skipped[f"{folder.name} (of predictions)"] += 1
    return True


def read_predictions(folder: Path) -> dict[str, Any] | None:
    """Return the content of a folder's ``predictions.json``, or None.

    It is None if the folder has no such file, or if another program wrote it.
    """
    try:
        content = json.loads((folder / PREDICTIONS_FILE).read_bytes())
    except (OSError, ValueError):
        return None
    is_ours = isinstance(content, dict) and {"score_threshold", "images"} <= content.keys()
    return content if is_ours else None


def _without_label_maps(folders: Iterable[Folder], root: Path, add: str) -> list[Folder]:
    """Return the folders without label maps, and warn of these; ``add`` as in ``list_folders``."""
    listed = list(folders)
    images = {each.path: each.images for each in listed if not each.videos}
    maps = label_maps_of(images, root)
    for folder, photographs in maps.items():
        print_log(
            as_spoken(
                f"left out {folder}: its {len(images[folder])} PNG files are label maps (masks) of "
                f"the images in {photographs}; if they are frames, {add} {folder}"
            ),
            level=logging.WARNING,
        )
    remaining = [each for each in listed if each.path not in maps]
    by_name = named_label_maps({each.path: each.images for each in remaining}, root)
    if by_name:
        folder, names = next(iter(by_name.items()))
        print_log(
            f"left out {sum(map(len, by_name.values()))} PNG files that are label maps (masks) by "
            f"their names and few colours, such as {folder / min(names)}; if they are frames, "
            "rename them",
            level=logging.WARNING,
        )
    remaining = [
        replace(each, images=_without(each.images, by_name.get(each.path, set())))
        for each in remaining
    ]
    return [each for each in remaining if each.images or each.videos]


def _without(names: tuple[str, ...], left_out: set[str]) -> tuple[str, ...]:
    return tuple(name for name in names if name not in left_out)


def _refuse(error: OSError) -> None:
    """Raise a DataError for an unreadable folder, which ``os.walk`` would skip silently."""
    raise DataError(
        f"{error.filename} cannot be read ({error.strerror}); make it readable, or name folders "
        "without it"
    ) from error


def _without_system_files(names: Iterable[str], skipped: Counter[str]) -> Iterator[str]:
    """Yield names that are neither hidden nor of ``_SYSTEM_FILES``; add the others to ``skipped``.

    ``._1.jpg`` is macOS's metadata of ``1.jpg``.
    """
    for name in names:
        if name.startswith("._"):
            skipped["._*"] += 1
        elif name.startswith(".") or name.lower() in _SYSTEM_FILES:
            skipped[name] += 1
        else:
            yield name
