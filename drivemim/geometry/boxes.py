"""Corners of 3-D boxes, and the exact 2-D box of the part of each that a camera sees.

The part of a box in front of the near plane is again a convex solid. Its faces are the six faces
of the box, cut by that plane, and the cut itself (the cap). All functions work on its edges: the
box's twelve edges, shortened where they cross the plane, and one cut edge per face.

A number in a suffix is the length of an axis: ``edges_M18_2_3`` has, for each of M boxes, 18 edges
with two ends of three coordinates.

Letters: P points.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from drivemim.array_types import Floats
from drivemim.geometry.poses import quaternion_to_matrix

# Corners in the nuScenes devkit's order: x forward, y left, z up, as half lengths.
_CORNER_SIGNS = np.array(
    [
        [1, 1, 1], [1, -1, 1], [1, -1, -1], [1, 1, -1],
        [-1, 1, 1], [-1, -1, 1], [-1, -1, -1], [-1, 1, -1],
    ],
    dtype=np.float64,
)  # fmt: skip
# Corners at the two ends of each edge.
_EDGES = np.array(
    [
        [0, 1], [1, 2], [2, 3], [3, 0],
        [4, 5], [5, 6], [6, 7], [7, 4],
        [0, 4], [1, 5], [2, 6], [3, 7],
    ]
)  # fmt: skip
# Each face is a loop of four edges, given by edge indices and directions. Seen from outside, all
# loops turn the same way, so the cut edges form a loop too.
_FACE_EDGES = np.array(
    [[0, 1, 2, 3], [7, 6, 5, 4], [8, 4, 9, 0], [9, 5, 10, 1], [10, 6, 11, 2], [11, 7, 8, 3]]
)
_FACE_SIGNS = np.array([[1, 1, 1, 1], [-1, -1, -1, -1]] + 4 * [[1, 1, -1, -1]])


_LINES = 32
"""Number of lines across a box's width, and across its height, that measure truncation."""


@dataclass(frozen=True)
class ProjectedBoxes:
    """M boxes projected into one camera.

    Attributes:
        boxes_M4: float64, (x1, y1, x2, y2) pixels: exact bounds of the part of the box inside the
            image; zeros if no part is inside.
        truncation_M: float64 in [0, 1], fraction of the box's volume outside the field of view,
            measured along 32 x 32 lines. Exactly 0 if all of the box is inside, 1 if no part is.
            (A fraction of the projected area would mislead for a box beside the camera: a part
            cut 10 cm in front of the lens covers many times the image.)
        depth_M: float64, metres from the camera to the box's centre along the camera's z axis
            (negative behind the camera).
        in_image_M: bool, whether the 2-D box has a width and a height.
    """

    boxes_M4: Floats
    truncation_M: Floats
    depth_M: Floats
    in_image_M: NDArray[np.bool_]


def box_corners(
    centers_M3: ArrayLike, sizes_wlh_M3: ArrayLike, rotations_wxyz_M4: ArrayLike
) -> Floats:
    """Return the corners of boxes, in the order of the nuScenes devkit.

    Args:
        centers_M3: float, metres.
        sizes_wlh_M3: float, metres: width (y), length (x), height (z) along the box's own axes.
        rotations_wxyz_M4: float, quaternions from the box's axes to the frame of ``centers_M3``.

    Returns:
        float64 [M, 8, 3], metres: the four front corners, then the four behind them.
    """
    sizes_lwh_M3 = np.asarray(sizes_wlh_M3, dtype=np.float64)[..., [1, 0, 2]]
    offsets_M83 = _CORNER_SIGNS * sizes_lwh_M3[..., None, :] / 2
    rotations_M33 = quaternion_to_matrix(rotations_wxyz_M4)
    corners_M83: Floats = offsets_M83 @ np.swapaxes(rotations_M33, -1, -2)
    return corners_M83 + np.asarray(centers_M3, dtype=np.float64)[..., None, :]


def project_boxes(
    corners_M83: ArrayLike,
    intrinsics_33: ArrayLike,
    image_size: ArrayLike,
    near: float = 0.1,
) -> ProjectedBoxes:
    """Compute exact 2-D bounds of the part of each box that an ideal camera sees.

    The 3-D box is cut at the near plane, and its outline is cut at the image border. So a bus
    alongside keeps its full height, and the 2-D box of a car that leaves the image covers only the
    car's part inside.

    Args:
        corners_M83: float, metres, in the camera's frame (x right, y down, z forward), in the
            order of :func:`box_corners`.
        intrinsics_33: float [3, 3], or [M, 3, 3] for boxes of different frames. May be mirrored.
        image_size: (height, width) in pixels, or [M, 2]. The image spans [0, width] x [0, height].
        near: metres in front of the camera at which boxes are cut.

    Returns:
        The projections of the M boxes, in the same order.

    Raises:
        ValueError: if ``near`` is not positive.
    """
    if not near > 0:
        raise ValueError(f"near={near} must be more than 0 metres: nothing projects at depth 0")
    corners = np.asarray(corners_M83, dtype=np.float64).reshape(-1, 8, 3)
    size_hw = np.broadcast_to(np.asarray(image_size, dtype=np.float64), (len(corners), 2))
    limits_M2 = size_hw[:, ::-1]
    intrinsics_M33 = np.broadcast_to(
        np.asarray(intrinsics_33, dtype=np.float64), (len(corners), 3, 3)
    )
    edges_M18_2_3, present_M18 = _visible_edges(corners, near)
    homogeneous = edges_M18_2_3 @ np.swapaxes(intrinsics_M33, -1, -2)[:, None]
    pixels_M18_2_2 = homogeneous[..., :2] / homogeneous[..., 2:]

    boxes_M4 = _bounds(pixels_M18_2_2, present_M18, limits_M2)
    in_image_M = (boxes_M4[:, 2] > boxes_M4[:, 0]) & (boxes_M4[:, 3] > boxes_M4[:, 1])
    truncation_M = np.where(in_image_M, 0.0, 1.0)
    cut = np.flatnonzero(in_image_M & ~_all_in_view(corners, pixels_M18_2_2, limits_M2, near))
    truncation_M[cut] = _truncation(corners[cut], intrinsics_M33[cut], limits_M2[cut], near)
    return ProjectedBoxes(
        boxes_M4=np.where(in_image_M[:, None], boxes_M4, 0.0),
        truncation_M=truncation_M,
        depth_M=corners.mean(axis=1)[:, 2],
        in_image_M=in_image_M,
    )


def _visible_edges(corners_M83: Floats, near: float) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the edges of the solid in front of the near plane, and which of the 18 exist.

    The box's 12 edges come first, in their own direction. Then comes one cut edge per face,
    directed so that it closes the face's loop.
    """
    ends_M12_2_3 = corners_M83[:, _EDGES]
    front_M12_2 = ends_M12_2_3[..., 2] >= near
    crossing_M12 = front_M12_2[..., 0] != front_M12_2[..., 1]
    start, end = ends_M12_2_3[..., 0, :], ends_M12_2_3[..., 1, :]
    rise = np.where(crossing_M12, end[..., 2] - start[..., 2], 1.0)
    cuts_M12_3 = start + ((near - start[..., 2]) / rise)[..., None] * (end - start)
    cuts_M12_3[..., 2] = near
    edges_M12_2_3 = np.where(front_M12_2[..., None], ends_M12_2_3, cuts_M12_3[..., None, :])

    # A loop that crosses the plane leaves the front side on one edge and returns on another.
    face_front = front_M12_2[:, _FACE_EDGES]
    forward = _FACE_SIGNS > 0
    starts_front = np.where(forward, face_front[..., 0], face_front[..., 1])
    ends_front = np.where(forward, face_front[..., 1], face_front[..., 0])
    leaves, returns = starts_front & ~ends_front, ~starts_front & ends_front
    rows = np.arange(len(corners_M83))[:, None]
    faces = np.arange(6)
    closing_M6_2_3 = np.stack(
        [
            cuts_M12_3[rows, _FACE_EDGES[faces, np.argmax(side, axis=-1)]]
            for side in (leaves, returns)
        ],
        axis=-2,
    )
    edges = np.concatenate([edges_M12_2_3, closing_M6_2_3], axis=1)
    present = np.concatenate([front_M12_2.any(axis=-1), leaves.any(axis=-1)], axis=1)
    edges[~present] = [0.0, 0.0, 1.0]
    return edges, present


def _bounds(edges_M18_2_2: Floats, present_M18: NDArray[np.bool_], limits_M2: Floats) -> Floats:
    """Return the bounds of all clipped edges and of the image corners that the outline covers.

    Returns:
        (M, 4) x1 y1 x2 y2 pixels; zeros if the outline does not touch the image.
    """
    start, step = edges_M18_2_2[..., 0, :], edges_M18_2_2[..., 1, :] - edges_M18_2_2[..., 0, :]
    limits = limits_M2[:, None, :]
    with np.errstate(divide="ignore", invalid="ignore"):
        at_low, at_high = -start / step, (limits - start) / step
    parallel = step == 0
    beside = parallel & ((start < 0) | (start > limits))
    enter = np.where(parallel, 0.0, np.minimum(at_low, at_high)).max(axis=-1).clip(0, None)
    leave = np.where(parallel, 1.0, np.maximum(at_low, at_high)).min(axis=-1).clip(None, 1)
    inside_M18 = present_M18 & ~beside.any(axis=-1) & (enter <= leave)
    ends_M18_2_2 = (
        start[..., None, :] + np.stack([enter, leave], axis=-1)[..., None] * step[..., None, :]
    )
    # Rounding can put a clipped end slightly outside; ends that are not clipped stay unchanged.
    ends_M18_2_2 = np.where(
        np.stack([enter <= 0, leave >= 1], axis=-1)[..., None], edges_M18_2_2, ends_M18_2_2
    ).clip(0, limits[:, :, None])

    corners_M42 = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * limits
    covered_M4 = _covers(edges_M18_2_2, present_M18, corners_M42)
    M = len(present_M18)
    points = np.concatenate([ends_M18_2_2.reshape(M, 36, 2), corners_M42], axis=1)
    valid = np.concatenate([np.repeat(inside_M18, 2, axis=1), covered_M4], axis=1)[..., None]
    low = np.where(valid, points, np.inf).min(axis=1)
    high = np.where(valid, points, -np.inf).max(axis=1)
    return np.where(valid.any(axis=1), np.concatenate([low, high], axis=1), 0.0)


def _covers(
    edges_M18_2_2: Floats, present_M18: NDArray[np.bool_], points_MP2: Floats
) -> NDArray[np.bool_]:
    """Return whether the outline (the image of any face) covers each of the points [M, P, 2]."""
    start, step = edges_M18_2_2[..., 0, :], edges_M18_2_2[..., 1, :] - edges_M18_2_2[..., 0, :]
    offset = points_MP2[:, :, None] - start[:, None]
    side_MP18 = step[:, None, :, 0] * offset[..., 1] - step[:, None, :, 1] * offset[..., 0]
    side_MP18 = np.where(present_M18[:, None], side_MP18, 0.0)
    sides = np.concatenate(
        [side_MP18[..., _FACE_EDGES] * _FACE_SIGNS, side_MP18[..., 12:, None]], axis=-1
    )
    # The six cut edges are the loop of the cap.
    cap = side_MP18[..., None, 12:]
    covered = np.zeros(side_MP18.shape[:2], dtype=np.bool_)
    # A convex loop covers a point that is on the same side of all its edges.
    for loops in (sides, cap):
        one_side = (loops >= 0).all(axis=-1) | (loops <= 0).all(axis=-1)
        covered |= (one_side & (loops != 0).any(axis=-1)).any(axis=-1)
    return covered


def _all_in_view(
    corners_M83: Floats, edges_M18_2_2: Floats, limits_M2: Floats, near: float
) -> NDArray[np.bool_]:
    """Return whether each box is completely in front of the near plane and in the image."""
    in_front = (corners_M83[..., 2] >= near).all(axis=-1)
    own_edges = edges_M18_2_2[:, :12]
    inside = (own_edges >= 0) & (own_edges <= limits_M2[:, None, None])
    return np.asarray(in_front & inside.all(axis=(1, 2, 3)))


def _truncation(
    corners_M83: Floats, intrinsics_M33: Floats, limits_M2: Floats, near: float
) -> Floats:
    """Compute the fraction of each box's volume outside the field of view.

    The field of view is the intersection of five half-spaces, so a line through the box is inside
    it along one segment, whose length is exact. The lines are parallel to the box's length, in the
    middle of ``_LINES`` x ``_LINES`` equal parts of its cross-section.
    """
    at = (np.arange(_LINES) + 0.5) / _LINES
    across, down = (x.reshape(-1, 1) for x in np.meshgrid(at, at))
    weights_L4 = np.concatenate(
        [(1 - across) * (1 - down), across * (1 - down), across * down, (1 - across) * down], axis=1
    )
    x_M3, y_M3, depth_M3 = np.moveaxis(intrinsics_M33, -2, 0)
    width_M1, height_M1 = limits_M2[:, :1], limits_M2[:, 1:]
    forward_M3 = np.broadcast_to([0.0, 0.0, 1.0], x_M3.shape)
    normals_M35 = np.stack(
        [x_M3, width_M1 * depth_M3 - x_M3, y_M3, height_M1 * depth_M3 - y_M3, forward_M3], axis=-1
    )
    limits_5 = np.array([0, 0, 0, 0, near])
    # Signed distance of each line's ends from each half-space's border: negative is outside.
    front_ML5, rear_ML5 = (
        weights_L4 @ face_M43 @ normals_M35 - limits_5
        for face_M43 in (corners_M83[:, :4], corners_M83[:, 4:])
    )
    crosses_ML5 = (front_ML5 < 0) != (rear_ML5 < 0)
    crossing_ML5 = front_ML5 / np.where(crosses_ML5, front_ML5 - rear_ML5, 1.0)
    enter_ML5 = np.where(front_ML5 < 0, np.where(crosses_ML5, crossing_ML5, 1.0), 0.0)
    leave_ML5 = np.where(rear_ML5 < 0, np.where(crosses_ML5, crossing_ML5, 0.0), 1.0)
    inside_ML = (leave_ML5.min(axis=-1) - enter_ML5.max(axis=-1)).clip(0, None)
    fraction: Floats = 1 - inside_ML.mean(axis=-1)
    return fraction


def transform_boxes(boxes_M4: Floats, matrices_M33: Floats) -> Floats:
    """Scale, mirror and shift boxes.

    Args:
        boxes_M4: x1 y1 x2 y2 pixels.
        matrices_M33: scale, shift and mirroring of homogeneous pixel coordinates, without rotation.

    Returns:
        (M, 4) x1 y1 x2 y2 pixels of the result, not clipped.
    """
    scale_M2 = np.stack([matrices_M33[:, 0, 0], matrices_M33[:, 1, 1]], axis=1)
    corners_M22 = boxes_M4.reshape(-1, 2, 2) * scale_M2[:, None] + matrices_M33[:, None, :2, 2]
    return np.concatenate([corners_M22.min(axis=1), corners_M22.max(axis=1)], axis=1)
