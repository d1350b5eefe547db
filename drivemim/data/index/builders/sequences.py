"""Assign frames to sequences (scenes), with their order and times."""

from __future__ import annotations

import posixpath
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from drivemim.data.index.builders.coco import CocoBox
from drivemim.errors import DataError

_NOT_COUNTED = 10**11
"""No camera counts this far (300 years at 10 frames per second), but millisecond clocks do."""
_CLOCK_STEP = 10
"""Large numbers at least this far apart are a clock's, not a date followed by a count."""
_UNITS = ((10**17, "nano", 9), (10**14, "micro", 6), (_NOT_COUNTED, "milli", 3))
"""Ranges of clocks since 1970: smallest number, unit, number of decimals of a second."""


class SceneKey(NamedTuple):
    """Split and name of a sequence, which is a scene of the index.

    Attributes:
        split: the COCO file's split; empty for folders of images and videos.
        name: name of the scene.
    """

    split: str
    name: str


@dataclass(frozen=True)
class SequenceFrame:
    """One image.

    Attributes:
        scene: key of its sequence.
        path: relative to the data root.
        size: width and height, pixels.
        source: the folder or COCO file that lists it.
        number: frame number in its sequence; None to order by path.
        namespace: folder within which the sequence's name is unique; None if the name is itself a
            folder.
        boxes: boxes drawn in it.
        time: microseconds in its sequence; None to compute it from ``number`` and a rate.
    """

    scene: SceneKey
    path: str
    size: tuple[int, int]
    source: Path
    number: int | None = None
    namespace: str | None = None
    boxes: tuple[CocoBox, ...] = ()
    time: int | None = None


def by_numbers(name: str) -> list[tuple[int, int, str]]:
    """Return a sort key that puts frame_10 after frame_9."""
    parts = re.findall(r"\d+|\D+", name)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]


def arrange(frames: Sequence[SequenceFrame]) -> list[SequenceFrame]:
    """Sort frames by scene and number; every sequence is a scene, and every frame gets a number.

    Sequences of the same name and split can come from COCO files in different folders, for example
    with one file per camera. The folder is then added to their names.

    Raises:
        DataError: if two frames of a scene have the same number, only some have one, or different
            sequences cannot be told apart by name.
    """
    by_scene: defaultdict[SceneKey, list[SequenceFrame]] = defaultdict(list)
    for frame in _apart(frames):
        by_scene[frame.scene].append(frame)
    return [frame for scene in sorted(by_scene) for frame in _numbered(by_scene[scene])]


def _apart(frames: Sequence[SequenceFrame]) -> list[SequenceFrame]:
    """Return the frames; scene names that need it get their namespace as a prefix."""
    claims: defaultdict[SceneKey, set[str | None]] = defaultdict(set)
    for frame in frames:
        claims[frame.scene].add(frame.namespace)
    apart: list[SequenceFrame] = []
    origins: dict[SceneKey, tuple[str, str | None]] = {}
    for frame in frames:
        split, name = frame.scene
        scene = frame.scene
        if frame.namespace is not None and len(claims[scene]) > 1:
            scene = SceneKey(split, posixpath.normpath(posixpath.join(frame.namespace, name)))
        if origins.setdefault(scene, (name, frame.namespace)) != (name, frame.namespace):
            raise DataError(
                f"{frame.source}: the sequence of {frame.path} and another one are both called "
                f"{scene.name!r} in the split {split!r}; rename one"
            )
        apart.append(replace(frame, scene=scene))
    return apart


def _numbered(frames: Sequence[SequenceFrame]) -> list[SequenceFrame]:
    """Return the frames of one scene in their order, each with a number."""
    counted = [frame for frame in frames if frame.number is None]
    if not counted:
        ordered = sorted(frames, key=lambda frame: frame.number or 0)
        for one, other in zip(ordered, ordered[1:], strict=False):
            if one.number == other.number:
                raise DataError(
                    f"{other.source}: {one.path} and {other.path} are both frame {one.number} of "
                    f"the sequence {one.scene.name!r}; number them by time, and give every camera "
                    "a sequence of its own"
                )
        return ordered
    if len(counted) < len(frames):
        numbered = next(frame for frame in frames if frame.number is not None)
        raise DataError(
            f"{numbered.path} of the sequence {numbered.scene.name!r} has a frame number, "
            f"{numbered.number}, and {counted[0].path} has none; give all of them one, or none"
        )
    ordered = sorted(frames, key=lambda frame: by_numbers(frame.path))
    return [replace(frame, number=number) for number, frame in enumerate(ordered)]


def frame_microseconds(frames: Sequence[SequenceFrame], rate: float) -> NDArray[np.int64]:
    """Return the microseconds of each frame: its ``time``, else since its scene's first frame.

    Args:
        frames: from ``arrange``.
        rate: frames per second, for frames that have a number and no time.

    Raises:
        DataError: if numbers are a clock's timestamps, or too far apart for 64 bits.
    """
    by_scene: defaultdict[SceneKey, list[SequenceFrame]] = defaultdict(list)
    for frame in frames:
        by_scene[frame.scene].append(frame)
    firsts = {}
    for scene, own in by_scene.items():
        counted = [frame for frame in own if frame.time is None]
        firsts[scene] = min((frame.number or 0 for frame in counted), default=0)
        _check_numbers(counted, rate)
    return np.array(
        [
            round(((frame.number or 0) - firsts[frame.scene]) / rate * 1e6)
            if frame.time is None
            else frame.time
            for frame in frames
        ],
        np.int64,
    )


def _check_numbers(frames: Sequence[SequenceFrame], rate: float) -> None:
    """Refuse numbers of one scene that are not frame counts."""
    numbers = sorted(frame.number or 0 for frame in frames)
    if len(numbers) < 2:
        return
    what = f"{frames[0].source}:"
    where = f"of the sequence {frames[0].scene.name!r}"
    step = min(after - before for before, after in zip(numbers, numbers[1:], strict=False))
    if numbers[0] >= _NOT_COUNTED and step >= _CLOCK_STEP:
        unit, digits = next(each[1:] for each in _UNITS if numbers[0] >= each[0])
        raise DataError(
            f"{what} frame {numbers[0]} {where} looks like a time in {unit}seconds; number frames "
            f"by count instead, (time - first time) * {rate:g} / 1e{digits} rounded (--rate is "
            f"{rate:g} frames per second), or leave the numbers out for the order of the paths"
        )
    if (numbers[-1] - numbers[0]) / rate * 1e6 >= 2**63:
        raise DataError(
            f"{what} frames {numbers[0]} and {numbers[-1]} {where} are too far apart at {rate:g} "
            "frames per second; number frames by count"
        )
