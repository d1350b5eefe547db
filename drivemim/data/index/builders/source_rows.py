"""Files and names of a source's rows (its tokens or lines) for messages; lists of problems."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa

from drivemim.array_types import Bools, Ints
from drivemim.errors import DataError

RowName = Callable[[int], str]
"""Function that returns the file or the name of a row."""


class SourceRows:
    """The file and the name of each row of a source, for messages.

    Args:
        file: the file that has all rows, or a function that returns the file of a row.
        names: the tokens of the rows, the name of each row, or a function that returns the name of
            a row. A name is for example ``line 12``.
    """

    def __init__(
        self, file: str | Path | RowName, names: pa.Array | Sequence[str] | RowName
    ) -> None:
        self._file = file
        self._names = names

    @classmethod
    def of_table(cls, folder: Path, table: str, tokens: pa.Array) -> SourceRows:
        """Return the rows of one of nuScenes' tables.

        Args:
            folder: version folder.
            table: name of the table.
            tokens: token of each row.
        """
        return cls(folder / f"{table}.json", tokens)

    @classmethod
    def join(cls, sources: Sequence[SourceRows], counts: Sequence[int]) -> SourceRows:
        """Return the rows of several sources, one after the other.

        Args:
            sources: the sources.
            counts: number of rows of each.
        """
        ends = np.cumsum(np.array(counts, np.int64))

        def find(row: int) -> tuple[SourceRows, int]:
            """Return the source of a row, and the row in this source."""
            number = int(np.searchsorted(ends, row, side="right"))
            return sources[number], row - int(ends[number] - counts[number])

        def file(row: int) -> str:
            source, row_of_source = find(row)
            return source.file(row_of_source)

        def name(row: int) -> str:
            source, row_of_source = find(row)
            return source.name(row_of_source)

        return cls(file, name)

    def file(self, row: int) -> str:
        """Return the file of a row."""
        return self._file(row) if callable(self._file) else str(self._file)

    def name(self, row: int) -> str:
        """Return the name of a row: its token in quotes, or for example ``line 12``."""
        if callable(self._names):
            return self._names(row)
        if isinstance(self._names, pa.Array):
            return repr(self._names[row].as_py())
        return self._names[row]

    def take(self, rows: Ints) -> SourceRows:
        """Return the files and names of some rows, in the order of ``rows``."""
        return SourceRows(
            lambda row: self.file(int(rows[row])), lambda row: self.name(int(rows[row]))
        )

    def refuse(self, wrong: Bools, problem: str) -> None:
        """Refuse the rows that are wrong, if there are any.

        Args:
            wrong: one value per row, True for the rows to refuse.
            problem: what is wrong with them, and the fix.

        Raises:
            DataError: if a row is wrong. The message names the first one and their number.
        """
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            count = int(np.count_nonzero(wrong))
            more = f" ({count} such rows)" if count > 1 else ""
            raise DataError(f"{self.file(row)}: {self.name(row)} {problem}{more}")


class ProblemList:
    """Problems of a source, which are collected so that one run reports all of them.

    Attributes:
        found: the problems, each one line with its file and row.
    """

    def __init__(self) -> None:
        self.found: list[str] = []

    def __len__(self) -> int:
        return len(self.found)

    def add(self, problem: str) -> None:
        """Add a problem."""
        self.found.append(problem)

    @contextmanager
    def collect(self) -> Iterator[None]:
        """Turn an error that the ``with`` block raises into a problem; go on after the block."""
        try:
            yield
        except (DataError, FileNotFoundError) as error:
            self.found.append(str(error))
