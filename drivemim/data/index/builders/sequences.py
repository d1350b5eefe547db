"""Sort frames into sequences, which are the scenes of an index, and compute their times."""

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

_SMALLEST_CLOCK = 10**11
"""Frame numbers from which on a number may be the time of a clock. No camera counts this far (300
years at 10 frames per second), but milliseconds since 1970 are larger."""
_CLOCK_STEP = 10
"""Smallest difference of two large frame numbers that are times of a clock. In smaller steps, they
count: a number may consist of a date and a count."""
_UNITS = ((10**17, "nano", 9), (10**14, "micro", 6), (_SMALLEST_CLOCK, "milli", 3))
"""Units of clocks since 1970: smallest time, prefix of second, number of decimals of a second."""


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
        source: the folder or COCO file that lists it, for errors.
        number: frame number in its sequence; None to order by path.
        namespace: folder within which the sequence's name is unique, that of its COCO file; None
            if the name is the path of a folder or video, which is unique anyway.
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
    """Return a sort key that compares numbers in names by value: frame_10 comes after frame_9."""
    parts = re.findall(r"\d+|\D+", name)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]


def arrange(frames: Sequence[SequenceFrame]) -> list[SequenceFrame]:
    """Return frames sorted by scene and number; frames without a number get one.

    COCO files in different folders, for example one per camera, may give different sequences of one
    split the same name. The folder is then added to the names.

    Raises:
        DataError: if two frames of a scene have the same number, only some have one, or different
            sequences cannot be told apart by name.
    """
    by_scene: defaultdict[SceneKey, list[SequenceFrame]] = defaultdict(list)
    for frame in _with_unique_scenes(frames):
        by_scene[frame.scene].append(frame)
    return [frame for scene in sorted(by_scene) for frame in _numbered(by_scene[scene])]


def _with_unique_scenes(frames: Sequence[SequenceFrame]) -> list[SequenceFrame]:
    """Return the frames; a scene name of several namespaces gets the namespace as a prefix."""
    namespaces: defaultdict[SceneKey, set[str | None]] = defaultdict(set)
    for frame in frames:
        namespaces[frame.scene].add(frame.namespace)
    renamed: list[SequenceFrame] = []
    origins: dict[SceneKey, tuple[str, str | None]] = {}
    for frame in frames:
        split, name = frame.scene
        scene = frame.scene
        if frame.namespace is not None and len(namespaces[scene]) > 1:
            scene = SceneKey(split, posixpath.normpath(posixpath.join(frame.namespace, name)))
        if origins.setdefault(scene, (name, frame.namespace)) != (name, frame.namespace):
            raise DataError(
                f"{frame.source}: the sequence of {frame.path} and another one are both called "
                f"{scene.name!r} in the split {split!r}; rename one"
            )
        renamed.append(replace(frame, scene=scene))
    return renamed


def _numbered(frames: Sequence[SequenceFrame]) -> list[SequenceFrame]:
    """Return the frames of one scene in their order, each with a number."""
    unnumbered = [frame for frame in frames if frame.number is None]
    if not unnumbered:
        ordered = sorted(frames, key=lambda frame: frame.number or 0)
        for one, other in zip(ordered, ordered[1:], strict=False):
            if one.number == other.number:
                raise DataError(
                    f"{other.source}: {one.path} and {other.path} are both frame {one.number} of "
                    f"the sequence {one.scene.name!r}; number them by time, and give every camera "
                    "a sequence of its own"
                )
        return ordered
    if len(unnumbered) < len(frames):
        numbered = next(frame for frame in frames if frame.number is not None)
        raise DataError(
            f"{numbered.path} of the sequence {numbered.scene.name!r} has a frame number, "
            f"{numbered.number}, and {unnumbered[0].path} has none; give all of them one, or none"
        )
    ordered = sorted(frames, key=lambda frame: by_numbers(frame.path))
    return [replace(frame, number=number) for number, frame in enumerate(ordered)]


def frame_microseconds(frames: Sequence[SequenceFrame], rate: float) -> NDArray[np.int64]:
    """Return the timestamp of each frame: its ``time``, else one computed from its number.

    A computed timestamp is 0 for the first frame of a scene.

    Args:
        frames: the result of ``arrange``.
        rate: frames per second, for frames that have a number and no time.

    Returns:
        microseconds.

    Raises:
        DataError: if numbers are times of a clock, or too far apart for 64 bits.
    """
    by_scene: defaultdict[SceneKey, list[SequenceFrame]] = defaultdict(list)
    for frame in frames:
        by_scene[frame.scene].append(frame)
    first_numbers = {}
    for scene, scene_frames in by_scene.items():
        untimed = [frame for frame in scene_frames if frame.time is None]
        first_numbers[scene] = min((frame.number or 0 for frame in untimed), default=0)
        _check_numbers(untimed, rate)
    return np.array(
        [
            round(((frame.number or 0) - first_numbers[frame.scene]) / rate * 1e6)
            if frame.time is None
            else frame.time
            for frame in frames
        ],
        np.int64,
    )


def _check_numbers(frames: Sequence[SequenceFrame], rate: float) -> None:
    """Refuse numbers of one scene that are times of a clock, or too far apart for 64 bits."""
    numbers = sorted(frame.number or 0 for frame in frames)
    if len(numbers) < 2:
        return
    begin = f"{frames[0].source}:"
    of_sequence = f"of the sequence {frames[0].scene.name!r}"
    step = min(after - before for before, after in zip(numbers, numbers[1:], strict=False))
    if numbers[0] >= _SMALLEST_CLOCK and step >= _CLOCK_STEP:
        unit, digits = next(each[1:] for each in _UNITS if numbers[0] >= each[0])
        raise DataError(
            f"{begin} frame {numbers[0]} {of_sequence} looks like a time in {unit}seconds; number "
            f"frames by count instead, (time - first time) * {rate:g} / 1e{digits} rounded (--rate "
            f"is {rate:g} frames per second), or leave the numbers out for the order of the paths"
        )
    if (numbers[-1] - numbers[0]) / rate * 1e6 >= 2**63:
        raise DataError(
            f"{begin} frames {numbers[0]} and {numbers[-1]} {of_sequence} are too far apart at "
            f"{rate:g} frames per second; number frames by count"
        )
