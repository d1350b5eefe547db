"""Lidar returns projected into the cameras, at each camera's own time.

Letters: P lidar points.
"""

from __future__ import annotations

import numpy as np

from drivemim.array_types import Bools, Floats, Floats32, Ints
from drivemim.data.index.frame_index import FrameIndex
from drivemim.data.index.lidar_files import read_scan
from drivemim.geometry.poses import invert_pose, transform_points

LONGEST_GAP = 300_000
"""Largest time between a frame and its scan, microseconds; with a longer one, a frame has no
points."""
_NEAREST = 1.0
"""Smallest depth of a point, metres; nearer points are on the ego vehicle."""


def has_lidar(index: FrameIndex, samples: Ints | None = None) -> bool:
    """Return whether any of the samples (None for all of the index) has a scan."""
    with_scan = _has_scan(index)
    return bool((with_scan if samples is None else with_scan[samples]).any())


def _has_scan(index: FrameIndex) -> Bools:
    """Return whether each sample has a scan."""
    offsets, _ = index.samples.lidar_path.buffers
    return np.diff(offsets) > 0


def frame_points(
    index: FrameIndex,
    rows: Ints,
    matrices_F33: Floats,
    image_size: tuple[int, int],
    *,
    max_points: int,
    seed: int,
) -> Floats32:
    """Return the lidar points that are visible in frames.

    A frame uses the LIDAR_TOP scan of the sample nearest in time. For a keyframe, this is the
    scan of its own sample. For a frame between keyframes, the scan is up to a quarter of a second
    off in nuScenes. Points on standing objects are correct even then, because lidar and camera each
    have their own ego pose; points on moving objects are where the objects were at the time of the
    scan. A frame more than ``LONGEST_GAP`` from its nearest sample, or whose sample has no scan,
    has no points. Occlusion is not tested: the lidar is not at the camera's position, so a few
    points belong to objects that are occluded in the image.

    Args:
        index: the data set.
        rows: (F,) rows of ``index.frames``.
        matrices_F33: from the stored pixels to those of the loaded images.
        image_size: height and width of the loaded images, pixels.
        max_points: maximum number of points per frame; if there are more, a random subset is drawn.
        seed: seed of the random subsets.

    Returns:
        (F, P, 3) x and y in pixels of the loaded images and depth in metres along the camera's z
        axis, padded with (0, 0, inf) to the largest number of points in a frame.

    Raises:
        FileNotFoundError: if a scan does not exist.
        DataError: if a scan is broken; see ``read_scan``.
    """
    samples = _nearest_samples(index, rows)
    to_camera = invert_pose(index.camera_to_global(rows))
    intrinsics = matrices_F33 @ index.frames.intrinsics[rows]
    scans = {int(sample): _scan(index, int(sample)) for sample in np.unique(samples[samples >= 0])}
    points_per_frame: list[Floats32] = []
    for frame, sample in enumerate(samples):
        points = np.zeros((0, 3), np.float32)
        if sample >= 0:
            in_camera = transform_points(to_camera[frame], scans[int(sample)])
            points = _project(in_camera, intrinsics[frame], image_size)
        if len(points) > max_points:
            drawn = np.random.default_rng([seed, frame]).choice(
                len(points), max_points, replace=False
            )
            points = points[np.sort(drawn)]
        points_per_frame.append(points)
    padded = np.zeros((len(rows), max(map(len, points_per_frame), default=0), 3), np.float32)
    padded[..., 2] = np.inf
    for frame, points in enumerate(points_per_frame):
        padded[frame, : len(points)] = points
    return padded


def _nearest_samples(index: FrameIndex, rows: Ints) -> Ints:
    """Return the sample nearest in time to each frame.

    It is -1 if that sample has no scan, or is more than ``LONGEST_GAP`` away.
    """
    samples, times = index.samples, index.frames.timestamp[rows]
    nearest = index.frames.sample[rows].astype(np.int64)
    gap = np.abs(samples.timestamp[nearest] - times)
    # frames.sample is the later of the two samples around a frame, or a scene's last sample for
    # frames after it.
    previous = samples.previous[nearest]
    gap_before = np.where(previous >= 0, np.abs(samples.timestamp[previous] - times), gap + 1)
    is_previous_nearer = ~index.frames.keyframe[rows] & (gap_before < gap)
    nearest = np.where(is_previous_nearer, previous, nearest)
    gap = np.where(is_previous_nearer, gap_before, gap)
    return np.where(_has_scan(index)[nearest] & (gap <= LONGEST_GAP), nearest, -1)


def _scan(index: FrameIndex, sample: int) -> Floats:
    """Return the points of a sample's scan in the global frame, metres."""
    samples = index.samples
    path = index.data_root / samples.lidar_path[sample]
    points = read_scan(path, sample=samples.token[sample], values=index.info.lidar_values)
    return transform_points(index.lidar_to_global(sample), points)


def _project(camera_P3: Floats, intrinsics_33: Floats, image_size: tuple[int, int]) -> Floats32:
    """Project points from the camera's frame; keep those in front of the camera and in its image.

    Returns:
        (P, 3) x and y in pixels, and depth in metres.
    """
    camera_P3 = camera_P3[camera_P3[:, 2] > _NEAREST]
    pixels_P3 = (camera_P3 @ intrinsics_33.T) / camera_P3[:, 2:]
    height, width = image_size
    points_P3 = np.concatenate([pixels_P3[:, :2], camera_P3[:, 2:]], axis=1).astype(np.float32)
    inside_P = ((points_P3[:, :2] >= 0) & (points_P3[:, :2] < [width, height])).all(axis=1)
    inside: Floats32 = points_P3[inside_P]
    return inside
