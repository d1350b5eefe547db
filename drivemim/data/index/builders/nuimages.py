"""Builder of a ``FrameIndex`` from nuImages tables, of any version and size.

nuImages (Caesar et al., "nuScenes: a multimodal dataset for autonomous driving", CVPR 2020, and
https://www.nuscenes.org/nuimages) has single annotated images of one camera each. Most of them come
with the six images before and after, at two per second, without boxes. The boxes are drawn in the
image: there are no 3-D boxes, no tracks and no visibility.

In the index, an annotated image and the images before and after it are a scene. Every image is a
sample of its own, as in a folder of images: a clip can begin at any image, and no image gets the
boxes of another one. Only the annotated image is a keyframe. Ego poses can be compared within a
scene but not between scenes, because the poses of two scenes may refer to different maps.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow as pa

from drivemim.array_types import Ints
from drivemim.data.index.arrow import index_in, strings, take
from drivemim.data.index.builders import nuscenes_schema as schema
from drivemim.data.index.builders import nuscenes_tables as tables
from drivemim.data.index.builders.columns import (
    Section,
    drawn_boxes,
    frames_of_scenes,
    no_lidar,
    runs,
)
from drivemim.data.index.builders.lens_distortion import used_lenses, warn_of_distortion
from drivemim.data.index.builders.nuscenes_boxes import first_attributes, warn_of_automatic
from drivemim.data.index.builders.nuscenes_frames import (
    Rig,
    SensorData,
    frame_columns,
    read_ego_poses,
    read_rig,
    read_sensor_data,
)
from drivemim.data.index.builders.nuscenes_images import check_missing_images, present_images
from drivemim.data.index.builders.nuscenes_tables import join, numbers, read_table
from drivemim.data.index.builders.other_sources import check_source
from drivemim.data.index.builders.source_rows import SourceRows
from drivemim.data.index.builders.timing import check_moments
from drivemim.data.index.frame_index import check_out, write_index
from drivemim.errors import DataError

NUIMAGES_TABLES = (
    "attribute",
    "calibrated_sensor",
    "category",
    "ego_pose",
    "log",
    "object_ann",
    "sample",
    "sample_data",
    "sensor",
)
"""The tables that are read. Those that describe only surfaces, such as roads, are not."""


def build_nuimages_index(
    root: str | os.PathLike[str],
    version: str,
    out: str | os.PathLike[str],
    *,
    missing_images: str = "error",
    sweeps: bool = True,
    camera_rotations_as_written: bool = False,
) -> Path:
    """Index the tables of one nuImages version.

    Args:
        root: folder that holds the version folder, ``samples`` and ``sweeps``.
        version: ``v1.0-mini``, ``v1.0-train``, ``v1.0-val`` or ``v1.0-test``. The part after the
            last dash is the split of every scene.
        out: file to write.
        missing_images: action for missing images: ``error``, ``drop`` (leave them and their boxes
            out), or ``ignore`` (do not check).
        sweeps: whether to index the unlabelled images before and after the annotated ones.
        camera_rotations_as_written: whether to accept cameras' rotations that seem to be in another
            convention than w, x, y, z and camera to ego.

    Returns:
        ``out``.

    Raises:
        FileNotFoundError: if the version folder, a table or an image does not exist.
        DataError: if a table is broken, lacks a row that another refers to, or is of nuScenes.
    """
    root = Path(root).absolute()
    folder = tables.version_folder(root, version)
    check_missing_images(missing_images)
    check_out(out)
    check_source(folder, root, "nuimages")
    info = tables.source_info(
        "nuimages",
        root,
        version,
        out,
        names=NUIMAGES_TABLES,
        missing_images=missing_images,
        options={
            "--keyframes-only": not sweeps,
            "--camera-rotations-as-written": camera_rotations_as_written,
        },
    )
    with tables.no_garbage_collection():
        rig = read_rig(folder, rotations_as_written=camera_rotations_as_written)
        sections = _sections(folder, root, rig, version, missing_images, sweeps)
    write_index(out, sections, info)
    return Path(out)


def _sections(
    folder: Path, root: Path, rig: Rig, version: str, missing_images: str, sweeps: bool
) -> dict[str, Section]:
    scenes, sample_tokens = _read_scenes(folder, version)
    data = read_sensor_data(folder, rig, sample_tokens, {"sample": np.arange(len(sample_tokens))})
    _check_keyframes(folder, data, scenes.pop("key_camera"), sample_tokens)
    wanted = None if sweeps else data.keyframe
    chosen = np.flatnonzero(present_images(root, data, rig, missing_images, wanted))
    calibrations = SourceRows.of_table(folder, "calibrated_sensor", rig.tokens)
    warn_of_distortion(calibrations, used_lenses(data, rig, chosen))
    frames = _frames(folder, data, rig, chosen, sample_tokens)
    check_moments(folder / "sample_data.json", frames["scene"], frames["timestamp"],
                  frames["token"], "images")  # fmt: skip
    samples = _samples(frames, len(rig.cameras))
    boxes, names = _annotated_boxes(folder, data, frames["token"])
    scenes.update(frames_of_scenes(frames, len(sample_tokens), len(rig.cameras)))
    first, count = runs(frames["scene"], len(sample_tokens))
    scenes.update(first_sample=first, sample_count=count)
    first, count = runs(boxes["sample"], len(frames["token"]))
    samples.update(first_box=first, box_count=count)
    return {
        "frames": frames,
        "samples": samples,
        "scenes": scenes,
        "boxes": boxes,
        "tracks": {"token": boxes["token"], "category": boxes["category"]},
        "names": {**names, "cameras": rig.cameras},
    }


def _read_scenes(folder: Path, version: str) -> tuple[Section, pa.Array]:
    """Return the scenes, one for each row of sample.json, and the tokens of these rows.

    Beside columns of the section ``scenes``, the scenes have ``key_camera``: the token of the
    annotated image.
    """
    rows = read_table(folder, schema.ImageSample, "sample")
    logs = read_table(folder, schema.ImageLog, "log")
    tokens = tables.tokens_of(rows)
    log = join(folder, strings([row.log_token for row in rows]), tables.tokens_of(logs),
               column="sample.log_token", table="log", owners=tokens)  # fmt: skip
    descriptions = [f"{each.location}, {each.logfile}" for each in logs]
    scenes = {
        "token": tokens,
        "name": tokens,
        "description": [descriptions[number] for number in log],
        "split": [version.rpartition("-")[2]] * len(rows),
        # The tables have no information on light and weather.
        "described": np.zeros(len(rows)),
        "night": np.zeros(len(rows)),
        "rain": np.zeros(len(rows)),
        "key_camera": strings([row.key_camera_token for row in rows]),
    }
    return scenes, tokens


def _check_keyframes(folder: Path, data: SensorData, keys: pa.Array, samples: pa.Array) -> None:
    """Refuse samples whose ``key_camera_token`` (``keys``) is not the token of their keyframe."""
    key = join(folder, keys, data.token, column="sample.key_camera_token", table="sample_data",
               owners=samples)  # fmt: skip
    wrong = ~data.keyframe[key] | (data.sample[key] != np.arange(len(key)))
    problem = "has a key_camera_token that does not name a keyframe of it"
    tables.check_rows(folder, "sample", samples, wrong, problem)


def _frames(
    folder: Path, data: SensorData, rig: Rig, chosen: Ints, sample_tokens: pa.Array
) -> Section:
    """Return the section ``frames``, sorted by scene and time; each frame is its own sample.

    Args:
        folder: version folder.
        data: rows of sample_data.json.
        rig: calibrations of these rows.
        chosen: rows that become frames.
        sample_tokens: tokens of sample.json, for errors.
    """
    is_frame = np.zeros(len(data.token), bool)
    is_frame[chosen] = True
    poses = read_ego_poses(folder, data, is_frame)
    kind = rig.kind[data.calibration]
    order = np.lexsort((data.timestamp[chosen], kind[chosen], data.sample[chosen]))
    chosen = chosen[order]
    scene, camera = data.sample[chosen], kind[chosen]
    mixed = (scene[1:] == scene[:-1]) & (camera[1:] != camera[:-1])
    if mixed.any():
        first = int(np.flatnonzero(mixed)[0])
        two = " and ".join(rig.cameras[number] for number in camera[first : first + 2])
        raise DataError(
            f"{folder / 'sample_data'}.json: sample {sample_tokens[scene[first]].as_py()!r} has "
            f"images of {two}; in nuImages a sample is of one camera"
        )
    return {
        **frame_columns(folder, data, rig, poses, chosen, scene),
        "sample": np.arange(len(chosen)),
    }


def _samples(frames: Section, cameras: int) -> Section:
    """Return the section ``samples``, one per frame, without the columns that depend on boxes."""
    count = len(frames["token"])
    keyframes = np.full((count, cameras), -1, np.int64)
    keyframes[np.arange(count), frames["camera"]] = np.arange(count)
    shared = ("token", "scene", "timestamp", "previous", "next")
    return {
        **{name: frames[name] for name in shared},
        "keyframes": keyframes,
        **no_lidar(count),
    }


def _annotated_boxes(folder: Path, data: SensorData, frames: pa.Array) -> tuple[Section, Section]:
    """Return the section ``boxes``, and the names of categories and attributes.

    Boxes of images that the index leaves out are not returned. Each box is a track of its own.

    Args:
        folder: version folder.
        data: rows of sample_data.json.
        frames: tokens of the frames.
    """
    categories = read_table(folder, schema.Category, "category")
    attributes = read_table(folder, schema.Attribute, "attribute")
    rows = read_table(folder, schema.ObjectAnnotation, "object_ann")
    token = tables.tokens_of(rows)
    image_keys = strings([row.sample_data_token for row in rows])
    image = join(folder, image_keys, data.token, column="object_ann.sample_data_token",
                 table="sample_data", owners=token)  # fmt: skip
    category = join(folder, strings([row.category_token for row in rows]),
                    tables.tokens_of(categories), column="object_ann.category_token",
                    table="category", owners=token)  # fmt: skip
    problem = "is a box in an image that is not a keyframe"
    tables.check_rows(folder, "object_ann", token, ~data.keyframe[image], problem)
    attribute = first_attributes(folder, "object_ann", rows, attributes)
    warn_of_automatic(folder, "object_ann", rows)
    corners = numbers((row.bbox for row in rows), len(rows), 4)
    tables.check_rows(folder, "object_ann", token, (corners[:, 2:] < corners[:, :2]).any(axis=1),
                      "has a bbox that is not x1, y1, x2, y2")  # fmt: skip

    frame = index_in(image_keys, frames)
    # A stable sort keeps the order in which the devkit lists an image's boxes.
    order = np.argsort(frame, kind="stable")
    order = order[frame[order] >= 0]
    boxes = {
        "token": take(token, order),
        "sample": frame[order],
        "track": np.arange(len(order)),
        "category": category[order],
        "attribute": attribute[order],
        "crowd": np.zeros(len(order)),
        **drawn_boxes(corners[order]),
    }
    names = {
        "categories": [row.name for row in categories],
        "attributes": [row.name for row in attributes],
        "levels": [],
    }
    return boxes, names
