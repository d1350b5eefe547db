"""Formatting shared by the studies' tables."""

from __future__ import annotations

import statistics
from collections.abc import Sequence


def mean_and_deviation(values: Sequence[float], sign: str = "") -> str:
    """Format mean and sample standard deviation (0 for a single value), ``"33.0 ± 2.6"``.

    Args:
        values: one per seed.
        sign: ``"+"`` to show the sign of a positive mean as well.
    """
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):{sign}.1f} ± {deviation:.1f}"
