"""What lies in folders of recordings: images and videos, and what other programs leave there."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mmengine.logging import print_log

from drivemim.datasets.builders.sequences import by_numbers
from drivemim.errors import DataError

IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
VIDEOS = (".mp4", ".avi", ".mkv", ".mov", ".m4v", ".webm")
EXTRACTED = "drivemim-extracted.txt"
"""Marks a folder of frames that were extracted from videos, which stand for those."""
_LEFT_BEHIND = frozenset(
    (
        "@eadir", "#recycle", "@recycle", "#snapshot",  # network storage
        "__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini",  # desktops
        "$recycle.bin", "system volume information", "lost+found",  # file systems
    )
)  # fmt: skip


@dataclass(frozen=True)
class Folder:
    """A folder that holds recordings.

    Attributes:
        path: of the folder.
        images: their names, in order.
        videos: likewise.
    """

    path: Path
    images: tuple[str, ...]
    videos: tuple[str, ...]


def list_recordings(roots: Iterable[Path]) -> list[tuple[Path, list[Folder]]]:
    """Return the folders with images or videos below each root, the root itself included.

    What file managers, notebooks and network storage leave behind (``._1.jpg``, ``@eaDir``, ...)
    and whatever else is hidden is skipped; one line says so.

    Raises:
        DataError: naming a folder that cannot be read.
    """
    skipped: Counter[str] = Counter()
    found = [(root, list(_folders(root, skipped))) for root in roots]
    if skipped:
        kinds = ", ".join(f"{kind} ({count})" for kind, count in sorted(skipped.items()))
        print_log(f"skipped {skipped.total()} files and folders that are no recordings: {kinds}")
    return found


def _folders(root: Path, skipped: Counter[str]) -> Iterator[Folder]:
    """Walk through links, but into no folder from within itself."""
    for parent, folders, files in os.walk(root, followlinks=True, onerror=_refuse):
        inside = Path(parent).resolve()
        folders[:] = [
            name
            for name in sorted(_kept(folders, skipped))
            if not inside.is_relative_to((inside / name).resolve())
            and not (inside / name / EXTRACTED).exists()
        ]
        kept = sorted(_kept(files, skipped), key=by_numbers)
        images = tuple(name for name in kept if name.lower().endswith(IMAGES))
        videos = tuple(name for name in kept if name.lower().endswith(VIDEOS))
        if images or videos:
            yield Folder(Path(parent), images, videos)


def _refuse(error: OSError) -> None:
    """Stop where ``os.walk`` would leave a folder out without a word."""
    raise DataError(
        f"{error.filename} cannot be read ({error.strerror}); make it readable, or give --root "
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
