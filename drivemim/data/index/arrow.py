"""Conversions between Arrow and NumPy arrays that share memory through their buffers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from drivemim.errors import DataError

_TYPES = {
    "uint8": pa.uint8(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "float64": pa.float64(),
}


def strings(values: Iterable[str]) -> pa.Array:
    """Return strings as an Arrow array.

    Raises:
        DataError: if a string is not valid Unicode, such as the name of a file in Latin-1.
    """
    texts = values if isinstance(values, list) else list(values)
    try:
        return pa.array(texts, pa.large_string())
    except UnicodeEncodeError:
        wrong = next(text for text in texts if not _is_unicode(text))
        raise DataError(
            f"the name {wrong!r} is not valid UTF-8; rename the file or folder"
        ) from None


def _is_unicode(text: str) -> bool:
    """Return whether a string can be encoded; names of files can contain undecodable bytes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def to_numpy(array: pa.Array, kind: str) -> NDArray[Any]:
    """Return a view of an Arrow array of numbers without nulls."""
    assert array.type == _TYPES[kind], (array.type, kind)
    assert array.null_count == 0
    data = array.buffers()[1]
    if data is None:
        return np.zeros(0, kind)
    return np.frombuffer(data, kind, len(array), array.offset * np.dtype(kind).itemsize)


def from_numpy(values: NDArray[Any]) -> pa.Array:
    """Return an Arrow array over the memory of a flat NumPy array."""
    flat = np.ascontiguousarray(values).reshape(-1)
    buffers = [None, pa.py_buffer(flat)]
    return pa.Array.from_buffers(_TYPES[flat.dtype.name], len(flat), buffers)


def take(column: pa.Array, rows: NDArray[np.int64]) -> pa.Array:
    """Return rows of an Arrow column."""
    return column.take(from_numpy(np.asarray(rows, np.int64)))


def index_in(keys: pa.Array, tokens: pa.Array) -> NDArray[np.int64]:
    """Return the position of each key among ``tokens``, -1 for unknown keys."""
    if len(tokens) == 0:
        return np.full(len(keys), -1, np.int64)
    positions = pc.fill_null(pc.index_in(keys, value_set=tokens), -1)
    return to_numpy(positions, "int32").astype(np.int64)


def is_empty(column: pa.Array) -> NDArray[np.bool_]:
    """Return True for strings that are ``""``."""
    flags = pc.equal(column, "").cast(pa.uint8())
    empty: NDArray[np.bool_] = to_numpy(flags, "uint8").astype(bool)
    return empty
