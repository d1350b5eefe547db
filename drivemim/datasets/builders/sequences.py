"""Frames of image sequences: which scene each belongs to, and in which order."""

from __future__ import annotations

import posixpath
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from drivemim.datasets.builders.coco import CocoBox
from drivemim.errors import DataError


@dataclass(frozen=True)
class SequenceFrame:
    """One image.

    Attributes:
        scene: key of its sequence: (split, name).
        path: relative to the data root.
        size: width and height, pixels.
        source: the folder or COCO file that lists it.
        number: of the frame in its sequence; None for the order of the paths.
        namespace: folder within which the sequence's name is its own; None where the name is a
            folder itself.
        boxes: drawn in it.
        time: microseconds in its sequence; None to count ``number`` at a rate.
    """

    scene: tuple[str, str]
    path: str
    size: tuple[int, int]
    source: Path
    number: int | None = None
    namespace: str | None = None
    boxes: tuple[CocoBox, ...] = ()
    time: int | None = None


def by_numbers(name: str) -> list[tuple[int, int, str]]:
    """Return a sort key under which frame_10 follows frame_9."""
    parts = re.findall(r"\d+|\D+", name)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]


def arrange(frames: Sequence[SequenceFrame]) -> list[SequenceFrame]:
    """Sort frames by scene and number; every sequence is a scene, and every frame has a number.

    Sequences of the same name and split from COCO files in different folders, as one file a camera
    has them, are told apart by the folder.

    Raises:
        DataError: if two frames of a scene have the same number, only some have one, or different
            sequences cannot be told apart by name.
    """
    by_scene: defaultdict[tuple[str, str], list[SequenceFrame]] = defaultdict(list)
    for frame in _apart(frames):
        by_scene[frame.scene].append(frame)
    return [frame for scene in sorted(by_scene) for frame in _numbered(by_scene[scene])]


def _apart(frames: Sequence[SequenceFrame]) -> list[SequenceFrame]:
    """Frames with the namespace put before the names of scenes that need it."""
    claims: defaultdict[tuple[str, str], set[str | None]] = defaultdict(set)
    for frame in frames:
        claims[frame.scene].add(frame.namespace)
    apart: list[SequenceFrame] = []
    origins: dict[tuple[str, str], tuple[str, str | None]] = {}
    for frame in frames:
        split, name = frame.scene
        scene = frame.scene
        if frame.namespace is not None and len(claims[scene]) > 1:
            scene = split, posixpath.normpath(posixpath.join(frame.namespace, name))
        if origins.setdefault(scene, (name, frame.namespace)) != (name, frame.namespace):
            raise DataError(
                f"{frame.source}: the sequence of {frame.path} and another one are both called "
                f"{scene[1]!r} in the split {split!r}; rename one"
            )
        apart.append(replace(frame, scene=scene))
    return apart


def _numbered(frames: Sequence[SequenceFrame]) -> list[SequenceFrame]:
    """The frames of one scene in their order."""
    counted = [frame for frame in frames if frame.number is None]
    if not counted:
        ordered = sorted(frames, key=lambda frame: frame.number or 0)
        for one, other in zip(ordered, ordered[1:], strict=False):
            if one.number == other.number:
                raise DataError(
                    f"{other.source}: {one.path} and {other.path} are both frame {one.number} of "
                    f"the sequence {one.scene[1]!r}; number them by time, and give every camera a "
                    "sequence of its own"
                )
        return ordered
    if len(counted) < len(frames):
        numbered = next(frame for frame in frames if frame.number is not None)
        raise DataError(
            f"{numbered.path} of the sequence {numbered.scene[1]!r} has a frame number, "
            f"{numbered.number}, and {counted[0].path} has none; give all of them one, or none"
        )
    ordered = sorted(frames, key=lambda frame: by_numbers(frame.path))
    return [replace(frame, number=number) for number, frame in enumerate(ordered)]
