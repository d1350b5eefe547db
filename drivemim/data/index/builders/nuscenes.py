"""Builder of a ``FrameIndex`` from nuScenes tables, of any version and size."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from drivemim.array_types import Ints
from drivemim.data.index.arrow import strings, take
from drivemim.data.index.builders import nuscenes_schema as schema
from drivemim.data.index.builders import nuscenes_tables as tables
from drivemim.data.index.builders.columns import (
    Section,
    frames_of_scenes,
    neighbours,
    no_lidar,
    runs,
)
from drivemim.data.index.builders.lens_distortion import refuse_distortion, used_lenses
from drivemim.data.index.builders.nuscenes_boxes import Timeline, annotation_boxes
from drivemim.data.index.builders.nuscenes_frames import (
    Rig,
    SensorData,
    frame_columns,
    read_ego_poses,
    read_rig,
    read_sensor_data,
)
from drivemim.data.index.builders.nuscenes_images import check_missing_images, present_images
from drivemim.data.index.builders.nuscenes_links import check_neighbours, check_sweeps
from drivemim.data.index.builders.nuscenes_tables import join, read_table
from drivemim.data.index.builders.other_sources import check_source
from drivemim.data.index.builders.source_rows import SourceRows
from drivemim.data.index.builders.timing import (
    LARGEST_OFFSET,
    check_moments,
    check_offsets,
    microseconds,
)
from drivemim.data.index.frame_index import check_out, write_index
from drivemim.errors import DataError

NUSCENES_TABLES = (
    "attribute",
    "calibrated_sensor",
    "category",
    "ego_pose",
    "instance",
    "log",
    "sample",
    "sample_annotation",
    "sample_data",
    "scene",
    "sensor",
    "visibility",
)
"""The tables that are read."""


def build_nuscenes_index(
    root: str | os.PathLike[str],
    version: str,
    out: str | os.PathLike[str],
    *,
    missing_images: str = "error",
    rectified: bool = False,
    camera_rotations_as_written: bool = False,
) -> Path:
    """Index the tables of one nuScenes version.

    Args:
        root: folder that holds the version folder, ``samples`` and ``sweeps``.
        version: ``v1.0-mini``, ``v1.0-trainval``, ``v1.0-test`` or another folder of such tables.
        out: file to write.
        missing_images: action for frames whose image is missing: ``error``, ``drop`` (leave them
            out), or ``ignore`` (do not check).
        rectified: whether the images are rectified although the tables have distortion
            coefficients; the coefficients are then not used.
        camera_rotations_as_written: whether to accept cameras' rotations that seem to be in another
            convention than w, x, y, z and camera to ego.

    Returns:
        ``out``.

    Raises:
        FileNotFoundError: if the version folder, a table or an image does not exist.
        DataError: if a table is broken, lacks a row that another refers to, or is of nuImages; if
            timestamps are not microseconds; or if a lens distorts the images.
    """
    root = Path(root).absolute()
    folder = tables.version_folder(root, version)
    check_missing_images(missing_images)
    check_out(out)
    check_source(folder, root, "nuscenes")
    info = tables.source_info(
        "nuscenes",
        root,
        version,
        out,
        names=NUSCENES_TABLES,
        missing_images=missing_images,
        options={
            "--rectified": rectified,
            "--camera-rotations-as-written": camera_rotations_as_written,
        },
    )
    with tables.no_garbage_collection():
        rig = read_rig(folder, rotations_as_written=camera_rotations_as_written)
        sections = _read_sections(folder, root, rig, missing_images, rectified)
    write_index(out, sections, info)
    return Path(out)


def _read_sections(
    folder: Path, root: Path, rig: Rig, missing_images: str, rectified: bool
) -> dict[str, Section]:
    scenes, samples, timeline = _read_timeline(folder)
    frames, cameras = _read_frames(folder, root, rig, timeline, missing_images, rectified)
    samples.update(frames.pop("columns_of_samples"))
    scenes.update(frames_of_scenes(frames, len(scenes["token"]), len(cameras)))
    boxes, tracks, names = annotation_boxes(folder, timeline)
    first_box, box_count = runs(boxes["sample"], len(timeline.order))
    samples.update(first_box=first_box, box_count=box_count)
    return {
        "frames": frames,
        "samples": samples,
        "scenes": scenes,
        "boxes": boxes,
        "tracks": tracks,
        "names": {**names, "cameras": cameras},
    }


def _read_timeline(folder: Path) -> tuple[Section, Section, Timeline]:
    """Return the sections ``scenes`` and ``samples``, and the order of the samples.

    The sections lack the columns that depend on frames and boxes.
    """
    scenes = read_table(folder, schema.Scene, "scene")
    samples = read_table(folder, schema.Sample, "sample")
    logs = read_table(folder, schema.Log, "log")
    scene_tokens, tokens = tables.tokens_of(scenes), tables.tokens_of(samples)
    names = [scene.name for scene in scenes]
    problem = "has the name of an earlier scene, so that splits could not tell them apart"
    tables.check_rows(folder, "scene", scene_tokens, tables.repeats(names), problem)
    log_keys = strings([scene.log_token for scene in scenes])
    join(folder, log_keys, tables.tokens_of(logs),
         column="scene.log_token", table="log", owners=scene_tokens)  # fmt: skip
    for column in ("first_sample_token", "last_sample_token"):
        keys = strings([getattr(scene, column) for scene in scenes])
        join(folder, keys, tokens, column=f"scene.{column}", table="sample", owners=scene_tokens)
    scene_keys = strings([sample.scene_token for sample in samples])
    scene = join(folder, scene_keys, scene_tokens,
                 column="sample.scene_token", table="scene", owners=tokens)  # fmt: skip
    before, after = (
        join(folder, strings([getattr(sample, column) for sample in samples]), tokens,
             column=f"sample.{column}", table="sample", owners=tokens, optional=True)
        for column in ("prev", "next")
    )  # fmt: skip
    timestamp = np.array([sample.timestamp for sample in samples])
    check_neighbours(folder, "sample", tokens, timestamp, (before, after), {"scene": scene})
    order = np.lexsort((timestamp, scene))
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    previous, following = neighbours(scene[order])
    path = folder / "sample.json"
    moments = microseconds(path, timestamp[order], sequence=scene[order], kind=np.zeros_like(order),
                           kinds=["samples"])  # fmt: skip
    check_moments(path, scene[order], moments, take(tokens, order), "samples")
    timeline = Timeline(tokens, order, rank, scene[order], moments, previous)
    descriptions = [scene.description for scene in scenes]
    first_sample, sample_count = runs(timeline.scene, len(scenes))
    scene_section = {
        "token": scene_tokens,
        "name": strings(names),
        "description": strings(descriptions),
        "split": strings([""] * len(scenes)),
        "described": [bool(text) for text in descriptions],
        "night": [has_word(text, "night") for text in descriptions],
        "rain": [has_word(text, "rain") for text in descriptions],
        "first_sample": first_sample,
        "sample_count": sample_count,
    }
    sample_section = {
        "token": take(tokens, order),
        "scene": timeline.scene,
        "timestamp": timeline.timestamp,
        "previous": previous,
        "next": following,
    }
    return scene_section, sample_section, timeline


def has_word(text: str, stem: str) -> bool:
    """Return whether ``text`` has the word ``stem`` or an inflection (rain, rainy, raining)."""
    return re.search(rf"\b{stem}(s|y|ing|time)?\b", text, re.IGNORECASE) is not None


def _read_frames(
    folder: Path,
    root: Path,
    rig: Rig,
    timeline: Timeline,
    missing_images: str,
    rectified: bool,
) -> tuple[Section, list[str]]:
    """Return the section ``frames`` and the names of the cameras.

    Beside columns of the section, the frames have ``columns_of_samples``: the columns of the
    section ``samples`` that depend on frames.
    """
    scenes = {"scene": timeline.scene[timeline.rank]}
    data = read_sensor_data(folder, rig, timeline.tokens, scenes)
    kind, sample = rig.kind[data.calibration], timeline.rank[data.sample]
    poses = read_ego_poses(folder, data, kind >= 0)
    chosen = np.flatnonzero(present_images(root, data, rig, missing_images))
    if not rectified:
        calibrations = SourceRows.of_table(folder, "calibrated_sensor", rig.tokens)
        refuse_distortion(calibrations, used_lenses(data, rig, chosen))
    scene = timeline.scene[sample[chosen]]
    order = np.lexsort((data.timestamp[chosen], kind[chosen], scene))
    chosen, scene = chosen[order], scene[order]
    frames: Section = {
        **frame_columns(folder, data, rig, poses, chosen, scene),
        "sample": sample[chosen],
    }
    scans = np.flatnonzero((kind == len(rig.cameras)) & data.keyframe & data.valid)
    _check_times(folder, frames, timeline)
    keyframes = np.concatenate([chosen[data.keyframe[chosen]], scans])
    sensors = [*rig.cameras, "LIDAR_TOP"]
    _check_keyframes(folder, data, keyframes, sample[keyframes], kind[keyframes], sensors, timeline)
    frames["columns_of_samples"] = {
        "keyframes": _keyframes(frames, len(timeline.order), len(rig.cameras)),
        **_lidar_of_samples(data, rig, poses, scans, sample[scans], len(timeline.order)),
    }
    return frames, rig.cameras


def _check_times(folder: Path, frames: Section, timeline: Timeline) -> None:
    """Refuse keyframes on another clock than their samples, and sweeps far outside of the scene."""
    rows = np.flatnonzero(frames["keyframe"])
    check_offsets(folder, timeline.timestamp[frames["sample"][rows]], frames["timestamp"][rows])
    rows = np.flatnonzero(~frames["keyframe"])
    check_sweeps(
        folder,
        take(frames["token"], rows),
        frames["scene"][rows],
        frames["timestamp"][rows],
        (timeline.scene, timeline.timestamp),
    )


def _check_keyframes(
    folder: Path,
    data: SensorData,
    rows: Ints,
    sample: Ints,
    sensor: Ints,
    names: list[str],
    timeline: Timeline,
) -> None:
    """Refuse keyframes far from their samples, and two keyframes of a sensor for one sample.

    Args:
        folder: folder of the tables, for errors.
        data: rows of sample_data.json.
        rows: row in ``data`` of each keyframe.
        sample: row in the index of each keyframe's sample.
        sensor: position in ``names`` of each keyframe's sensor.
        names: names of the sensors.
        timeline: the samples.
    """
    token = take(data.token, rows)
    far = np.abs(data.timestamp[rows] - timeline.timestamp[sample]) > LARGEST_OFFSET
    problem = f"is a keyframe more than {LARGEST_OFFSET / 1e6:g} s away from its sample"
    tables.check_rows(folder, "sample_data", token, far, problem)
    key = sample * len(names) + sensor
    order = np.argsort(key, kind="stable")
    twice = np.flatnonzero(np.diff(key[order]) == 0)
    if len(twice):
        first, second = order[twice[0] : twice[0] + 2].tolist()
        raise DataError(
            f"{folder / 'sample_data'}.json: {token[first].as_py()!r} and "
            f"{token[second].as_py()!r} are both keyframes of {names[sensor[first]]} for one "
            f"sample ({len(twice)} such pairs); a sensor has one"
        )


def _keyframes(frames: Section, samples: int, cameras: int) -> NDArray[np.int64]:
    """Return the column ``keyframes`` of the section ``samples``: (samples, cameras) frame rows."""
    rows = np.flatnonzero(frames["keyframe"])
    keyframes = np.full((samples, cameras), -1, np.int64)
    keyframes[frames["sample"][rows], frames["camera"][rows]] = rows
    return keyframes


def _lidar_of_samples(
    data: SensorData,
    rig: Rig,
    poses: NDArray[np.float64],
    scans: NDArray[np.int64],
    sample: NDArray[np.int64],
    count: int,
) -> Section:
    """Return the lidar columns of the section ``samples``.

    Args:
        data: rows of sample_data.json.
        rig: calibrations of these rows.
        poses: ego pose of each row.
        scans: rows of ``data`` that are keyframes of LIDAR_TOP.
        sample: row in the index of each scan's sample.
        count: number of samples. Those without a scan get an empty path.
    """
    lidar = no_lidar(count)
    for row, path in zip(sample, take(data.path, scans).to_pylist(), strict=True):
        lidar["lidar_path"][row] = path
    lidar["lidar_to_ego"][sample] = rig.mounts[data.calibration[scans]]
    lidar["lidar_ego_to_global"][sample] = poses[scans]
    return lidar
