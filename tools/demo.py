"""Run the whole pipeline on a generated town: pretrain, transfer, fine-tune, evaluate, report."""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from pathlib import Path

from drivemim.arguments import ArgumentParser
from town_demo import DemoSettings, plan_demo, read_outcome, write_demo_report
from town_demo.demo_report import TOO_SHORT
from workflow.steps import run_cli

REPOSITORY = Path(__file__).resolve().parents[1]


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--work-dir", type=Path, default=REPOSITORY / "work_dirs" / "demo")
    parser.add_argument("--fresh", action="store_true", help="repeat completed steps")
    parser.add_argument("--quick", action="store_true", help="run every step on very little data")
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the town and of every training"
    )
    return parser.parse_args()


def main() -> int:
    """Run incomplete steps and write the report; return 1 if pretraining did not help."""
    args = parse_arguments()
    settings = DemoSettings.quick() if args.quick else DemoSettings()
    settings = dataclasses.replace(settings, seed=args.seed)
    work_dir = args.work_dir.resolve()
    if work_dir.is_relative_to(REPOSITORY):
        work_dir = work_dir.relative_to(REPOSITORY)
    began = time.monotonic()
    plan = plan_demo(settings, work_dir)
    results = run_cli("demo", plan, work_dir, repository=REPOSITORY, fresh=args.fresh)
    report = write_demo_report(settings, results, REPOSITORY / work_dir)
    minutes, seconds = divmod(round(time.monotonic() - began), 60)
    outcome = read_outcome(REPOSITORY / work_dir)
    print(outcome.sentence)
    print(f"Report: {report}  ({minutes} min {seconds} s)")
    if settings.is_meaningless:
        print(TOO_SHORT)
    elif not outcome.gain > 0:
        print("demo: warning: pretraining did not help; it should have", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
