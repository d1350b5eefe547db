"""Names of the splits of COCO files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from mmengine.logging import print_log

_FOLDERS = frozenset(("train", "training", "val", "valid", "validation", "test", "testing"))
_ROBOFLOW = "_annotations.coco"
"""Stem of Roboflow's files; the folder of each split has one."""


def split_names(files: Sequence[Path]) -> list[str]:
    """Return the split of each COCO file: its stem, or a folder's name if the stem is ambiguous.

    ``train/labels.json`` and ``val/labels.json`` are two splits, and so are two Roboflow files in
    any two folders; ``cam0/labels.json`` and ``cam1/labels.json`` are one. A line is printed if a
    folder names the split, or several files belong to one split.

    Args:
        files: absolute paths.
    """
    names = [_split_name(path, files) for path in files]
    for path, name in zip(files, names, strict=True):
        if name != path.stem:
            print_log(f"{path} is of the split {name!r}, by its folder")
    for name in dict.fromkeys(names):
        own = [str(path) for path, other in zip(files, names, strict=True) if other == name]
        if len(own) > 1:
            print_log(
                f"{len(own)} COCO files are of the split {name!r}: {', '.join(own)}; rename them "
                "if they are not of one"
            )
    return names


def _split_name(path: Path, files: Sequence[Path]) -> str:
    stem = path.stem
    folders = [other.parent for other in files if other.stem == stem]
    above = os.path.commonpath(folders) if len(folders) > 1 else path.parent.parent
    inside = path.parent.relative_to(above).parts
    if len(folders) == 1 and stem != _ROBOFLOW:
        return stem
    named = next((part for part in reversed(inside) if part.lower() in _FOLDERS), None)
    if named is None and stem == _ROBOFLOW and len(folders) > 1 and inside:
        return inside[-1]
    return named or stem
