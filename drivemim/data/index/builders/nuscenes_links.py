"""Checks of the links between rows of nuScenes tables: neighbours in time, and objects."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from drivemim.array_types import Floats, Ints
from drivemim.data.index.builders import nuscenes_tables as tables
from drivemim.data.index.builders.columns import runs
from drivemim.data.index.builders.timing import LARGEST_OFFSET


def check_neighbours(
    folder: Path,
    table: str,
    token: pa.Array,
    timestamp: Ints | Floats,
    neighbours: tuple[Ints, Ints],
    groups: Mapping[str, Ints],
) -> None:
    """Refuse neighbours that are the row itself, of another group, or in the wrong order.

    Args:
        folder: folder of the tables, for errors.
        table: name of the table.
        token: tokens of its M rows.
        timestamp: (M,) time of each row, in any unit.
        neighbours: (M,) rows that ``prev`` and ``next`` name, -1 for none.
        groups: groups that a row and its neighbours must have in common. The key is a group's name
            in errors, such as ``scene``; the value is the (M,) number of each row's group.

    Raises:
        DataError: if there are such neighbours. The message names the first row that has one.
    """
    for column, neighbour, sign in zip(("prev", "next"), neighbours, (1, -1), strict=True):
        has_one = neighbour >= 0
        itself = neighbour == np.arange(len(neighbour))
        tables.check_rows(folder, table, token, itself, f"has a {column} that is the row itself")
        for name, group in groups.items():
            is_foreign = has_one & (group[neighbour] != group)
            tables.check_rows(folder, table, token, is_foreign, f"has a {column} of another {name}")
        # Equal times pass: timestamps in whole seconds have them, and ``microseconds`` refuses
        # those with the unit in its message.
        out_of_order = has_one & (sign * (timestamp - timestamp[neighbour]) < 0)
        problem = f"has a {column} that is {'later' if sign > 0 else 'earlier'} than itself"
        tables.check_rows(folder, table, token, out_of_order, problem)


def check_sweeps(
    folder: Path, token: pa.Array, scene: Ints, timestamp: Ints, samples: tuple[Ints, Ints]
) -> None:
    """Refuse sweeps long before the first sample of their scene, or long after the last one.

    Allowed are 1 s, or the median gap between samples of all scenes if that is longer.

    Args:
        folder: folder of the tables, for errors.
        token: tokens of the M images.
        scene: (M,) scene of each.
        timestamp: (M,) microseconds.
        samples: scene (ascending) and timestamp of each sample; the scene of an image has at least
            one sample.

    Raises:
        DataError: if there are such sweeps. The message names the first.
    """
    sample_scene, moments = samples
    gaps = np.diff(moments)[np.diff(sample_scene) == 0]
    furthest = max(LARGEST_OFFSET, np.median(gaps) if len(gaps) else 0)
    first, count = runs(sample_scene, scene.max(initial=-1) + 1)
    begin, end = moments[first[scene]], moments[first[scene] + count[scene] - 1]
    far = np.maximum(begin - timestamp, timestamp - end) > furthest
    problem = f"is a sweep more than {furthest / 1e6:g} s before or after all samples of its scene"
    tables.check_rows(folder, "sample_data", token, far, problem)


def check_objects(folder: Path, token: pa.Array, track: Ints, sample: Ints, scene: Ints) -> None:
    """Refuse an object that is annotated twice in a sample, or in two scenes.

    Args:
        folder: folder of the tables, for errors.
        token: tokens of the M annotations.
        track: (M,) row of the object in instance.json.
        sample: (M,) row of the sample.
        scene: (M,) row of the scene.

    Raises:
        DataError: if there is such an object. The message names the first annotation of one.
    """
    repeated = tables.repeats(zip(track.tolist(), sample.tolist(), strict=True))
    problem = "annotates an instance a second time in the same sample"
    tables.check_rows(folder, "sample_annotation", token, repeated, problem)
    first_scene = np.full(track.max(initial=-1) + 1, np.iinfo(np.int64).max)
    np.minimum.at(first_scene, track, scene)
    problem = "annotates an instance that another scene has, too"
    tables.check_rows(folder, "sample_annotation", token, scene != first_scene[track], problem)
