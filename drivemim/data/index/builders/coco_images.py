"""Find the folder that the image paths of a COCO file are relative to."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from drivemim.data.index.builders.coco import CocoFile
from drivemim.errors import DataError
from drivemim.files import RealPaths


def base_folder(parsed: CocoFile, roots: Sequence[Path], real: RealPaths) -> Path:
    """Return the folder that the paths of a COCO file's images are relative to.

    All paths are relative to the same folder: images that are missing beside the COCO file must not
    be taken from another camera's folder, where files have the same names.

    Args:
        parsed: the file.
        roots: folders that are indexed.
        real: cache of real paths, to compare files.

    Returns:
        the COCO file's own folder if it is in a root and has any of the images with relative paths;
        else the root that has any of them. If all paths are absolute: the COCO file's own folder
        if it is in a root, else the first root.

    Raises:
        FileNotFoundError: if no folder has any of the images.
        DataError: if two folders have different images of these names.
    """
    beside = parsed.path.parent
    names = [image.file_name for image in parsed.images if not os.path.isabs(image.file_name)]
    inside = any(Path(real(beside)).is_relative_to(real(root)) for root in roots)
    if not names:
        return beside if inside else roots[0]
    is_beside = _has_any(beside, names)
    if inside and is_beside:
        return beside
    owners = [root for root in roots if _has_any(root, names)]
    if not owners:
        fix = f"--root {beside}" if is_beside else "the folder that its paths are relative to"
        raise FileNotFoundError(
            f"{parsed.path} lists {names[0]}, which is in none of {', '.join(map(str, roots))}; "
            f"give {fix}{'' if is_beside else ' as --root'}"
        )
    for other in [*owners[1:], *([beside] if is_beside else [])]:
        for name in names:
            if (other / name).is_file() and real(other / name) != real(owners[0] / name):
                raise DataError(
                    f"{parsed.path} lists {name}, which may be in {owners[0]} or in {other}; put "
                    f"{parsed.path.name} beside its images and give that folder as --root, or "
                    "write file_name from a folder above both and give that one"
                )
    return owners[0]


def touched_roots(
    parsed: CocoFile, base: Path, roots: Sequence[Path], real: RealPaths
) -> set[Path]:
    """Return the roots that a COCO file describes.

    These contain one of its images or ``base``. They are not searched for other images.
    """
    folders = {Path(real(base / image.file_name)).parent for image in parsed.images}
    if not all(os.path.isabs(image.file_name) for image in parsed.images) or not folders:
        folders.add(Path(real(base)))
    return {root for root in roots if any(folder.is_relative_to(real(root)) for folder in folders)}


def _has_any(folder: Path, names: Sequence[str]) -> bool:
    return any((folder / name).is_file() for name in names)
