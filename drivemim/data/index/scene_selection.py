"""Selection of scenes of an index by the name of a split or of a scene."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from drivemim.errors import DataError, did_you_mean

if TYPE_CHECKING:
    from drivemim.data.index.frame_index import FrameIndex

_SHOWN = 8
ALL = "*"
"""Placeholder for a scene's name: every scene of the split."""
_ALL_SCENES = (
    "scenes=None takes all (for example --cfg-options test_dataloader.dataset.scenes=None)"
)
"""Advice for a name that an index does not have."""


def has_scenes(index: FrameIndex, scenes: str | Sequence[str]) -> bool:
    """Return whether an index has a meaning for every name; see ``select_scenes``.

    Raises:
        DataError: if there is no name, or a name is ambiguous or not a string.
    """
    names = _SceneNames(index)
    chosen = _checked(scenes, names)
    known = [name for name in chosen if names.has(name)]
    for name in known:
        names.rows(name)
    return len(known) == len(chosen)


def select_scenes(index: FrameIndex, scenes: str | Sequence[str] | None) -> NDArray[np.int64]:
    """Return the rows of the named scenes.

    A name means, in this order: 1. a split of the index (see ``Scenes.split``); 2. a scene of the
    index; 3. an official nuScenes split (``mini_train``, ``mini_val``, ``train``, ``val``,
    ``test``, ...). If 1 and 2 have different frames, the name is ambiguous and is refused.

    ``SPLIT:*`` always means a split, and ``SPLIT:SCENE`` a scene (``:SCENE`` a scene without a
    split). If several splits have a scene of the same name, only ``SPLIT:SCENE`` is accepted: the
    name alone would mix splits.

    Args:
        index: the data set.
        scenes: None for all; one name; or a list of them.

    Returns:
        rows of the scenes, ascending.

    Raises:
        DataError: if there is no name, a name is unknown or ambiguous, or no scene of an official
            split is in the index.
    """
    if scenes is None:
        return np.arange(len(index.scenes))
    names = _SceneNames(index)
    chosen = _checked(scenes, names)
    rows = {row for name in chosen for row in names.rows(name)}
    return np.array(sorted(rows), np.int64)


def _checked(scenes: str | Sequence[str], names: _SceneNames) -> list[str]:
    """Return the names as a list.

    Raises:
        DataError: if there is none, or one is not a string.
    """
    chosen = [scenes] if isinstance(scenes, str) or not isinstance(scenes, Iterable) else [*scenes]
    for name in chosen:
        if not isinstance(name, str):
            raise DataError(
                f"scenes: {name!r} ({type(name).__name__}) is not a name; write it in quotes in "
                "the config, or as SPLIT:NAME (:NAME if it has no split)"
            )
    if not chosen:
        raise DataError(f"scenes={scenes!r} selects nothing of {names.path}. {names.describe()}")
    return chosen


class _SceneNames:
    """Meanings of names in an index."""

    def __init__(self, index: FrameIndex) -> None:
        self.path = index.path
        self.scenes: defaultdict[str, list[int]] = defaultdict(list)
        self.splits: defaultdict[str, list[int]] = defaultdict(list)
        self.qualified: defaultdict[str, list[int]] = defaultdict(list)
        self.split_of: list[str] = list(index.scenes.split)
        for row, (name, split) in enumerate(zip(index.scenes.name, self.split_of, strict=True)):
            self.scenes[name].append(row)
            self.qualified[f"{split}:{name}"].append(row)
            if split:
                self.splits[split].append(row)
                self.qualified[f"{split}:{ALL}"].append(row)

    def has(self, name: str) -> bool:
        """Return whether a name has a meaning, or several."""
        ours = (self.scenes, self.splits, self.qualified)
        return any(name in each for each in ours) or name in self._official_splits()

    def rows(self, name: str) -> list[int]:
        """Return the rows of the scenes that one name means."""
        of_scene = self.scenes.get(name, [])
        owners = sorted({self.split_of[row] for row in of_scene})
        meanings = {
            "a split": self.splits.get(name, []),
            "a scene": of_scene if len(owners) == 1 else [],
            "a scene of a split": self.qualified.get(name, []),
        }
        matches = {what: rows for what, rows in meanings.items() if rows}
        if len({tuple(rows) for rows in matches.values()}) > 1:
            fixes = [f"'{name}:{ALL}' (the split)"] if name in self.splits else []
            fixes += [f"'{owner}:{name}' (the scene)" for owner in owners]
            raise DataError(
                f"scenes: {name!r} is the name of {' and of '.join(matches)} of {self.path}, and "
                f"they have different frames; write {' or '.join(fixes)}"
            )
        if matches:
            return next(iter(matches.values()))
        if owners:
            raise DataError(
                f"scenes: {self.path} has a scene {name!r} in each of the splits "
                f"{', '.join(map(repr, owners))}; write "
                f"{' or '.join(repr(f'{owner}:{name}') for owner in owners)}"
            )
        return self._official(name)

    def describe(self) -> str:
        """Describe the names that can be selected: the splits, else the first scenes."""
        if self.splits:
            contents = f"the {_listed('split', list(self.splits))}"
        else:
            contents = f"no splits, and the {_listed('scene', list(self.scenes))}"
        official = [split for split in self._official_splits() if split not in self.splits]
        there = f", and scenes of the nuScenes {_listed('split', official)}" if official else ""
        return f"It has {contents}{there}; {_ALL_SCENES}"

    def _official_splits(self) -> dict[str, list[str]]:
        """Return the names of the index's scenes by official split, without empty splits."""
        named = {
            split: [name for name in names if name in self.scenes]
            for split, names in _official_scenes().items()
        }
        return {split: names for split, names in named.items() if names}

    def _official(self, split: str) -> list[int]:
        """Return the scenes of an official nuScenes split."""
        official = self._official_splits()
        if split in official:
            return [row for name in official[split] for row in self.rows(name)]
        if split in _official_scenes():
            raise DataError(
                f"scenes: {self.path} has no split {split!r}, and no scene of the nuScenes split "
                f"of that name. {self.describe()}"
            )
        known = {*official, *self.scenes, *self.splits, *self.qualified}
        hint = did_you_mean(split, known) or "."
        raise DataError(
            f"scenes: {self.path} has no scene or split {split!r}{hint} {self.describe()}"
        )


def _official_scenes() -> dict[str, list[str]]:
    """Return the names of the scenes of every official nuScenes split."""
    # Imported at first use: importing the devkit takes seconds and loads matplotlib.
    from nuscenes.utils.splits import create_splits_scenes

    splits: dict[str, list[str]] = create_splits_scenes()
    return splits


def _listed(what: str, names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:_SHOWN]))
    more = f" and {len(names) - _SHOWN} more" if names[_SHOWN:] else ""
    return f"{what}{'s' if len(names) > 1 else ''} {shown}{more}"
