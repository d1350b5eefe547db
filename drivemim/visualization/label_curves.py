"""Plots of accuracy over the label fraction, with confidence intervals."""

from __future__ import annotations

import itertools
import math
import textwrap
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from drivemim.evaluation.labels_needed import Estimate
from drivemim.visualization.plots import LINE_COLORS, bare_axes

# The first curve is the baseline: grey.
COLORS = (LINE_COLORS[1], LINE_COLORS[0], *LINE_COLORS[2:], "#9f4fb0", "#c05621")
MARKERS = ("s", "o", "^", "D", "v", "P")
# Factor between the x positions of two curves at one fraction, so that error bars do not overlap.
BESIDE = 1.05

LabelCurve = Mapping[float, Estimate]
"""Means over seeds by label fraction."""


def label_curves(
    panels: Mapping[str, Mapping[str, LabelCurve]],
    frames: Mapping[float, int],
    title: str = "",
    notes: Sequence[str] = (),
) -> Figure:
    """Draw one panel per metric, side by side; error bars show the intervals, if there are any.

    Args:
        panels: title -> initialisation -> curve, of values in [0, 1]; drawn in percent.
        frames: number of labelled frames of each fraction, written below it.
        title: title above all panels.
        notes: sentences below the panels.
    """
    width = 0.8 + 4.2 * max(1, len(panels))
    lines = [line for note in notes for line in textwrap.wrap(note, round(14 * width))]
    figure = Figure(figsize=(width, 3.8 + 0.17 * len(lines)), layout="constrained")
    if lines:
        figure.supxlabel("\n".join(lines), x=0.01, ha="left", fontsize=8)
    figure.suptitle(title, x=0.01, ha="left", fontsize=10)
    for number, (name, curves) in enumerate(panels.items(), 1):
        axes = bare_axes(figure.add_subplot(1, len(panels), number), name)
        _draw(axes, curves, frames)
        if number == 1:
            axes.set_ylabel("%")
            axes.legend(frameon=False, fontsize=9, loc="lower right")
    return figure


def _draw(axes: Axes, curves: Mapping[str, LabelCurve], frames: Mapping[float, int]) -> None:
    """Draw the curves of one metric."""
    styles = itertools.cycle(zip(COLORS, MARKERS, strict=True))
    for position, (name, curve) in enumerate(curves.items()):
        color, marker = next(styles)
        fractions = [fraction for fraction in sorted(curve) if curve[fraction].count]
        shift = BESIDE ** (position - (len(curves) - 1) / 2)
        means = [100 * curve[fraction].mean for fraction in fractions]
        widths = [curve[fraction].half_width for fraction in fractions]
        bars = [0.0 if math.isnan(width) else 100 * width for width in widths]
        axes.errorbar(
            [fraction * shift for fraction in fractions], means, yerr=bars, color=color,
            marker=marker, markersize=4.5, capsize=3, elinewidth=1, linewidth=1.6, label=name,
        )  # fmt: skip
    axes.set_xscale("log")
    axes.minorticks_off()
    axes.set_xticks(
        sorted(frames),
        [f"{100 * fraction:g} %\n{frames[fraction]:,}" for fraction in sorted(frames)],
        fontsize=8,
    )
    axes.set_xlabel("labels: fraction, frames", fontsize=9)
    if frames:
        axes.set_xlim(min(frames) / BESIDE**4, max(frames) * BESIDE**4)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.25)
