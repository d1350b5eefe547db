"""The interface of box sources, the boxes of an index, and the padding of boxes for clips."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from drivemim.array_types import Floats, Ints
from drivemim.clips import CLASSES, Clips
from drivemim.data.boxes.ground_truth import frame_boxes
from drivemim.data.class_lists import check_categories
from drivemim.data.index.frame_index import FrameIndex
from drivemim.errors import ConfigError
from drivemim.geometry.boxes import transform_boxes
from drivemim.registry import BOX_SOURCES

ClassMap = Mapping[str, str | None]
"""Class by category, or None for no class."""
BoxOrigin = Literal["annotations", "detector", "images"]
"""Where boxes come from; see ``BoxSource.origin``."""


@dataclass(frozen=True, eq=False)
class ImageBoxes:
    """Boxes of some frames, M in total.

    Attributes:
        frame: (M,) position among the requested frames, ascending.
        boxes: (M, 4) x1 y1 x2 y2 pixels of the stored image.
        label: (M,) position in the source's ``classes``.
        track: (M,) number of the object, the same in every frame; -1 if unknown.
        depth: (M,) metres along the camera's z axis; inf if unknown.
    """

    frame: Ints
    boxes: NDArray[np.floating[Any]]
    label: Ints
    track: Ints
    depth: Floats

    @classmethod
    def empty(cls) -> ImageBoxes:
        """Return an instance without boxes."""
        nothing = np.zeros(0, np.int64)
        return cls(nothing, np.zeros((0, 4)), nothing, nothing, np.zeros(0))


class BoxSource(ABC):
    """Base class of sources of boxes for the frames of a data set.

    Args:
        index: the data set.
        class_map: class by category, or None for no class; only categories whose class differs from
            ``category_classes``.
        classes: class names; labels are positions in them.

    Attributes:
        origin: where the boxes come from: ``annotations``; a ``detector``, which was trained with
            labels of its own; or ``images``, which needs no labels. An exported backbone records
            it. The default is ``annotations``.
    """

    origin: ClassVar[BoxOrigin] = "annotations"

    def __init__(
        self,
        *,
        index: FrameIndex,
        class_map: ClassMap | None = None,
        classes: Sequence[str] = CLASSES,
    ) -> None:
        self.index = index
        self.class_map = class_map
        self.classes = tuple(classes)

    @abstractmethod
    def boxes_for_frames(self, rows: Ints) -> ImageBoxes:
        """Return the boxes of frames, in the pixels of their files.

        Args:
            rows: (F,) rows of ``index.frames``.
        """

    def add_boxes(self, clips: Clips, rows_TN: Ints) -> Clips:
        """Return the loaded clip with what ``boxes_for_frames`` cannot give: boxes or tracks.

        This needs all frames of the clip, or their images. By default, the clip is unchanged.

        Args:
            clips: one clip, with the boxes from ``boxes_for_frames``.
            rows_TN: frames of the clip as rows of ``index.frames``, -1 for missing frames.
        """
        del rows_TN
        return clips


@BOX_SOURCES.register_module()
class AnnotatedBoxes(BoxSource):
    """The boxes and tracks of the index, interpolated for sweeps; see ``frame_boxes``.

    Crowds are left out: a box around many objects is not an object.

    Raises:
        ConfigError: if ``class_map`` names a category that the index does not have, or one of a
            user's own ``classes`` has no category.
    """

    def __init__(
        self,
        *,
        index: FrameIndex,
        class_map: ClassMap | None = None,
        classes: Sequence[str] = CLASSES,
    ) -> None:
        super().__init__(index=index, class_map=class_map, classes=classes)
        check_categories(index.categories, self.classes, class_map, where=str(index.path))

    def boxes_for_frames(self, rows: Ints) -> ImageBoxes:
        """Return the boxes of frames, in the pixels of their files."""
        boxes = frame_boxes(self.index, rows, class_map=self.class_map, classes=self.classes)
        is_object = ~boxes.crowd
        return ImageBoxes(
            frame=boxes.frame[is_object],
            boxes=boxes.boxes[is_object],
            label=boxes.label[is_object],
            track=boxes.track[is_object],
            depth=boxes.depth[is_object],
        )


def build_box_source(
    boxes: str | Mapping[str, Any] | None,
    index: FrameIndex,
    class_map: ClassMap | None,
    classes: Sequence[str] = CLASSES,
) -> BoxSource | None:
    """Build a source of boxes.

    Args:
        boxes: type of the source, or its config; None for no boxes.
        index: the data set.
        class_map: see ``BoxSource``.
        classes: see ``BoxSource``.

    Returns:
        The source; None for no boxes.

    Raises:
        ConfigError: if there is a ``class_map`` but no source, or the source cannot be built.
    """
    if boxes is None:
        if class_map:
            raise ConfigError(
                f"boxes=None, so class_map={dict(class_map)} has no effect; leave it out"
            )
        return None
    config = {"type": boxes} if isinstance(boxes, str) else dict(boxes)
    # A user's source need not have the argument ``classes`` to work with the default classes.
    arguments: dict[str, Any] = {"index": index, "class_map": class_map}
    if tuple(classes) != CLASSES:
        arguments["classes"] = tuple(classes)
    source: BoxSource = BOX_SOURCES.build({**config, **arguments})
    return source


def pad_boxes(
    boxes_in_images: ImageBoxes,
    valid_TN: NDArray[np.bool_],
    matrices_TN33: Floats,
    image_size: tuple[int, int],
    min_size: float,
) -> dict[str, NDArray[Any]]:
    """Return boxes in the format of ``Clips``: in the loaded pixels, per frame, padded.

    Args:
        boxes_in_images: boxes of the valid frames.
        valid_TN: True for the valid frames of the clip.
        matrices_TN33: from the stored pixels to the loaded ones.
        image_size: height and width of the loaded images, pixels.
        min_size: boxes narrower or lower than this are left out, pixels of the loaded images. Boxes
            outside the image are always left out.

    Returns:
        ``Clips``' fields by name, without the batch axis.
    """
    height, width = image_size
    frame = np.flatnonzero(valid_TN)[boxes_in_images.frame]
    moved = transform_boxes(boxes_in_images.boxes, matrices_TN33.reshape(-1, 3, 3)[frame])
    moved = np.clip(moved, 0, [width, height, width, height])
    size = moved[:, 2:] - moved[:, :2]
    keep = ((size > 0) & (size >= min_size)).all(axis=1)
    frame, moved = frame[keep], moved[keep]
    counts = np.bincount(frame, minlength=valid_TN.size)
    slot = np.arange(len(frame)) - (np.cumsum(counts) - counts)[frame]
    shape = (valid_TN.size, int(counts.max(initial=0)))
    boxes = np.zeros((*shape, 4), np.float32)
    labels, tracks = np.full(shape, -1, np.int64), np.full(shape, -1, np.int64)
    depths = np.full(shape, np.inf, np.float32)
    boxes[frame, slot] = moved
    labels[frame, slot] = boxes_in_images.label[keep]
    tracks[frame, slot] = boxes_in_images.track[keep]
    depths[frame, slot] = boxes_in_images.depth[keep]
    padded: dict[str, NDArray[Any]] = {
        "boxes_BTNM4": boxes,
        "labels_BTNM": labels,
        "tracks_BTNM": tracks,
        "depths_BTNM": depths,
    }
    return {
        name: values.reshape(*valid_TN.shape, *values.shape[1:]) for name, values in padded.items()
    }
