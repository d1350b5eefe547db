"""Reading of a detector's COCO results as columns, sorted by the frames of an index.

Letters: D detections.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from drivemim.array_types import Floats, Ints
from drivemim.clips import CLASSES
from drivemim.data.boxes.box_sources import ClassMap
from drivemim.data.class_lists import category_labels
from drivemim.data.classes import check_class_map
from drivemim.data.index.builders.coco_fields import check_once, decode_entries
from drivemim.data.index.frame_index import FrameIndex
from drivemim.data.index.json_text import JsonText
from drivemim.errors import ConfigError, DataError
from drivemim.files import RealPaths, path_from, plain_path, posix_name

Id: TypeAlias = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
"""An id that fits into int64."""


class _Result(msgspec.Struct, gc=False):
    """An entry of a results file; ``bbox`` is x, y, width, height."""

    image_id: Id
    category_id: Id
    bbox: tuple[float, float, float, float]
    score: float


class _Image(msgspec.Struct, gc=False):
    """An image of a COCO file; a width or height of 0 is unknown."""

    id: Id
    file_name: str
    width: int = 0
    height: int = 0


class _Category(msgspec.Struct, gc=False):
    """A category of a COCO file."""

    id: Id
    name: str


class _ImageFile(msgspec.Struct):
    """A COCO file with images: the fields that are read."""

    images: list[_Image]
    categories: list[_Category]


@dataclass(frozen=True, eq=False)
class DetectionTable:
    """Detections in some frames of an index, D in total, sorted by frame.

    Attributes:
        row_D: int64, row of ``index.frames``.
        boxes_D4: float32, x1 y1 x2 y2 pixels of the stored image.
        label_D: int8 (int16 with more than 127 classes), position in the classes.
    """

    row_D: Ints
    boxes_D4: NDArray[np.float32]
    label_D: NDArray[np.signedinteger[Any]]


def read_results(
    path: Path,
    index: FrameIndex,
    *,
    images: Path | None = None,
    min_score: float = 0.0,
    class_map: ClassMap | None = None,
    classes: Sequence[str] = CLASSES,
) -> DetectionTable:
    """Read a file of COCO results: a list of {image_id, category_id, bbox, score}.

    Args:
        path: the file; ``bbox`` is x, y, width, height in pixels of the stored image.
        index: the data set whose frames the detector saw.
        images: COCO file whose ids the results use; its annotations are not read. Its images are
            found by their ``file_name``, relative to the file's own folder if the index has any
            of them there, else to the index's data root. Results for images that are not in the
            index are left out. None if ``image_id`` is a row of the index and ``category_id`` a
            position in ``classes``; MMDetection's ``CocoMetric`` writes such ids for DriveMIM's
            own ``FrameDetection`` and a head of these classes.
        min_score: results with a lower score are left out.
        class_map: class by category name, or None for no class; only categories whose class differs
            from ``category_classes``. Results of categories without a class are left out.
        classes: class names; labels are positions in them.

    Raises:
        FileNotFoundError: if a file does not exist.
        ValueError: if a file has the wrong format, an id is unknown, a box is not a number or has a
            negative size, the sizes of images differ from the index, none of the images is in the
            index, no category has a class, or there is a ``class_map`` but no ``images``.
    """
    image_D, category_D, score_D, boxes_D4 = _read_columns(path)
    if images is None:
        if class_map:
            raise ConfigError(
                f"{path} numbers its classes like drivemim, so class_map={dict(class_map)} "
                "has no effect; leave it out, or give images"
            )
        row_D, label_D = _own_ids(image_D, category_D, index, path, classes)
    else:
        row_D, label_D = _ids_of_file(image_D, category_D, index, path, images, class_map, classes)
    accepted = np.flatnonzero((row_D >= 0) & (label_D >= 0) & (score_D >= min_score))
    accepted = accepted[np.argsort(row_D[accepted], kind="stable")]
    corners_D4 = boxes_D4[accepted].astype(np.float32)
    corners_D4[:, 2:] += corners_D4[:, :2]
    dtype = np.int8 if len(classes) <= 127 else np.int16
    return DetectionTable(row_D[accepted], corners_D4, label_D[accepted].astype(dtype))


def _read_columns(path: Path) -> tuple[Ints, Ints, Floats, Floats]:
    """Return image ids, category ids, scores (D) and boxes (D, 4) x, y, width, height."""
    results: list[_Result] = _decode(path, list[_Result], "COCO results file")
    count = len(results)
    image_D = np.fromiter((result.image_id for result in results), np.int64, count)
    category_D = np.fromiter((result.category_id for result in results), np.int64, count)
    score_D = np.fromiter((result.score for result in results), np.float64, count)
    flat = (value for result in results for value in result.bbox)
    boxes_D4 = np.fromiter(flat, np.float64, 4 * count).reshape(count, 4)
    # JSON has no NaN, but a number that is written as text can be "nan".
    _refuse(~np.isfinite(boxes_D4).all(axis=1), lambda _: "has a bbox that is not a number", path)
    _refuse(~np.isfinite(score_D), lambda _: "has a score that is not a number", path)
    _refuse(
        (boxes_D4[:, 2:] < 0).any(axis=1),
        lambda entry: f"has bbox {boxes_D4[entry].tolist()}, whose width or height is negative",
        path,
    )
    return image_D, category_D, score_D, boxes_D4


def _decode(path: Path, schema: Any, what: str) -> Any:
    """Decode a JSON file as the given type; ``what`` describes the file in messages.

    Raises:
        FileNotFoundError: if the file does not exist.
        DataError: if its content is not of the type.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no {what} at {path}; check the config's boxes")
    begin = f"{path} is not a {what}: "
    text = JsonText(path, path.read_bytes(), begin=begin, fix="write it again")
    return decode_entries(text, schema, begin)


def _refuse(wrong_D: NDArray[np.bool_], describe: Callable[[int], str], path: Path) -> None:
    """Raise an error if any entry is wrong.

    Args:
        wrong_D: True for wrong entries of the results file.
        describe: returns what is wrong with an entry.
        path: the results file.

    Raises:
        DataError: describes the first wrong entry.
    """
    if wrong_D.any():
        entry = int(wrong_D.argmax())
        raise DataError(f"{path}: entry {entry} {describe(entry)}; correct the results file")


def _own_ids(
    image_D: Ints, category_D: Ints, index: FrameIndex, path: Path, classes: Sequence[str]
) -> tuple[Ints, Ints]:
    """Return image and category ids that are rows of the index and labels, after checking them."""
    frames = len(index.frames)
    hint = "if ids are those of a COCO file, name it: images=..."
    _refuse(
        (image_D < 0) | (image_D >= frames),
        lambda entry: (
            f"has image_id {image_D[entry]}, but {index.path} has {frames} frames; {hint}"
        ),
        path,
    )
    _refuse(
        (category_D < 0) | (category_D >= len(classes)),
        lambda entry: f"has category_id {category_D[entry]}, none of {tuple(classes)}; {hint}",
        path,
    )
    return image_D, category_D


def _ids_of_file(
    image_D: Ints,
    category_D: Ints,
    index: FrameIndex,
    path: Path,
    images: Path,
    class_map: ClassMap | None,
    classes: Sequence[str],
) -> tuple[Ints, Ints]:
    """Translate ids of the COCO file ``images`` to rows of the index and labels, -1 for none."""
    listed: _ImageFile = _decode(images, _ImageFile, "COCO file with images and categories")
    image_ids = [image.id for image in listed.images]
    category_ids = [category.id for category in listed.categories]
    fix = "number images and categories anew where files were merged, and write the results again"
    check_once(images, "image id", image_ids, fix)
    check_once(images, "category id", category_ids, fix)
    image_row_D = _positions(image_D, image_ids)
    _refuse(image_row_D < 0, lambda entry: f"has image_id {image_D[entry]}, not in {images}", path)
    category_row_D = _positions(category_D, category_ids)
    _refuse(
        category_row_D < 0,
        lambda entry: f"has category_id {category_D[entry]}, not in {images}",
        path,
    )
    names = [category.name for category in listed.categories]
    labels = _labels(names, class_map, images, classes)
    return _frame_rows(listed.images, index, images)[image_row_D], labels[category_row_D]


def _positions(values_D: Ints, known: list[int]) -> Ints:
    """Return the position of each value in ``known``, -1 for unknown values."""
    ids = np.array(known, np.int64)
    if len(ids) == 0:
        return np.full(len(values_D), -1, np.int64)
    order = np.argsort(ids)
    position_D = np.minimum(np.searchsorted(ids[order], values_D), len(ids) - 1)
    return np.where(ids[order][position_D] == values_D, order[position_D], -1)


def _frame_rows(listed: list[_Image], index: FrameIndex, path: Path) -> Ints:
    """Return the row of each image of a COCO file, -1 if the index does not have it."""
    names = [posix_name(image.file_name) for image in listed]
    rows = _find_files(names, index, path)
    indexed = np.flatnonzero(rows >= 0)
    row, count = np.unique(rows[indexed], return_counts=True)
    if (count > 1).any():
        twice = np.flatnonzero(rows == row[count.argmax()])[:2]
        raise DataError(
            f"{path}: {names[twice[0]]!r} and {names[twice[1]]!r} are the same image; list it once"
        )
    if len(indexed) == 0 and len(listed) and len(index.frames):
        raise DataError(
            f"{index.path} has no image of {path}, such as {listed[0].file_name!r}; its own are "
            f"like {index.frames.path[0]!r}: make file_name relative to {index.data_root}, or put "
            f"{path.name} beside its images"
        )
    width = np.array([image.width for image in listed], np.int64)[indexed]
    height = np.array([image.height for image in listed], np.int64)[indexed]
    frames = index.frames
    resized = (width != frames.width[rows[indexed]]) | (height != frames.height[rows[indexed]])
    resized &= (width > 0) & (height > 0)
    if resized.any():
        position = int(resized.argmax())
        frame = rows[indexed[position]]
        raise DataError(
            f"{path}: {names[indexed[position]]} is {width[position]}x{height[position]}, but "
            f"{index.path} has {frames.width[frame]}x{frames.height[frame]}; give boxes in the "
            "pixels of the stored images"
        )
    return rows


def _find_files(names: list[str], index: FrameIndex, path: Path) -> Ints:
    """Return the row of each file that ``path`` names, -1 if the index does not have it.

    Names are relative to the folder of ``path`` if the index has any of them there, else to the
    index's data root. Links are resolved.
    """
    real = RealPaths()
    root, beside = plain_path(index.data_root), plain_path(path.parent)
    rows = np.full(len(names), -1, np.int64)
    for folder in dict.fromkeys((beside, root)):
        rows = index.find_paths([path_from(root, folder / name, real) for name in names])
        # Compare files, not names: either the index or the list may have a link to the other.
        unmatched = [
            image for image in np.flatnonzero(rows < 0) if (folder / names[image]).is_file()
        ]
        if unmatched:
            others = np.setdiff1d(np.arange(len(index.frames)), rows)
            row_of = {real(root / index.frames.path[row]): row for row in others}
            rows[unmatched] = [row_of.get(real(folder / names[image]), -1) for image in unmatched]
        if any(rows[image] >= 0 and not os.path.isabs(name) for image, name in enumerate(names)):
            break
    return rows


def _labels(
    names: list[str], class_map: ClassMap | None, path: Path, classes: Sequence[str]
) -> Ints:
    """Return the label of each category, -1 if it has no class.

    Raises:
        DataError: if no category has a class.
    """
    check_class_map(class_map, names, classes, where=f"class_map of {path}")
    # No category is marked as having boxes: a category with boxes must be known, and a detector may
    # have been trained on any categories.
    has_boxes = np.zeros(len(names), np.bool_)
    labels = category_labels(names, classes, class_map, used=has_boxes)
    if not (labels >= 0).any():
        raise DataError(
            f"{path}: none of its categories ({', '.join(names)}) is mapped to one of "
            f"{tuple(classes)}; pass class_map"
        )
    return labels
