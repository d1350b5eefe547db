"""Charts of a detector's precision, recall, miss rate, calibration and slices."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from drivemim.evaluation.curves import CHART_FALSE_POSITIVES, ClassCurves
from drivemim.evaluation.miss_rate import FALSE_POSITIVES
from drivemim.visualization.plots import DETECTOR_COLORS, LINE_COLORS, bare_axes

DetectorCurves = Mapping[str, Mapping[str, ClassCurves]]
"""Curves from ``drivemim.evaluation.curves``, by detector, then by class."""

_LOWEST_MISS_RATE = 0.01
"""Lower miss rates are drawn here, because a logarithmic axis has no 0."""
_MISS_RATE_TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


def precision_recall_chart(detectors: DetectorCurves, classes: Sequence[str]) -> Figure:
    """Draw precision over recall, one panel per class: solid at IoU 0.50, dashed at IoU 0.75."""
    figure, panels = _panels(classes)
    for axes, name in zip(panels, classes, strict=True):
        for color, (detector, curves) in zip(
            itertools.cycle(LINE_COLORS), detectors.items(), strict=False
        ):
            columns = _columns(curves, name, "precision_recall")
            for iou, style in (("IoU 0.50", "-"), ("IoU 0.75", "--")):
                if iou in columns:
                    # COCO sets the precision to 0 at recalls that the detector does not reach;
                    # these points are not drawn.
                    reached = np.where(columns[iou] > 0, columns[iou], np.nan)
                    axes.plot(
                        columns["recall"],
                        reached,
                        style,
                        color=color,
                        label=f"{detector}, {iou}",
                    )
        axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
    _legend(figure, panels)
    return figure


def miss_rate_chart(detectors: DetectorCurves, classes: Sequence[str]) -> Figure:
    """Draw miss rate over false positives per image, both logarithmic, one panel per class.

    The shaded area is the range of the log-average miss rate.
    """
    figure, panels = _panels(classes)
    for axes, name in zip(panels, classes, strict=True):
        axes.axvspan(FALSE_POSITIVES[0], FALSE_POSITIVES[-1], color="#eef1f5", zorder=0)
        lowest = 1.0
        for color, (detector, curves) in zip(
            itertools.cycle(LINE_COLORS), detectors.items(), strict=False
        ):
            columns = _columns(curves, name, "miss_rate")
            if not columns:
                continue
            shown = np.maximum(columns["miss_rate"], _LOWEST_MISS_RATE)
            lowest = min(lowest, float(np.nanmin(shown, initial=1.0)))
            axes.plot(columns["false_alarms_per_image"], shown, color=color, label=detector)
        axes.set(
            xscale="log", yscale="log", xlim=(CHART_FALSE_POSITIVES[0], CHART_FALSE_POSITIVES[-1])
        )
        axes.set(xlabel="false positives per image", ylabel="miss rate")
        ticks = [tick for tick in _MISS_RATE_TICKS if tick >= lowest / 2.5] or [1.0]
        axes.set_ylim(ticks[0] * 0.95, 1.05)
        axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.set_yticks([], minor=True)
    _legend(figure, panels)
    return figure


def reliability_chart(detectors: DetectorCurves, classes: Sequence[str]) -> Figure:
    """Draw the fraction of true positives over the score, one panel per class.

    On the diagonal, scores are calibrated; below it, the detector is overconfident. A marker's area
    grows with its number of detections.
    """
    figure, panels = _panels(classes)
    for axes, name in zip(panels, classes, strict=True):
        axes.plot([0, 1], [0, 1], color="#b3bac4", linewidth=0.8, linestyle=":")
        for color, (detector, curves) in zip(
            itertools.cycle(LINE_COLORS), detectors.items(), strict=False
        ):
            columns = _columns(curves, name, "reliability")
            if not columns:
                continue
            counts = columns["count"]
            sizes = 8 + 60 * np.sqrt(counts / max(1.0, float(counts.max(initial=0))))
            known = counts > 0
            axes.plot(
                columns["score"][known], columns["precision"][known], color=color, label=detector
            )
            axes.scatter(
                columns["score"][known], columns["precision"][known], sizes[known], color=color
            )
        axes.set(xlabel="score", ylabel="precision", xlim=(0, 1), ylim=(-0.02, 1.02))
    _legend(figure, panels)
    return figure


def slice_bars(
    detectors: Mapping[str, Mapping[str, float]], name: str, number: str = "AP50"
) -> Figure:
    """Draw a class in every slice: one bar per detector and slice.

    Slices of the same axis (distance, size, ...) are grouped.

    Args:
        detectors: name of a detector -> its metrics by name, as returned by ``DetectionAP``.
        name: name of the class.
        number: metric to draw: ``AP``, ``AP50``, ``AR`` or ``LAMR``.
    """
    prefix = f"drivemim/{name}_{number}["
    keys = dict.fromkeys(key for metrics in detectors.values() for key in metrics)
    slices = [
        key.removeprefix(prefix).removesuffix("]")
        for key in keys
        if key.startswith(prefix)
        and any(math.isfinite(metrics.get(key, math.nan)) for metrics in detectors.values())
    ]
    positions, position = [], 0.0
    for before, each in zip(["", *slices], slices, strict=False):
        # Leave a gap where another axis begins.
        position += 1.0 if not before or before.split()[0] == each.split()[0] else 1.7
        positions.append(position)
    figure = Figure(figsize=(7.2, 1.1 + 0.3 * max(1.0, position)), layout="constrained")
    axes = bare_axes(figure.add_subplot(), name)
    height = 0.8 / max(1, len(detectors))
    for row, (color, (detector, metrics)) in enumerate(
        zip(itertools.cycle(DETECTOR_COLORS), detectors.items(), strict=False)
    ):
        values = [100 * metrics.get(f"{prefix}{each}]", math.nan) for each in slices]
        bars = axes.barh(
            np.array(positions) + (row - (len(detectors) - 1) / 2) * height,
            np.nan_to_num(values),
            height * 0.94,
            color=color,
            label=detector,
        )
        texts = ["" if math.isnan(value) else f"{value:.1f}" for value in values]
        axes.bar_label(bars, texts, fontsize=6.5, padding=2)
    axes.set_yticks(positions, slices, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel(f"{number}, %")
    axes.margins(x=0.12, y=0.01)
    _legend(figure, [axes])
    return figure


def _columns(
    curves: Mapping[str, ClassCurves], name: str, chart: str
) -> dict[str, NDArray[np.float64]]:
    """Return a chart's columns; an empty dict if the class was not evaluated."""
    columns = curves.get(name, {}).get(chart, {})
    return {key: np.asarray(values, np.float64) for key, values in columns.items()}


def _panels(classes: Sequence[str]) -> tuple[Figure, list[Axes]]:
    """Create a figure with one panel per class, two per row."""
    rows = max(1, math.ceil(len(classes) / 2))
    figure = Figure(figsize=(7.2, 0.7 + 2.8 * rows), layout="constrained")
    panels = figure.subplots(rows, 2, squeeze=False).ravel().tolist()
    for empty in panels[len(classes) :]:
        figure.delaxes(empty)
    shown = panels[: len(classes)]
    for axes, name in zip(shown, classes, strict=True):
        bare_axes(axes, name).grid(alpha=0.25)
    return figure, shown


def _legend(figure: Figure, panels: Sequence[Axes]) -> None:
    """Add one legend for all panels above them; a label that several panels have occurs once."""
    handles: dict[str, Any] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    if handles:
        figure.legend(
            list(handles.values()),
            list(handles),
            loc="outside upper left",
            ncols=2,
            frameon=False,
            fontsize=8,
        )
