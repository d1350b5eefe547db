"""COCO and CocoVID files as typed rows, with the sequence fields that driving data adds to images.

What is read, what has no effect and what is refused is listed field by field in ``data/README.md``.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import NamedTuple

import msgspec

from drivemim.errors import DataError

_LOG = logging.getLogger(__name__)
_WITHOUT_EFFECT = {
    "images": {"license", "flickr_url", "coco_url", "date_captured", "mot_frame_id"},
    "annotations": {"area", "segmentation", "keypoints", "num_keypoints", "caption"},
    "videos": {"width", "height", "length", "license", "flickr_url", "coco_url", "date_captured"},
}
_SECTIONS_WITHOUT_EFFECT = {"info", "licenses", "type", "tracks"}
_XYWH = 1
"""Detectron2's ``BoxMode`` of x, y, width, height in pixels."""

_FEW = 3
"""Boxes out of their images that may be mistakes of single boxes, not of the file's units."""
_MANY = 20
"""Boxes that tell percent from pixels."""
_PERCENT = 100
_LARGE = 300
"""Pixels of an image in which boxes are not all within the first 100."""


class CocoImage(msgspec.Struct, gc=False):
    """An image; ``sequence`` and ``frame`` say which drive it belongs to and where in it.

    CocoVID says the same with ``video_id`` and ``frame_id``.
    """

    id: int
    file_name: str
    width: int
    height: int
    sequence: str = ""
    frame: int | None = None
    video_id: int | None = None
    frame_id: int | None = None


class CocoAnnotation(msgspec.Struct, gc=False):
    """A box: ``bbox`` is x, y, width, height in pixels."""

    id: int
    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float] | None = None
    bbox_mode: int | None = None
    iscrowd: int | bool | None = None
    ignore: int | bool | None = None
    track_id: int | str | None = None
    instance_id: int | str | None = None
    video_id: int | None = None


class CocoCategory(msgspec.Struct, gc=False):
    """A category."""

    id: int
    name: str


class _Video(msgspec.Struct, gc=False):
    id: int
    name: str = ""


class _Document(msgspec.Struct):
    images: list[CocoImage]
    annotations: list[CocoAnnotation] = []
    categories: list[CocoCategory] = []
    videos: list[_Video] = []


_READ: dict[str, type[msgspec.Struct]] = {
    "images": CocoImage,
    "annotations": CocoAnnotation,
    "videos": _Video,
}


class CocoBox(NamedTuple):
    """A box of an image.

    Attributes:
        category: name.
        corners: x1, y1, x2, y2 in pixels.
        track: name, ``""`` for none.
        crowd: whether it is neither object nor background: drawn around many objects, or marked
            ``ignore``.
    """

    category: str
    corners: tuple[float, float, float, float]
    track: str
    crowd: bool


class CocoFile:
    """A COCO file, its boxes by image.

    Attributes:
        path: the file.
        images: in the file's order, ``sequence`` and ``frame`` filled from CocoVID's fields.
        categories: names, in the file's order.
    """

    def __init__(self, path: Path, document: _Document) -> None:
        self.path = path
        self.images = document.images
        self.categories = [category.name for category in document.categories]
        _check_once(path, "image id", (image.id for image in document.images))
        _check_once(path, "file_name", (image.file_name for image in document.images))
        _check_once(path, "annotation id", (box.id for box in document.annotations))
        _check_once(path, "category id", (category.id for category in document.categories))
        _check_once(path, "category", self.categories)
        for image in document.images:
            if image.width < 1 or image.height < 1:
                raise DataError(
                    f"{path}: image {image.id} is {image.width} x {image.height} pixels"
                )
        _read_videos(path, document)
        self._boxes = _boxes_by_image(path, document)

    def boxes_of(self, image_id: int) -> tuple[CocoBox, ...]:
        """The boxes of one image, in the file's order."""
        return tuple(self._boxes.get(image_id, ()))


def read_coco(path: Path) -> CocoFile:
    """Read a COCO file.

    Fields that are not read, and boxes that are cut or left out, are logged as warnings.

    Raises:
        FileNotFoundError: if it is not there.
        ValueError: if it is no COCO file, names an image, category or video that it lacks or has
            twice, has an annotation without a box, or has an image or a box of a size below zero.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no COCO file {path}; check --coco")
    data = path.read_bytes()
    try:
        document = msgspec.json.decode(data, type=_Document)
        unread = _unread_fields(data)
    except msgspec.DecodeError as error:
        raise DataError(f"{path} is no COCO file: {error}") from None
    if unread:
        _LOG.warning("%s has fields that are not read: %s", path, ", ".join(unread))
    return CocoFile(path, document)


def _unread_fields(data: bytes) -> list[str]:
    """Fields that are neither read nor known to have no effect, as ``section.field``."""
    sections = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
    known = {
        *_SECTIONS_WITHOUT_EFFECT,
        *(field.name for field in msgspec.structs.fields(_Document)),
    }
    unread = [name for name in sections if name not in known]
    fields_of = msgspec.json.Decoder(dict[str, msgspec.Raw])
    for section, cls in _READ.items():
        found: dict[str, None] = {}
        for row in msgspec.json.decode(sections.get(section, b"[]"), type=list[msgspec.Raw]):
            found.update(dict.fromkeys(fields_of.decode(row)))
        read = {field.name for field in msgspec.structs.fields(cls)}
        unread += [
            f"{section}.{name}" for name in found if name not in read | _WITHOUT_EFFECT[section]
        ]
    return unread


def _check_once(path: Path, what: str, values: Iterable[Hashable]) -> None:
    twice = [value for value, count in Counter(values).items() if count > 1]
    if twice:
        raise DataError(f"{path} has {what} {twice[0]!r} more than once")


def _read_videos(path: Path, document: _Document) -> None:
    """Fill ``sequence`` and ``frame`` of images that have CocoVID's fields instead."""
    names = {video.id: video.name or f"video-{video.id}" for video in document.videos}
    _check_once(path, "video id", (video.id for video in document.videos))
    _check_once(path, "video name", names.values())
    for image in document.images:
        if image.video_id is not None and not image.sequence:
            if names and image.video_id not in names:
                raise DataError(
                    f"{path}: image {image.id} has video_id {image.video_id}, which its videos lack"
                )
            image.sequence = names.get(image.video_id, f"video-{image.video_id}")
        if image.frame is None:
            image.frame = image.frame_id


def _boxes_by_image(path: Path, document: _Document) -> dict[int, list[CocoBox]]:
    names = {category.id: category.name for category in document.categories}
    images = {image.id: image for image in document.images}
    boxes: defaultdict[int, list[CocoBox]] = defaultdict(list)
    tracks: dict[tuple[int, str], int] = {}
    unlinked = False
    for annotation in document.annotations:
        image = images.get(annotation.image_id)
        if image is None:
            raise DataError(
                f"{path}: annotation {annotation.id} has image_id {annotation.image_id}, "
                "which its images lack"
            )
        box = _box(path, annotation, image, names)
        unlinked |= annotation.instance_id is not None and not image.sequence
        if box.track:
            first = tracks.setdefault((image.id, box.track), annotation.id)
            if first != annotation.id:
                raise DataError(
                    f"{path}: annotations {first} and {annotation.id} of image {image.id} are of "
                    f"the same track {box.track!r}; a track has one box an image (-1 is no track)"
                )
        boxes[image.id].append(box)
    if unlinked:
        _LOG.warning(
            "%s: instance_id is not read for images without video_id or sequence, where it may "
            "count the objects of one image; track_id is",
            path,
        )
    _check_units(path, document, boxes)
    _warn_of_copies(path, boxes)
    return dict(boxes)


def _box(
    path: Path, annotation: CocoAnnotation, image: CocoImage, names: dict[int, str]
) -> CocoBox:
    what = f"{path}: annotation {annotation.id}"
    if annotation.category_id not in names:
        raise DataError(
            f"{what} has category_id {annotation.category_id}, which its categories lack"
        )
    if annotation.bbox is None:
        raise DataError(
            f"{what} has no bbox, and segmentations are not read; give it a bbox of x, y, width, "
            "height, or take it out"
        )
    if annotation.bbox_mode not in (None, _XYWH):
        raise DataError(
            f"{what} has bbox_mode {annotation.bbox_mode}; give bbox as x, y, width, height "
            f"(bbox_mode {_XYWH})"
        )
    if annotation.video_id is not None and annotation.video_id != image.video_id:
        raise DataError(
            f"{what} has video_id {annotation.video_id}, but its image {image.id} "
            f"{'none' if image.video_id is None else image.video_id}"
        )
    x, y, width, height = annotation.bbox
    if width < 0 or height < 0:
        raise DataError(
            f"{what} has a box {width:g} wide and {height:g} high; bbox is x, y, width, height"
        )
    return CocoBox(
        category=names[annotation.category_id],
        corners=(x, y, x + width, y + height),
        track=_track(annotation, image),
        crowd=bool(annotation.iscrowd or annotation.ignore),
    )


def _track(annotation: CocoAnnotation, image: CocoImage) -> str:
    """Name of the track; within one image, ``instance_id`` may as well count its objects."""
    track = annotation.track_id
    if track is None and image.sequence:
        track = annotation.instance_id
    return "" if track is None or (isinstance(track, int) and track < 0) else str(track)


def _check_units(path: Path, document: _Document, boxes: dict[int, list[CocoBox]]) -> None:
    """Refuse boxes in shares of the image; say how many are cut at its border or have no area."""
    found = [(image, box.corners) for image in document.images for box in boxes.get(image.id, ())]
    if any(corners != (0, 0, 0, 0) for _, corners in found) and all(
        max(corners) <= 1 for _, corners in found
    ):
        raise DataError(
            f"{path}: no box reaches beyond 1 pixel; give bbox in pixels, not in shares of the "
            "image"
        )
    empty = sum(x1 == x2 or y1 == y2 for _, (x1, y1, x2, y2) in found)
    if empty:
        _LOG.warning("%s: %d of %d boxes have no area and are left out", path, empty, len(found))
    cut = [
        image
        for image, (x1, y1, x2, y2) in found
        if min(x1, y1) < -1 or x2 > image.width + 1 or y2 > image.height + 1
    ]
    if len(cut) >= _FEW and 2 * len(cut) > len(found):
        raise DataError(
            f"{path}: {len(cut)} of {len(found)} boxes reach out of their images, first in "
            f"{cut[0].file_name}; is bbox x1, y1, x2, y2? Give x, y, width, height in pixels"
        )
    if cut:
        _LOG.warning(
            "%s: %d of %d boxes reach out of their images, first in %s, and are cut there; bbox is "
            "read as x, y, width, height",
            path, len(cut), len(found), cut[0].file_name,
        )  # fmt: skip
    large = sum(max(image.width, image.height) > _LARGE for image in document.images)
    if (
        len(found) >= _MANY
        and 2 * large > len(document.images)
        and all(max(corners) <= _PERCENT for _, corners in found)
    ):
        _LOG.warning(
            "%s: none of %d boxes reaches beyond %d pixels, but most images are larger than %d; is "
            "bbox in percent? It is read as pixels",
            path, len(found), _PERCENT, _LARGE,
        )  # fmt: skip


def _warn_of_copies(path: Path, boxes: dict[int, list[CocoBox]]) -> None:
    """Say how many boxes are drawn again: same image, class and corners under another id."""
    counts = Counter(
        (image, box.category, box.corners, box.crowd) for image, own in boxes.items() for box in own
    )
    copies = counts.total() - len(counts)
    if copies:
        image = next(key[0] for key, count in counts.items() if count > 1)
        _LOG.warning(
            "%s: %d of %d boxes are copies of another one of the same image and category under "
            "another id, first in image %d; they are kept",
            path, copies, counts.total(), image,
        )  # fmt: skip
