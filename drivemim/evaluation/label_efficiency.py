"""How many labels an arm needs: means over seeds, how sure they are, and curves read backwards.

An arm is a way to start a detector (random initialisation, a pretrained backbone). Each is trained
with several shares of the labels, from several seeds; all arms see the same subset of a share and
seed, so differences are taken seed by seed, which leaves out what the subset itself is worth.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

Scores = Mapping[float, Mapping[int, float]]
"""Of one arm: share of the labels, then seed, to a metric's value."""

BELOW = 0.0
"""``labels_needed``: even the smallest share that was tried is more than enough."""
NOT_REACHED = math.inf
"""``labels_needed``: no share that was tried is enough."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean over seeds and its confidence interval.

    Attributes:
        mean: NaN of no values.
        half_width: of the interval around it; NaN where fewer than two values say nothing of it.
        count: values.
    """

    mean: float
    half_width: float
    count: int


@dataclass(frozen=True, kw_only=True)
class Needed:
    """Share of the labels that reaches a value: in (0, 1], ``BELOW`` or ``NOT_REACHED``.

    Attributes:
        share: read from the curve of the means over seeds.
        least: the smallest over seeds, each seed's curve against the baseline's of the same seed.
        most: the largest; as ``least``, NaN when no seed has all shares.
    """

    share: float
    least: float
    most: float


def estimate(values: Sequence[float], *, confidence: float = 0.95) -> Estimate:
    """Mean, and Student's t interval of it, taking the values as a sample of a normal distribution.

    Args:
        values: one a seed; those that are not a number are left out.
        confidence: of the interval, in (0, 1).
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
    """How much better than the baseline, seed by seed, over the seeds that both have.

    Args:
        values: by seed.
        baseline: by seed.
        confidence: of the interval.
    """
    both = [seed for seed in values if seed in baseline]
    return estimate([values[seed] - baseline[seed] for seed in both], confidence=confidence)


def labels_needed(curve: Mapping[float, float], target: float) -> float:
    """The smallest share of the labels with which a value is reached.

    More labels are taken to do no harm: where the curve falls, the best value so far stands.
    Between two shares it is a straight line over the logarithm of the share.

    Args:
        curve: share to value; shares above 0.
        target: value to reach.

    Returns:
        a share; ``BELOW`` when the smallest has more than ``target``; ``NOT_REACHED`` when none
        has as much, or the target is not a number.
    """
    shares = sorted(share for share, value in curve.items() if not math.isnan(value))
    best = -math.inf
    for number, share in enumerate(shares):
        before, best = best, max(best, curve[share])
        if best > target:
            if number == 0:
                return BELOW
            start, end = math.log(shares[number - 1]), math.log(share)
            return math.exp(start + (target - before) / (best - before) * (end - start))
        if best == target:
            return share
    return NOT_REACHED


def needed_for(scores: Scores, baseline: Scores, share: float) -> Needed:
    """Labels that an arm needs for what the baseline reaches with a share of them.

    Args:
        scores: of the arm.
        baseline: of the baseline, with the same shares and seeds (see :func:`common_runs`).
        share: one of the baseline's.
    """
    found = labels_needed(_means(scores), _means(baseline)[share])
    seeds = set.intersection(*(set(by_seed) for by_seed in scores.values()))
    each = [
        labels_needed(
            {tried: by_seed[seed] for tried, by_seed in scores.items()}, baseline[share][seed]
        )
        for seed in sorted(seeds)
    ]
    return Needed(share=found, least=min(each, default=math.nan), most=max(each, default=math.nan))


def common_runs(arms: Mapping[str, Scores]) -> dict[str, dict[float, dict[int, float]]]:
    """The arms' scores of those shares and seeds alone which every arm has.

    While runs are missing, means over different seeds would compare subsets and not arms.
    """
    every = [
        {(share, seed) for share, by_seed in scores.items() for seed in by_seed}
        for scores in arms.values()
    ]
    common = set.intersection(*every) if every else set()
    shares = sorted({share for share, _ in common})
    return {
        name: {
            share: {seed: value for seed, value in scores[share].items() if (share, seed) in common}
            for share in shares
        }
        for name, scores in arms.items()
    }


def _means(scores: Scores) -> dict[float, float]:
    return {share: estimate(list(by_seed.values())).mean for share, by_seed in scores.items()}
