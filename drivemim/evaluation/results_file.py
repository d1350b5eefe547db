"""The JSON file of an evaluation: numbers by name, and curves."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from drivemim.errors import DataError
from drivemim.evaluation.curves import ClassCurves

CURVES = "curves"
"""Key of the curves in the file."""


def results_json(
    numbers: Mapping[str, Any], curves: Mapping[str, ClassCurves] | None = None
) -> bytes:
    """Return the contents of the file; NaN becomes ``null``, because JSON has no NaN.

    Args:
        numbers: values by name: numbers or other JSON values.
        curves: curves of each class, stored under ``curves``.
    """
    content: dict[str, Any] = dict(numbers)
    if curves:
        content[CURVES] = curves
    return json.dumps(_without_nan(content), indent=2, allow_nan=False).encode()


def read_metrics(path: str | os.PathLike[str]) -> dict[str, float]:
    """Read the numbers of a results file by name; ``null`` is read as NaN, other values left out.

    Raises:
        FileNotFoundError: if the file does not exist.
        DataError: if it is not a results file.
    """
    content = _read(path)
    return {
        name: math.nan if value is None else float(value)
        for name, value in content.items()
        if value is None or isinstance(value, int | float)
    }


def read_curves(path: str | os.PathLike[str]) -> dict[str, ClassCurves]:
    """Read the curves of a results file by class, ``null`` as NaN; empty if it has none.

    Raises:
        FileNotFoundError: if the file does not exist.
        DataError: if it is not a results file.
    """
    return {
        name: {
            chart: {
                column: [math.nan if value is None else float(value) for value in values]
                for column, values in columns.items()
            }
            for chart, columns in charts.items()
        }
        for name, charts in _read(path).get(CURVES, {}).items()
    }


def _read(path: str | os.PathLike[str]) -> dict[str, Any]:
    try:
        content = json.loads(Path(path).read_bytes())
    except FileNotFoundError:
        message = f"there are no results at {path}; drivemim test --out writes them"
        raise FileNotFoundError(message) from None
    except ValueError as error:
        raise DataError(f"{path} is not a results file: {error}; evaluate again") from None
    if not isinstance(content, dict):
        raise DataError(f"{path} is not a results file: it holds no names; evaluate again")
    return content


def _without_nan(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, Mapping):
        return {key: _without_nan(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(each) for each in value]
    # Also handles NumPy and PyTorch numbers.
    return float(value) if math.isfinite(value) else None
