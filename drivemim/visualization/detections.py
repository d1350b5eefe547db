"""Pictures of detections and ground truth.

Letters: D detections.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from drivemim.array_types import Image
from drivemim.clips import CLASSES
from drivemim.visualization.panels import class_color, outline_box

# Colours, BGR: annotated objects, annotated objects that the evaluation ignores, texts.
TRUTH = (255, 255, 255)
IGNORED = (150, 150, 150)
_SCORE = (0, 0, 0)
_FONT_SCALE = 0.35
_DESCENDERS = frozenset("gjpqy")
"""Letters that need room below the line of a text."""
_LARGE = 450
"""Height in pixels above which lines and texts grow with the image."""


def draw_detections(
    image: Image,
    boxes_D4: NDArray[np.floating[Any]],
    labels_D: NDArray[np.integer[Any]],
    scores_D: NDArray[np.floating[Any]],
    truth_M4: NDArray[np.floating[Any]],
    ignored_M: NDArray[np.bool_],
    classes: Sequence[str] | None = None,
) -> Image:
    """Draw annotated objects thin and white, ignored ones grey, detections thick with their score.

    Args:
        image: uint8, H x W x 3, BGR.
        boxes_D4: boxes of the detections, (x1, y1, x2, y2) pixels; pixel i spans [i, i + 1].
        labels_D: position in the class list: pedestrian red, vehicle blue.
        scores_D: in [0, 1].
        truth_M4: boxes of the annotated objects, pixels.
        ignored_M: bool, True for objects that the evaluation ignores.
        classes: names to write before the scores; None writes the scores alone. Other classes than
            pedestrian and vehicle have colours of their own.

    Returns:
        A copy of the image.
    """
    drawn = image.copy()
    scale = max(1.0, min(image.shape[:2]) / _LARGE)
    for box, ignored in zip(truth_M4, ignored_M, strict=True):
        outline_box(drawn, box, IGNORED if ignored else TRUTH)
    for index in np.argsort(scores_D):
        label = int(labels_D[index])
        color = class_color(label, CLASSES if classes is None else classes)
        x1, y1, _, _ = outline_box(drawn, boxes_D4[index], color, thickness=round(2 * scale))
        score = f"{100 * float(scores_D[index]):.0f}"
        text = score if classes is None else f"{classes[label]} {score}"
        _write_label(drawn, text, (x1, y1), color, scale)
    return drawn


def _write_label(
    image: Image, text: str, corner: tuple[int, int], color: tuple[int, int, int], scale: float
) -> None:
    """Write a text in black on a rectangle of the box's colour, above the box's top left corner.

    Args:
        image: uint8, H x W x 3, drawn into.
        text: the text.
        corner: column and row of the corner.
        color: colour of the box.
        scale: size of the text; 1 for a small image.
    """
    font, thickness = _FONT_SCALE * scale, max(1, round(scale))
    (width, height), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, font, thickness)
    below = below if _DESCENDERS & set(text) else 0
    high = height + below + 3
    left = max(0, min(corner[0], image.shape[1] - width - 4))
    bottom = max(corner[1] - 1, high)
    cv2.rectangle(image, (left, bottom - high), (left + width + 3, bottom), color, -1)
    where = (left + 2, bottom - below - 2)
    cv2.putText(image, text, where, cv2.FONT_HERSHEY_SIMPLEX, font, _SCORE, thickness)
