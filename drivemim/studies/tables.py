"""What the studies' tables have in common."""

from __future__ import annotations

import statistics
from collections.abc import Sequence


def mean_and_deviation(values: Sequence[float], sign: str = "") -> str:
    """Mean and sample standard deviation (0 of a single value), ``"33.0 ± 2.6"``.

    Args:
        values: one a seed.
        sign: ``"+"`` to show that of a positive mean, too.
    """
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):{sign}.1f} ± {deviation:.1f}"
