"""Reading nuScenes' JSON tables, and joins between them by token."""

from __future__ import annotations

import gc
import json
import logging
import mmap
import os
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from drivemim.datasets.arrow import index_in, is_empty, strings
from drivemim.datasets.builders.nuscenes_schema import Row
from drivemim.datasets.index import IndexInfo
from drivemim.datasets.json_text import Content, JsonText
from drivemim.datasets.sources import fingerprints
from drivemim.errors import DataError

_CURE = "download or unpack the tables again"
_SMALL_TABLE = 4 * 2**20
"""Bytes up to which the columns of every row are looked at; of larger tables, the first row's."""
_log = logging.getLogger(__name__)

RowType = TypeVar("RowType", bound=Row)


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Millions of rows make every collection slow, and none of them is garbage."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def version_folder(root: Path, version: str) -> Path:
    """Folder of a version's tables.

    Raises:
        FileNotFoundError: if it is not there, naming the versions that are.
    """
    folder = root / version
    if not folder.is_dir():
        versions = sorted(path.parent.name for path in root.glob("*/sample_data.json"))
        there = f"{root} has {', '.join(versions)}" if versions else f"{root} has no version folder"
        raise FileNotFoundError(f"no folder {folder}; {there}: check --root and --version")
    return folder


def source_info(
    source: str,
    root: Path,
    version: str,
    out: str | os.PathLike[str],
    *,
    names: Iterable[str],
    missing_images: str,
    options: Sequence[str] = (),
) -> IndexInfo:
    """Where an index of tables comes from.

    To be taken before they are read: a table that changes meanwhile makes the index old, not wrong.

    Args:
        source: ``nuscenes`` or ``nuimages``.
        root: absolute folder of the version folder.
        version: its name.
        out: index file.
        names: of the tables; one that is not there is left to :func:`read_table`.
        missing_images: what is done about them.
        options: of ``tools/create_index.py`` besides.
    """
    paths = [root / version / f"{name}.json" for name in names]
    command = ["tools/create_index.py", source, "--root", f"{root}", "--version", version]
    if missing_images != "error":
        command += ["--missing-images", missing_images]
    return IndexInfo(
        source=source,
        version=version,
        data_root=str(root),
        command=shlex.join([*command, *options, "--out", os.fspath(out)]),
        tables=fingerprints(root, [path for path in paths if path.exists()]),
    )


def read_table(folder: Path, cls: type[RowType], name: str) -> list[RowType]:
    """Rows of one table; columns that are neither read nor known to change nothing are logged.

    Raises:
        FileNotFoundError: if the table is not there.
        ValueError: if it is not valid JSON, a row lacks a field, or two have the same token.
    """
    path = folder / f"{name}.json"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; the version folder must hold every table")
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty; {_CURE}")
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        memoryview(mapped) as view,
    ):
        text = JsonText(path, view, begin=f"{path}: ", cure=_CURE)
        try:
            rows: list[RowType] = text.decode(list[cls])  # type: ignore[valid-type]  # cls is known at run time
        except msgspec.ValidationError as error:
            text.check_document()
            raise DataError(f"{path}: {error}; {_CURE}") from None
        unknown = _columns(text.content) - set(cls.__struct_fields__) - cls.ignored
    if unknown:
        _log.warning(
            "%s has columns that are not read: %s. If they change what a row means, apply them to "
            "the tables before building the index",
            path,
            ", ".join(sorted(unknown)),
        )
    tokens = Counter(row.token for row in rows)
    if len(tokens) < len(rows):
        twice = next(token for token, count in tokens.items() if count > 1)
        raise DataError(f"{path} has the row {twice!r} more than once; {_CURE}")
    return rows


def _columns(table: Content) -> set[str]:
    """Names of the columns of a table that has been decoded once: an array of objects."""
    if len(table) <= _SMALL_TABLE:
        rows = msgspec.json.decode(table, type=list[dict[str, msgspec.Raw]])
        return set(chain.from_iterable(rows))
    start = bytes(table[:_SMALL_TABLE]).decode(errors="ignore")
    try:
        first, _ = json.JSONDecoder().raw_decode(start, start.index("{"))
        return set(first)
    except ValueError:  # no row, or a first row of that size
        rows = msgspec.json.decode(table, type=list[dict[str, msgspec.Raw]])
        return set(chain.from_iterable(rows[:1]))


def tokens_of(rows: Sequence[Row]) -> pa.Array:
    """Tokens of a table."""
    return strings([row.token for row in rows])


def numbers(values: Iterable[tuple[float, ...]], count: int, width: int) -> NDArray[np.float64]:
    """Tuples of ``width`` numbers as an array (count, width)."""
    flat = np.fromiter(chain.from_iterable(values), np.float64, count * width)
    return flat.reshape(count, width)


def join(
    folder: Path,
    keys: pa.Array,
    tokens: pa.Array,
    *,
    column: str,
    table: str,
    owners: pa.Array,
    optional: bool = False,
) -> NDArray[np.int64]:
    """Rows of ``table`` that ``column`` names.

    Args:
        folder: of the tables, for errors.
        keys: the tokens to look up.
        tokens: the tokens of ``table``.
        column: ``table_name.column``, for errors.
        table: name of the table looked into.
        owners: token of the row of each key, for errors.
        optional: whether ``""`` means none.

    Returns:
        row of each key; -1 for none.

    Raises:
        ValueError: naming the first row whose token is not in the table.
    """
    rows = index_in(keys, tokens)
    lost = rows < 0
    if optional and lost.any():
        lost &= ~is_empty(keys)
    if lost.any():
        first = int(np.flatnonzero(lost)[0])
        raise DataError(
            f"{folder / table}.json lacks the row {keys[first].as_py()!r} that {column} of "
            f"{owners[first].as_py()!r} names ({int(lost.sum())} such rows); {_CURE}"
        )
    return rows


def check_rows(
    folder: Path, table: str, tokens: pa.Array, wrong: NDArray[np.bool_], problem: str
) -> None:
    """Refuse values that cannot be meant.

    Args:
        folder: of the tables.
        table: name of the table.
        tokens: of its rows.
        wrong: whether a row cannot be meant.
        problem: what is wrong with it, for the error.

    Raises:
        ValueError: naming the first such row.
    """
    if wrong.any():
        first = int(np.flatnonzero(wrong)[0])
        raise DataError(
            f"{folder / table}.json: {tokens[first].as_py()!r} {problem} "
            f"({int(wrong.sum())} such rows); {_CURE}"
        )


def check_rotations(
    folder: Path, table: str, tokens: pa.Array, rotation: NDArray[np.float64]
) -> None:
    """Refuse quaternions (rows, 4) that say no direction."""
    nowhere = np.linalg.norm(rotation, axis=1) < 1e-6
    check_rows(folder, table, tokens, nowhere, "has a rotation of length 0")
