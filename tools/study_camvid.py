"""Pretraining on real frames against random initialisation, on CamVid, over three seeds."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from drivemim.steps import run_program
from drivemim.studies.camvid import WORK_DIR, StudySettings, make_plan, write_table

REPOSITORY = Path(__file__).resolve().parents[1]


def main() -> int:
    """Run what is not done yet, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data",
        type=Path,
        default=os.environ.get("DRIVEMIM_REAL_DATA", REPOSITORY / "data"),
        help="folder of camvid, frames and surround-clips "
        "(default: $DRIVEMIM_REAL_DATA, else data)",
    )
    parser.add_argument("--fresh", action="store_true", help="do again what was done earlier")
    args = parser.parse_args()
    settings = StudySettings()
    missing = [
        name for name in ("camvid", "frames", "surround-clips") if not (args.data / name).is_dir()
    ]
    if missing:
        print(f"study: {args.data} has no {', '.join(missing)}; see data/README.md, or give the "
              "folder that has them with --data", file=sys.stderr)  # fmt: skip
        return 1
    plan = make_plan(settings, args.data.resolve())
    run_program("study", plan, WORK_DIR, repository=REPOSITORY, fresh=args.fresh)
    print(write_table(settings, REPOSITORY / WORK_DIR))
    return 0


if __name__ == "__main__":
    sys.exit(main())
