"""COCO files as typed rows, with the sequence fields that driving data adds to images."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import NamedTuple

import msgspec

from drivemim.errors import DataError


class CocoImage(msgspec.Struct, gc=False):
    """An image; ``sequence`` and ``frame`` say which drive it belongs to and where in it."""

    id: int
    file_name: str
    width: int
    height: int
    sequence: str = ""
    frame: int | None = None


class CocoAnnotation(msgspec.Struct, gc=False):
    """A box: ``bbox`` is x, y, width, height in pixels."""

    id: int
    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    iscrowd: int = 0
    track_id: int | None = None


class CocoCategory(msgspec.Struct, gc=False):
    """A category."""

    id: int
    name: str


class _Document(msgspec.Struct):
    images: list[CocoImage]
    annotations: list[CocoAnnotation] = []
    categories: list[CocoCategory] = []


class CocoBox(NamedTuple):
    """A box of an image.

    Attributes:
        category: name.
        corners: x1, y1, x2, y2 in pixels.
        track: name, ``""`` for none.
        crowd: whether it is drawn around many objects.
    """

    category: str
    corners: tuple[float, float, float, float]
    track: str
    crowd: bool


class CocoFile:
    """A COCO file, its boxes by image.

    Attributes:
        path: the file.
        images: in the file's order.
        categories: names, in the file's order.
    """

    def __init__(self, path: Path, document: _Document) -> None:
        self.path = path
        self.images = document.images
        self.categories = [category.name for category in document.categories]
        _check_once(path, "image id", (image.id for image in document.images))
        _check_once(path, "file_name", (image.file_name for image in document.images))
        _check_once(path, "category id", (category.id for category in document.categories))
        _check_once(path, "category", self.categories)
        for image in document.images:
            if image.width < 1 or image.height < 1:
                raise DataError(
                    f"{path}: image {image.id} is {image.width} x {image.height} pixels"
                )
        names = {category.id: category.name for category in document.categories}
        known = {image.id for image in document.images}
        boxes: defaultdict[int, list[CocoBox]] = defaultdict(list)
        for annotation in document.annotations:
            if annotation.image_id not in known:
                raise DataError(
                    f"{path}: annotation {annotation.id} has image_id {annotation.image_id}, "
                    "which its images lack"
                )
            boxes[annotation.image_id].append(_box(path, annotation, names))
        self._boxes = dict(boxes)

    def boxes_of(self, image_id: int) -> tuple[CocoBox, ...]:
        """The boxes of one image, in the file's order."""
        return tuple(self._boxes.get(image_id, ()))


def read_coco(path: Path) -> CocoFile:
    """Read a COCO file.

    Raises:
        FileNotFoundError: if it is not there.
        ValueError: if it is no COCO file, names an image or category that it lacks or has twice,
            or has an image or a box of a size below zero.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no COCO file {path}; check --coco")
    try:
        document = msgspec.json.decode(path.read_bytes(), type=_Document)
    except msgspec.DecodeError as error:
        raise DataError(f"{path} is no COCO file: {error}") from None
    return CocoFile(path, document)


def _check_once(path: Path, what: str, values: Iterable[Hashable]) -> None:
    twice = [value for value, count in Counter(values).items() if count > 1]
    if twice:
        raise DataError(f"{path} has {what} {twice[0]!r} more than once")


def _box(path: Path, annotation: CocoAnnotation, names: dict[int, str]) -> CocoBox:
    if annotation.category_id not in names:
        raise DataError(
            f"{path}: annotation {annotation.id} has category_id "
            f"{annotation.category_id}, which its categories lack"
        )
    x, y, width, height = annotation.bbox
    if width < 0 or height < 0:
        raise DataError(
            f"{path}: annotation {annotation.id} has a box {width:g} wide and {height:g} high; "
            "bbox is x, y, width, height"
        )
    track = "" if annotation.track_id is None else str(annotation.track_id)
    return CocoBox(
        category=names[annotation.category_id],
        corners=(x, y, x + width, y + height),
        track=track,
        crowd=bool(annotation.iscrowd),
    )
