"""Names of the splits of COCO files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from mmengine.logging import print_log

_SPLIT_FOLDERS = frozenset(("train", "training", "val", "valid", "validation", "test", "testing"))
"""Folder names that are taken as the name of a split."""
_ROBOFLOW = "_annotations.coco"
"""Stem of Roboflow's files; the folder of each split has one."""


def split_names(files: Sequence[Path]) -> list[str]:
    """Return the split of each COCO file: its stem, or a folder's name if the stem is ambiguous.

    The stem is ambiguous if several files have it, or if it is Roboflow's. The split is then named
    by the last folder of the path with the name of a split: ``train/labels.json`` and
    ``val/labels.json`` are two splits. Without such a folder, the stem names one split of all the
    files: ``cam0/labels.json`` and ``cam1/labels.json`` are of the split ``labels``. Several
    Roboflow files are an exception: each is the split of its own folder.

    A line is printed if a folder names the split, or if several files belong to one split.

    Args:
        files: absolute paths.
    """
    names = [_split_name(path, files) for path in files]
    for path, name in zip(files, names, strict=True):
        if name != path.stem:
            print_log(f"{path} is of the split {name!r}, by its folder")
    for name in dict.fromkeys(names):
        of_split = [str(path) for path, split in zip(files, names, strict=True) if split == name]
        if len(of_split) > 1:
            print_log(
                f"{len(of_split)} COCO files are of the split {name!r}: {', '.join(of_split)}; "
                "rename them if they are not of one"
            )
    return names


def _split_name(path: Path, files: Sequence[Path]) -> str:
    stem = path.stem
    folders = [file.parent for file in files if file.stem == stem]
    if len(folders) == 1 and stem != _ROBOFLOW:
        return stem
    # A folder that contains all files of this stem does not tell their splits apart. A single
    # Roboflow file may only be named by its own folder.
    common = os.path.commonpath(folders) if len(folders) > 1 else path.parent.parent
    below_common = path.parent.relative_to(common).parts
    split = next((name for name in reversed(below_common) if name.lower() in _SPLIT_FOLDERS), None)
    if split is None and stem == _ROBOFLOW and len(folders) > 1 and below_common:
        return below_common[-1]
    return split or stem
