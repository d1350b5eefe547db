"""Charts of training losses and of average precision."""

from __future__ import annotations

import io
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from drivemim.files import write_bytes

# In both, the second colour is grey. Bars are drawn in paler colours than lines.
DETECTOR_COLORS = ("#2b6cb0", "#b3bac4", "#d69e2e", "#38a169")
LINE_COLORS = ("#2b6cb0", "#8a8f98", "#d69e2e", "#38a169")
Curve = tuple[NDArray[np.int64], NDArray[np.float64]]
"""Steps and values, from ``read_curve``."""


def find_scalars(work_dir: Path) -> list[Path]:
    """Find MMEngine's ``scalars.json`` files of a run and its resumed runs, oldest first.

    Raises:
        FileNotFoundError: if there are none.
    """
    found = sorted(work_dir.glob("*/vis_data/scalars.json"))
    if not found:
        raise FileNotFoundError(f"{work_dir} has no */vis_data/scalars.json: was it trained there?")
    return found


def read_curve(work_dir: Path, key: str = "loss") -> Curve:
    """Read one logged value of a run.

    A resumed run may log a step again. The value that was logged last is returned.

    Returns:
        Steps (int64, ascending) and values (float64).

    Raises:
        ValueError: if nothing was logged under that name.
    """
    values: dict[int, float] = {}
    names: set[str] = set()
    for path in find_scalars(work_dir):
        for line in path.read_text().splitlines():
            try:
                entry = json.loads(line)
            except json.JSONDecodeError:  # the last line of a run that was killed
                continue
            names.update(entry)
            if key in entry:
                values[int(entry["step"])] = float(entry[key])
    if not values:
        raise ValueError(f"{work_dir} logged no {key!r}; it has {', '.join(sorted(names))}")
    steps = sorted(values)
    return np.array(steps, np.int64), np.array([values[step] for step in steps], np.float64)


def smooth(values: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Compute the mean of each value and its ``window // 2`` neighbours on both sides, if any."""
    half = window // 2
    sums = np.concatenate([[0.0], np.cumsum(values)])
    ends = np.minimum(np.arange(len(values)) + half + 1, len(values))
    starts = np.maximum(np.arange(len(values)) - half, 0)
    return np.asarray((sums[ends] - sums[starts]) / (ends - starts), np.float64)


def loss_curves(curves: Mapping[str, Curve], title: str = "", ylabel: str = "loss") -> Figure:
    """Draw one smoothed line per run, over a pale line of the values themselves.

    Args:
        curves: name of a run -> its curve.
        title: title above the chart.
        ylabel: name of the value.
    """
    figure, axes = _axes(title)
    colors = itertools.cycle(LINE_COLORS)
    for name, (steps, values) in curves.items():
        color = next(colors)
        window = max(1, len(values) // 20)
        if window > 1:
            axes.plot(steps, values, color=color, alpha=0.25, linewidth=0.8)
        marker = "o" if len(values) == 1 else None
        axes.plot(steps, smooth(values, window), color=color, label=name, marker=marker)
    axes.set_xlabel("iteration")
    axes.set_ylabel(ylabel)
    axes.grid(alpha=0.25)
    if len(curves) > 1:
        axes.legend(frameon=False)
    return figure


def ap_bars(
    detectors: Mapping[str, Mapping[str, float]],
    metrics: Sequence[str],
    labels: Sequence[str] | None = None,
    title: str = "",
) -> Figure:
    """Draw a group of bars per metric, one bar per detector; a NaN or absent metric has no bar.

    Args:
        detectors: name of a detector -> its metrics by name, values in [0, 1].
        metrics: names of the metrics to draw.
        labels: labels to use instead of these names.
        title: title above the chart.
    """
    figure, axes = _axes(title)
    width = 0.8 / max(1, len(detectors))
    colors = itertools.cycle(DETECTOR_COLORS)
    for i, (name, values) in enumerate(detectors.items()):
        heights = [100 * values.get(metric, math.nan) for metric in metrics]
        positions = np.arange(len(metrics)) + (i - (len(detectors) - 1) / 2) * width
        bars = axes.bar(
            positions, np.nan_to_num(heights), width * 0.94, color=next(colors), label=name
        )
        texts = ["" if math.isnan(height) else f"{height:.1f}" for height in heights]
        axes.bar_label(bars, texts, fontsize=8, padding=2)
    axes.set_xticks(range(len(metrics)), labels or metrics, fontsize=8)
    axes.set_ylabel("AP, %")
    axes.margins(y=0.15)
    axes.legend(frameon=False, fontsize=9)
    return figure


def figure_svg(figure: Figure) -> str:
    """Return the figure as an SVG element, to embed in a page."""
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    svg = text.getvalue()
    return svg[svg.index("<svg") :]


def save_figure(path: Path, figure: Figure) -> None:
    """Write a PNG or SVG file atomically; the path's suffix selects the format."""
    content = io.BytesIO()
    figure.savefig(content, format=path.suffix.removeprefix("."), dpi=144)
    write_bytes(path, content.getbuffer())


def bare_axes(axes: Axes, title: str) -> Axes:
    """Remove the top and right spine, and put a title at the left."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(title, loc="left", fontsize=10)
    return axes


def _axes(title: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(7.2, 3.2), layout="constrained")
    return figure, bare_axes(figure.add_subplot(), title)
