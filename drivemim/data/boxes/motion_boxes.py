"""Boxes without labels, around objects that move between the time steps of a clip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from drivemim.array_types import Ints
from drivemim.clips import CLASSES, Clips
from drivemim.data.boxes.box_links import link_tracks_by_iou
from drivemim.data.boxes.box_sources import (
    BoxOrigin,
    BoxSource,
    ClassMap,
    ImageBoxes,
    pad_boxes,
)
from drivemim.data.index.frame_index import FrameIndex
from drivemim.errors import ConfigError
from drivemim.masking.motion import ego_compensated_change
from drivemim.registry import BOX_SOURCES

_SQUARE = 8
"""Side length in pixels of the squares that are tested for change."""
_MIN_SQUARES = 2
"""Smallest number of squares of a box; a single square is noise."""
_MAX_BOXES = 30
"""Largest number of boxes of a frame; the smallest regions get none."""


@BOX_SOURCES.register_module()
class MotionBoxes(BoxSource):
    """Boxes around moving objects, found in the images of the clip; needs no labels.

    A box is a connected region that changed more than the camera's own motion explains, see
    ``ego_compensated_change``. Standing objects have no box; a moving object often has a box only
    around the part that shows its motion. The boxes are good if the camera stands still. If it
    moves, about half of the boxes are wrong: they are around standing objects in front of more
    distant ones.

    The classes are unknown, so all boxes get the class of the larger moving objects: vehicle. With
    ``ObjectMask``, use one ``budget_fraction`` instead of one per class. Boxes have no depth.
    Tracks are linked from step to step, see ``link_tracks_by_iou``.

    Args:
        index: the data set.
        class_map: must be empty, because motion does not give categories.
        classes: must be the default ones, for the same reason.
        min_change: smallest change of a moving square, as a fraction of the grey range, in (0, 1].

    Raises:
        ConfigError: if ``classes`` are not the default ones, ``class_map`` is not empty, or (on
            loading) clips have one time step.
        ValueError: if ``min_change`` is out of range.
    """

    origin: ClassVar[BoxOrigin] = "images"

    def __init__(
        self,
        *,
        index: FrameIndex,
        class_map: ClassMap | None = None,
        classes: Sequence[str] = CLASSES,
        min_change: float = 0.04,
    ) -> None:
        super().__init__(index=index, class_map=class_map)
        if not 0 < min_change <= 1:
            raise ValueError(f"min_change={min_change} must be in (0, 1]")
        if tuple(classes) != CLASSES:
            raise ConfigError(
                f"MotionBoxes cannot tell the classes {', '.join(classes)} apart; leave classes out"
            )
        if class_map:
            raise ConfigError(
                f"MotionBoxes have no categories that class_map={dict(class_map)} could name; "
                "leave it out"
            )
        self.min_change = min_change

    def boxes_for_frames(self, rows: Ints) -> ImageBoxes:
        """Return no boxes; ``add_boxes`` finds them when the images are loaded."""
        del rows
        return ImageBoxes.empty()

    def add_boxes(self, clips: Clips, rows_TN: Ints) -> Clips:
        """Return the clip with boxes around moving objects, linked into tracks.

        Raises:
            ConfigError: if the clip has one time step.
        """
        if clips.shape[1] == 1:
            raise ConfigError("MotionBoxes compares the frames of a clip; set num_frames=2 or more")
        height, width = clips.image_size
        squares = (max(1, height // _SQUARE), max(1, width // _SQUARE))
        change_TNhw = ego_compensated_change(clips, squares, caller="MotionBoxes")[0].numpy()
        valid_TN = clips.valid_BTN[0].numpy()
        boxes_per_frame = [
            moving_boxes(change_hw, self.min_change)
            * ([width / squares[1], height / squares[0]] * 2)
            for change_hw in change_TNhw[valid_TN]
        ]
        boxes = np.concatenate([np.zeros((0, 4)), *boxes_per_frame])
        image_boxes = ImageBoxes(
            frame=np.repeat(
                np.arange(len(boxes_per_frame)), [len(each) for each in boxes_per_frame]
            ),
            boxes=boxes,
            label=np.full(len(boxes), CLASSES.index("vehicle"), np.int64),
            track=np.full(len(boxes), -1, np.int64),
            depth=np.full(len(boxes), np.inf),
        )
        as_loaded = np.tile(np.eye(3), (*valid_TN.shape, 1, 1))
        padded = pad_boxes(image_boxes, valid_TN, as_loaded, clips.image_size, 0.0)
        fields = {name: torch.from_numpy(values)[None] for name, values in padded.items()}
        moving = replace(clips, **fields)  # type: ignore[arg-type]  # tokens are left out
        return link_tracks_by_iou(moving, rows_TN)


def moving_boxes(change_hw: NDArray[np.float32], min_change: float) -> NDArray[np.float64]:
    """Return boxes around the connected regions of large change.

    Args:
        change_hw: change of each square, as a fraction of the grey range.
        min_change: smallest change of a square of a region.

    Returns:
        (M, 4) x1 y1 x2 y2 in squares, the largest regions first, at most 30. Single squares are
        noise and are left out.
    """
    moving_hw = (change_hw >= min_change).astype(np.uint8)
    _, _, regions, _ = cv2.connectedComponentsWithStats(moving_hw, connectivity=8)
    # Left, top, width, height and area of each region; the first region is the background.
    regions_M5 = regions[1:]
    regions_M5 = regions_M5[np.argsort(-regions_M5[:, 4], kind="stable")][:_MAX_BOXES]
    regions_M5 = regions_M5[regions_M5[:, 4] >= _MIN_SQUARES]
    corners_M2 = regions_M5[:, :2]
    boxes_M4 = np.concatenate([corners_M2, corners_M2 + regions_M5[:, 2:4]], axis=1)
    return np.asarray(boxes_M4, np.float64)
