"""Compare pretraining recipes by the detectors that start from their backbones.

The study is a file of settings: recipes, detector, data and seeds. See docs/guides/labels.md.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from drivemim.arguments import ArgumentParser
from drivemim.process_ends import one_line_errors
from studies.label_efficiency.exposure_check import all_sentences, check_exposure
from studies.label_efficiency.initial_checkpoints import check_checkpoints
from studies.label_efficiency.inputs import prepare_inputs, relative_path
from studies.label_efficiency.label_plan import finished_runs, plan_label_study
from studies.label_efficiency.results import read_runs
from studies.recipe_results import report, write_results
from studies.recipe_words import recipe_words
from studies.recipes import (
    check_recipes,
    label_study,
    missing_backbones,
    pretraining_plan,
    pretraining_seconds,
    read_study,
    write_inputs,
)
from workflow.steps import run_cli

REPOSITORY = Path(__file__).resolve().parents[1]


def _arguments() -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("study", type=Path, help="file of settings")
    parser.add_argument("--work-dir", type=Path, required=True, help="folder of runs and results")
    parser.add_argument(
        "--backbones", type=int, nargs="+", help="seeds of pretraining (default: the file's)"
    )
    parser.add_argument(
        "--seeds", type=int, nargs="+", help="seeds of fine-tuning (default: the file's)"
    )
    parser.add_argument("--fresh", action="store_true", help="repeat completed steps")
    parser.add_argument(
        "--report-only", action="store_true", help="report the finished runs; run nothing"
    )
    return parser.parse_args()


def main() -> int:
    """Run incomplete steps, then print and write the results."""
    args = _arguments()
    with one_line_errors():
        study = read_study(args.study, backbones=args.backbones, seeds=args.seeds)
        work_dir = Path(relative_path(args.work_dir.absolute(), REPOSITORY))
        with recipe_words():
            label_study(study, work_dir, REPOSITORY)  # checks its settings before hours of runs
        if not args.report_only:
            check_recipes(study, REPOSITORY)
            write_inputs(study, work_dir, REPOSITORY)
    if not args.report_only:
        run_cli(
            "study", pretraining_plan(study, work_dir), work_dir,
            repository=REPOSITORY, fresh=args.fresh, independent=True,
        )  # fmt: skip
    missing = missing_backbones(study, work_dir, REPOSITORY)
    with one_line_errors(), recipe_words():
        detectors = label_study(study, work_dir, REPOSITORY, without=missing)
        inputs = prepare_inputs(detectors, REPOSITORY)
        notes = check_exposure(detectors, inputs, REPOSITORY)
        if not args.report_only:
            check_checkpoints(detectors, REPOSITORY)
    if not args.report_only:
        run_cli(
            "study", plan_label_study(detectors, inputs, REPOSITORY), detectors.work_dir,
            repository=REPOSITORY, fresh=args.fresh, independent=True,
        )  # fmt: skip
    with one_line_errors(), recipe_words():
        results = read_runs(detectors, finished_runs(detectors, inputs, REPOSITORY), REPOSITORY)
        seconds = pretraining_seconds(study, work_dir, REPOSITORY)
        files = write_results(study, results, seconds, REPOSITORY / work_dir)
    print(report(study, results, seconds))
    print(*all_sentences(notes), sep="\n")
    for name, backbone in missing:
        print(f"left out: recipe {name}, backbone {backbone}, which is not pretrained yet")
    print("written:", *files)
    return 0


if __name__ == "__main__":
    sys.exit(main())
