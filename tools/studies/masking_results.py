"""Results of the masking study: reading, comparison, and tables."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from drivemim.evaluation.results_file import read_results
from studies.masking import (
    ARMS,
    BASELINE,
    PROBES,
    SOURCES,
    UNTRAINED,
    Source,
    StudySettings,
    detector_arms,
    run_name,
)
from studies.tables import mean_and_deviation

Runs = Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]]
"""Results by source, then by arm; one result per seed."""


def read_probes(settings: StudySettings, out: Path) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Read the results of all probes: by source, by arm, a list over seeds.

    Raises:
        FileNotFoundError: if a result is missing.
    """
    return _read(settings, out, "probe", dict.fromkeys(SOURCES, (UNTRAINED, *ARMS)))


def best_arms(probes: Runs) -> dict[str, str]:
    """Return each source's best arm except the baseline, by mean AP over probes and seeds."""
    return {
        source: max(
            (arm for arm in ARMS if arm != BASELINE),
            key=lambda arm: statistics.mean(
                run[f"{probe}/mAP"] for run in arms[arm] for probe in PROBES
            ),
        )
        for source, arms in probes.items()
    }


def read_detectors(
    settings: StudySettings, best: Mapping[str, str], out: Path
) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Read the results of all detectors: by source, by arm, a list over seeds.

    Raises:
        FileNotFoundError: if a result is missing.
    """
    arms = {source: detector_arms(best[source.name]) for source in SOURCES}
    return _read(settings, out, "detector", arms)


def probe_tables(probes: Runs) -> str:
    """Format Markdown tables: one per source, one row per arm, percent, gain over the baseline."""
    columns = {
        "linear pedestrian": "linear/pedestrian_AP",
        "linear vehicle": "linear/vehicle_AP",
        "linear mean": "linear/mAP",
        "kNN mean": "knn/mAP",
    }
    return _tables(probes, "frozen probe, cell AP in %", columns, ("linear/mAP", "knn/mAP"))


def detector_tables(detectors: Runs) -> str:
    """Format Markdown tables: one per source, one row per arm, percent, gain over the baseline."""
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
        arms = results[source.name]
        lines = [
            f"| {source.title}: {title} | {' | '.join(columns)} | against random cells |",
            f"|---{'|---' * (len(columns) + 1)}|",
        ]
        baseline = [_mean_of(run, compared) for run in arms[BASELINE]]
        for arm, runs in arms.items():
            cells = [
                mean_and_deviation([100 * run[key] for run in runs]) for key in columns.values()
            ]
            gains = [
                100 * (_mean_of(run, compared) - base)
                for run, base in zip(runs, baseline, strict=True)
            ]
            change = "" if arm == BASELINE else mean_and_deviation(gains, sign="+")
            lines.append(
                f"| {ARMS.get(arm, 'untrained backbone')} | {' | '.join(cells)} | {change} |"
            )
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _mean_of(run: Mapping[str, Any], keys: Sequence[str]) -> float:
    return float(statistics.mean(run[key] for key in keys))


def _read(
    settings: StudySettings, out: Path, kind: str, arms: Mapping[Source, Sequence[str]]
) -> dict[str, dict[str, list[dict[str, Any]]]]:
    def result(source: Source, arm: str, seed: int) -> dict[str, float]:
        return read_results(out / f"{kind}-{run_name(source, arm, seed)}.json")

    return {
        source.name: {arm: [result(source, arm, seed) for seed in settings.seeds] for arm in named}
        for source, named in arms.items()
    }
