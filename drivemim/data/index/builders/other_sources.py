"""Recognise data of another kind than requested, and name the command that indexes it."""

from __future__ import annotations

import logging
import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from drivemim.data.index.builders.folders import IMAGES, VIDEOS, describe_others
from drivemim.errors import DataError

_log = logging.getLogger(__name__)
_MAX_SEARCHED = 10_000
"""Number of files of a folder after which the search for an image or a video ends."""


def check_source(folder: Path, root: Path, source: str) -> None:
    """Refuse nuImages' tables where nuScenes' were requested, and vice versa.

    The name of the version folder does not tell them apart: both data sets have a ``v1.0-mini``.

    Args:
        folder: version folder.
        root: its parent.
        source: data set whose tables were requested: ``nuscenes`` or ``nuimages``.

    Raises:
        DataError: if the folder has the other data set's tables. The message names the command
            that reads them.
    """
    actual = _source_of(folder)
    if actual is not None and actual != source:
        names = {"nuscenes": "nuScenes", "nuimages": "nuImages"}
        box_tables = ("sample_annotation.json", "object_ann.json")
        has, lacks = box_tables if actual == "nuscenes" else box_tables[::-1]
        raise DataError(
            f"{folder} has {names[actual]}' tables (it has {has} and no {lacks}), not "
            f"{names[source]}'; run {_command(actual, root, folder.name)}"
        )


def suggest_for_missing_tables(root: Path) -> str:
    """Return advice for a user who named a ``root`` in which the tables were not found."""
    if (root / "sample_data.json").is_file() and (here := _commands(root.parent, root.name)):
        return f"{root} is a version folder itself: run {here}"
    if above := _commands(root.parent):
        return f"the tables are in {root.parent}: run {above}"
    if _has_recordings(root):
        is_rig = any(root.glob("*/poses.csv")) or any(root.glob("*/calibration.json"))
        kind = "rig" if is_rig or (root / "calibration.json").is_file() else "frames"
        return (
            f"{root} has images or videos without tables: run drivemim index {kind} --root "
            f"{shlex.quote(str(root))}"
        )
    if not root.exists():
        return f"there is no folder {root}: check --root"
    return f"{root} has no version folder: check --root and --version"


def check_images_found(count: int, roots: Sequence[Path]) -> None:
    """Refuse folders without images and videos; warn of nuScenes' or nuImages' tables in them.

    Args:
        count: number of frames that were found in the folders.
        roots: the folders.

    Raises:
        FileNotFoundError: if there are no frames.
    """
    tables = " or ".join(command for root in roots if (command := _commands(root)))
    if not count:
        advice = f"; to read the tables there, run {tables}" if tables else describe_others(roots)
        raise FileNotFoundError(
            f"no images ({', '.join(IMAGES)}) or videos ({', '.join(VIDEOS)}) under "
            f"{', '.join(map(str, roots))}{advice}"
        )
    if tables:
        _log.warning("scenes, cameras and boxes of the tables are not read; %s reads them", tables)


def _commands(root: Path, version: str = "*") -> str:
    """Return the commands that index the tables below a folder; empty if there are none."""
    folders = sorted(path.parent for path in root.glob(f"{version}/sample_data.json"))
    versions = [(source, folder.name) for folder in folders if (source := _source_of(folder))]
    return " or ".join(_command(source, root, name) for source, name in versions)


def _source_of(folder: Path) -> str | None:
    """Return the data set whose boxes a version folder has; None if it has both or neither."""
    has_boxes = (folder / "sample_annotation.json").exists()
    has_image_boxes = (folder / "object_ann.json").exists()
    if has_boxes == has_image_boxes:
        return None
    return "nuscenes" if has_boxes else "nuimages"


def _command(source: str, root: Path, version: str) -> str:
    return f"drivemim index {source} --root {shlex.quote(str(root))} --version {version}"


def _has_recordings(root: Path) -> bool:
    """Return whether images or videos are among the first files below a folder."""
    count = 0
    for _, folders, files in os.walk(root):
        folders.sort()
        if any(name.lower().endswith((*IMAGES, *VIDEOS)) for name in files):
            return True
        count += len(files)
        if count > _MAX_SEARCHED:
            break
    return False
