"""Find label maps (segmentation masks as images) among photographs, by folder and by name."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from drivemim.data.index.image_header import PILLOW_ERRORS

_MAX_LABELS = 64
"""Largest number of distinct values in a label map. Dark photographs may have as few: see
``_SMOOTH``."""
_SMOOTH = 0.9
"""Smallest fraction of a label map's pixels that equal the next pixel of their row. In a
photograph, sensor noise leaves less than half of the pixels equal, even in the dark."""
_CHECKED = 50
"""Largest number of files of a folder that are decoded; they are spread evenly over the folder."""
_LABEL_SUFFIX = re.compile(
    r"([_. -](gt(fine|coarse)?|drivable|panoptic|semantic|instance|masks?|labels?|annotations?"
    r"|seg(mentation)?|((label|train|labeltrain|instance)_?)?ids?|colou?r|l))+$",
    re.IGNORECASE,
)
"""Usual ends of the names of label maps: ``_mask``, ``_train_id``, ``_gtFine_labelIds``, ..."""
_PHOTOGRAPH_SUFFIX = re.compile(r"[_. -](leftimg8bit|rgb|image|img|photo)$", re.IGNORECASE)
"""Usual ends of the names of photographs, which their label maps' names lack."""


def label_maps_of(images: Mapping[Path, Sequence[str]], root: Path) -> dict[Path, Path]:
    """Find folders of label maps, and the folder of photographs that each belongs to.

    A folder is one of label maps if all of this is true:

    - All its files are PNG with a palette or one channel of 8 bits or less.
    - Each file has few distinct values, in areas of one value. Files of a single value are
      ignored, because they may be either; a folder of only these is not one of label maps.
    - A folder of photographs has a path that differs in one part (``images/monday`` and
      ``masks/monday``), and the name of each file begins or ends with the name of a photograph
      there (``0001.png`` or ``0001_mask.png`` for ``0001.jpg``).

    Args:
        images: names of the images in each folder.
        root: folder that contains all of them; it is never taken as a folder of label maps.

    Returns:
        for each folder of label maps, the folder of its photographs.
    """
    stems = {folder: {Path(name).stem for name in names} for folder, names in images.items()}
    photographs_of: dict[Path, Path] = {}
    for folder, names in images.items():
        if folder == root or not names or not all(name.lower().endswith(".png") for name in names):
            continue
        beside = [other for other in images if _is_beside(folder, other)
                  and all(_has_name_of(stem, stems[other]) for stem in stems[folder])]  # fmt: skip
        if not beside or not _are_label_maps(folder, names):
            continue
        photographs = next(
            (each for each in beside if not _are_label_maps(each, images[each])), None
        )
        if photographs is not None:
            photographs_of[folder] = photographs
    return photographs_of


def named_label_maps(images: Mapping[Path, Sequence[str]], root: Path) -> dict[Path, set[str]]:
    """Find label maps by their names, even in the folder of their photographs.

    A label map has the name of a photograph in any of the folders, plus one of the usual endings
    (``1.jpg`` and ``1_mask.png``). It is a PNG file with few distinct values or colours, in areas
    of one value. If one file of a folder with such a name and ending is no label map, none is.

    Args:
        images: names of the images in each folder.
        root: folder that contains all of them. If all its own images are label maps, none of
            them is returned: the user named this folder, so they are frames.

    Returns:
        names of the label maps in each folder that has any.
    """
    groups: dict[tuple[Path, str], list[str]] = defaultdict(list)
    photographs: set[str] = set()
    for folder, names in images.items():
        for name in names:
            stem = Path(name).stem
            ending = _LABEL_SUFFIX.search(stem)
            if ending and ending.start() and name.lower().endswith(".png"):
                groups[folder, ending[0]].append(name)
            else:
                photographs.add(_PHOTOGRAPH_SUFFIX.sub("", stem))
    label_maps: dict[Path, set[str]] = defaultdict(set)
    for (folder, suffix), group in groups.items():
        candidates = [name for name in group if Path(name).stem.removesuffix(suffix) in photographs]
        if candidates and _are_label_maps(folder, candidates, colours=True):
            label_maps[folder] |= set(candidates)
    if label_maps.get(root) == set(images.get(root, ())):
        del label_maps[root]
    return dict(label_maps)


def _has_name_of(stem: str, photographs: set[str]) -> bool:
    """Return whether a name equals a photograph's, or begins or ends with it at a separator."""
    if stem in photographs:
        return True
    separators = [match.span() for match in re.finditer(r"[_. -]+", stem)]
    return any(
        stem[:start] in photographs or stem[stop:] in photographs for start, stop in separators
    )


def _is_beside(folder: Path, other: Path) -> bool:
    """Return whether two paths differ in exactly one part."""
    parts, others = folder.parts, other.parts
    if len(parts) != len(others):
        return False
    return sum(one != two for one, two in zip(parts, others, strict=True)) == 1


def _are_label_maps(folder: Path, names: Sequence[str], *, colours: bool = False) -> bool:
    """Return whether files of a folder are label maps, judged by at most ``_CHECKED`` of them.

    Images of a single value may be either and are ignored. All others must be label maps, and at
    least one must be.
    """
    positions = np.linspace(0, len(names) - 1, min(_CHECKED, len(names))).astype(int)
    has_label_map = False
    for position in positions:
        is_label_map = _is_label_map(folder / names[position], colours)
        if is_label_map is False:
            return False
        has_label_map |= is_label_map is True
    return has_label_map


def _is_label_map(path: Path, colours: bool) -> bool | None:
    """Return whether an image has few values, in areas of one value; None if it has only one value.

    Args:
        path: the image.
        colours: whether colour images are checked, too; otherwise they are no label maps.
    """
    try:
        with Image.open(path) as image:
            is_coloured = colours and image.mode in ("RGB", "RGBA")
            if not is_coloured and image.mode not in ("1", "L", "P"):
                return False
            values = image.getcolors(_MAX_LABELS)
            if values is None or len(values) < 2:
                return None if values else False
            pixels_hwC = np.atleast_3d(np.asarray(image))
    except PILLOW_ERRORS:
        return False  # the builder names files that cannot be read
    equal = (pixels_hwC[:, 1:] == pixels_hwC[:, :-1]).all(axis=-1)
    return bool(equal.mean() > _SMOOTH)
