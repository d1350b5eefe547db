"""Intervals against scipy and tables of Student's t; fractions read from curves by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from drivemim.evaluation.labels_needed import (
    BELOW_SMALLEST,
    NOT_REACHED,
    LabelsNeeded,
    estimate,
    fraction_reaching,
    intersect_runs,
    labels_needed,
    paired_difference,
)


def test_the_interval_of_three_values_by_hand():
    found = estimate([0.30, 0.34, 0.35])
    # Mean 0.33, deviation sqrt((9 + 1 + 4) / 2) = 2.6458 points, t(0.975, 2) = 4.3027.
    assert found.mean == pytest.approx(0.33)
    assert found.half_width == pytest.approx(0.026458 * 4.3027 / math.sqrt(3), rel=1e-4)
    assert found.count == 3


def test_the_interval_against_scipy():
    values = np.random.default_rng(0).normal(0.4, 0.05, 7)
    low, high = stats.t.interval(0.9, 6, loc=values.mean(), scale=stats.sem(values))
    found = estimate(values.tolist(), confidence=0.9)
    assert found.mean - found.half_width == pytest.approx(low)
    assert found.mean + found.half_width == pytest.approx(high)


def test_few_values_have_no_interval():
    assert estimate([0.2]).mean == 0.2
    assert math.isnan(estimate([0.2]).half_width)
    assert estimate([]).count == 0
    assert math.isnan(estimate([]).mean)
    one = estimate([math.nan, 0.2])
    assert (one.mean, one.count) == (0.2, 1)
    assert estimate([0.2, 0.2]).half_width == 0


def test_differences_are_taken_seed_by_seed():
    # The subsets differ much and the initialisations by 1, 2 and 3 points; seed 7 has no partner.
    found = paired_difference(
        {0: 0.11, 1: 0.52, 2: 0.83, 7: 0.99}, {2: 0.80, 1: 0.50, 0: 0.10, 9: 0.0}
    )
    assert found.mean == pytest.approx(0.02)
    assert found.half_width == pytest.approx(0.01 * 4.3027 / math.sqrt(3), rel=1e-4)
    assert found.count == 3


CURVE = {0.01: 0.1, 0.1: 0.3, 1.0: 0.5}


@pytest.mark.parametrize(
    ("target", "fraction"),
    [
        (0.05, BELOW_SMALLEST),
        (0.1, 0.01),
        (0.2, 10**-1.5),
        (0.25, 10**-1.25),
        (0.3, 0.1),
        (0.45, 10**-0.25),
        (0.5, 1.0),
        (0.51, NOT_REACHED),
        (math.nan, NOT_REACHED),
    ],
)
def test_a_curve_read_backwards(target, fraction):
    assert fraction_reaching(CURVE, target) == pytest.approx(fraction)


def test_a_falling_curve_keeps_its_best_value():
    curve = {1.0: 0.5, 0.25: 0.2, 0.1: 0.3, 0.01: 0.1}
    # From 0.3 at a quarter (0.2 was measured) to 0.5 at all: half-way in the logarithm.
    assert fraction_reaching(curve, 0.4) == pytest.approx(0.5)
    assert fraction_reaching(curve, 0.3) == 0.1
    assert fraction_reaching({0.1: 0.3, 0.5: 0.3, 1.0: 0.3}, 0.3) == 0.1
    assert fraction_reaching({0.1: math.nan, 1.0: 0.3}, 0.2) == BELOW_SMALLEST
    assert fraction_reaching({}, 0.2) == NOT_REACHED


@given(
    values=st.dictionaries(st.sampled_from([0.01, 0.05, 0.1, 0.25, 1.0]), st.floats(0, 1)),
    targets=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_more_takes_more_labels(values, targets):
    low, high = (fraction_reaching(values, target) for target in sorted(targets))
    assert low <= high * (1 + 1e-9)
    for found in (low, high):
        in_range = values and min(values) * (1 - 1e-9) <= found <= max(values) * (1 + 1e-9)
        assert in_range or found in (BELOW_SMALLEST, NOT_REACHED)


def test_needed_against_a_baseline_by_hand():
    baseline = {0.1: {0: 0.1, 1: 0.2}, 1.0: {0: 0.3, 1: 0.4}}
    init = {0.1: {0: 0.25, 1: 0.2}, 1.0: {0: 0.35, 1: 0.6}}
    found = labels_needed(init, baseline, 1.0)
    # Means 0.225 and 0.475 against 0.35: half-way. Seeds: 0.05 of 0.1, 0.2 of 0.4: half-way too.
    assert found.fraction == pytest.approx(10**-0.5)
    assert found.minimum == pytest.approx(10**-0.5)
    assert found.maximum == pytest.approx(10**-0.5)
    # Means 0.225 against 0.15; seed 0 has more at once, seed 1 exactly as much.
    assert labels_needed(init, baseline, 0.1) == LabelsNeeded(
        fraction=BELOW_SMALLEST, minimum=BELOW_SMALLEST, maximum=0.1
    )
    back = labels_needed(baseline, init, 1.0)
    assert (back.fraction, back.minimum) == (NOT_REACHED, NOT_REACHED)
    assert labels_needed(baseline, baseline, 1.0) == LabelsNeeded(
        fraction=1.0, minimum=1.0, maximum=1.0
    )


def test_no_seed_with_every_fraction_has_no_range():
    runs = {0.1: {0: 0.1}, 1.0: {1: 0.4}}
    found = labels_needed(runs, runs, 1.0)
    assert found.fraction == 1.0
    assert math.isnan(found.minimum)
    assert math.isnan(found.maximum)


def test_only_runs_that_every_initialisation_has_are_compared():
    inits = {
        "random": {0.1: {0: 1.0, 1: 2.0}, 1.0: {0: 3.0}},
        "other": {0.1: {1: 4.0}, 0.5: {0: 5.0}, 1.0: {0: 6.0}},
    }
    assert intersect_runs(inits) == {
        "random": {0.1: {1: 2.0}, 1.0: {0: 3.0}},
        "other": {0.1: {1: 4.0}, 1.0: {0: 6.0}},
    }
    assert intersect_runs({"random": {}, "other": {0.1: {0: 1.0}}}) == {"random": {}, "other": {}}
    assert intersect_runs({}) == {}
