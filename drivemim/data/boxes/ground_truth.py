"""Ground truth of frames: annotated boxes in each camera's image at its own timestamp.

Letters: S samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from drivemim.array_types import Floats, Ints
from drivemim.clips import CLASSES
from drivemim.data.class_lists import category_labels
from drivemim.data.index.frame_index import FrameIndex
from drivemim.geometry.boxes import ProjectedBoxes, box_corners, project_boxes
from drivemim.geometry.poses import invert_pose, slerp, transform_points

_CHUNK = 2048
"""Number of frames projected at a time; limits the memory for a whole data set."""
RECORDED = ("rig", "custom")
"""Sources whose keyframes are images near an annotated moment; see ``IndexInfo``."""
LONGEST_STILL = 500_000
"""Microseconds before an object's first annotation during which it is assumed to stand still where
it is annotated; before that, it has no box. This is the time between nuScenes' samples."""
LONGEST_LINK = 1_500_000
"""Maximum microseconds between two boxes of a track to interpolate the boxes of keyframes. If the
annotated moments of a recording are further apart, images between them have no boxes at all."""
_MAX_EXTRAPOLATION = 0.5
"""Limit of extrapolation in keyframes, as a fraction of the time between two samples. If a camera
has as many images as there are annotated moments, an image is at most half of this time away from
its moment."""
MOVING_SPEED = 0.5
"""Metres per second; an object whose attribute does not say whether it moves is moving above this
speed."""
_MOVING = (".moving",)
"""Endings of the attributes of moving objects."""
_STANDING = (".standing", ".sitting_lying_down", ".stopped", ".parked")
"""Endings of the attributes of standing objects."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameBoxes:
    """Boxes of F frames, M in total: those of frame ``f`` are rows ``offsets[f]:offsets[f + 1]``.

    Attributes:
        offsets: (F + 1,) int64.
        frame: (M,) position among the requested frames.
        box: (M,) row in ``index.boxes``.
        boxes: (M, 4) x1 y1 x2 y2 pixels of the stored image, clipped to it.
        center: (M, 3) metres, global frame, at the frame's time; NaN for boxes drawn in the image.
        rotation: (M, 4) quaternion w x y z, global frame; NaN for boxes drawn in the image.
        label: (M,) position in ``classes``, -1 for categories without a class.
        track: (M,) row in ``index.tracks``.
        depth: (M,) metres to the box's centre along the camera's z axis; inf if unknown.
        distance: (M,) metres from the ego vehicle to the box's centre on the ground plane; NaN if
            unknown.
        visibility: (M,) nuScenes' levels 1 to 4, 0 = unknown.
        truncation: (M,) fraction of the 3-D box out of view; 0 for boxes drawn in the image.
        lidar_points: (M,) number of lidar points in the 3-D box, -1 = unknown.
        radar_points: (M,) number of radar points in the 3-D box, -1 = unknown.
        moving: (M,) 1 = moving, 0 = standing, -1 = unknown.
        crowd: (M,) whether the box is neither an object nor background; see ``Boxes.crowd``.
    """

    offsets: Ints
    frame: Ints
    box: Ints
    boxes: Floats
    center: Floats
    rotation: Floats
    label: Ints
    track: Ints
    depth: Floats
    distance: Floats
    visibility: Ints
    truncation: Floats
    lidar_points: Ints
    radar_points: Ints
    moving: Ints
    crowd: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.offsets) - 1


@dataclass(frozen=True, eq=False)
class InterpolatedBoxes:
    """3-D boxes of F frames at the frames' own timestamps, M in total.

    Attributes:
        frame: (M,) position among the requested frames, ascending.
        box: (M,) row in ``index.boxes``.
        center: (M, 3) metres, global frame; NaN for boxes drawn in the image.
        rotation: (M, 4) quaternion w x y z, global frame; NaN for boxes drawn in the image.
    """

    frame: Ints
    box: Ints
    center: Floats
    rotation: Floats


def interpolate_boxes(index: FrameIndex, rows: Ints) -> InterpolatedBoxes:
    """Return the annotations of frames, interpolated for sweeps like in the devkit's ``get_boxes``.

    A sweep has the boxes of the sample it belongs to. If the previous sample also has a box of the
    track, the two are interpolated. Keyframes of nuScenes' tables have their annotations unchanged.

    Recordings (``RECORDED``) differ from tables in two ways, because their annotated moments may be
    0.1 s away from a keyframe and 1.5 s apart:

    - Boxes of keyframes are moved to the image's time, too. They are interpolated between the
      annotated moments before and after the image. If the track is in only one neighbouring moment,
      on the other side, its motion between the two moments continues.
    - If a track begins with the sample of a sweep, and this sample is more than ``LONGEST_STILL``
      later, the sweep has no box of it.

    Args:
        index: the data set.
        rows: (F,) rows of ``index.frames``.
    """
    samples, boxes = index.samples, index.boxes
    sample = index.frames.sample[rows].astype(np.int64)
    time, keyframe = index.frames.timestamp[rows], index.frames.keyframe[rows]
    is_recorded = index.info.source in RECORDED
    frame, box = expand_runs(samples.first_box[sample], samples.box_count[sample])
    if is_recorded:
        is_early = samples.timestamp[sample] - time > LONGEST_STILL
        begins_later = (is_early & ~keyframe)[frame] & (boxes.previous[box] < 0)
        frame, box = frame[~begins_later], box[~begins_later]
    objects = InterpolatedBoxes(frame, box, boxes.center[box], boxes.rotation[box])
    if not keyframe.all():
        between = np.flatnonzero(~keyframe[frame] & (boxes.previous[box] >= 0))
        links = (boxes.previous[box[between]], box[between])
        # Timestamps can lie outside the two samples; the devkit also clips them.
        _move(index, objects, between, links, time[frame[between]], max_extrapolation=0)
    if is_recorded and keyframe.any():
        off = np.flatnonzero(keyframe[frame] & (time != samples.timestamp[sample])[frame])
        start, end = _links_around(index, box[off], time[frame[off]])
        known = (start >= 0) & (end >= 0)
        off, links = off[known], (start[known], end[known])
        _move(index, objects, off, links, time[frame[off]], max_extrapolation=_MAX_EXTRAPOLATION)
    return objects


def _move(
    index: FrameIndex,
    objects: InterpolatedBoxes,
    positions: Ints,
    links: tuple[Ints, Ints],
    time: Ints,
    max_extrapolation: float,
) -> None:
    """Move boxes to where their tracks are at a time.

    Args:
        index: the data set.
        objects: the boxes; changed in place.
        positions: (P,) positions in ``objects`` of the boxes to move.
        links: (P,) rows of ``index.boxes``: an earlier and a later box of each track.
        time: (P,) microseconds.
        max_extrapolation: limit, as a fraction of the time between the two boxes.
    """
    if len(positions) == 0:
        return
    boxes, (old, new) = index.boxes, links
    start, end = (index.samples.timestamp[boxes.sample[box]] for box in links)
    fraction = (time - start) / (end - start)
    fraction = np.clip(fraction, -max_extrapolation, 1 + max_extrapolation)
    center = boxes.center[old]
    objects.center[positions] = center + fraction[:, None] * (boxes.center[new] - center)
    objects.rotation[positions] = slerp(boxes.rotation[old], boxes.rotation[new], fraction)


def _links_around(index: FrameIndex, box: Ints, time: Ints) -> tuple[Ints, Ints]:
    """Return, for each box, two boxes of its track to interpolate between: itself and a neighbour.

    The neighbour is the track's box in the sample before or after. It is on the side of ``time`` if
    the track has a box there, else on the other side.

    Args:
        index: the data set.
        box: (M,) rows of ``index.boxes``.
        time: (M,) microseconds.

    Returns:
        (M,) rows of the earlier and the later box. The neighbour is -1 if the track has no box in
        the samples before and after, or these are more than ``LONGEST_LINK`` away.
    """
    time_S = index.samples.timestamp
    own_time = time_S[index.boxes.sample[box]]
    before, after = index.boxes.previous[box], _next_boxes(index, box)
    before, after = (
        np.where(np.abs(time_S[index.boxes.sample[other]] - own_time) <= LONGEST_LINK, other, -1)
        for other in (before, after)
    )
    backward = (before >= 0) & ((time < own_time) | (after < 0))
    return np.where(backward, before, box), np.where(backward, box, after)


def _next_boxes(index: FrameIndex, box: Ints) -> Ints:
    """Return the row of each box's track in the next sample, -1 for none."""
    samples, boxes = index.samples, index.boxes
    following = np.unique(samples.next[boxes.sample[box]])
    following = following[following >= 0]
    _, later = expand_runs(samples.first_box[following], samples.box_count[following])
    later = later[np.argsort(boxes.previous[later], kind="stable")]
    if len(later) == 0:
        return np.full(len(box), -1, np.int64)
    position = np.minimum(np.searchsorted(boxes.previous[later], box), len(later) - 1)
    return np.where(boxes.previous[later[position]] == box, later[position], -1)


def frame_boxes(
    index: FrameIndex,
    rows: Ints,
    *,
    class_map: Mapping[str, str | None] | None = None,
    classes: Sequence[str] = CLASSES,
    keep_unlabelled: bool = False,
    min_size: float = 0.0,
) -> FrameBoxes:
    """Return the boxes of frames as seen by their cameras.

    Args:
        index: the data set.
        rows: (F,) rows of ``index.frames``.
        class_map: class by category, or None for no class; only categories whose class differs from
            ``category_classes``.
        classes: class names; labels are positions in them.
        keep_unlabelled: whether to keep boxes whose category has no class, with label -1.
        min_size: boxes narrower or lower than this many pixels are left out.

    Returns:
        the boxes that are in the image, frame by frame.

    Raises:
        DataError: if a category with boxes is missing in ``category_classes``.
    """
    rows = np.asarray(rows, np.int64)
    labels = category_labels(index.categories, classes, class_map, used=index.used_categories)
    chunks = [
        _boxes_of_chunk(index, rows[start : start + _CHUNK], labels, keep_unlabelled, min_size)
        for start in range(0, max(len(rows), 1), _CHUNK)
    ]
    return chunks[0] if len(chunks) == 1 else _join(chunks)


def _boxes_of_chunk(
    index: FrameIndex, rows: Ints, labels: Ints, keep_unlabelled: bool, min_size: float
) -> FrameBoxes:
    """Return ``frame_boxes`` of a few frames; ``labels`` has the label of each category."""
    objects = interpolate_boxes(index, rows)
    label = labels[index.boxes.category[objects.box]]
    if not keep_unlabelled:
        objects, label = _select(objects, label >= 0), label[label >= 0]
    projected = _boxes_in_images(index, rows, objects)
    size = projected.boxes_M4[:, 2:] - projected.boxes_M4[:, :2]
    keep = np.flatnonzero(projected.in_image_M & (size >= min_size).all(axis=1))
    frame, box = objects.frame[keep], objects.box[keep]
    ego = index.frames.ego_to_global[rows[frame]][:, :2]
    return FrameBoxes(
        offsets=np.searchsorted(frame, np.arange(len(rows) + 1)),
        frame=frame,
        box=box,
        boxes=projected.boxes_M4[keep],
        center=objects.center[keep],
        rotation=objects.rotation[keep],
        label=label[keep],
        track=index.boxes.track[box].astype(np.int64),
        depth=projected.depth_M[keep],
        distance=np.linalg.norm(objects.center[keep][:, :2] - ego, axis=1),
        visibility=np.maximum(index.boxes.visibility[box].astype(np.int64), 0),
        truncation=projected.truncation_M[keep],
        lidar_points=index.boxes.lidar_points[box].astype(np.int64),
        radar_points=index.boxes.radar_points[box].astype(np.int64),
        moving=_moving(index, box),
        crowd=index.boxes.crowd[box],
    )


def _join(chunks: list[FrameBoxes]) -> FrameBoxes:
    """Concatenate the boxes of successive frames."""
    columns = {
        field.name: np.concatenate([getattr(chunk, field.name) for chunk in chunks])
        for field in fields(FrameBoxes)
        if field.name not in ("offsets", "frame")
    }
    counts = np.concatenate([np.diff(chunk.offsets) for chunk in chunks])
    frame = np.repeat(np.arange(len(counts)), counts)
    return FrameBoxes(offsets=np.concatenate([[0], np.cumsum(counts)]), frame=frame, **columns)


def expand_runs(first: Ints, count: Ints) -> tuple[Ints, Ints]:
    """List all rows of several runs of consecutive rows.

    Args:
        first: first row of each run.
        count: number of rows of each run.

    Returns:
        Two arrays with an entry per row: the position of its run, and the row.
    """
    run = np.repeat(np.arange(len(first)), count)
    start = np.cumsum(count) - count
    return run, np.arange(len(run)) + (first - start)[run]


def _select(objects: InterpolatedBoxes, keep: NDArray[np.bool_]) -> InterpolatedBoxes:
    """Return the boxes for which ``keep`` is True."""
    return InterpolatedBoxes(
        objects.frame[keep], objects.box[keep], objects.center[keep], objects.rotation[keep]
    )


def _boxes_in_images(index: FrameIndex, rows: Ints, objects: InterpolatedBoxes) -> ProjectedBoxes:
    """Return 2-D boxes: projected from the 3-D box if there is one, else as drawn in the image."""
    frames = index.frames
    size_M2 = np.stack([frames.height[rows], frames.width[rows]], axis=1)[objects.frame]
    drawn_M4 = index.boxes.image_box[objects.box]
    is_drawn = ~np.isnan(drawn_M4[:, 0])
    with_3d = np.flatnonzero(~is_drawn)
    projected = _project(index, rows, _select(objects, ~is_drawn), size_M2[with_3d])

    limits_M4 = size_M2[:, [1, 0, 1, 0]]
    boxes = np.clip(np.where(is_drawn[:, None], drawn_M4, 0.0), 0, limits_M4)
    boxes[with_3d] = projected.boxes_M4
    truncation, depth = np.zeros(len(boxes)), np.full(len(boxes), np.inf)
    truncation[with_3d], depth[with_3d] = projected.truncation_M, projected.depth_M
    in_image = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    in_image[with_3d] = projected.in_image_M
    return ProjectedBoxes(boxes, truncation, depth, in_image)


def _project(
    index: FrameIndex, rows: Ints, objects: InterpolatedBoxes, size_M2: Ints
) -> ProjectedBoxes:
    """Project 3-D boxes through each frame's own pose."""
    to_camera = invert_pose(index.camera_to_global(rows))[objects.frame]
    corners = box_corners(objects.center, index.boxes.size[objects.box], objects.rotation)
    corners = transform_points(to_camera, corners)
    return project_boxes(corners, index.frames.intrinsics[rows][objects.frame], size_M2)


def _moving(index: FrameIndex, box: Ints) -> Ints:
    """Return 1 for moving objects, 0 for standing ones, -1 if unknown.

    An attribute decides if it says whether the object moves, else the object's speed does.
    """
    # The last entry is for objects without an attribute (-1).
    states = np.full(len(index.attributes) + 1, -1, np.int64)
    for number, name in enumerate(index.attributes):
        if name.endswith(_MOVING):
            states[number] = 1
        elif name.endswith(_STANDING):
            states[number] = 0
    moving: Ints = states[index.boxes.attribute[box]]
    speed = np.linalg.norm(index.boxes.velocity[box], axis=1)
    unknown = (moving < 0) & ~np.isnan(speed)
    moving[unknown] = speed[unknown] > MOVING_SPEED
    return moving
