"""Charts of precision, miss rates and calibration; the drawn values are read back."""

import math

import numpy as np
import pytest
from matplotlib.container import BarContainer

from drivemim.visualization import figure_svg
from drivemim.visualization.score_plots import (
    miss_rate_chart,
    precision_recall_chart,
    reliability_chart,
    slice_bars,
)

CURVES = {
    "precision_recall": {
        "recall": [0.0, 0.5, 1.0],
        "IoU 0.50": [1.0, 0.5, 0.0],
        "IoU 0.75": [0.25, 0.0, 0.0],
    },
    "miss_rate": {"false_alarms_per_image": [0.01, 0.1, 1.0], "miss_rate": [1.0, 0.4, 0.0]},
    "reliability": {
        "score": [math.nan, 0.5, 0.9],
        "precision": [math.nan, 0.25, 1.0],
        "count": [0.0, 4.0, 1.0],
    },
}
ARMS = {"ours": {"pedestrian": CURVES}, "theirs": {}}
CLASSES = ("pedestrian", "vehicle")


def line(figure, label, panel=0):
    return next(each for each in figure.axes[panel].get_lines() if each.get_label() == label)


def test_precision_ends_where_its_recall_ends():
    figure = precision_recall_chart(ARMS, CLASSES)
    assert [axes.get_title(loc="left") for axes in figure.axes] == list(CLASSES)
    found = line(figure, "ours, IoU 0.50")
    assert found.get_xdata().tolist() == [0.0, 0.5, 1.0]
    np.testing.assert_array_equal(found.get_ydata(), [1.0, 0.5, np.nan])
    np.testing.assert_array_equal(
        line(figure, "ours, IoU 0.75").get_ydata(), [0.25, np.nan, np.nan]
    )
    assert figure.axes[1].get_lines() == []


def test_miss_rates_are_logarithmic_and_a_perfect_one_is_still_shown():
    axes = miss_rate_chart(ARMS, CLASSES).axes[0]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert axes.get_lines()[0].get_ydata().tolist() == [1.0, 0.4, 0.01]
    assert axes.get_ylim()[0] < 0.01


def test_reliability_leaves_out_scores_that_nobody_gave():
    axes = reliability_chart(ARMS, CLASSES).axes[0]
    diagonal, found = axes.get_lines()
    assert list(diagonal.get_xdata()) == list(diagonal.get_ydata()) == [0, 1]
    assert found.get_xdata().tolist() == [0.5, 0.9]
    assert found.get_ydata().tolist() == [0.25, 1.0]
    sizes = axes.collections[0].get_sizes()
    assert sizes[0] > sizes[1]


def test_bars_of_slices_are_in_percent_and_grouped_by_axis():
    ours = {
        "drivemim/pedestrian_AP50": 0.9,
        "drivemim/pedestrian_AP50[distance 0-20 m]": 0.5,
        "drivemim/pedestrian_AP50[distance 40+ m]": 0.125,
        "drivemim/pedestrian_AP50[motion still]": math.nan,
        "drivemim/pedestrian_AP50[condition rain]": math.nan,
        "drivemim/vehicle_AP50[motion still]": 0.75,
    }
    theirs = {"drivemim/pedestrian_AP50[motion still]": 0.25}
    axes = slice_bars({"ours": ours, "theirs": theirs}, "pedestrian").axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["distance 0-20 m", "distance 40+ m", "motion still"]
    first, second = (each for each in axes.containers if isinstance(each, BarContainer))
    assert [bar.get_width() for bar in first] == [50.0, 12.5, 0.0]
    assert [bar.get_width() for bar in second] == [0.0, 0.0, 25.0]
    assert [text.get_text() for text in axes.texts] == ["50.0", "12.5", "", "", "", "25.0"]
    near, far, still = axes.get_yticks()
    assert still - far > far - near


@pytest.mark.parametrize("chart", [precision_recall_chart, miss_rate_chart, reliability_chart])
@pytest.mark.parametrize("detectors", [{}, {"blind": {}}])
def test_nothing_to_draw(chart, detectors):
    assert figure_svg(chart(detectors, ("pedestrian", "vehicle", "bus"))).startswith("<svg")
    assert len(chart(detectors, ("pedestrian",)).axes) == 1
    assert figure_svg(slice_bars(detectors, "pedestrian")).startswith("<svg")
