"""Search for folders of label maps, such as segmentation masks, beside folders of photographs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

_MAX_LABELS = 64
"""Most distinct values of a label map; photographs have more, also in grey at night."""
_CHECKED = 3
"""Number of files of a folder that are decoded."""


def label_maps_of(images: Mapping[Path, Sequence[str]], root: Path) -> dict[Path, Path]:
    """Find folders of label maps, and the folder of photographs that each belongs to.

    All files of such a folder are PNG, with a palette or one channel, and few distinct values. Each
    has the name of a photograph except for the suffix, in a folder whose path differs in one part
    (``images/monday`` and ``masks/monday``).

    Args:
        images: names of the images in each folder.
        root: folder that contains them; it is not checked itself.

    Returns:
        folder of label maps to folder of photographs.
    """
    stems = {folder: {Path(name).stem for name in names} for folder, names in images.items()}
    found: dict[Path, Path] = {}
    for folder, names in images.items():
        if folder == root or not names or not all(name.lower().endswith(".png") for name in names):
            continue
        beside = [other for other in images if _is_beside(folder, other)
                  and stems[folder] <= stems[other]]  # fmt: skip
        if not beside or not _are_label_maps(folder, names):
            continue
        photographs = next(
            (each for each in beside if not _are_label_maps(each, images[each])), None
        )
        if photographs is not None:
            found[folder] = photographs
    return found


def _is_beside(folder: Path, other: Path) -> bool:
    """Return whether two paths differ in exactly one part."""
    parts, others = folder.parts, other.parts
    if len(parts) != len(others):
        return False
    return sum(one != two for one, two in zip(parts, others, strict=True)) == 1


def _are_label_maps(folder: Path, names: Sequence[str]) -> bool:
    places = np.linspace(0, len(names) - 1, min(_CHECKED, len(names))).astype(int)
    return all(_is_label_map(folder / names[place]) for place in places)


def _is_label_map(path: Path) -> bool:
    try:
        with Image.open(path) as image:
            if image.mode not in ("1", "L", "P"):
                return False
            return len(np.unique(np.asarray(image))) <= _MAX_LABELS
    except (OSError, ValueError):
        return False  # the builder names files that cannot be read
