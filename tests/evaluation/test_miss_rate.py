"""The log-average miss rate, by hand."""

import math

import numpy as np
import pytest

from drivemim.evaluation.miss_rate import FALSE_POSITIVES, log_average_miss_rate, miss_rates
from drivemim.evaluation.precision_recall import Ranking


def ranking(right, scores=None, objects=4, images=10):
    right = np.asarray(right, bool)
    if scores is None:
        scores = np.linspace(0.9, 0.1, len(right))
    return Ranking(
        scores_R=np.asarray(scores, float), is_tp_R=right, objects=objects, images=images
    )


def test_the_nine_points():
    np.testing.assert_allclose(
        FALSE_POSITIVES, [10 ** (-2 + step / 4) for step in range(9)], rtol=1e-12
    )


def test_a_staircase_by_hand():
    # Found, false, found, false, found: misses 3/4 until 0.1 false positives per image
    # are allowed, 2/4 from there, 1/4 from 0.2.
    found = ranking([1, 0, 1, 0, 1])
    rates = miss_rates(found, np.array([0.0, 0.05, 0.1, 0.15, 0.2, 5.0]))
    assert rates.tolist() == [0.75, 0.75, 0.5, 0.5, 0.25, 0.25]
    # 0.01 ... 0.056 (four points), 0.1 and 0.178 (two), 0.316 ... 1 (three).
    expected = (0.75**4 * 0.5**2 * 0.25**3) ** (1 / 9)
    assert log_average_miss_rate(found) == pytest.approx(expected)


def test_before_the_first_detection_everything_is_missed():
    # Three false positives first: 0.3 an image.
    found = ranking([0, 0, 0, 1], objects=1)
    assert miss_rates(found, np.array([0.01, 0.29, 0.3])).tolist() == [1.0, 1.0, 0.0]
    assert log_average_miss_rate(ranking([])) == 1.0
    assert log_average_miss_rate(ranking([0, 0])) == 1.0


def test_a_detector_without_faults():
    assert log_average_miss_rate(ranking([1, 1, 1, 1])) == pytest.approx(1e-10)


def test_equal_scores_are_one_threshold():
    # In either order: one false positive and one object at the same score.
    for right in ([1, 0], [0, 1]):
        rates = miss_rates(ranking(right, [0.5, 0.5], objects=1), np.array([0.05, 0.1]))
        assert rates.tolist() == [1.0, 0.0]


def test_nothing_to_miss():
    assert math.isnan(log_average_miss_rate(ranking([0], objects=0)))
    assert math.isnan(log_average_miss_rate(ranking([], objects=0, images=0)))
    assert np.isnan(miss_rates(ranking([], objects=0), np.ones(3))).tolist() == [True] * 3
