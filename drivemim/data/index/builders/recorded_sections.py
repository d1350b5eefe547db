"""Convert recorded scenes to the sections of an index.

Letters: S samples, A annotated moments.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from drivemim.array_types import Floats, Ints
from drivemim.data.index.builders.columns import (
    Section,
    frames_of_scenes,
    links_in_time,
    neighbours,
    no_lidar,
    runs,
)
from drivemim.data.index.builders.nuscenes import has_word
from drivemim.data.index.builders.nuscenes_boxes import box_velocity, previous_boxes
from drivemim.data.index.builders.recorded_parts import RecordedFile
from drivemim.data.index.builders.recorded_scene import RecordedScene
from drivemim.data.index.builders.scene_samples import (
    LARGEST_LAG,
    SceneSamples,
    assign_samples,
    nearest,
)
from drivemim.data.index.builders.source_rows import SourceRows
from drivemim.errors import DataError

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class SceneFrames:
    """The F images of one scene, sorted by camera, then by time.

    Attributes:
        files: the images.
        camera: (F,) position among the index's cameras.
        time: (F,) microseconds.
        samples: the samples of the scene, and the sample of each image.
    """

    files: list[RecordedFile]
    camera: Ints
    time: Ints
    samples: SceneSamples


def recorded_cameras(scenes: Sequence[RecordedScene]) -> list[str]:
    """Return the names of all cameras that have images, sorted."""
    return sorted({name for scene in scenes for name, files in scene.frames.items() if files})


def scene_frames(scene: RecordedScene, cameras: Sequence[str]) -> SceneFrames:
    """Return the images of a scene, with their samples."""
    files, camera = [], []
    for number, name in enumerate(cameras):
        camera_files = sorted(scene.frames.get(name, ()), key=lambda file: file.time)
        files += camera_files
        camera += [number] * len(camera_files)
    time_F = np.array([file.time for file in files], np.int64)
    camera_F = np.array(camera, np.int64)
    moments_A = np.array(sorted(scene.boxes.moments), np.int64)
    return SceneFrames(files, camera_F, time_F, assign_samples(time_F, camera_F, moments_A))


def recorded_sections(
    scenes: Sequence[RecordedScene], scene_images: Sequence[SceneFrames], cameras: list[str]
) -> dict[str, Section]:
    """Return the sections of an index.

    Args:
        scenes: the scenes, each with at least one image.
        scene_images: the images of each scene.
        cameras: names of the cameras.
    """
    sample_counts = np.array([len(images.samples.timestamp) for images in scene_images], np.int64)
    first_sample = np.cumsum(sample_counts) - sample_counts
    frames = _frames(scenes, scene_images, cameras, first_sample)
    samples = _samples(scenes, scene_images, sample_counts)
    rows = np.flatnonzero(np.concatenate([images.samples.listed for images in scene_images]))
    keyframes = np.full((len(samples["timestamp"]), len(cameras)), -1, np.int64)
    keyframes[frames["sample"][rows], frames["camera"][rows]] = rows
    boxes, tracks, names = _boxes(scenes, samples, first_sample)
    first_box, box_count = runs(boxes["sample"], len(samples["timestamp"]))
    return {
        "frames": frames,
        "samples": {
            **samples,
            "keyframes": keyframes,
            "first_box": first_box,
            "box_count": box_count,
        },
        "scenes": {
            **_scenes(scenes),
            **frames_of_scenes(frames, len(scenes), len(cameras)),
            "first_sample": first_sample,
            "sample_count": sample_counts,
        },
        "boxes": boxes,
        "tracks": tracks,
        "names": {**names, "cameras": cameras, "levels": []},
    }


def ego_poses(scene: RecordedScene, files: Sequence[RecordedFile]) -> Floats:
    """Return the ego pose (F, 7) of each image or scan.

    It is the pose that was given with the file, else an interpolated one.
    """
    poses = np.empty((len(files), 7))
    without_pose = [row for row, file in enumerate(files) if file.pose is None]
    for row, file in enumerate(files):
        if file.pose is not None:
            poses[row] = file.pose
    if without_pose:
        assert scene.trajectory is not None
        times = np.array([files[row].time for row in without_pose], np.int64)
        poses[without_pose] = scene.trajectory.at(times)
    return poses


def check_moments_near_images(scene: RecordedScene, images: SceneFrames, limit: int) -> None:
    """Refuse annotated moments far away from every image, and warn if none has a keyframe.

    Args:
        scene: the scene.
        images: the images of the scene.
        limit: maximum microseconds between a moment and the nearest image.

    Raises:
        DataError: if there are such moments. The message names the first box of the first one, or
            the row that says that it has no boxes.
    """
    times, moments = np.sort(images.time), np.array(list(scene.boxes.moments), np.int64)
    rows = list(scene.boxes.moments.values())
    far = np.flatnonzero(nearest(times, moments, limit) < 0)
    if len(far):
        first = int(far[0])
        raise DataError(
            f"{rows[first].file(0)}: {rows[first].name(0)} is at {moments[first]}, more than "
            f"{limit / 1e6:g} s from every image of scene {scene.name!r}, which are from "
            f"{times[0]} to {times[-1]} ({len(far)} such moments); use whole microseconds of one "
            "clock"
        )
    if not images.samples.annotated.any():
        distance = np.abs(times[nearest(times, moments, limit)] - moments)
        _log.warning(
            "%s: scene %r has no image within %g s of an annotated moment (the nearest is %.3f s "
            "away), so that no image of it counts as annotated. If the boxes belong to images, "
            "give them the timestamps of these",
            rows[0].file(0),
            scene.name,
            LARGEST_LAG / 1e6,
            distance.min() / 1e6,
        )


def box_rows(scene: RecordedScene) -> SourceRows:
    """Return the names of a scene's boxes, for messages."""
    counts = [len(center) for center, _, _ in scene.boxes.boxes_3d]
    return SourceRows.join(scene.boxes.rows, counts)


def _frames(
    scenes: Sequence[RecordedScene],
    scene_images: Sequence[SceneFrames],
    cameras: Sequence[str],
    first_sample: Ints,
) -> Section:
    """Return the section ``frames``.

    Args:
        scenes: the scenes.
        scene_images: the images of each scene.
        cameras: names of the cameras.
        first_sample: row of the first sample of each scene.
    """
    counts = [len(images.files) for images in scene_images]
    scene = np.repeat(np.arange(len(scenes)), counts)
    camera = np.concatenate([images.camera for images in scene_images])
    timestamp = np.concatenate([images.time for images in scene_images])
    calibrations = [
        each.cameras[cameras[number]]
        for each, images in zip(scenes, scene_images, strict=True)
        for number in images.camera
    ]
    paths = [file.path for images in scene_images for file in images.files]
    sample_of_scene = np.concatenate([images.samples.of_frame for images in scene_images])
    return {
        "token": paths,
        "scene": scene,
        "sample": sample_of_scene + first_sample[scene],
        "camera": camera,
        "timestamp": timestamp,
        "path": paths,
        "width": np.array([each.size[0] for each in calibrations], np.int64),
        "height": np.array([each.size[1] for each in calibrations], np.int64),
        "intrinsics": np.array([each.intrinsics for each in calibrations]),
        "camera_to_ego": np.array([each.mount for each in calibrations]),
        "ego_to_global": np.concatenate(
            [
                ego_poses(each, images.files)
                for each, images in zip(scenes, scene_images, strict=True)
            ]
        ),
        "keyframe": np.concatenate([images.samples.annotated for images in scene_images]),
        "calibrated": np.ones(len(paths), bool),
        **links_in_time(scene * len(cameras) + camera, timestamp),
    }


def _samples(
    scenes: Sequence[RecordedScene], scene_images: Sequence[SceneFrames], counts: Ints
) -> Section:
    """Return the columns of the section ``samples`` that do not depend on other sections."""
    scene = np.repeat(np.arange(len(scenes)), counts)
    timestamp = np.concatenate([images.samples.timestamp for images in scene_images])
    previous, following = neighbours(scene)
    lidar = no_lidar(len(timestamp))
    first = 0
    for each, images in zip(scenes, scene_images, strict=True):
        _add_scans(lidar, first, each, images.samples.timestamp)
        first += len(images.samples.timestamp)
    return {
        "token": [
            f"{scenes[number].name}@{time}"
            for number, time in zip(scene.tolist(), timestamp.tolist(), strict=True)
        ],
        "scene": scene,
        "timestamp": timestamp,
        "previous": previous,
        "next": following,
        **lidar,
    }


def _add_scans(lidar: Section, first: int, scene: RecordedScene, timestamp_S: Ints) -> None:
    """Write the nearest scan of each sample of a scene into the lidar columns.

    Samples without a scan within ``LARGEST_LAG`` get none.

    Args:
        lidar: lidar columns of the samples of all scenes.
        first: row of the scene's first sample.
        scene: the scene.
        timestamp_S: microseconds of the scene's samples.
    """
    scans = sorted(scene.scans, key=lambda file: file.time)
    scan_S = nearest(np.array([scan.time for scan in scans], np.int64), timestamp_S, LARGEST_LAG)
    rows = np.flatnonzero(scan_S >= 0)
    if len(rows) == 0:
        return
    chosen = [scans[number] for number in scan_S[rows]]
    for row, scan in zip(rows, chosen, strict=True):
        lidar["lidar_path"][first + row] = scan.path
    lidar["lidar_to_ego"][first + rows] = scene.lidar_mount
    lidar["lidar_ego_to_global"][first + rows] = ego_poses(scene, chosen)


def _scenes(scenes: Sequence[RecordedScene]) -> Section:
    descriptions = [scene.description for scene in scenes]
    return {
        "token": [f"{scene.split}:{scene.name}" for scene in scenes],
        "name": [scene.name for scene in scenes],
        "description": descriptions,
        "split": [scene.split for scene in scenes],
        "described": [bool(text) for text in descriptions],
        "night": [has_word(text, "night") for text in descriptions],
        "rain": [has_word(text, "rain") for text in descriptions],
    }


def _boxes(
    scenes: Sequence[RecordedScene], samples: Section, first_sample: Ints
) -> tuple[Section, Section, Section]:
    """Return the sections ``boxes`` (sorted by sample) and ``tracks``, and the names they refer to.

    Args:
        scenes: the scenes.
        samples: the section ``samples``.
        first_sample: row of the first sample of each scene.
    """
    counts = [len(scene.boxes) for scene in scenes]
    scene = np.repeat(np.arange(len(scenes)), counts)
    time = np.array([time for each in scenes for time in each.boxes.times], np.int64)
    sample = np.zeros(len(time), np.int64)
    for number in np.unique(scene):
        in_scene = scene == number
        stop = int(np.searchsorted(samples["scene"], number, side="right"))
        moments = samples["timestamp"][first_sample[number] : stop]
        # Every annotated moment is a sample, so the time of each box is one of these.
        sample[in_scene] = first_sample[number] + np.searchsorted(moments, time[in_scene])
    columns = {
        name: [value for each in scenes for value in each.boxes.columns[name]]
        for name in ("tracks", "categories", "attributes", "visibility", "lidar_points")
    }
    categories = sorted(set(columns["categories"]))
    attributes = sorted(set(columns["attributes"]) - {""})
    category = _positions(columns["categories"], categories)
    keys = [
        track_token(scenes[number].name, name)
        for number, name in zip(scene, columns["tracks"], strict=True)
    ]
    tokens = sorted(set(keys))
    track = _positions(keys, tokens)
    track_category = np.zeros(len(tokens), np.int64)
    track_category[track] = category
    center, size, rotation = _boxes_3d(scenes)
    before, after = _neighbours_of_tracks(track, time)
    order = np.argsort(sample, kind="stable")
    boxes = {
        "token": [f"{keys[row]}@{time[row]}" for row in order],
        "sample": sample[order],
        "track": track[order],
        "category": category[order],
        "center": center[order],
        "size": size[order],
        "rotation": rotation[order],
        "velocity": box_velocity(center, time, before, after)[order],
        "image_box": np.full((len(order), 4), np.nan),
        "visibility": np.array(columns["visibility"], np.int64)[order],
        "lidar_points": np.array(columns["lidar_points"], np.int64)[order],
        "radar_points": np.full(len(order), -1),
        "attribute": _positions(columns["attributes"], attributes)[order],
        "previous": previous_boxes(sample[order], track[order], samples["previous"], len(tokens)),
        "crowd": np.zeros(len(order), bool),
    }
    names = {"categories": categories, "attributes": attributes}
    return boxes, {"token": tokens, "category": track_category}, names


def track_token(scene: str, track: str) -> str:
    """Return the token of a track, different for every pair of scene and track.

    Slashes in the track's name are escaped. The last slash of the token therefore separates the two
    names, although a scene's name may contain slashes.
    """
    return f"{scene}/{track.replace('%', '%25').replace('/', '%2F')}"


def _positions(values: Sequence[str], names: Sequence[str]) -> Ints:
    """Return the position of each value in ``names``, -1 for a value that is not there."""
    positions = {name: position for position, name in enumerate(names)}
    return np.array([positions.get(value, -1) for value in values], np.int64)


def _boxes_3d(scenes: Sequence[RecordedScene]) -> tuple[Floats, Floats, Floats]:
    """Return the centre (M, 3), size (M, 3) and rotation (M, 4) of all boxes."""
    boxes_3d = [boxes for scene in scenes for boxes in scene.boxes.boxes_3d]
    center, size, rotation = (
        np.concatenate([np.zeros((0, width)), *(boxes[column] for boxes in boxes_3d)])
        for column, width in enumerate((3, 3, 4))
    )
    return center, size, rotation


def _neighbours_of_tracks(track: Ints, time: Ints) -> tuple[Ints, Ints]:
    """Return for each box the rows of the same track's boxes before and after it, -1 for none."""
    order = np.lexsort((time, track))
    previous, following = neighbours(track[order])
    before, after = np.full((2, len(track)), -1, np.int64)
    before[order] = np.where(previous >= 0, order[previous], -1)
    after[order] = np.where(following >= 0, order[following], -1)
    return before, after
