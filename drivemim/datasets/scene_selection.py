"""Which scenes of an index a data set uses: by name, or by the name of a split."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from drivemim.errors import DataError, nearest

if TYPE_CHECKING:
    from drivemim.datasets.index import FrameIndex


def select_scenes(index: FrameIndex, scenes: str | Sequence[str] | None) -> NDArray[np.int64]:
    """Rows of the scenes that are named.

    Args:
        index: the data set.
        scenes: None for all; a list of scene names; or one name: of a split of the index (see
            ``Scenes.split``), of an official nuScenes split (``mini_train``, ``mini_val``,
            ``train``, ``val``, ``test``, ...), or of a scene.

    Returns:
        rows of the scenes, ascending.

    Raises:
        ValueError: if a name means nothing here, or no scene of a split is in the index.
    """
    names, splits, path = list(index.scenes.name), list(index.scenes.split), index.path
    if scenes is None:
        return np.arange(len(names))
    wanted = [scenes] if isinstance(scenes, str) else list(scenes)
    if isinstance(scenes, str) and scenes not in names:
        if scenes in splits:
            return np.flatnonzero([split == scenes for split in splits])
        wanted = _official_split(path, scenes, sorted({*names, *splits} - {""}))
        wanted = [name for name in wanted if name in names]
        if not wanted:
            raise DataError(f"{path} has no scene of the nuScenes split {scenes!r}")
    for name in wanted:
        if name not in names:
            raise DataError(f"{path} has no scene {name!r}{nearest(name, names)}")
    chosen = set(wanted)
    return np.flatnonzero([name in chosen for name in names])


def _official_split(path: Path, split: str, known: list[str]) -> list[str]:
    """Scenes of a split as nuScenes itself lists them."""
    # Imported when first needed: the devkit takes seconds to import and brings matplotlib.
    from nuscenes.utils.splits import create_splits_scenes

    official: dict[str, list[str]] = create_splits_scenes()
    if split not in official:
        raise DataError(
            f"scenes={split!r} is neither a scene or split of {path} nor one of nuScenes' "
            f"splits ({', '.join(official)}){nearest(split, [*official, *known])}"
        )
    return official[split]
