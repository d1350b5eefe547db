"""Search for copies of images, through which an evaluation may use training images.

Letters: P image files of both data sets, C copies, S frames of one data set that the other has too.
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

    Copies within a scene are left out: a camera that stands still repeats its image. Files are
    compared by the end of their content first, and only those that are equal there by their whole
    content. Comments and metadata of JPEG files are ignored (see ``picture_digest``). An image that
    was encoded again or cropped, or a file with something appended, is not found.

    Args:
        paths: F files.
        scene_F: scene of each file.

    Returns:
        (C, 2) position of each file that has a copy, and of the first file with the same content,
        which may be the file itself.

    Raises:
        OSError: if a file cannot be read.
    """
    chosen = np.arange(len(paths))
    for key in (quick_digest, picture_digest):
        keys = np.array([key(paths[position]) for position in chosen])
        shared = _in_several(keys, scene_F[chosen])
        chosen, keys = chosen[shared], keys[shared]
    _, first, group = np.unique(keys, return_index=True, return_inverse=True)
    return np.stack([chosen, chosen[first[group.reshape(-1)]]], axis=1)


def recorded_copies(root: Path, paths: Sequence[str], scenes: Sequence[tuple[str, str]]) -> bytes:
    """Return ``IndexInfo.copies`` of an index's frames, and warn if there are any.

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
    """Describe how many images each pair of splits shares, with an example; ``""`` for none.

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
    descriptions = []
    for (one, other), pairs in sorted(shared.items()):
        where = (
            f"in different scenes of {_split(one)}" if one == other
            else f"in {_split(one)} and in {_split(other)}"
        )  # fmt: skip
        path, again = (paths[row] for row in pairs[0])
        descriptions.append(f"{len(pairs)} images are {where}, first {path} as {again}")
    return "; ".join(descriptions)


def shared_frames(index: FrameIndex, rows: Ints, other: FrameIndex, other_rows: Ints) -> Ints:
    """Find the frames of one data set whose image is also in another.

    If both are selections from one index, these are the frames that are in both selections, and the
    copies that the index records (see ``FrameIndex.copies``). In two indices, they are frames with
    the same token, if tokens identify frames (see ``scene_tokens``), and frames with identical
    files. If tokens identify frames and there are more than ``MAX_FILES`` frames, files are not
    compared. A file that does not exist has no copy.

    Args:
        index: index of the first data set.
        rows: rows of its frames in ``index``.
        other: index of the other data set.
        other_rows: rows of its frames in ``other``.

    Returns:
        (S, 2) those of ``rows`` whose image is in the other data set, ascending, and the row in
        ``other`` of a frame with the same image. In one index, this is the frame itself if it is
        also in ``other_rows``.

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
    """Return the frames of ``rows`` that the index records as copies of one of ``others``.

    Returns:
        (S, 2) the frame's row, and the row of the other frame.
    """
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
        # The other data set comes first, so the first file with any content is one of its files.
        copies = find_copies(
            [path for path, _ in both], np.repeat([0, 1], [len(side) for side in sides])
        )
        row_P = np.array([row for _, row in both], np.int64)
        pairs.append(row_P[copies[copies[:, 0] >= len(sides[0])]].reshape(-1, 2))
    return pairs


def _in_several(keys: NDArray[np.generic], scene: Ints) -> NDArray[np.bool_]:
    """Return True for files whose key occurs in more than one scene."""
    if len(keys) == 0:
        return np.zeros(0, np.bool_)
    _, group = np.unique(keys, return_inverse=True)
    group = group.reshape(-1)
    pairs = np.unique(np.stack([group, scene], axis=1), axis=0)
    several: NDArray[np.bool_] = (np.bincount(pairs[:, 0]) > 1)[group]
    return several


def _split(name: str) -> str:
    """Return the words for a split in messages."""
    return f"the split {name!r}" if name else "folders without a split"
