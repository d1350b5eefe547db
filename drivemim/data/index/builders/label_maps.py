"""Find label maps, such as segmentation masks, among photographs: by folder and by name."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from drivemim.data.index.image_header import PILLOW_ERRORS

_MAX_LABELS = 64
"""Most distinct values of a label map; dark photographs may have as few."""
_SMOOTH = 0.9
"""Smallest fraction of pixels of a label map that equal their neighbour; a sensor's noise leaves
less than a half, also in the dark."""
_CHECKED = 50
"""Largest number of files of a group that are decoded."""
_LABEL_SUFFIX = re.compile(
    r"([_. -](gt(fine|coarse)?|drivable|panoptic|semantic|instance|masks?|labels?|annotations?"
    r"|seg(mentation)?|((label|train|labeltrain|instance)_?)?ids?|colou?r|l))+$",
    re.IGNORECASE,
)
"""Usual ends of the names of label maps: ``_mask``, ``_train_id``, ``_gtFine_labelIds``, ..."""
_PHOTOGRAPH_SUFFIX = re.compile(r"[_. -](leftimg8bit|rgb|image|img|photo)$", re.IGNORECASE)


def label_maps_of(images: Mapping[Path, Sequence[str]], root: Path) -> dict[Path, Path]:
    """Find folders of label maps, and the folder of photographs that each belongs to.

    All files of such a folder are PNG, with a palette or one channel, few distinct values, and
    areas of one value. Images of a single value say nothing, so a folder of these is kept. The name
    of each, without the suffix, begins or ends with the words of a photograph's, in a folder whose
    path differs in one part (``images/monday`` and ``masks/monday``).

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
                  and all(_has_name_of(stem, stems[other]) for stem in stems[folder])]  # fmt: skip
        if not beside or not _are_label_maps(folder, names):
            continue
        photographs = next(
            (each for each in beside if not _are_label_maps(each, images[each])), None
        )
        if photographs is not None:
            found[folder] = photographs
    return found


def named_label_maps(images: Mapping[Path, Sequence[str]], root: Path) -> dict[Path, set[str]]:
    """Find label maps by their names, also among the photographs themselves.

    They are PNG with few distinct values or colours, and areas of one of them. Their names are
    those of photographs, in any folder, with one of the usual endings (``1.jpg`` and
    ``1_mask.png``).

    Args:
        images: names of the images in each folder.
        root: folder that contains them; if it has label maps only, they are frames.

    Returns:
        names of the label maps in each folder that has any.
    """
    groups: dict[tuple[Path, str], list[str]] = defaultdict(list)
    photographs: set[str] = set()
    for folder, names in images.items():
        for name in names:
            stem = Path(name).stem
            found = _LABEL_SUFFIX.search(stem)
            if found and found.start() and name.lower().endswith(".png"):
                groups[folder, found[0]].append(name)
            else:
                photographs.add(_PHOTOGRAPH_SUFFIX.sub("", stem))
    label_maps: dict[Path, set[str]] = defaultdict(set)
    for (folder, ending), group in groups.items():
        own = [name for name in group if Path(name).stem.removesuffix(ending) in photographs]
        if own and _are_label_maps(folder, own, colours=True):
            label_maps[folder] |= set(own)
    if label_maps.get(root) == set(images.get(root, ())):
        del label_maps[root]
    return dict(label_maps)


def _has_name_of(stem: str, photographs: set[str]) -> bool:
    """Return whether a name is a photograph's, or begins or ends with its words."""
    if stem in photographs:
        return True
    ends = [match.span() for match in re.finditer(r"[_. -]+", stem)]
    return any(stem[:first] in photographs or stem[last:] in photographs for first, last in ends)


def _is_beside(folder: Path, other: Path) -> bool:
    """Return whether two paths differ in exactly one part."""
    parts, others = folder.parts, other.parts
    if len(parts) != len(others):
        return False
    return sum(one != two for one, two in zip(parts, others, strict=True)) == 1


def _are_label_maps(folder: Path, names: Sequence[str], *, colours: bool = False) -> bool:
    """Return whether all of some files that tell anything are label maps, and any of them is."""
    places = np.linspace(0, len(names) - 1, min(_CHECKED, len(names))).astype(int)
    is_any = False
    for place in places:
        is_label_map = _is_label_map(folder / names[place], colours)
        if is_label_map is False:
            return False
        is_any |= is_label_map is True
    return is_any


def _is_label_map(path: Path, colours: bool) -> bool | None:
    """Return whether an image has few values, in areas; None if it has a single one."""
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
