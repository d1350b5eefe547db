"""Lines and bars at the positions of their numbers."""

import math

import numpy as np

from drivemim.evaluation.labels_needed import Estimate
from drivemim.visualization.label_curves import BESIDE, label_curves


def point(mean, half_width=math.nan, count=3):
    return Estimate(mean=mean, half_width=half_width, count=count)


CURVES = {
    "random": {1.0: point(0.4, 0.02), 0.1: point(0.2, 0.05)},
    "good": {0.1: point(0.3), 1.0: point(math.nan, count=0)},
}
FRAMES = {0.1: 37, 1.0: 1367}


def _segments(container):
    return [np.asarray(segment, float) for segment in container.lines[2][0].get_segments()]


def test_lines_and_intervals():
    figure = label_curves({"mAP50": CURVES, "AR": CURVES}, FRAMES)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["mAP50", "AR"]
    axes = figure.axes[0]
    random, good = axes.containers
    np.testing.assert_allclose(random.lines[0].get_ydata(orig=False), [20, 40])
    np.testing.assert_allclose(
        random.lines[0].get_xdata(orig=False), np.array([0.1, 1]) / BESIDE**0.5
    )
    ends = [segment[:, 1].tolist() for segment in _segments(random)]
    np.testing.assert_allclose(ends, [[15, 25], [38, 42]])
    # What has no value has no point, and one value has no interval.
    np.testing.assert_allclose(good.lines[0].get_ydata(orig=False), [30])
    np.testing.assert_allclose(_segments(good)[0][:, 1], [30, 30])
    labels = [text.get_text() for text in axes.get_xticklabels()]
    assert labels == ["10 %\n37", "100 %\n1,367"]
    assert axes.get_xscale() == "log"


def test_nothing_to_draw_is_an_empty_chart():
    figure = label_curves({"mAP50": {"random": {}}}, FRAMES)
    assert len(figure.axes) == 1
    assert label_curves({}, {}).axes == []
