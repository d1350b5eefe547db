"""Label efficiency: means over seeds, confidence intervals, and the labels needed for a score.

A detector's initialisation is random or a pretrained backbone. Each initialisation is trained with
several label fractions and seeds. All use the same subset for a given fraction and seed.
Differences are therefore taken per seed, which removes the effect of the subset.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

Scores = Mapping[float, Mapping[int, float]]
"""Metric values of one initialisation, by label fraction, then by seed."""

BELOW_SMALLEST = 0.0
"""Result of ``fraction_reaching`` if the smallest measured fraction is more than enough."""
NOT_REACHED = math.inf
"""Result of ``fraction_reaching`` if no measured fraction is enough."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean over seeds and its confidence interval.

    Attributes:
        mean: NaN without values.
        half_width: half the width of the interval; NaN with fewer than two values.
        count: number of values.
    """

    mean: float
    half_width: float
    count: int


@dataclass(frozen=True, kw_only=True)
class LabelsNeeded:
    """Label fraction that is needed to reach the baseline's score.

    Each value is in (0, 1], ``BELOW_SMALLEST`` or ``NOT_REACHED``.

    Attributes:
        fraction: computed from the curve of the means over seeds.
        minimum: minimum over seeds; each seed's curve is compared with the baseline of that seed.
            NaN if no seed has all fractions.
        maximum: maximum over seeds, NaN like ``minimum``.
    """

    fraction: float
    minimum: float
    maximum: float


def estimate(values: Sequence[float], *, confidence: float = 0.95) -> Estimate:
    """Compute the mean and its Student's t interval, assuming normally distributed values.

    Args:
        values: one per seed; NaN values are left out.
        confidence: confidence level, in (0, 1).
    """
    known = np.asarray(values, np.float64)
    known = known[~np.isnan(known)]
    count = len(known)
    mean = float(known.mean()) if count else math.nan
    if count < 2:
        return Estimate(mean=mean, half_width=math.nan, count=count)
    quantile = float(stats.t.ppf((1 + confidence) / 2, count - 1))
    half_width = quantile * float(known.std(ddof=1)) / math.sqrt(count)
    return Estimate(mean=mean, half_width=half_width, count=count)


def paired_difference(
    values: Mapping[int, float], baseline: Mapping[int, float], *, confidence: float = 0.95
) -> Estimate:
    """Estimate the improvement over the baseline per seed, over the seeds that both have.

    Args:
        values: values by seed.
        baseline: values of the baseline by seed.
        confidence: confidence level.
    """
    both = [seed for seed in values if seed in baseline]
    return estimate([values[seed] - baseline[seed] for seed in both], confidence=confidence)


def fraction_reaching(curve: Mapping[float, float], target: float) -> float:
    """Return the smallest label fraction that reaches a value.

    More labels are assumed not to hurt: where the curve falls, the best value so far is used.
    Between two fractions, the curve is linear in the logarithm of the fraction.

    Args:
        curve: value by label fraction; fractions above 0.
        target: value to reach.

    Returns:
        A fraction; ``BELOW_SMALLEST`` if the smallest one already exceeds ``target``;
        ``NOT_REACHED`` if none reaches it, or the target is NaN.
    """
    fractions = sorted(fraction for fraction, value in curve.items() if not math.isnan(value))
    best = -math.inf
    for number, fraction in enumerate(fractions):
        before, best = best, max(best, curve[fraction])
        if best > target:
            if number == 0:
                return BELOW_SMALLEST
            start, end = math.log(fractions[number - 1]), math.log(fraction)
            return math.exp(start + (target - before) / (best - before) * (end - start))
        if best == target:
            return fraction
    return NOT_REACHED


def labels_needed(scores: Scores, baseline: Scores, fraction: float) -> LabelsNeeded:
    """Compute the labels an initialisation needs to match the baseline at a label fraction.

    Args:
        scores: scores of the initialisation.
        baseline: scores of the baseline, with the same fractions and seeds: :func:`intersect_runs`.
        fraction: one of the baseline's label fractions.
    """
    fraction_needed = fraction_reaching(_means(scores), _means(baseline)[fraction])
    seeds = set.intersection(*(set(by_seed) for by_seed in scores.values()))
    each = [
        fraction_reaching(
            {tried: by_seed[seed] for tried, by_seed in scores.items()}, baseline[fraction][seed]
        )
        for seed in sorted(seeds)
    ]
    return LabelsNeeded(
        fraction=fraction_needed,
        minimum=min(each, default=math.nan),
        maximum=max(each, default=math.nan),
    )


def intersect_runs(inits: Mapping[str, Scores]) -> dict[str, dict[float, dict[int, float]]]:
    """Return the scores for the label fractions and seeds that every initialisation has.

    While some runs are missing, initialisations have different seeds. Their means would then
    compare the seeds' subsets of labels instead of the initialisations.
    """
    run_keys = [
        {(fraction, seed) for fraction, by_seed in scores.items() for seed in by_seed}
        for scores in inits.values()
    ]
    common = set.intersection(*run_keys) if run_keys else set()
    fractions = sorted({fraction for fraction, _ in common})
    return {
        name: {
            fraction: {
                seed: value
                for seed, value in scores[fraction].items()
                if (fraction, seed) in common
            }
            for fraction in fractions
        }
        for name, scores in inits.items()
    }


def _means(scores: Scores) -> dict[float, float]:
    return {fraction: estimate(list(by_seed.values())).mean for fraction, by_seed in scores.items()}
