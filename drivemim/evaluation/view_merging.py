"""Merge the detections of all cameras of a sample into one list in the global frame.

Views are grouped by sample token only. Neither the number of cameras nor the order of images
matters. An object that two cameras see is kept once, by non-maximum suppression of rotated boxes on
the ground plane within each class.

Letters: P pairs of boxes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np

from drivemim.array_types import Bools, Floats, Ints

_CORNERS_42 = np.array([[0.5, 0.5], [0.5, -0.5], [-0.5, -0.5], [-0.5, 0.5]])
"""Corners of a rectangle of length and width 1 around the origin."""


@dataclass(frozen=True, kw_only=True, eq=False)
class GlobalBoxes:
    """M detections in the global frame.

    Attributes:
        centers_M3: float64, metres.
        sizes_M3: float64, metres: width, length, height.
        rotations_M4: float64, quaternions w x y z.
        velocities_M2: float64, metres per second along x and y.
        scores_M: float64.
        labels_M: int64, position in ``DETECTION_CLASSES``.
        attributes_M: int64, position in ``ATTRIBUTES``, -1 for none.
    """

    centers_M3: Floats
    sizes_M3: Floats
    rotations_M4: Floats
    velocities_M2: Floats
    scores_M: Floats
    labels_M: Ints
    attributes_M: Ints

    def __len__(self) -> int:
        return len(self.scores_M)

    @classmethod
    def none(cls) -> GlobalBoxes:
        """Return a container without detections."""
        nothing, labels = np.zeros((0, 4)), np.zeros(0, np.int64)
        return cls(
            centers_M3=nothing[:, :3],
            sizes_M3=nothing[:, :3],
            rotations_M4=nothing,
            velocities_M2=nothing[:, :2],
            scores_M=nothing[:, 0],
            labels_M=labels,
            attributes_M=labels,
        )

    def take(self, rows: Ints | Bools) -> GlobalBoxes:
        """Select boxes, by position or by a mask."""
        return GlobalBoxes(**{each.name: getattr(self, each.name)[rows] for each in fields(self)})


def merge_views(
    views: Iterable[tuple[str, GlobalBoxes]], *, overlap: float = 0.2, max_boxes: int = 500
) -> dict[str, GlobalBoxes]:
    """Merge the boxes of every sample, by descending score.

    Boxes of equal score are ordered by ascending label, then by centre, size, rotation, velocity
    and attribute, so that the result depends only on the boxes.

    Args:
        views: sample token and boxes of each image, in any order.
        overlap: intersection over union on the ground plane above which the lower-scored of two
            boxes of one class is removed, in [0, 1].
        max_boxes: number of boxes with the highest scores to keep per sample.

    Raises:
        ValueError: if ``overlap`` is outside [0, 1], or ``max_boxes`` negative.
    """
    if not 0 <= overlap <= 1 or max_boxes < 0:
        raise ValueError(
            f"overlap={overlap} must be in [0, 1], and max_boxes={max_boxes} not negative"
        )
    views_by_sample: dict[str, list[GlobalBoxes]] = {}
    for token, boxes in views:
        views_by_sample.setdefault(token, []).append(boxes)
    merged = {}
    for token, sample_views in views_by_sample.items():
        remaining = _suppress(_in_order(_join(sample_views)), overlap)
        merged[token] = remaining.take(np.arange(min(len(remaining), max_boxes)))
    return merged


def ground_overlaps(boxes: GlobalBoxes) -> tuple[Ints, Floats]:
    """Find pairs of boxes of one class that overlap on the ground plane.

    GEOS computes the overlaps in float64. MMCV's ``box_iou_rotated`` is wrong (0 or above 1) for
    boxes that nearly coincide (1e-6 m apart), which is common when two cameras see one object.

    Returns:
        Pairs (P, 2) of positions, the lower first, in order; and (P,) their intersection over
        union. Boxes that are not finite or have no area overlap with nothing.
    """
    # Imported here because only the evaluation of 3-D boxes needs it.
    import shapely

    sizes_M2 = boxes.sizes_M3[:, [1, 0]]
    w, x, y, z = boxes.rotations_M4.T
    yaw_M = np.arctan2(2 * (w * z + x * y), w * w + x * x - y * y - z * z)
    finite = np.isfinite(boxes.centers_M3[:, :2]).all(axis=1) & np.isfinite(yaw_M)
    rows = np.flatnonzero(finite & np.isfinite(sizes_M2).all(axis=1) & (sizes_M2 > 0).all(axis=1))
    cosine, sine = np.cos(yaw_M[rows]), np.sin(yaw_M[rows])
    rotation_M22 = np.stack([np.stack([cosine, -sine], -1), np.stack([sine, cosine], -1)], -2)
    corners_M42 = (_CORNERS_42 * sizes_M2[rows, None]) @ np.swapaxes(rotation_M22, -1, -2)
    outlines = shapely.polygons(corners_M42 + boxes.centers_M3[rows, None, :2])
    pairs = shapely.STRtree(outlines).query(outlines, predicate="intersects").T
    pairs = pairs[pairs[:, 0] < pairs[:, 1]]
    labels = boxes.labels_M[rows]
    pairs = pairs[labels[pairs[:, 0]] == labels[pairs[:, 1]]]
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    first, second = outlines[pairs[:, 0]], outlines[pairs[:, 1]]
    intersection = shapely.area(shapely.intersection(first, second))
    union = shapely.area(first) + shapely.area(second) - intersection
    return rows[pairs].astype(np.int64), intersection / union


def _suppress(boxes: GlobalBoxes, overlap: float) -> GlobalBoxes:
    """Remove boxes that overlap a better one of their class; ``boxes`` are sorted, best first."""
    pairs, overlaps = ground_overlaps(boxes)
    kept = np.ones(len(boxes), bool)
    # The pairs are sorted by their better box. When a pair is reached, all pairs in which that box
    # is the lower one have passed, so it is known whether it is kept.
    for better, lower in pairs[overlaps > overlap]:
        if kept[better]:
            kept[lower] = False
    return boxes.take(kept)


def _join(views: list[GlobalBoxes]) -> GlobalBoxes:
    return GlobalBoxes(
        **{
            each.name: np.concatenate([getattr(boxes, each.name) for boxes in views])
            for each in fields(GlobalBoxes)
        }
    )


def _in_order(boxes: GlobalBoxes) -> GlobalBoxes:
    """Sort boxes by descending score; all other values break ties."""
    ties = [
        boxes.labels_M, *boxes.centers_M3.T, *boxes.sizes_M3.T, *boxes.rotations_M4.T,
        *boxes.velocities_M2.T, boxes.attributes_M,
    ]  # fmt: skip
    return boxes.take(np.lexsort((*reversed(ties), -boxes.scores_M)))
