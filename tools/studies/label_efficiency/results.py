"""Results of a label study: reading, comparison, and output as tables, JSON and a plot."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from drivemim.errors import DataError
from drivemim.evaluation.labels_needed import (
    BELOW_SMALLEST,
    NOT_REACHED,
    Estimate,
    LabelsNeeded,
    Scores,
    estimate,
    intersect_runs,
    labels_needed,
    paired_difference,
)
from drivemim.evaluation.results_file import read_metrics
from drivemim.files import write_bytes
from drivemim.visualization.label_curves import label_curves
from drivemim.visualization.plots import save_figure
from studies.label_efficiency.exposure_check import InitNotes, all_sentences, shown_name
from studies.label_efficiency.inputs import StudyInputs
from studies.label_efficiency.settings import LabelStudy, Run

Results = Mapping[Run, Mapping[str, float]]
"""Metrics by name, for each finished run."""
Notes = Mapping[str, InitNotes]
"""Notes of ``check_exposure``, by name of the initialisation."""
NO_NOTES: Notes = {}

NAME = "label_efficiency"


def read_runs(
    study: LabelStudy, runs: Sequence[Run], repository: Path
) -> dict[Run, dict[str, float]]:
    """Read the metrics of runs.

    Raises:
        DataError: if there is no run, or a metric was not measured.
    """
    if not runs:
        raise DataError(f"no run of the study in {study.work_dir} is finished with these settings")
    results = {}
    for run in runs:
        path = repository / study.metrics_path(run)
        results[run] = read_metrics(path)
        for metric in study.metrics:
            if metric not in results[run]:
                raise DataError(
                    f"{path} has no metric {metric}, only {', '.join(results[run])}; choose with "
                    "--metric, no run has to be done again"
                )
    return results


def scores_of(study: LabelStudy, results: Results, metric: str) -> dict[str, Scores]:
    """Return a metric by initialisation, label fraction and seed; without NaN."""
    return {
        init.name: {
            fraction: by_seed
            for fraction in sorted(study.fractions)
            if (
                by_seed := {
                    seed: value
                    for seed in study.seeds
                    if (run := Run(init=init, fraction=fraction, seed=seed)) in results
                    and not math.isnan(value := results[run][metric])
                }
            )
        }
        for init in study.initialisations
    }


def report(
    study: LabelStudy, inputs: StudyInputs, results: Results, notes: Notes = NO_NOTES
) -> str:
    """Format Markdown: a description, the headline, a table per metric, and notes."""
    missing = len(study.runs) - len(results)
    parts = [
        f"Labels of {study.train}, evaluated on {study.val}; {study.iterations} iterations each, "
        f"seeds {', '.join(map(str, study.seeds))}. Mean over seeds ± half of the 95 % confidence "
        "interval (Student's t); differences are paired by seed, in **bold** if their "
        "interval excludes zero.",
        *([f"**Not complete: {missing} of {len(study.runs)} runs are missing.**"] * bool(missing)),
        headline(study, inputs, scores_of(study, results, study.metrics[0]), notes),
        *(
            _score_table(study, inputs, scores_of(study, results, metric), metric, notes)
            for metric in study.metrics
        ),
        *(
            _needed_table(study, inputs, scores_of(study, results, metric), metric, notes)
            for metric in study.metrics
        ),
        "\n".join(f"- {line}" for line in all_sentences(notes)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def headline(
    study: LabelStudy,
    inputs: StudyInputs,
    initialisations: Mapping[str, Scores],
    notes: Notes = NO_NOTES,
) -> str:
    """Return a list of sentences: the labels that others need for the baseline's best value.

    Usually, the baseline is best with all labels, unless the iterations do not suffice for them.

    Returns:
        A line for each other initialisation; or one line if the baseline scores zero everywhere;
        empty if there is no label fraction and seed with which all initialisations have a run.
    """
    scores, baseline = intersect_runs(initialisations), study.initialisations[0].name
    if not scores[baseline]:
        return ""
    means = {
        fraction: statistics.mean(seeds.values()) for fraction, seeds in scores[baseline].items()
    }
    best = max(means, key=lambda fraction: means[fraction])
    if not means[best] > 0:
        return (
            f"- {baseline} scores zero at every label fraction, so there is no baseline to compare "
            "with."
        )
    first = shown_name(baseline, notes)
    goal = f"best {metric_title(study.metrics[0])} of {first}, with {_percent(best)} of the labels"
    lines = []
    for init in list(scores)[1:]:
        needed = labels_needed(scores[init], scores[baseline], best)
        if needed.fraction == NOT_REACHED:
            lines.append(f"- {shown_name(init, notes)} does not reach the {goal}.")
            continue
        fraction = needed.fraction if needed.fraction != BELOW_SMALLEST else min(scores[init])
        about = round(fraction / best * _frames(study, inputs, best))
        bound = "less than " if needed.fraction == BELOW_SMALLEST else ""
        lines.append(
            f"- {shown_name(init, notes)} needs {bound}{_percent(fraction)} of the labels "
            f"({bound or 'about '}{about} frames) for the {goal} "
            f"({_frames(study, inputs, best)} frames)."
        )
    return "\n".join(lines)


def write_results(
    study: LabelStudy,
    inputs: StudyInputs,
    results: Results,
    repository: Path,
    notes: Notes = NO_NOTES,
) -> list[Path]:
    """Write ``label_efficiency.json``, ``.md`` and ``.png`` into the study's folder.

    Args:
        study: settings of the study.
        inputs: files and subset sizes of the study.
        results: metrics of the finished runs.
        repository: folder that paths are relative to.
        notes: notes from ``check_exposure``.

    Returns:
        The written files.
    """
    folder = repository / study.work_dir
    curves = {
        metric_title(metric): {
            shown_name(init, notes): {
                fraction: estimate(list(seeds.values())) for fraction, seeds in scores.items()
            }
            for init, scores in scores_of(study, results, metric).items()
        }
        for metric in study.metrics
    }
    frames = {fraction: _frames(study, inputs, fraction) for fraction in study.fractions}
    title = f"Labels of {study.train}, evaluated on {study.val}"
    figure = label_curves(curves, frames, title, all_sentences(notes))
    document = json.dumps(_document(study, inputs, results, notes), indent=2, default=str)
    write_bytes(folder / f"{NAME}.json", document.encode())
    write_bytes(folder / f"{NAME}.md", report(study, inputs, results, notes).encode())
    save_figure(folder / f"{NAME}.png", figure)
    return [study.work_dir / f"{NAME}.{suffix}" for suffix in ("json", "md", "png")]


def _document(
    study: LabelStudy, inputs: StudyInputs, results: Results, notes: Notes
) -> dict[str, Any]:
    """Return the JSON content: settings, finished runs and labels needed; NaN becomes null."""
    baseline = study.initialisations[0].name
    needed = {}
    for metric in study.metrics:
        scores = intersect_runs(scores_of(study, results, metric))
        needed[metric] = {
            str(fraction): {
                init: _needed_json(labels_needed(scores[init], scores[baseline], fraction))
                for init in scores
            }
            for fraction in scores[baseline]
        }  # fmt: skip
    return {
        "settings": {
            "config": study.config, "index": study.index, "train": study.train, "val": study.val,
            "inits": {init.name: init.backbone for init in study.initialisations},
            "fractions": study.fractions, "seeds": study.seeds, "iterations": study.iterations,
            "options": study.options,
            "allow_boxes_read": study.allow_boxes_read, "transductive": study.transductive,
        },
        "notes": {name: {"marks": each.marks, "sentences": each.sentences}
                  for name, each in notes.items()},
        "complete": len(results) == len(study.runs),
        "runs": [
            {
                "init": run.init.name, "fraction": run.fraction, "seed": run.seed,
                "frames": inputs.counts[run.fraction, run.seed].frames,
                "boxes": inputs.counts[run.fraction, run.seed].boxes,
                "metrics": {name: json_number(value) for name, value in metrics.items()},
            }
            for run, metrics in results.items()
        ],
        "baseline": baseline,
        "labels_needed": needed,
    }  # fmt: skip


def _score_table(
    study: LabelStudy,
    inputs: StudyInputs,
    initialisations: Mapping[str, Scores],
    metric: str,
    notes: Notes,
) -> str:
    baseline = study.initialisations[0].name
    others = [init for init in initialisations if init != baseline]
    shown = {init: shown_name(init, notes) for init in initialisations}
    pairs = (f"{shown[init]} - {shown[baseline]}" for init in others)
    columns = ["frames", "boxes", *shown.values(), *pairs]
    lines = [f"| {metric_title(metric)} in %: labels | {' | '.join(columns)} |", _rule(columns)]
    for fraction in sorted(study.fractions):
        seeds = {init: scores.get(fraction, {}) for init, scores in initialisations.items()}
        cells = [f"{_frames(study, inputs, fraction)}", f"{_boxes(study, inputs, fraction)}"]
        cells += [
            _mean_cell(estimate(list(seeds[init].values())), len(study.seeds))
            for init in initialisations
        ]
        cells += [gain_cell(paired_difference(seeds[init], seeds[baseline])) for init in others]
        lines.append(f"| {_percent(fraction)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _needed_table(
    study: LabelStudy,
    inputs: StudyInputs,
    initialisations: Mapping[str, Scores],
    metric: str,
    notes: Notes,
) -> str:
    """Format the labels needed; empty if no fraction and seed has a run of all initialisations."""
    baseline, scores = study.initialisations[0].name, intersect_runs(initialisations)
    others = [init for init in scores if init != baseline]
    if not scores[baseline] or not others:
        return ""
    columns = [f"{shown_name(init, notes)} needs (over seeds)" for init in others]
    title = f"{metric_title(metric)}: as much as {shown_name(baseline, notes)} with"
    lines = [f"| {title} | {' | '.join(columns)} |", _rule(columns)]
    for fraction, by_seed in scores[baseline].items():
        goal = _mean_cell(estimate(list(by_seed.values())), 0)
        cells = [
            _needed_cell(labels_needed(scores[init], scores[baseline], fraction), min(scores[init]))
            for init in others
        ]
        frames = _frames(study, inputs, fraction)
        lines.append(f"| {_percent(fraction)}, {frames} frames: {goal} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _needed_cell(needed: LabelsNeeded, smallest: float) -> str:
    """Format the labels needed, with their range over seeds if it is known.

    ``smallest`` is the smallest label fraction of the study.
    """
    fraction = _needed_words(needed.fraction, smallest)
    if math.isnan(needed.minimum):
        return fraction
    ends = (_needed_words(needed.minimum, smallest), _needed_words(needed.maximum, smallest))
    return f"{fraction} ({' to '.join(dict.fromkeys(ends))})"


def _needed_words(fraction: float, smallest: float) -> str:
    if fraction == BELOW_SMALLEST:
        return f"< {_percent(smallest)}"
    return "not reached" if fraction == NOT_REACHED else _percent(fraction)


def _needed_json(needed: LabelsNeeded) -> dict[str, float | str | None]:
    words = {BELOW_SMALLEST: "below the smallest", NOT_REACHED: "not reached"}
    return {
        name: words.get(value, json_number(value))
        for name, value in (
            ("fraction", needed.fraction), ("least", needed.minimum), ("most", needed.maximum)
        )
    }  # fmt: skip


def json_number(value: Any) -> Any:
    """Return a value for JSON, which has no NaN."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _mean_cell(estimate: Estimate, planned: int) -> str:
    """Format a mean in percent; add the number of seeds if it is smaller than planned."""
    if estimate.count == 0:
        return "-"
    spread = "" if math.isnan(estimate.half_width) else f" ± {100 * estimate.half_width:.1f}"
    few = f" (of {estimate.count})" if estimate.count < planned else ""
    return f"{100 * estimate.mean:.1f}{spread}{few}"


def gain_cell(estimate: Estimate) -> str:
    """Format a paired difference in points; bold if its interval excludes zero."""
    if estimate.count == 0:
        return "-"
    if math.isnan(estimate.half_width):
        return f"{100 * estimate.mean:+.1f}"
    text = f"{100 * estimate.mean:+.1f} ± {100 * estimate.half_width:.1f}"
    return f"**{text}**" if abs(estimate.mean) > estimate.half_width else text


def _frames(study: LabelStudy, inputs: StudyInputs, fraction: float) -> int:
    return round(statistics.mean(inputs.counts[fraction, seed].frames for seed in study.seeds))


def _boxes(study: LabelStudy, inputs: StudyInputs, fraction: float) -> int:
    return round(statistics.mean(inputs.counts[fraction, seed].boxes for seed in study.seeds))


def _percent(fraction: float) -> str:
    """Format a label fraction with three digits: interpolated fractions are not more precise."""
    return f"{100 * fraction:.3g} %"


def metric_title(metric: str) -> str:
    """Return the name of a metric for tables and plots."""
    return metric.rpartition("/")[2].replace("_", " ")


def _rule(columns: Sequence[str]) -> str:
    return f"|---{'|---' * len(columns)}|"
