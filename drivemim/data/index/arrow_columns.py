"""Conversions between the columns of an index and Arrow arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from drivemim.data.index.arrow import from_numpy, strings, to_numpy
from drivemim.data.index.index_schema import CAMERAS, Column, Strings


def column_from_arrow(values: pa.Array, column: Column, cameras: int) -> NDArray[Any] | Strings:
    """Return a column as a view of an Arrow array.

    Args:
        values: the values of all rows, one after the other.
        column: storage of the column.
        cameras: number of cameras of the index.
    """
    if column.kind == "string":
        return strings_from_arrow(values)
    kind = "uint8" if column.kind == "bool" else column.kind
    flat = to_numpy(values, kind)
    if column.kind == "bool":
        flat = flat.view(np.bool_)
    if not column.shape:
        return flat
    shape = tuple(cameras if size == CAMERAS else size for size in column.shape)
    return flat.reshape(len(flat) // max(int(np.prod(shape)), 1), *shape)


def column_to_arrow(values: Any, column: Column) -> pa.Array:
    """Return a column as an Arrow array of the values of all rows, one after the other.

    Args:
        values: strings, as a list or an Arrow array; else numbers in any form that NumPy accepts.
        column: storage of the column.
    """
    if column.kind == "string":
        return values if isinstance(values, pa.Array) else strings(values)
    if column.kind == "bool":
        # Arrow packs bools into bits, which cannot be mapped as a NumPy array.
        return from_numpy(np.asarray(values, bool).view(np.uint8))
    return from_numpy(np.asarray(values, column.kind))


def strings_from_arrow(values: pa.Array) -> Strings:
    """Return a column of strings over the buffers of an Arrow array."""
    _, offsets, data = values.buffers()
    if len(values) == 0:
        return Strings(np.zeros(1, np.int64), np.zeros(0, np.uint8))
    assert values.offset == 0
    size = 0 if data is None else data.size
    return Strings(
        np.frombuffer(offsets, np.int64, len(values) + 1),
        np.frombuffer(data, np.uint8) if size else np.zeros(0, np.uint8),
    )


def strings_to_arrow(column: Strings) -> pa.Array:
    """Return an Arrow array over the buffers of a column of strings."""
    offsets, data = column.buffers
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.large_string(), len(column), buffers)
