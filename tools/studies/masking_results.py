"""Results of the masking study: reading, comparison, and tables."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from drivemim.evaluation.results_file import read_metrics
from studies.masking import (
    BASELINE,
    PROBES,
    RECIPES,
    SOURCES,
    UNTRAINED,
    Source,
    StudySettings,
    detector_recipes,
    run_name,
)
from studies.table_format import mean_and_deviation

Runs = Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]]
"""Results by source, then by recipe; one result per seed."""


def read_probes(settings: StudySettings, out: Path) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Read the results of all probes: by source, by recipe, a list over seeds.

    Raises:
        FileNotFoundError: if a result is missing.
    """
    return _read(settings, out, "probe", dict.fromkeys(SOURCES, (UNTRAINED, *RECIPES)))


def best_recipes(probes: Runs) -> dict[str, str]:
    """Return each source's best recipe except the baseline, by mean AP over probes and seeds."""
    return {
        source: max(
            (recipe for recipe in RECIPES if recipe != BASELINE),
            key=lambda recipe: statistics.mean(
                run[f"{probe}/mAP"] for run in recipes[recipe] for probe in PROBES
            ),
        )
        for source, recipes in probes.items()
    }


def read_detectors(
    settings: StudySettings, best: Mapping[str, str], out: Path
) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Read the results of all detectors: by source, by recipe, a list over seeds.

    Raises:
        FileNotFoundError: if a result is missing.
    """
    recipes = {source: detector_recipes(best[source.name]) for source in SOURCES}
    return _read(settings, out, "detector", recipes)


def probe_tables(probes: Runs) -> str:
    """Format Markdown tables, one per source: percent of each recipe, gain over the baseline."""
    columns = {
        "linear pedestrian": "linear/pedestrian_AP",
        "linear vehicle": "linear/vehicle_AP",
        "linear mean": "linear/mAP",
        "kNN mean": "knn/mAP",
    }
    return _tables(probes, "frozen probe, patch AP in %", columns, ("linear/mAP", "knn/mAP"))


def detector_tables(detectors: Runs) -> str:
    """Format Markdown tables, one per source: percent of each recipe, gain over the baseline."""
    columns = {
        "mAP": "drivemim/mAP",
        "mAP50": "drivemim/mAP50",
        "pedestrian AP50": "drivemim/pedestrian_AP50",
        "vehicle AP50": "drivemim/vehicle_AP50",
    }
    return _tables(detectors, "detector, AP in %", columns, ("drivemim/mAP50",))


def _tables(
    results: Runs,
    title: str,
    columns: Mapping[str, str],
    compared: Sequence[str],
) -> str:
    """Format one table per source; the gain over the baseline is averaged over ``compared``."""
    parts = []
    for source in SOURCES:
        recipes = results[source.name]
        lines = [
            f"| {source.title}: {title} | {' | '.join(columns)} | against random patches |",
            f"|---{'|---' * (len(columns) + 1)}|",
        ]
        baseline = [_mean_of(run, compared) for run in recipes[BASELINE]]
        for recipe, runs in recipes.items():
            cells = [
                mean_and_deviation([100 * run[key] for run in runs]) for key in columns.values()
            ]
            gains = [
                100 * (_mean_of(run, compared) - base)
                for run, base in zip(runs, baseline, strict=True)
            ]
            change = "" if recipe == BASELINE else mean_and_deviation(gains, sign="+")
            lines.append(
                f"| {RECIPES.get(recipe, 'untrained backbone')} | {' | '.join(cells)} | {change} |"
            )
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _mean_of(run: Mapping[str, Any], keys: Sequence[str]) -> float:
    return float(statistics.mean(run[key] for key in keys))


def _read(
    settings: StudySettings, out: Path, kind: str, recipes: Mapping[Source, Sequence[str]]
) -> dict[str, dict[str, list[dict[str, Any]]]]:
    def result(source: Source, recipe: str, seed: int) -> dict[str, float]:
        return read_metrics(out / f"{kind}-{run_name(source, recipe, seed)}.json")

    return {
        source.name: {
            recipe: [result(source, recipe, seed) for seed in settings.seeds] for recipe in named
        }
        for source, named in recipes.items()
    }
