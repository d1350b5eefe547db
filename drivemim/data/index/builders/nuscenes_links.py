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
        groups: what a row and its neighbours have in common: (M,) numbers by the name of such a
            group, in the singular.

    Raises:
        DataError: naming the first such row.
    """
    for column, other, sign in zip(("prev", "next"), neighbours, (1, -1), strict=True):
        named = other >= 0
        itself = other == np.arange(len(other))
        tables.check_rows(folder, table, token, itself, f"has a {column} that is the row itself")
        for kind, group in groups.items():
            foreign = named & (group[other] != group)
            tables.check_rows(folder, table, token, foreign, f"has a {column} of another {kind}")
        # Rows at one time are refused elsewhere, with the unit of the timestamps.
        out_of_order = named & (sign * (timestamp - timestamp[other]) < 0)
        problem = f"has a {column} that is {'later' if sign > 0 else 'earlier'} than itself"
        tables.check_rows(folder, table, token, out_of_order, problem)


def check_sweeps(
    folder: Path, token: pa.Array, scene: Ints, timestamp: Ints, samples: tuple[Ints, Ints]
) -> None:
    """Refuse images between keyframes that are far outside of the samples of their scene.

    Up to 1 s, or the median gap between samples if that is longer, sweeps may precede the first
    sample and follow the last one.

    Args:
        folder: folder of the tables, for errors.
        token: tokens of the M images.
        scene: (M,) scene of each.
        timestamp: (M,) microseconds.
        samples: scene, ascending, and timestamp of each sample; every scene of an image has one.

    Raises:
        DataError: naming the first such image.
    """
    of_samples, moments = samples
    gaps = np.diff(moments)[np.diff(of_samples) == 0]
    furthest = max(LARGEST_OFFSET, np.median(gaps) if len(gaps) else 0)
    first, count = runs(of_samples, scene.max(initial=-1) + 1)
    begin, end = moments[first[scene]], moments[first[scene] + count[scene] - 1]
    far = np.maximum(begin - timestamp, timestamp - end) > furthest
    problem = f"is a sweep more than {furthest / 1e6:g} s before or after all samples of its scene"
    tables.check_rows(folder, "sample_data", token, far, problem)


def check_objects(folder: Path, token: pa.Array, track: Ints, sample: Ints, scene: Ints) -> None:
    """Refuse an object twice in a sample, or in two scenes.

    Args:
        folder: folder of the tables, for errors.
        token: tokens of the M annotations.
        track: (M,) row of the instance.
        sample: (M,) sample.
        scene: (M,) scene.

    Raises:
        DataError: naming the first such annotation.
    """
    repeated = tables.repeats(zip(track.tolist(), sample.tolist(), strict=True))
    problem = "annotates an instance a second time in the same sample"
    tables.check_rows(folder, "sample_annotation", token, repeated, problem)
    first = np.full(track.max(initial=-1) + 1, np.iinfo(np.int64).max)
    np.minimum.at(first, track, scene)
    problem = "annotates an instance that another scene has, too"
    tables.check_rows(folder, "sample_annotation", token, scene != first[track], problem)
