"""Checks of the links between rows of nuScenes tables: neighbours in time, and objects."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from drivemim.array_types import Floats, Ints
from drivemim.data.index.builders import nuscenes_tables as tables


def check_neighbours(
    folder: Path,
    table: str,
    token: pa.Array,
    timestamp: Ints | Floats,
    neighbours: tuple[Ints, Ints],
    group: Ints,
    kind: str,
) -> None:
    """Refuse neighbours of another group, or in the wrong order.

    Args:
        folder: folder of the tables, for errors.
        table: name of the table.
        token: tokens of its M rows.
        timestamp: (M,) time of each row, in any unit.
        neighbours: (M,) rows that ``prev`` and ``next`` name, -1 for none.
        group: (M,) what a row and its neighbours have in common.
        kind: name of such a group, in the singular.

    Raises:
        DataError: naming the first such row.
    """
    for column, other, sign in zip(("prev", "next"), neighbours, (1, -1), strict=True):
        named = other >= 0
        foreign = named & (group[other] != group)
        tables.check_rows(folder, table, token, foreign, f"has a {column} of another {kind}")
        # Rows at one time are refused elsewhere, with the unit of the timestamps.
        out_of_order = named & (sign * (timestamp - timestamp[other]) < 0)
        problem = f"has a {column} that is {'later' if sign > 0 else 'earlier'} than itself"
        tables.check_rows(folder, table, token, out_of_order, problem)


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
