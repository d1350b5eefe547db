"""List folders of images and videos, without label maps and other programs' files."""

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
VIDEOS = (".mp4", ".avi", ".mkv", ".mov", ".m4v", ".webm")
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
"""Name of the results of ``drivemim predict``, and of other programs'."""
_FEW = 10
"""Maximum number of suffixes that an error names."""
_LEFT_BEHIND = frozenset(
    (
        "@eadir", "#recycle", "@recycle", "#snapshot",  # network storage
        "__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini",  # desktops
        "$recycle.bin", "system volume information", "lost+found",  # file systems
    )
)  # fmt: skip


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

    Files of file managers, notebooks and network storage (``._1.jpg``, ``@eaDir``, ...), all
    hidden files, and folders of runs and of predictions are skipped, and one line reports them. So
    are label maps, see ``label_maps_of`` and ``named_label_maps``. Another line counts the images
    and videos of formats that are not read.

    Args:
        roots: the folders.
        add: how to read a folder of label maps after all, for the line that reports it.
        others_read: suffixes of other files that the caller reads.

    Raises:
        DataError: naming a folder that cannot be read.
    """
    skipped: Counter[str] = Counter()
    others: Counter[str] = Counter()
    found = [
        (root, _without_label_maps(_folders(root, skipped, others), root, add)) for root in roots
    ]
    if skipped:
        kinds = ", ".join(f"{kind} ({count})" for kind, count in sorted(skipped.items()))
        print_log(f"skipped {skipped.total()} files and folders that are not recordings: {kinds}")
    unread = _OTHER_FORMATS - set(others_read)
    left = {suffix: count for suffix, count in others.items() if suffix in unread}
    if left:
        print_log(
            f"left out {sum(left.values())} files of formats that are not read: {_counts(left)}; "
            f"convert them to one of {', '.join((*IMAGES, *VIDEOS))}, or rename those that are"
        )
    return found


def describe_others(roots: Iterable[Path]) -> str:
    """Describe the files below folders that hold no images or videos; ``""`` if there are none."""
    others: Counter[str] = Counter()
    for root in roots:
        for _ in _folders(root, Counter(), others):
            pass
    if not others:
        return ""
    return (
        f"; there are {_counts(dict(others.most_common(_FEW)))}"
        f"{' and more' if len(others) > _FEW else ''}: convert images and videos to one of these "
        "formats, or check the path"
    )


def _counts(found: Mapping[str, int]) -> str:
    return ", ".join(f"{suffix} ({count})" for suffix, count in sorted(found.items()))


def _folders(root: Path, skipped: Counter[str], others: Counter[str]) -> Iterator[Folder]:
    """Yield folders with images or videos; follow links, except to a folder that contains them."""
    for parent, folders, files in os.walk(root, followlinks=True, onerror=_refuse):
        inside = Path(parent).resolve()
        folders[:] = [
            name
            for name in sorted(_kept(folders, skipped))
            if not inside.is_relative_to((inside / name).resolve())
            and not (inside / name / EXTRACTED).exists()
            and not _has_results(inside / name, skipped)
        ]
        kept = sorted(_kept(files, skipped), key=by_numbers)
        images = tuple(name for name in kept if name.lower().endswith(IMAGES))
        videos = tuple(name for name in kept if name.lower().endswith(VIDEOS))
        others.update(
            Path(name).suffix.lower() or name
            for name in kept
            if not name.lower().endswith((*IMAGES, *VIDEOS))
        )
        if images or videos:
            yield Folder(Path(parent), images, videos)


def _has_results(folder: Path, skipped: Counter[str]) -> bool:
    """Return whether a folder is of a run or of predictions, and count it.

    A run's ``last_checkpoint`` names a checkpoint. Other programs' results may lie beside images.
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
    """Return the ``predictions.json`` of a folder of predictions; None if it has none of DriveMIM.

    Other programs write results of the same name.
    """
    try:
        content = json.loads((folder / PREDICTIONS_FILE).read_bytes())
    except (OSError, ValueError):
        return None
    is_own = isinstance(content, dict) and {"score_threshold", "images"} <= content.keys()
    return content if is_own else None


def _without_label_maps(folders: Iterable[Folder], root: Path, add: str) -> list[Folder]:
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
    kept = [each for each in listed if each.path not in maps]
    named = named_label_maps({each.path: each.images for each in kept}, root)
    if named:
        folder, names = next(iter(named.items()))
        print_log(
            f"left out {sum(map(len, named.values()))} PNG files that are label maps (masks) by "
            f"their names and few colours, such as {folder / min(names)}; if they are frames, "
            "rename them",
            level=logging.WARNING,
        )
    others = [
        replace(each, images=_without(each.images, named.get(each.path, set()))) for each in kept
    ]
    return [each for each in others if each.images or each.videos]


def _without(names: tuple[str, ...], left_out: set[str]) -> tuple[str, ...]:
    return tuple(name for name in names if name not in left_out)


def _refuse(error: OSError) -> None:
    """Raise an error, because ``os.walk`` would skip the folder silently."""
    raise DataError(
        f"{error.filename} cannot be read ({error.strerror}); make it readable, or name folders "
        "without it"
    ) from error


def _kept(names: Iterable[str], skipped: Counter[str]) -> Iterator[str]:
    for name in names:
        if name.startswith("._"):
            skipped["._*"] += 1
        elif name.startswith(".") or name.lower() in _LEFT_BEHIND:
            skipped[name] += 1
        else:
            yield name
