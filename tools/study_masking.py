"""Compare six mask strategies on the generated town and on CamVid, with three seeds."""

from __future__ import annotations

import sys
from pathlib import Path

from drivemim.arguments import ArgumentParser
from drivemim.errors import one_line_errors
from studies.data import add_data_argument, check_data
from studies.masking import (
    DEFAULT_SETTINGS,
    WORK_DIR,
    detector_plan,
    index_plan,
    probe_plan,
)
from studies.masking_results import (
    best_recipes,
    detector_tables,
    probe_tables,
    read_detectors,
    read_probes,
)
from workflow.steps import run_cli

REPOSITORY = Path(__file__).resolve().parents[1]


def main() -> int:
    """Run incomplete steps, then print the tables."""
    parser = ArgumentParser(description=__doc__)
    add_data_argument(parser, REPOSITORY)
    parser.add_argument("--fresh", action="store_true", help="repeat completed steps")
    args = parser.parse_args()
    with one_line_errors():
        data = check_data(args.data)
    settings, out = DEFAULT_SETTINGS, REPOSITORY / WORK_DIR
    plan = [*index_plan(data), *probe_plan(settings)]
    run_cli("study", plan, WORK_DIR, repository=REPOSITORY, fresh=args.fresh)
    probes = read_probes(settings, out)
    print(probe_tables(probes), flush=True)
    best = best_recipes(probes)
    plan = detector_plan(settings, best)
    run_cli("study", plan, WORK_DIR, repository=REPOSITORY, fresh=args.fresh)
    print(detector_tables(read_detectors(settings, best, out)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
