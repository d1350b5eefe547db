"""Decode COCO and CocoVID files, and warn of fields that are not read.

``data/README.md`` lists for each field whether it is read, ignored or refused.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import Any

import msgspec

from drivemim.data.index.json_text import Content, JsonText
from drivemim.errors import DataError

_LOG = logging.getLogger(__name__)
_WITHOUT_EFFECT = {
    "images": {"license", "flickr_url", "coco_url", "date_captured", "mot_frame_id"},
    "annotations": {"area", "segmentation", "keypoints", "num_keypoints", "caption"},
    "videos": {"width", "height", "length", "license", "flickr_url", "coco_url", "date_captured"},
}
"""Fields of each section that are not read, without a warning: the index does not need them."""
_SECTIONS_WITHOUT_EFFECT = {"info", "licenses", "type", "tracks"}
"""Sections that are not read, without a warning."""


class CocoImage(msgspec.Struct, gc=False):
    """An image; ``sequence`` is its scene, and ``frame`` its position in the scene.

    CocoVID uses ``video_id`` and ``frame_id`` for this, TAO ``frame_index``.
    """

    id: int
    file_name: str
    width: int
    height: int
    sequence: str = ""
    frame: int | None = None
    video_id: int | str | None = None
    frame_id: int | None = None
    frame_index: int | None = None


class CocoAnnotation(msgspec.Struct, gc=False):
    """A box of an image.

    ``bbox`` is x, y, width, height in pixels; ``bbox_mode`` is Detectron2's ``BoxMode``. TAO and
    CocoVID name the track ``track_id`` or ``instance_id``.
    """

    id: int
    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float] | None = None
    bbox_mode: int | None = None
    iscrowd: int | bool | None = None
    ignore: int | bool | None = None
    track_id: int | str | None = None
    instance_id: int | str | None = None
    video_id: int | str | None = None


class CocoCategory(msgspec.Struct, gc=False):
    """A category."""

    id: int
    name: str


class CocoVideo(msgspec.Struct, gc=False):
    """A video of CocoVID."""

    id: int | str
    name: str = ""


class CocoDocument(msgspec.Struct):
    """The parts of a COCO file that are read."""

    images: list[CocoImage]
    annotations: list[CocoAnnotation] = []
    categories: list[CocoCategory] = []
    videos: list[CocoVideo] = []


_READ: dict[str, type[msgspec.Struct]] = {
    "images": CocoImage,
    "annotations": CocoAnnotation,
    "videos": CocoVideo,
}
"""Sections that are searched for unread fields, each with the class of the fields that are read."""
_FIXES = (
    (r"field `(width|height)`|`\$\.images\[\d+\]\.(width|height)`",
     "give every image the width and height of its file in pixels"),
    (r"field `file_name`", "name the file of every image in file_name"),
    (r"field `images`", "a COCO file has images, annotations and categories; one of YouTube-VIS, "
     "with the boxes of whole videos, has to be written as CocoVID"),
    (r"got `str` - at .*id`", "number images, annotations and categories, without leading zeros"),
    (r"`\$\.annotations\[\d+\]\.bbox", "give bbox as four numbers: x, y, width, height in pixels"),
    (r"^Expected `object`, got `array`$",
     "a list is a file of results; name the file of images, annotations and categories"),
    ("", "correct the entry, or export the file again"),
)  # fmt: skip
"""Patterns of msgspec's messages, each with the fix; the first that matches applies."""


def read_document(path: Path) -> CocoDocument:
    """Read a COCO file's content; log the names of unread fields as a warning.

    Numbers that are written as text (``"7"``) or as 7.0 are read as numbers.

    Raises:
        DataError: if the file is not a COCO file; the message says how to fix it.
    """
    begin = f"{path} is not a COCO file: "
    text = JsonText(path, path.read_bytes(), begin=begin, fix="copy or export it again")
    document: CocoDocument = decode_entries(text, CocoDocument, begin)
    if document.images and not document.annotations:
        _warn_without_annotations(path, text.content, len(document.images))
    if unread := _unread_fields(text.content):
        _LOG.warning("%s has fields that are not read: %s", path, ", ".join(unread))
    return document


def _warn_without_annotations(path: Path, content: Content, image_count: int) -> None:
    has_list = "annotations" in msgspec.json.decode(content, type=dict[str, msgspec.Raw])
    _LOG.warning(
        "%s %s: a detector would count its %d images as images without objects. Index it as a "
        "split for pretraining only, or give the file that has the boxes",
        path,
        "has an empty list of annotations" if has_list else "has no annotations",
        image_count,
    )


def check_once(path: Path, what: str, values: Iterable[Hashable], fix: str) -> None:
    """Refuse a file in which a value that must be unique occurs twice.

    Args:
        path: the file, for the error.
        what: what the values are, such as ``image id``, for the error.
        values: the values of all rows.
        fix: what the user can do, for the error.

    Raises:
        DataError: if a value occurs twice; the message names the first such value.
    """
    twice = [value for value, count in Counter(values).items() if count > 1]
    if twice:
        raise DataError(f"{path} has {what} {twice[0]!r} more than once; {fix}")


def decode_entries(text: JsonText, schema: Any, begin: str) -> Any:
    """Return a file of COCO's formats as objects of a type; numbers may be written as text.

    Args:
        text: text of the file.
        schema: the type to decode into.
        begin: start of the error messages, with the file's name.

    Raises:
        DataError: if an entry does not have the type; the message names the entry and the fix.
    """
    try:
        return text.decode(schema)
    except msgspec.ValidationError:
        pass
    try:
        return text.decode(schema, strict=False)
    except msgspec.ValidationError as error:
        text.check_document()
        fix = next(fix for pattern, fix in _FIXES if re.search(pattern, str(error)))
        raise DataError(f"{begin}{error}; {fix}") from None


def _unread_fields(data: Content) -> list[str]:
    """Return the fields that a warning must name: neither read nor known to have no effect.

    A field of a section's rows is written ``section.field``; an unknown section is its name alone.
    """
    sections = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
    known = {
        *_SECTIONS_WITHOUT_EFFECT,
        *(field.name for field in msgspec.structs.fields(CocoDocument)),
    }
    unread = [name for name in sections if name not in known]
    fields_of = msgspec.json.Decoder(dict[str, msgspec.Raw])
    for section, cls in _READ.items():
        names: dict[str, None] = {}  # a set in the order of the file
        for row in msgspec.json.decode(sections.get(section, b"[]"), type=list[msgspec.Raw]):
            names.update(dict.fromkeys(fields_of.decode(row)))
        read = {field.name for field in msgspec.structs.fields(cls)}
        unread += [
            f"{section}.{name}" for name in names if name not in read | _WITHOUT_EFFECT[section]
        ]
    return unread
