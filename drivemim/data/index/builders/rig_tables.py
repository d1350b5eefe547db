"""Read a rig's CSV files (poses, boxes, timestamps), and report every wrong row."""

from __future__ import annotations

import codecs
import csv
import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from drivemim.array_types import Floats, Ints
from drivemim.data.index.builders.recorded_values import (
    box_problems,
    pose_problems,
    yaw_problems,
    yaw_rotations,
)
from drivemim.data.index.builders.source_rows import ProblemList, SourceRows
from drivemim.errors import DataError, did_you_mean

POSES, BOXES, TIMESTAMPS = "poses.csv", "boxes.csv", "timestamps.csv"
_TIME = "timestamp"
_POSITION, _QUATERNION = ("x", "y", "z"), ("qw", "qx", "qy", "qz")
_SIZE, _YAW = ("width", "length", "height"), "yaw"
_REQUIRED_OF_BOXES = (_TIME, "track", "category", *_POSITION, *_SIZE)
_OPTIONAL_OF_BOXES = (_YAW, *_QUATERNION, "attribute", "visibility", "lidar_points")
_TIME_NAME = re.compile(r"([0-9]{1,18})(?:\.pcd)?\.[A-Za-z]+")
"""Name of a file that is named by its timestamp; nuScenes' scans end in ``.pcd.bin``."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class CsvTable:
    """The rows of a CSV file as text.

    Attributes:
        path: the file.
        lines: number of each row's line in the file; the header is line 1.
        columns: the values of each column.
    """

    path: Path
    lines: list[int]
    columns: dict[str, list[str]]

    def __len__(self) -> int:
        return len(self.lines)

    @property
    def rows(self) -> SourceRows:
        """The file and the line of each row, for messages."""
        return SourceRows(self.path, lambda row: f"line {self.lines[row]}")

    def take(self, rows: Sequence[int]) -> CsvTable:
        """Return a table of some of the rows."""
        columns = {name: [values[row] for row in rows] for name, values in self.columns.items()}
        return CsvTable(self.path, [self.lines[row] for row in rows], columns)

    def numbers(self, names: Sequence[str], problems: ProblemList) -> Floats:
        """Return columns as numbers (rows, columns).

        Args:
            names: the columns.
            problems: gets a problem for every value that is not a number; it is returned as NaN.
        """
        values = np.full((len(self), len(names)), np.nan)
        for column, name in enumerate(names):
            for row, text in enumerate(self.columns[name]):
                try:
                    values[row, column] = float(_without_underscore(text))
                except ValueError:
                    self.report(row, f"has the {name} {text!r}, not a number", problems)
        return values

    def whole(self, name: str, problems: ProblemList, default: str | None = None) -> Ints:
        """Return a column of whole numbers.

        Args:
            name: the column.
            problems: gets a problem for every value that is not a whole number; it is returned
                as 0.
            default: number in place of an empty field or a missing column; None to report these.
        """
        values = np.zeros(len(self), np.int64)
        fix = "; write whole microseconds, all digits" if name == _TIME else ""
        for row, text in enumerate(self.columns.get(name, [""] * len(self))):
            try:
                number = text if text or default is None else default
                values[row] = int(_without_underscore(number))
            except (ValueError, OverflowError):
                self.report(row, f"has the {name} {text!r}, not a whole number{fix}", problems)
        return values

    def report(self, row: int, problem: str, problems: ProblemList) -> None:
        """Report a problem of a row."""
        problems.add(f"{self.path}: line {self.lines[row]} {problem}")


def _not_utf8(path: Path, error: UnicodeDecodeError) -> str:
    """Return the error message about a file that is not text in UTF-8."""
    start = path.read_bytes()[:2]
    if start in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return f"{path} is UTF-16 text; save it as UTF-8 (in Excel: CSV UTF-8)"
    return f"{path} is not UTF-8 text ({error}); save it as CSV in UTF-8"


def read_csv(
    path: Path, required: Sequence[str], optional: Sequence[str], problems: ProblemList
) -> CsvTable:
    """Read a CSV file with a header.

    Args:
        path: the file, UTF-8, its columns separated by commas.
        required: columns that it must have, in any order.
        optional: columns that it may have, too. A warning names all others; they are returned.
        problems: gets a problem for every row with another number of values than the header; the
            row is left out.

    Raises:
        DataError: if the file is not text in UTF-8, lacks a column or has one twice.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(_not_utf8(path, error)) from None
    reader = csv.reader(text.splitlines())
    header = [name.strip() for name in next(reader, [])]
    _check_header(path, header, required)
    unread = [name for name in header if name not in (*required, *optional)]
    if unread:
        _log.warning("%s has columns that are not read: %s", path, ", ".join(unread))
    lines: list[int] = []
    columns: dict[str, list[str]] = {name: [] for name in header}
    for values in reader:
        if not any(value.strip() for value in values):
            continue
        if len(values) != len(header):
            problems.add(
                f"{path}: line {reader.line_num} has {len(values)} values, the header has "
                f"{len(header)} columns"
            )
            continue
        lines.append(reader.line_num)
        for name, value in zip(header, values, strict=True):
            columns[name].append(value.strip())
    return CsvTable(path, lines, columns)


def _without_underscore(text: str) -> str:
    """Return a text unchanged; refuse ``2011_09_26``, which Python reads as the number 20110926.

    Raises:
        ValueError: if it has an underscore.
    """
    if "_" in text:
        raise ValueError(text)
    return text


def _check_header(path: Path, header: Sequence[str], required: Sequence[str]) -> None:
    """Refuse a header with other separators, without a required column or with a column twice."""
    names = f"the first line of {path} must name the columns {','.join(required)}"
    for separator in (";", "\t"):
        if len(header) == 1 and separator in header[0]:
            raise DataError(f"{names}; they are separated by {separator!r}: use commas")
    if missing := [name for name in required if name not in header]:
        near = did_you_mean(missing[0], [name for name in header if name not in required])
        raise DataError(
            f"{names}; it has no {', '.join(missing)} (it is {','.join(header)!r}){near}"
        )
    if twice := [name for name in header if list(header).count(name) > 1]:
        raise DataError(f"{path} has the column {twice[0]!r} twice; remove one")


def read_poses(path: Path, problems: ProblemList) -> tuple[Ints, Floats, SourceRows] | None:
    """Read ``poses.csv``: timestamp, x, y, z, qw, qx, qy, qz, ego to world.

    Args:
        path: the file.
        problems: gets a problem for every wrong row.

    Returns:
        microseconds (P,), poses (P, 7) and the names of the rows; None if a row is wrong.

    Raises:
        DataError: if the file lacks a column.
    """
    before = len(problems)
    table = read_csv(path, (_TIME, *_POSITION, *_QUATERNION), (), problems)
    times = table.whole(_TIME, problems)
    poses = table.numbers((*_POSITION, *_QUATERNION), problems)
    if len(problems) == before:
        for row, problem in pose_problems(poses):
            table.report(row, problem, problems)
    return (times, poses, table.rows) if len(problems) == before else None


def read_boxes(path: Path, problems: ProblemList) -> Iterator[dict[str, Any]]:
    """Read ``boxes.csv``, and yield the arguments of ``RecordedScene.add_boxes`` for each moment.

    A row that has only a timestamp is a moment without objects. If a row is wrong, nothing is
    yielded.

    Args:
        path: the file.
        problems: gets a problem for every wrong row.

    Raises:
        DataError: if the file lacks a column.
    """
    before = len(problems)
    table = read_csv(path, _REQUIRED_OF_BOXES, _OPTIONAL_OF_BOXES, problems)
    has_yaw = _YAW in table.columns
    if has_yaw == (set(_QUATERNION) <= table.columns.keys()):
        raise DataError(
            f"{path} has {'both yaw and' if has_yaw else 'neither yaw nor'} {','.join(_QUATERNION)}"
            "; write the rotation from box to world in one of these ways"
        )
    value_columns = [name for name in table.columns if name != _TIME]
    is_box = [any(table.columns[name][row] for name in value_columns) for row in range(len(table))]
    empty = table.take(np.flatnonzero(~np.array(is_box, bool)).tolist())
    empty_times = empty.whole(_TIME, problems)
    boxes = table.take(np.flatnonzero(is_box).tolist())
    columns = _box_columns(boxes, has_yaw, problems)
    if len(problems) > before:
        return
    no_boxes: dict[str, Any] = {"tracks": [], "categories": [], "visibility": []}
    for row, time in enumerate(empty_times):
        yield {_TIME: int(time), **no_boxes, "rows": empty.rows.take(np.array([row]))}
    times = columns.pop("time")
    for time in np.unique(times):
        rows = np.flatnonzero(times == time)
        of_moment = {
            name: values[rows] if isinstance(values, np.ndarray) else [values[row] for row in rows]
            for name, values in columns.items()
        }
        yield {_TIME: int(time), **of_moment, "rows": boxes.rows.take(rows)}


def _box_columns(table: CsvTable, has_yaw: bool, problems: ProblemList) -> dict[str, Any]:
    """Return the arguments of ``RecordedScene.add_boxes`` for all rows, and their ``time``.

    Args:
        table: rows of boxes.
        has_yaw: whether rotations are yaws; otherwise they are quaternions.
        problems: gets a problem for every wrong row.
    """
    before = len(problems)
    times = table.whole(_TIME, problems)
    center, size = table.numbers(_POSITION, problems), table.numbers(_SIZE, problems)
    angles = table.numbers((_YAW,) if has_yaw else _QUATERNION, problems)
    visibility = table.whole("visibility", problems, default="0")
    points = table.whole("lidar_points", problems, default="-1")
    if has_yaw and len(problems) == before:
        for row, problem in yaw_problems(angles[:, 0]):
            table.report(row, problem, problems)
    rotation = yaw_rotations(angles[:, 0]) if has_yaw else angles
    if len(problems) == before:
        for row, problem in box_problems(center, size, rotation):
            table.report(row, problem, problems)
    return {
        "time": times,
        "tracks": table.columns["track"],
        "categories": table.columns["category"],
        "centers": center,
        "sizes": size,
        "rotations": rotation,
        "attributes": table.columns.get("attribute", [""] * len(table)),
        "visibility": visibility.tolist(),
        "lidar_points": points.tolist(),
    }


def read_timestamps(
    folder: Path, files: Sequence[str], problems: ProblemList
) -> list[tuple[str, int]]:
    """Return files with their timestamps in microseconds: from ``timestamps.csv``, or their names.

    Args:
        folder: folder of the files, with ``timestamps.csv`` if the names are no timestamps.
        files: names of the files.
        problems: gets one problem for all files without a timestamp, and one for every wrong row.

    Returns:
        name and timestamp of each file; those without a timestamp are left out. Empty if
        ``timestamps.csv`` has a problem.
    """
    path = folder / TIMESTAMPS
    if path.is_file():
        with problems.collect():
            return _listed_timestamps(path, files, problems)
        return []
    timed = [(name, int(match[1])) for name in files if (match := _TIME_NAME.fullmatch(name))]
    if len(timed) < len(files):
        wrong = [name for name in files if not _TIME_NAME.fullmatch(name)]
        problems.add(
            f"{folder / wrong[0]}: the name is no timestamp ({len(wrong)} of {len(files)} files); "
            "name files by whole microseconds, such as "
            f"1600000000000000{Path(wrong[0]).suffix}, or write {path} with the columns "
            "file,timestamp"
        )
    return timed


def _listed_timestamps(
    path: Path, files: Sequence[str], problems: ProblemList
) -> list[tuple[str, int]]:
    """Return files with their timestamps in ``timestamps.csv``; empty if there is a problem."""
    before = len(problems)
    table = read_csv(path, ("file", _TIME), (), problems)
    times = table.whole(_TIME, problems)
    time_of: dict[str, int] = {}
    for row, name in enumerate(table.columns["file"]):
        line = f"{path}: line {table.lines[row]}"
        if name not in files:
            hint = did_you_mean(name, files)
            problems.add(f"{line} names {path.parent / name}, which does not exist{hint}")
        elif name in time_of:
            problems.add(f"{line} lists {name} a second time")
        time_of[name] = int(times[row])
    if missing := [name for name in files if name not in time_of]:
        problems.add(
            f"{path} lacks {missing[0]} ({len(missing)} of {len(files)} files); list every file"
        )
    if len(problems) > before:
        return []
    return [(name, time_of[name]) for name in files]
