"""Search for images that are used twice: evaluation may use training images.

Letters: P frames that both sides have, C copies.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from drivemim.array_types import Ints
from drivemim.data.index.frame_keys import MAX_FILES, scene_tokens
from drivemim.data.index.picture_digest import picture_digest, quick_digest

if TYPE_CHECKING:
    from drivemim.data.index.frame_index import FrameIndex

_log = logging.getLogger(__name__)


def find_copies(paths: Sequence[Path], scene_F: Ints) -> Ints:
    """Find files with the same image as a file of another scene.

    Copies within a scene are not looked for: a camera that stands still repeats its image. Files
    are compared by the end of their pictures first, and equal ones by their whole pictures; JPEG
    metadata make no difference (see ``picture_digest``). An image that was encoded again or
    cropped, or a file with something appended, is not found.

    Args:
        paths: of F files.
        scene_F: scene of each.

    Returns:
        (C, 2) position of each such file, and of the first file with the same content.

    Raises:
        OSError: if a file cannot be read.
    """
    chosen = np.arange(len(paths))
    for key in (quick_digest, picture_digest):
        keys = np.array([key(paths[place]) for place in chosen])
        shared = _in_several(keys, scene_F[chosen])
        chosen, keys = chosen[shared], keys[shared]
    _, first, group = np.unique(keys, return_index=True, return_inverse=True)
    return np.stack([chosen, chosen[first[group.reshape(-1)]]], axis=1)


def recorded_copies(root: Path, paths: Sequence[str], scenes: Sequence[tuple[str, str]]) -> bytes:
    """Return ``IndexInfo.copies`` of an index's frames, and warn of them.

    Args:
        root: folder that paths are relative to.
        paths: path of each frame.
        scenes: split and name of the scene of each frame.

    Raises:
        OSError: if a file cannot be read.
    """
    numbers = {scene: number for number, scene in enumerate(set(scenes))}
    scene_F = np.array([numbers[scene] for scene in scenes], np.int64)
    copies = find_copies([root / path for path in paths], scene_F)
    if len(copies):
        _log.warning(
            "copies of images: %s. If one copy is used for training and the other for evaluation, "
            "the evaluation uses training images: remove one of the two",
            describe_copies(copies, paths, scenes),
        )
    return copies.astype("<i8").tobytes()


def describe_copies(
    copies_C2: Ints, paths: Sequence[str], scenes: Sequence[tuple[str, str]]
) -> str:
    """Describe how many images each pair of splits shares, with the first of each; ``""`` for none.

    Args:
        copies_C2: from :func:`find_copies`.
        paths: paths of all frames.
        scenes: split and name of the scene of each frame.
    """
    groups: defaultdict[int, list[int]] = defaultdict(list)
    for row, first in copies_C2.tolist():
        groups[first].append(row)
    shared: defaultdict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
    for rows in groups.values():
        by_split: dict[str, int] = {}
        for row in rows:
            by_split.setdefault(scenes[row][0], row)
        for one, other in combinations(sorted(by_split), 2):
            shared[one, other].append((by_split[one], by_split[other]))
        if len(by_split) == 1:
            split = next(iter(by_split))
            second = next(row for row in rows if scenes[row] != scenes[rows[0]])
            shared[split, split].append((rows[0], second))
    parts = []
    for (one, other), pairs in sorted(shared.items()):
        where = (
            f"in different scenes of {_split(one)}" if one == other
            else f"in {_split(one)} and in {_split(other)}"
        )  # fmt: skip
        path, again = (paths[row] for row in pairs[0])
        parts.append(f"{len(pairs)} images are {where}, first {path} as {again}")
    return "; ".join(parts)


def shared_frames(index: FrameIndex, rows: Ints, other: FrameIndex, other_rows: Ints) -> Ints:
    """Find frames that have the same image as some other frames.

    In one index, these are the same frames and the copies that it records (see
    ``FrameIndex.copies``). In two, they are frames with the same token where tokens identify
    frames, and identical files. Files are not read for more than ``MAX_FILES`` frames with
    such tokens. A file that does not exist has no copy.

    Args:
        index: index of the frames to search.
        rows: their rows.
        other: index of the other frames.
        other_rows: rows of the other frames in ``other``.

    Returns:
        (S, 2) the found frames of ``rows``, ascending, each with the row in ``other`` of one that
        has the same image, in one index the frame itself if possible.

    Raises:
        OSError: if a file exists but cannot be read.
    """
    if is_same_index(index, other):
        same = np.intersect1d(rows, other_rows)
        pairs = [np.stack([same, same], axis=1), _recorded(index, rows, other_rows)]
    else:
        pairs = _of_two_indices(index, rows, other, other_rows)
    copies = np.concatenate(pairs)
    _, first = np.unique(copies[:, 0], return_index=True)
    chosen: Ints = copies[first]
    return chosen


def is_same_index(index: FrameIndex, other: FrameIndex) -> bool:
    """Return whether two indices are one file."""
    return index.path.resolve() == other.path.resolve()


def _recorded(index: FrameIndex, rows: Ints, others: Ints) -> Ints:
    """Return the copies (S, 2) of other frames that an index records."""
    row_C, group_C = index.copies.T
    of_others = np.isin(row_C, others)
    groups, first = np.unique(group_C[of_others], return_index=True)
    is_copy = np.isin(row_C, rows) & np.isin(group_C, groups)
    other = row_C[of_others][first][np.searchsorted(groups, group_C[is_copy])]
    return np.stack([row_C[is_copy], other], axis=1)


def _of_two_indices(
    index: FrameIndex, rows: Ints, other: FrameIndex, other_rows: Ints
) -> list[Ints]:
    """Return pairs (S, 2) of frames with the same token, and of frames with the same content."""
    pairs = []
    has_tokens = scene_tokens(index) is not None and scene_tokens(other) is not None
    if has_tokens:
        row_of = {other.frames.token[row]: row for row in other_rows.tolist()}
        tokens = ((row, row_of.get(index.frames.token[row])) for row in rows.tolist())
        known = [(row, other_row) for row, other_row in tokens if other_row is not None]
        pairs.append(np.array(known, np.int64).reshape(-1, 2))
    if not has_tokens or len(rows) + len(other_rows) <= MAX_FILES:
        sides = [
            [(each.image_path(row), row) for row in chosen.tolist()]
            for each, chosen in ((other, other_rows), (index, rows))
        ]
        sides = [[pair for pair in side if pair[0].is_file()] for side in sides]
        both = [*sides[0], *sides[1]]
        # A group's first file is one of the others, since these come first.
        copies = find_copies(
            [path for path, _ in both], np.repeat([0, 1], [len(side) for side in sides])
        )
        row_P = np.array([row for _, row in both], np.int64)
        pairs.append(row_P[copies[copies[:, 0] >= len(sides[0])]].reshape(-1, 2))
    return pairs


def _in_several(keys: NDArray[np.generic], scene: Ints) -> NDArray[np.bool_]:
    """Return True for keys that occur in more than one scene."""
    if len(keys) == 0:
        return np.zeros(0, np.bool_)
    _, group = np.unique(keys, return_inverse=True)
    group = group.reshape(-1)
    pairs = np.unique(np.stack([group, scene], axis=1), axis=0)
    several: NDArray[np.bool_] = (np.bincount(pairs[:, 0]) > 1)[group]
    return several


def _split(name: str) -> str:
    return f"the split {name!r}" if name else "folders without a split"
