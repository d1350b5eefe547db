"""COCO and CocoVID files as typed rows, with the sequence fields that driving data adds to images.

``data/README.md`` lists for each field whether it is read, ignored or refused.
"""

from __future__ import annotations

import logging
import math
import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import NamedTuple

from drivemim.data.index.builders.coco_fields import (
    CocoAnnotation,
    CocoDocument,
    CocoImage,
    check_once,
    read_document,
)
from drivemim.data.index.builders.coco_units import check_units
from drivemim.errors import DataError
from drivemim.files import posix_name

_LOG = logging.getLogger(__name__)
_ON_WINDOWS = re.compile(r"[A-Za-z]:[\\/]|\\\\")
"""Beginning of an absolute Windows path: a drive letter, or two backslashes of a network share."""
_XYWH = 1
"""Detectron2's ``BoxMode`` of x, y, width, height in pixels."""


class CocoBox(NamedTuple):
    """A box of an image.

    Attributes:
        category: name of its category.
        corners: x1, y1, x2, y2 in pixels.
        track: name of its track, ``""`` for none.
        crowd: whether the box counts neither as an object nor as background: it is drawn around
            many objects (COCO's ``iscrowd``), or marked ``ignore``.
    """

    category: str
    corners: tuple[float, float, float, float]
    track: str
    crowd: bool


class CocoFile:
    """A COCO file with its boxes by image.

    Attributes:
        path: the file.
        images: in the file's order, with ``sequence`` and ``frame`` filled from the fields of
            CocoVID or TAO.
        categories: names of the categories, in the file's order.
    """

    def __init__(self, path: Path, document: CocoDocument) -> None:
        self.path = path
        self.images = document.images
        for image in document.images:
            _check_image(path, image)
        fix = "number images, annotations and categories anew where files were merged"
        check_once(path, "image id", (image.id for image in document.images), fix)
        check_once(path, "annotation id", (box.id for box in document.annotations), fix)
        check_once(path, "category id", (each.id for each in document.categories), fix)
        fix = "list every image once, with all its annotations"
        check_once(path, "file_name", (image.file_name for image in document.images), fix)
        self.categories = _category_names(path, document)
        _read_videos(path, document)
        self._boxes = _boxes_by_image(path, document)

    def boxes_of(self, image_id: int) -> tuple[CocoBox, ...]:
        """Return the boxes of one image, in the file's order."""
        return tuple(self._boxes.get(image_id, ()))


def read_coco(path: Path) -> CocoFile:
    """Read a COCO file.

    Unread fields, and boxes that are clipped or left out, are logged as warnings.

    Raises:
        FileNotFoundError: if the file does not exist.
        DataError: if it is not a COCO file; if it refers to an image, category or video that it
            does not list, or lists one twice; if an image is smaller than 1 pixel or has an
            absolute Windows path; if an annotation has no box, or one that is not x, y, width,
            height in pixels; or if two boxes of an image belong to the same track.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no COCO file {path}; check --coco")
    return CocoFile(path, read_document(path))


def _check_image(path: Path, image: CocoImage) -> None:
    """Refuse an image without a size, or with an absolute Windows path.

    In the ``file_name`` of an accepted image, slashes replace backslashes.
    """
    if image.width < 1 or image.height < 1:
        raise DataError(
            f"{path}: image {image.id} is {image.width} x {image.height} pixels; give width and "
            f"height of {image.file_name or 'its file'}"
        )
    if _ON_WINDOWS.match(image.file_name):
        raise DataError(
            f"{path}: image {image.id} has file_name {image.file_name!r}, a place on another "
            "computer; make it relative to the folder that the images lie in"
        )
    image.file_name = posix_name(image.file_name)


def _category_names(path: Path, document: CocoDocument) -> list[str]:
    """Return the category names in the file's order, each once.

    Only categories with boxes must have different names: Roboflow adds a first category for the
    whole project, which has no boxes and may have the name of another category.
    """
    used = {annotation.category_id for annotation in document.annotations}
    names = [category.name for category in document.categories if category.id in used]
    fix = "merge the two, and give their annotations the id of one"
    check_once(path, "category", names, fix)
    return list(dict.fromkeys(category.name for category in document.categories))


def _read_videos(path: Path, document: CocoDocument) -> None:
    """Fill ``sequence`` and ``frame`` of images that have the fields of CocoVID or TAO instead."""
    names = {str(video.id): video.name or f"video-{video.id}" for video in document.videos}
    fix = "give every video an id and a name of its own"
    check_once(path, "video id", (video.id for video in document.videos), fix)
    check_once(path, "video name", names.values(), fix)
    for image in document.images:
        video = _video_key(image.video_id)
        if video and not image.sequence:
            if names and video not in names:
                raise DataError(
                    f"{path}: image {image.id} has video_id {video}, which its videos lack; add "
                    "the video, or leave video_id out"
                )
            image.sequence = names.get(video, f"video-{video}")
        # The frame_id of a single image in a file of videos (video_id -1) says nothing.
        if image.frame is None and (video or image.video_id is None):
            image.frame = image.frame_index if image.frame_id is None else image.frame_id


def _video_key(video_id: int | str | None) -> str:
    """Return a ``video_id`` as text, ``""`` for none.

    A negative id means none, too: single images in a file of videos have -1.
    """
    return "" if video_id is None or re.fullmatch(r"-\d+", str(video_id)) else str(video_id)


def _boxes_by_image(path: Path, document: CocoDocument) -> dict[int, list[CocoBox]]:
    names = {category.id: category.name for category in document.categories}
    images = {image.id: image for image in document.images}
    boxes: defaultdict[int, list[CocoBox]] = defaultdict(list)
    tracks: dict[tuple[int, str], int] = {}
    has_unread_instance_id = False
    for annotation in document.annotations:
        image = images.get(annotation.image_id)
        if image is None:
            raise DataError(
                f"{path}: annotation {annotation.id} has image_id {annotation.image_id}, "
                "which its images lack; add the image, or take the annotation out"
            )
        box = _box(path, annotation, image, names)
        has_unread_instance_id |= annotation.instance_id is not None and not image.sequence
        if box.track:
            first_id = tracks.setdefault((image.id, box.track), annotation.id)
            if first_id != annotation.id:
                raise DataError(
                    f"{path}: annotations {first_id} and {annotation.id} of image {image.id} are "
                    f"of the same track {box.track!r}; a track has one box per image (-1 means no "
                    "track)"
                )
        boxes[image.id].append(box)
    if has_unread_instance_id:
        _LOG.warning(
            "%s: instance_id is not read for images without video_id or sequence, where it may "
            "count the objects of one image; track_id is",
            path,
        )
    check_units(
        path,
        [(image, box.corners) for image in document.images for box in boxes.get(image.id, ())],
    )
    _warn_of_copies(path, boxes)
    return dict(boxes)


def _box(
    path: Path, annotation: CocoAnnotation, image: CocoImage, names: dict[int, str]
) -> CocoBox:
    """Return the box of an annotation; refuse an annotation without a valid one.

    Args:
        path: the COCO file, for errors.
        annotation: the annotation.
        image: its image.
        names: category names by id.
    """
    what = f"{path}: annotation {annotation.id}"
    if annotation.category_id not in names:
        raise DataError(
            f"{what} has category_id {annotation.category_id}, which its categories lack; there "
            f"are {', '.join(f'{number} ({name})' for number, name in names.items()) or 'none'}"
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
    if annotation.video_id is not None and _video_key(annotation.video_id) != _video_key(
        image.video_id
    ):
        raise DataError(
            f"{what} has video_id {annotation.video_id}, but its image {image.id} "
            f"{'none' if image.video_id is None else image.video_id}"
        )
    x, y, width, height = annotation.bbox
    if not all(map(math.isfinite, annotation.bbox)):  # JSON has no NaN, but the text "nan" is read
        raise DataError(
            f"{what} has bbox {annotation.bbox}; give four numbers, or take the annotation out"
        )
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
    """Return the name of an annotation's track, ``""`` for none.

    ``instance_id`` names a track only if the image belongs to a sequence: for other images it may
    count the objects of one image. A negative id means none.
    """
    track = annotation.track_id
    if track is None and image.sequence:
        track = annotation.instance_id
    return "" if track is None or re.fullmatch(r"-\d+", str(track)) else str(track)


def _warn_of_copies(path: Path, boxes: dict[int, list[CocoBox]]) -> None:
    """Warn of duplicate boxes: same image, class and corners under another id."""
    counts = Counter(
        (image, box.category, box.corners, box.crowd)
        for image, image_boxes in boxes.items()
        for box in image_boxes
    )
    copies = counts.total() - len(counts)
    if copies:
        first_image = next(key[0] for key, count in counts.items() if count > 1)
        _LOG.warning(
            "%s: %d of %d boxes are copies of another one of the same image and category under "
            "another id, first in image %d; they are kept",
            path, copies, counts.total(), first_image,
        )  # fmt: skip
