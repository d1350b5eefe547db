"""Search for byte-identical images in different scenes: evaluation may use training images."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from drivemim.data.index.source_files import content_key, file_digest

if TYPE_CHECKING:
    from drivemim.data.index.frame_index import FrameIndex

Ints = NDArray[np.int64]


def find_copies(paths: Sequence[Path], scene_F: Ints) -> Ints:
    """Find files that are byte-identical to a file of another scene.

    Copies within a scene do not count: a camera that stands still repeats its image. Files are
    compared by size first, then by parts of their content, and those that are still equal by their
    whole content.

    Args:
        paths: of F files.
        scene_F: scene of each.

    Returns:
        (C, 2) position of each such file, and of the first file with the same content.

    Raises:
        OSError: if a file cannot be read.
    """
    chosen = np.arange(len(paths))
    for key in (os.path.getsize, content_key, file_digest):
        keys = np.array([key(paths[place]) for place in chosen])
        kept = _in_several(keys, scene_F[chosen])
        chosen, keys = chosen[kept], keys[kept]
    _, first, group = np.unique(keys, return_index=True, return_inverse=True)
    return np.stack([chosen, chosen[first[group.reshape(-1)]]], axis=1)


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


def shared_content(index: FrameIndex, rows: Ints, others: Ints) -> Ints:
    """Find images of some frames that are byte-identical to images of other frames.

    Args:
        index: the data set.
        rows: rows of frames.
        others: rows of other frames.

    Returns:
        (S, 2) the found frames of ``rows``, each with one of ``others`` that has the same content;
        empty if the index does not record copies (see ``FrameIndex.copies``).
    """
    row_C, group_C = index.copies.T
    of_others = np.isin(row_C, others)
    groups, place = np.unique(group_C[of_others], return_index=True)
    found = np.isin(row_C, rows) & np.isin(group_C, groups)
    other = row_C[of_others][place][np.searchsorted(groups, group_C[found])]
    return np.stack([row_C[found], other], axis=1)


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
