"""Results of a recipe study: paired differences, as tables, JSON and a plot."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from matplotlib.figure import Figure

from drivemim.evaluation.labels_needed import Estimate, estimate
from drivemim.files import write_bytes
from drivemim.visualization.plots import LINE_COLORS, bare_axes, save_figure
from studies.label_efficiency.results import Results, gain_cell, json_number, metric_title
from studies.label_efficiency.settings import RANDOM
from studies.recipes import RecipeStudy, init_name

NAME = "recipes"

Pairs = Mapping[tuple[int, int], float]
"""Values by seed of the backbone and seed of the fine-tuning."""


def scores_of(
    study: RecipeStudy, results: Results, metric: str, fraction: float
) -> dict[str, Pairs]:
    """Return a metric by recipe, then by seeds of backbone and fine-tuning; without NaN.

    Random initialisation is one more recipe; its values are the same for every backbone.
    """
    values = {
        (run.init.name, run.seed): metrics[metric]
        for run, metrics in results.items()
        if run.fraction == fraction and not math.isnan(metrics[metric])
    }
    return {
        name: {
            (backbone, seed): values[init, seed]
            for backbone in study.backbones
            for seed in study.seeds
            if ((init := RANDOM if name == RANDOM else init_name(name, backbone)), seed) in values
        }
        for name in (RANDOM, *study.recipes)
    }


def differences(values: Pairs, control: Pairs) -> dict[tuple[int, int], float]:
    """Return values minus those of the control, for the pairs of seeds that both have."""
    return {key: values[key] - control[key] for key in values if key in control}


def over_backbones(pairs: Pairs) -> Estimate:
    """Estimate the mean over backbones; every backbone counts once, by its mean over seeds."""
    by_backbone: dict[int, list[float]] = {}
    for (backbone, _), value in pairs.items():
        by_backbone.setdefault(backbone, []).append(value)
    return estimate([statistics.mean(values) for values in by_backbone.values()])


def report(study: RecipeStudy, results: Results, seconds: Mapping[str, Sequence[float]]) -> str:
    """Format Markdown: what was compared, the cost of every recipe, and a table per metric.

    Args:
        study: settings of the study.
        results: metrics of the finished runs of ``label_study``.
        seconds: pretraining time of every recipe's backbones.
    """
    runs = (1 + len(study.recipes) * len(study.backbones)) * len(study.seeds)
    missing = runs * len(study.detector.fractions) - len(results)
    detector = study.detector
    parts = [
        f"Detectors learn from fractions of {detector.train} for {detector.iterations} iterations "
        f"and are evaluated on {detector.val}; {len(study.backbones)} backbones per recipe, "
        f"{len(study.seeds)} fine-tuning seeds per backbone. Differences are paired by both seeds: "
        "mean ± half of the 95 % confidence interval (Student's t) over all pairs, **bold** if it "
        "excludes zero. The interval over backbones takes each backbone's mean as one value.",
        *([f"**Not complete: {missing} runs are missing.**"] * (missing > 0)),
        _cost_table(study, seconds),
        *(
            _table(study, results, metric, fraction)
            for metric in detector.metrics
            for fraction in detector.fractions
        ),
    ]
    return "\n\n".join(parts) + "\n"


def write_results(
    study: RecipeStudy, results: Results, seconds: Mapping[str, Sequence[float]], folder: Path
) -> list[Path]:
    """Write ``recipes.json``, ``.md`` and ``.png``, and return their paths."""
    runs = [
        {"init": run.init.name, "fraction": run.fraction, "seed": run.seed,
         "metrics": {name: json_number(value) for name, value in metrics.items()}}
        for run, metrics in results.items()
    ]  # fmt: skip
    settings = msgspec.to_builtins(study)
    document = {"study": settings, "pretraining_seconds": seconds, "runs": runs}
    write_bytes(folder / f"{NAME}.json", json.dumps(document, indent=2).encode())
    write_bytes(folder / f"{NAME}.md", report(study, results, seconds).encode())
    save_figure(folder / f"{NAME}.png", plot(study, results))
    return [folder / f"{NAME}.{suffix}" for suffix in ("json", "md", "png")]


def plot(study: RecipeStudy, results: Results) -> Figure:
    """Draw every pair's difference from the control, and the mean with its interval.

    One panel per metric and fraction; a row per recipe; a colour per backbone.
    """
    detector = study.detector
    panels = [(metric, fraction) for metric in detector.metrics for fraction in detector.fractions]
    names = [name for name in study.recipes if name != study.control_of(name)]
    figure = Figure(
        figsize=(1.5 + 3.6 * len(panels), 1.4 + 0.5 * max(1, len(names))), layout="constrained"
    )
    for number, (metric, fraction) in enumerate(panels, 1):
        title = f"{metric_title(metric)}, {100 * fraction:g} % of the labels"
        axes = bare_axes(figure.add_subplot(1, len(panels), number), title)
        scores = scores_of(study, results, metric, fraction)
        for row, name in enumerate(names):
            pairs = differences(scores[name], scores[study.control_of(name)])
            for position, backbone in enumerate(study.backbones):
                values = [100 * value for (of, _), value in pairs.items() if of == backbone]
                height = row - 0.1 + 0.1 * (position - (len(study.backbones) - 1) / 2)
                color = LINE_COLORS[position % len(LINE_COLORS)]
                axes.plot(values, [height] * len(values), ".", color=color, alpha=0.6, markersize=6)
            mean = estimate(list(pairs.values()))
            width = 0.0 if math.isnan(mean.half_width) else 100 * mean.half_width
            axes.errorbar(
                [100 * mean.mean], [row + 0.25], xerr=[width], fmt="D", color="black", markersize=5,
                capsize=4, elinewidth=1.2,
            )  # fmt: skip
        axes.axvline(0, color="#999999", linewidth=1, zorder=0)
        labels = [f"{name} - {study.control_of(name)}" for name in names] if number == 1 else []
        axes.set_yticks(range(len(names)), labels or [""] * len(names))
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_xlabel("difference, points")
    return figure


def _cost_table(study: RecipeStudy, seconds: Mapping[str, Sequence[float]]) -> str:
    lines = ["| recipe | iterations | minutes per backbone | against the control |",
             "|---|---|---|---|"]  # fmt: skip
    for name, recipe in study.recipes.items():
        own, control = (
            statistics.median(seconds[each]) if seconds.get(each) else math.nan
            for each in (name, study.control_of(name))
        )
        factor = f"{own / control:.2f}" if own > 0 and control > 0 else "-"
        minutes = "-" if math.isnan(own) else f"{own / 60:.1f}"
        lines.append(f"| {name} | {recipe.iterations:,} | {minutes} | {factor} |")
    return "\n".join(lines)


def _table(study: RecipeStudy, results: Results, metric: str, fraction: float) -> str:
    scores = scores_of(study, results, metric, fraction)
    columns = ["mean", "by backbone", f"- {RANDOM}", "- control", "- control, over backbones"]
    title = f"{metric_title(metric)} in %, {100 * fraction:g} % of the labels"
    lines = [f"| {title} | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}"]
    for name, pairs in scores.items():
        means = [
            statistics.mean(values)
            for backbone in study.backbones
            if (values := [value for (each, _), value in pairs.items() if each == backbone])
        ]
        cells = [f"{100 * statistics.mean(means):.1f}" if means else "-"]
        if name == RANDOM:
            lines.append(f"| {name} | {cells[0]} | | | | |")
            continue
        control = study.control_of(name)
        cells.append(", ".join(f"{100 * mean:.1f}" for mean in means))
        cells.append(gain_cell(estimate(list(differences(pairs, scores[RANDOM]).values()))))
        gains = differences(pairs, scores[control])
        both = estimate(list(gains.values())), over_backbones(gains)
        cells += ["", ""] if name == control else [gain_cell(each) for each in both]
        against = "" if control in (study.control, name) else f" (control: {control})"
        lines.append(f"| {name}{against} | {' | '.join(cells)} |")
    return "\n".join(lines)
