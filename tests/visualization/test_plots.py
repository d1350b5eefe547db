"""Charts, and the reading of their data."""

import json
import math

import numpy as np
import pytest

from drivemim.visualization.plots import (
    ap_bars,
    figure_svg,
    loss_curves,
    read_curve,
    save_figure,
    smooth,
)


def log(work_dir, started, entries):
    folder = work_dir / started / "vis_data"
    folder.mkdir(parents=True)
    (folder / "scalars.json").write_text("".join(json.dumps(entry) + "\n" for entry in entries))


def test_a_resumed_run_is_one_curve(tmp_path):
    log(tmp_path, "20260101_000000", [{"loss": 3.0, "step": 10}, {"loss": 2.0, "step": 20}])
    log(
        tmp_path,
        "20260102_000000",
        [{"loss": 1.5, "step": 20}, {"mAP": 0.1, "step": 20}, {"loss": 1.0, "step": 30}],
    )
    steps, values = read_curve(tmp_path)
    assert steps.tolist() == [10, 20, 30]
    assert values.tolist() == [3.0, 1.5, 1.0]


def test_incomplete_last_line_of_a_killed_run_is_left_out(tmp_path):
    log(tmp_path, "20260101_000000", [{"loss": 3.0, "step": 10}])
    with (tmp_path / "20260101_000000" / "vis_data" / "scalars.json").open("a") as file:
        file.write('{"loss": 2.0, "st')
    steps, values = read_curve(tmp_path)
    assert (steps.tolist(), values.tolist()) == ([10], [3.0])


def test_run_without_a_log_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="was it trained there"):
        read_curve(tmp_path)


def test_unknown_name_lists_what_was_logged(tmp_path):
    log(tmp_path, "20260101_000000", [{"loss": 3.0, "lr": 0.1, "step": 10}])
    with pytest.raises(ValueError, match="no 'los'; it has loss, lr, step"):
        read_curve(tmp_path, "los")


def test_smoothing_is_a_mean_of_neighbours():
    values = np.array([0.0, 3.0, 6.0, 0.0])
    np.testing.assert_allclose(smooth(values, 3), [1.5, 3.0, 3.0, 3.0])
    np.testing.assert_allclose(smooth(values, 1), values)
    assert smooth(np.zeros(0), 3).shape == (0,)


def test_a_line_a_run():
    steps = np.arange(4)
    figure = loss_curves({"a": (steps, steps / 2), "b": (steps, steps / 4)})
    lines = figure.axes[0].get_lines()
    assert [line.get_label() for line in lines] == ["a", "b"]
    np.testing.assert_allclose(lines[1].get_ydata(), [0, 0.25, 0.5, 0.75])


def test_bars_are_in_percent_and_absent_ones_are_not_labelled():
    detectors = {"pretrained": {"x": 0.25, "y": 0.5}, "random": {"x": 0.125, "y": math.nan}}
    figure = ap_bars(detectors, ["x", "y", "z"])
    axes = figure.axes[0]
    heights = [[bar.get_height() for bar in group] for group in axes.containers]
    assert heights == [[25.0, 50.0, 0.0], [12.5, 0.0, 0.0]]
    written = [text.get_text() for text in axes.texts]
    assert written == ["25.0", "50.0", "", "12.5", "", ""]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["x", "y", "z"]


def test_svg_is_an_element_and_files_are_whole(tmp_path):
    steps = np.arange(3)
    figure = loss_curves({"only": (steps, steps / 1.0)})
    assert figure_svg(figure).startswith("<svg")
    for suffix, start in ((".png", b"\x89PNG"), (".svg", b"<?xml")):
        path = tmp_path / f"figure{suffix}"
        save_figure(path, figure)
        assert path.read_bytes().startswith(start)
    assert len(list(tmp_path.iterdir())) == 2
