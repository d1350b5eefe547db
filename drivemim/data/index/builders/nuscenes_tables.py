"""Read nuScenes' JSON tables, and join them by token."""

from __future__ import annotations

import gc
import json
import logging
import mmap
import os
import shlex
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from drivemim.data.index.arrow import index_in, is_empty, strings
from drivemim.data.index.builders.nuscenes_schema import TableRow
from drivemim.data.index.builders.other_sources import suggest_for_missing_tables
from drivemim.data.index.frame_index import IndexInfo
from drivemim.data.index.json_text import Content, JsonText
from drivemim.data.index.source_files import fingerprints
from drivemim.errors import DataError

_FIX = "download or unpack the tables again, or correct those of your own"
"""Advice at the end of every error about a table."""
_SMALL_TABLE = 4 * 2**20
"""Size in bytes of the largest table in which unread columns are searched in all rows. Of larger
tables, only the first row is searched."""
_log = logging.getLogger(__name__)

RowType = TypeVar("RowType", bound=TableRow)


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Disable garbage collection, which takes long with millions of rows and would free none."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def version_folder(root: Path, version: str) -> Path:
    """Return the folder of a version's tables.

    Raises:
        FileNotFoundError: if it does not exist. The message names the versions that do.
    """
    folder = root / version
    if not folder.is_dir():
        versions = sorted(path.parent.name for path in root.glob("*/sample_data.json"))
        there = f"{root} has {', '.join(versions)}: check --root and --version"
        raise FileNotFoundError(
            f"no folder {folder}; {there if versions else suggest_for_missing_tables(root)}"
        )
    return folder


def source_info(
    source: str,
    root: Path,
    version: str,
    out: str | os.PathLike[str],
    *,
    names: Iterable[str],
    missing_images: str,
    options: Mapping[str, bool],
) -> IndexInfo:
    """Return the origin of an index of tables, with a fingerprint of each table.

    Call this before the tables are read. If a table changes in the meantime, its fingerprint is
    that of the old table, so the index is refused as out of date.

    Args:
        source: ``nuscenes`` or ``nuimages``.
        root: absolute path of the folder with the version folder.
        version: name of the version folder.
        out: index file.
        names: names of the tables. Missing ones are left out, because :func:`read_table` reports
            them.
        missing_images: the builder's setting for missing images.
        options: other options of ``drivemim index``, and whether each is set.
    """
    paths = [root / version / f"{name}.json" for name in names]
    command = ["drivemim", "index", source, "--root", f"{root}", "--version", version]
    if missing_images != "error":
        command += ["--missing-images", missing_images]
    command += [option for option, is_set in options.items() if is_set]
    return IndexInfo(
        source=source,
        version=version,
        data_root=str(root),
        command=shlex.join([*command, "--out", os.fspath(out)]),
        tables=fingerprints(root, [path for path in paths if path.exists()]),
    )


def read_table(folder: Path, cls: type[RowType], name: str) -> list[RowType]:
    """Return the rows of one table; warn of columns that are neither read nor known to be ignored.

    Args:
        folder: folder of the tables.
        cls: class of the rows, with the columns that are read.
        name: name of the table.

    Raises:
        FileNotFoundError: if the table does not exist.
        DataError: if it is not valid JSON, a row lacks a column or has a value of another type, or
            two rows have the same token.
    """
    path = folder / f"{name}.json"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; the version folder must hold every table")
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty; {_FIX}")
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        memoryview(mapped) as view,
    ):
        text = JsonText(path, view, begin=f"{path}: ", fix=_FIX)
        try:
            rows: list[RowType] = text.decode(list[cls])  # type: ignore[valid-type]  # cls is known at run time
        except msgspec.ValidationError as error:
            text.check_document()
            raise DataError(f"{path}: {error}; {_FIX}") from None
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
        raise DataError(f"{path} has the row {twice!r} more than once; {_FIX}")
    return rows


def _columns(table: Content) -> set[str]:
    """Return the column names of a table that is known to be a JSON array of objects.

    Of tables larger than ``_SMALL_TABLE``, only those of the first row are returned.
    """
    if len(table) <= _SMALL_TABLE:
        rows = msgspec.json.decode(table, type=list[dict[str, msgspec.Raw]])
        return set(chain.from_iterable(rows))
    start = bytes(table[:_SMALL_TABLE]).decode(errors="ignore")
    try:
        first, _ = json.JSONDecoder().raw_decode(start, start.index("{"))
        return set(first)
    except ValueError:  # no row, or a first row larger than _SMALL_TABLE
        rows = msgspec.json.decode(table, type=list[dict[str, msgspec.Raw]])
        return set(chain.from_iterable(rows[:1]))


def tokens_of(rows: Sequence[TableRow]) -> pa.Array:
    """Return the tokens of a table."""
    return strings([row.token for row in rows])


def numbers(values: Iterable[tuple[float, ...]], count: int, width: int) -> NDArray[np.float64]:
    """Return tuples of ``width`` numbers as an array (count, width)."""
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
    """Return the rows of ``table`` to which the tokens in ``column`` refer.

    Args:
        folder: folder of the tables, for errors.
        keys: the tokens in ``column``.
        tokens: the tokens of ``table``.
        column: name of the referring table and its column (``sample.scene_token``), for errors.
        table: name of the table that is referred to, for errors.
        owners: token of the row that has each key, for errors.
        optional: whether a key may be empty, which refers to no row.

    Returns:
        the row of ``table`` for each key; -1 if the key is empty.

    Raises:
        DataError: if a key is not a token of ``table``, and not an allowed empty one. The message
            names the first row with such a key.
    """
    rows = index_in(keys, tokens)
    is_missing = rows < 0
    if optional and is_missing.any():
        is_missing &= ~is_empty(keys)
    if is_missing.any():
        first = int(np.flatnonzero(is_missing)[0])
        if not keys[first].as_py():
            referring_table, _, name = column.partition(".")
            problem = f"has an empty {name}"
            check_rows(folder, referring_table, owners, is_missing & is_empty(keys), problem)
        raise DataError(
            f"{folder / table}.json lacks the row {keys[first].as_py()!r} that {column} of "
            f"{owners[first].as_py()!r} names ({int(is_missing.sum())} such rows); {_FIX}"
        )
    return rows


def check_rows(
    folder: Path, table: str, tokens: pa.Array, wrong: NDArray[np.bool_], problem: str
) -> None:
    """Refuse the rows of a table that are wrong, if there are any.

    Args:
        folder: folder of the tables.
        table: name of the table.
        tokens: tokens of its rows.
        wrong: one value per row, True for those to refuse.
        problem: what is wrong with them, for the error.

    Raises:
        DataError: if a row is wrong. The message names the first one and their number.
    """
    if wrong.any():
        first = int(np.flatnonzero(wrong)[0])
        raise DataError(
            f"{folder / table}.json: {tokens[first].as_py()!r} {problem} "
            f"({int(wrong.sum())} such rows); {_FIX}"
        )


def repeats(values: Iterable[Hashable]) -> NDArray[np.bool_]:
    """Return for each value, in order, whether an earlier one is equal."""
    first: dict[Hashable, int] = {}
    return np.array([first.setdefault(value, row) != row for row, value in enumerate(values)], bool)


def check_rotations(
    folder: Path, table: str, tokens: pa.Array, rotation: NDArray[np.float64]
) -> None:
    """Refuse quaternions (rows, 4) of length 0."""
    is_zero = np.linalg.norm(rotation, axis=1) < 1e-6
    check_rows(folder, table, tokens, is_zero, "has a rotation of length 0")


def check_relative(folder: Path, tokens: pa.Array, paths: list[str]) -> None:
    """Refuse a ``filename`` that is an absolute path.

    Raises:
        DataError: naming the first such row.
    """
    wrong = [row for row, path in enumerate(paths) if path.startswith("/")]
    if wrong:
        raise DataError(
            f"{folder / 'sample_data'}.json: filename {paths[wrong[0]]!r} of "
            f"{tokens[wrong[0]].as_py()!r} begins with / ({len(wrong)} such rows); write it "
            "relative to the data root, as samples/CAM_FRONT/name.jpg"
        )
