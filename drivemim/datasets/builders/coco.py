"""COCO files as typed rows, with the sequence fields that driving data adds to images."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import msgspec

from drivemim.errors import DataError

Corners = tuple[float, float, float, float]


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
        names = {category.id: category.name for category in document.categories}
        known = {image.id for image in document.images}
        boxes: defaultdict[int, list[tuple[str, Corners, str]]] = defaultdict(list)
        for annotation in document.annotations:
            if annotation.category_id not in names:
                raise DataError(
                    f"{path}: annotation {annotation.id} has category_id "
                    f"{annotation.category_id}, which its categories lack"
                )
            if annotation.image_id not in known:
                raise DataError(
                    f"{path}: annotation {annotation.id} has image_id {annotation.image_id}, "
                    "which its images lack"
                )
            if annotation.iscrowd:
                continue
            x, y, width, height = annotation.bbox
            track = "" if annotation.track_id is None else str(annotation.track_id)
            box = (names[annotation.category_id], (x, y, x + width, y + height), track)
            boxes[annotation.image_id].append(box)
        self._boxes = dict(boxes)

    def boxes_of(self, image_id: int) -> tuple[tuple[str, Corners, str], ...]:
        """Category name, (x1, y1, x2, y2) pixels and track name ("" for none) of each box."""
        return tuple(self._boxes.get(image_id, ()))


def read_coco(path: Path) -> CocoFile:
    """Read a COCO file.

    Raises:
        FileNotFoundError: if it is not there.
        ValueError: if it is no COCO file, or names an image or category that it lacks.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no COCO file {path}; check --coco")
    try:
        document = msgspec.json.decode(path.read_bytes(), type=_Document)
    except msgspec.DecodeError as error:
        raise DataError(f"{path} is no COCO file: {error}") from None
    return CocoFile(path, document)
