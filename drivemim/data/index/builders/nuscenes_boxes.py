"""Convert the annotations in nuScenes tables to an index's boxes and tracks."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from drivemim.data.classes import ATTRIBUTES, VISIBILITY_LEVELS
from drivemim.data.index.arrow import strings, take
from drivemim.data.index.builders import nuscenes_schema as schema
from drivemim.data.index.builders import nuscenes_tables as tables
from drivemim.data.index.builders import plausible_poses, plausible_sizes
from drivemim.data.index.builders.columns import Section
from drivemim.data.index.builders.nuscenes_links import check_neighbours, check_objects
from drivemim.data.index.builders.nuscenes_tables import join, numbers, read_table
from drivemim.data.index.builders.source_rows import SourceRows

MAX_TIME_DIFFERENCE = 1.5
"""Maximum seconds between a box and the next or previous one of its object for a velocity; the
devkit's default. It is doubled between the previous and the next box."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Timeline:
    """The samples in the index's order.

    Attributes:
        tokens: tokens of sample.json, in the file's order.
        order: (S,) row of sample.json of each row of the index.
        rank: (S,) row of the index of each row of sample.json.
        scene: (S,) scene of each row of the index.
        timestamp: (S,) microseconds, of each row of the index.
        previous: (S,) row of the index of the scene's previous sample, -1 for none.
    """

    tokens: pa.Array
    order: NDArray[np.int64]
    rank: NDArray[np.int64]
    scene: NDArray[np.int64]
    timestamp: NDArray[np.int64]
    previous: NDArray[np.int64]


def annotation_boxes(folder: Path, timeline: Timeline) -> tuple[Section, Section, Section]:
    """Return the sections ``boxes`` (sorted by sample) and ``tracks``, and the names they refer to.

    The names are those of categories, attributes and unknown visibility levels.
    """
    categories = read_table(folder, schema.Category, "category")
    attributes = read_table(folder, schema.Attribute, "attribute")
    visibilities = read_table(folder, schema.Visibility, "visibility")
    instances = read_table(folder, schema.Instance, "instance")
    rows = read_table(folder, schema.SampleAnnotation, "sample_annotation")
    token, tracks = tables.tokens_of(rows), tables.tokens_of(instances)

    def joined(column: str, table: str, tokens: pa.Array, optional: bool = True) -> Any:
        keys = strings([getattr(row, column) for row in rows])
        return join(folder, keys, tokens, column=f"sample_annotation.{column}", table=table,
                    owners=token, optional=optional)  # fmt: skip

    track_category = _track_categories(folder, instances, tracks, categories, token)
    sample = timeline.rank[joined("sample_token", "sample", timeline.tokens, optional=False)]
    track = joined("instance_token", "instance", tracks, optional=False)
    before, after = (joined(c, "sample_annotation", token) for c in ("prev", "next"))
    times = timeline.timestamp[sample]
    check_neighbours(
        folder, "sample_annotation", token, times, (before, after), {"instance": track}
    )
    check_objects(folder, token, track, sample, timeline.scene[sample])
    visibility = joined("visibility_token", "visibility", tables.tokens_of(visibilities))
    levels, unknown = visibility_levels([row.level for row in visibilities])
    attribute = first_attributes(folder, "sample_annotation", rows, attributes)
    warn_of_automatic(folder, "sample_annotation", rows)
    center, size, rotation = _boxes_3d(folder, rows, token)
    category_names, path = [row.name for row in categories], folder / "sample_annotation.json"
    plausible_sizes.warn_of_wide_vehicles(path, category_names, track_category[track], size)
    velocity = box_velocity(center, times, before, after)

    # A stable sort keeps the table's order, in which the devkit lists a sample's annotations.
    order = np.argsort(sample, kind="stable")
    sample, track = sample[order], track[order]
    boxes = {
        "token": take(token, order),
        "sample": sample,
        "track": track,
        "category": track_category[track],
        "center": center[order],
        "size": size[order],
        "rotation": rotation[order],
        "velocity": velocity[order],
        "image_box": np.full((len(rows), 4), np.nan),
        "visibility": np.append(levels, 0)[visibility[order]],
        "lidar_points": np.array([row.num_lidar_pts for row in rows], np.int64)[order],
        "radar_points": np.array([row.num_radar_pts for row in rows], np.int64)[order],
        "attribute": attribute[order],
        "previous": previous_boxes(sample, track, timeline.previous, len(instances)),
        "crowd": np.zeros(len(rows)),
    }
    _warn_of_missing_links(folder, ((before < 0) & (after < 0))[order], boxes["previous"])
    names = {
        "categories": category_names,
        "attributes": [row.name for row in attributes],
        "levels": unknown,
    }
    return boxes, {"token": tracks, "category": track_category}, names


def _warn_of_missing_links(
    folder: Path, unlinked: NDArray[np.bool_], previous: NDArray[np.int64]
) -> None:
    """Warn of boxes without ``prev`` and ``next`` whose instance is in the sample before, too.

    Args:
        folder: folder of the tables.
        unlinked: (M,) True for boxes with neither ``prev`` nor ``next``.
        previous: (M,) box of the same instance in the sample before, -1 for none.
    """
    count = int((unlinked & (previous >= 0)).sum())
    if count:
        _log.warning(
            "%s: %d of %d boxes have neither prev nor next, although the same instance is "
            "annotated in the sample before; they get no velocity. Fill in prev and next",
            folder / "sample_annotation.json",
            count,
            len(unlinked),
        )


def _boxes_3d(
    folder: Path, rows: list[schema.SampleAnnotation], token: pa.Array
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the centre, size and rotation of each box as in the tables; refuse invalid ones."""
    center = numbers((row.translation for row in rows), len(rows), 3)
    size = numbers((row.size for row in rows), len(rows), 3)
    rotation = numbers((row.rotation for row in rows), len(rows), 4)
    tables.check_rows(folder, "sample_annotation", token, (size <= 0).any(axis=1),
                      "has a size that is not above 0")  # fmt: skip
    tables.check_rotations(folder, "sample_annotation", token, rotation)
    source_rows = SourceRows.of_table(folder, "sample_annotation", token)
    plausible_poses.check_upright_rotations(source_rows, rotation, plausible_poses.ENOUGH_BOXES)
    return center, size, rotation


def _track_categories(
    folder: Path,
    instances: list[schema.Instance],
    tracks: pa.Array,
    categories: list[schema.Category],
    annotations: pa.Array,
) -> NDArray[np.int64]:
    """Return the category of each instance; refuse instances that refer to missing rows."""
    for column in ("first_annotation_token", "last_annotation_token"):
        keys = strings([getattr(row, column) for row in instances])
        join(folder, keys, annotations, column=f"instance.{column}", table="sample_annotation",
             owners=tracks)  # fmt: skip
    keys = strings([row.category_token for row in instances])
    return join(folder, keys, tables.tokens_of(categories), column="instance.category_token",
                table="category", owners=tracks)  # fmt: skip


def visibility_levels(names: Sequence[str]) -> tuple[NDArray[np.int64], list[str]]:
    """Return the numbers of the visibility levels in visibility.json.

    Args:
        names: ``level`` of each row.

    Returns:
        the number of each row's level: 1 (least visible) to 4, 0 if the level means that the
        visibility is unknown, and -1, -2, ... for levels that DriveMIM does not know. Then the
        names of these unknown levels, in the order -1, -2, ...
    """
    unknown = sorted({name for name in names if name.strip().lower() not in VISIBILITY_LEVELS})
    codes = [
        -1 - unknown.index(name) if name in unknown else VISIBILITY_LEVELS[name.strip().lower()]
        for name in names
    ]
    return np.array(codes, np.int64), unknown


def first_attributes(
    folder: Path,
    table: str,
    rows: Sequence[schema.SampleAnnotation | schema.ObjectAnnotation],
    attributes: Sequence[schema.Attribute],
) -> NDArray[np.int64]:
    """Return the attribute of each box, -1 for none.

    If a box has several attributes, the first that nuScenes defines is used, else the first one. An
    example: of a police car, ``vehicle.stopped`` is more useful than that its lights flash.

    Args:
        folder: folder of the tables, for errors.
        table: name of the table of ``rows``.
        rows: the boxes.
        attributes: rows of attribute.json.
    """
    count = np.array([len(row.attribute_tokens) for row in rows], np.int64)
    owner = np.repeat(np.arange(len(rows)), count)
    attribute = join(
        folder,
        strings([token for row in rows for token in row.attribute_tokens]),
        tables.tokens_of(attributes),
        column=f"{table}.attribute_tokens",
        table="attribute",
        owners=take(tables.tokens_of(rows), owner),
    )
    is_unknown = np.array([row.name not in ATTRIBUTES for row in attributes], bool)[attribute]
    best_first = np.lexsort((is_unknown, owner))
    best = np.full(len(rows), -1, np.int64)
    # Of several values for one element, NumPy keeps the last one, so the best is written last.
    best[owner[best_first[::-1]]] = attribute[best_first[::-1]]
    return best


def warn_of_automatic(
    folder: Path,
    table: str,
    rows: Sequence[schema.SampleAnnotation | schema.ObjectAnnotation],
) -> None:
    """Warn of boxes that a model drew (``automatic_annotation``), which count as ground truth."""
    automatic = sum(row.automatic_annotation for row in rows)
    if automatic:
        _log.warning(
            "%s: %d of %d boxes have automatic_annotation=true: a model drew them, and they count "
            "as ground truth here; remove them where they should not",
            folder / f"{table}.json",
            automatic,
            len(rows),
        )


def box_velocity(
    center: NDArray[np.float64],
    timestamp: NDArray[np.int64],
    before: NDArray[np.int64],
    after: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Return the velocity on the ground plane, like the devkit's ``box_velocity``.

    Args:
        center: (M, 3) metres.
        timestamp: (M,) microseconds.
        before: (M,) row of the same object's previous annotation, -1 for none.
        after: (M,) row of the same object's next annotation, -1 for none.

    Returns:
        (M, 2) metres per second, from the previous annotation to the next; the box itself replaces
        one that is missing. NaN if both are missing or too far apart in time.
    """
    rows = np.arange(len(center))
    first, last = np.where(before < 0, rows, before), np.where(after < 0, rows, after)
    seconds = 1e-6 * timestamp
    elapsed = seconds[last] - seconds[first]
    limit = np.where((before >= 0) & (after >= 0), 2, 1) * MAX_TIME_DIFFERENCE
    with np.errstate(divide="ignore", invalid="ignore"):
        velocity: NDArray[np.float64] = (center[last] - center[first])[:, :2] / elapsed[:, None]
    velocity[((before < 0) & (after < 0)) | (elapsed > limit)] = np.nan
    return velocity


def previous_boxes(
    sample: NDArray[np.int64],
    track: NDArray[np.int64],
    previous_sample: NDArray[np.int64],
    tracks: int,
) -> NDArray[np.int64]:
    """Return for each box the row of the same track's box in the previous sample, -1 for none.

    Args:
        sample: (M,) row of the sample, ascending.
        track: (M,) row of the track.
        previous_sample: (S,) row of the previous sample, -1 for none.
        tracks: number of tracks.
    """
    if len(sample) == 0:
        return np.zeros(0, np.int64)
    key = sample * tracks + track
    order = np.argsort(key, kind="stable")
    previous_key = previous_sample[sample] * tracks + track
    # Of several boxes with the same key, the last one is used, like in the devkit's dictionary.
    position = np.searchsorted(key[order], previous_key, side="right") - 1
    previous = order[np.maximum(position, 0)]
    is_found = (position >= 0) & (key[previous] == previous_key) & (previous_sample[sample] >= 0)
    return np.where(is_found, previous, -1)
