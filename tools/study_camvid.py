"""Compare pretraining on real frames with random initialisation, on CamVid, with three seeds."""

from __future__ import annotations

import sys
from pathlib import Path

from drivemim.arguments import ArgumentParser
from drivemim.errors import one_line_errors
from studies.camvid import WORK_DIR, StudySettings, plan_camvid_study, write_table
from studies.data import add_data_argument, check_data
from workflow.steps import run_cli

REPOSITORY = Path(__file__).resolve().parents[1]


def main() -> int:
    """Run incomplete steps, then print the table."""
    parser = ArgumentParser(description=__doc__)
    add_data_argument(parser, REPOSITORY)
    parser.add_argument("--fresh", action="store_true", help="repeat completed steps")
    args = parser.parse_args()
    settings = StudySettings()
    with one_line_errors():
        data = check_data(args.data)
    plan = plan_camvid_study(settings, data)
    run_cli("study", plan, WORK_DIR, repository=REPOSITORY, fresh=args.fresh)
    print(write_table(settings, REPOSITORY / WORK_DIR))
    return 0


if __name__ == "__main__":
    sys.exit(main())
