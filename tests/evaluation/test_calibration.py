"""Calibration of scores, by hand."""

import math

import numpy as np
import pytest

from drivemim.evaluation.calibration import expected_calibration_error, reliability
from drivemim.evaluation.precision_recall import Ranking


def ranking(scores, right, objects=5):
    return Ranking(
        scores_R=np.asarray(scores, float),
        is_tp_R=np.asarray(right, bool),
        objects=objects,
        images=1,
    )


def test_ranges_by_hand():
    found = reliability(ranking([0.95, 0.85, 0.8, 0.3, 0.2], [1, 1, 0, 0, 1]), 5)
    np.testing.assert_allclose(found.edges, [0, 0.2, 0.4, 0.6, 0.8, 1])
    assert found.counts_K.tolist() == [0, 2, 0, 0, 3]
    np.testing.assert_allclose(found.scores_K, [np.nan, 0.25, np.nan, np.nan, 2.6 / 3])
    np.testing.assert_allclose(found.precisions_K, [np.nan, 0.5, np.nan, np.nan, 2 / 3])
    # |0.25 - 0.5| of two, |0.8667 - 0.6667| of three.
    expected = (2 * 0.25 + 3 * 0.2) / 5
    assert expected_calibration_error(found) == pytest.approx(expected)


def test_scores_equal_to_their_precision_have_no_error():
    found = reliability(ranking([0.75] * 4 + [0.25] * 4, [1, 1, 1, 0, 1, 0, 0, 0]), 10)
    assert expected_calibration_error(found) == pytest.approx(0.0)


def test_scores_of_zero_and_one_are_in_the_outer_bins():
    found = reliability(ranking([1.0, 0.0], [1, 0]), 3)
    assert found.counts_K.tolist() == [1, 0, 1]
    assert expected_calibration_error(found) == 0.0


def test_no_warning_without_a_reason():
    found = reliability(ranking([], []), 15)
    assert found.counts_K.tolist() == [0] * 15
    assert math.isnan(expected_calibration_error(found))


def test_detections_without_any_object_are_all_wrong():
    assert expected_calibration_error(
        reliability(ranking([0.9, 0.7], [0, 0], objects=0), 15)
    ) == pytest.approx(0.8)
