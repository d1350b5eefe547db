"""Measure how many labels pretraining saves: initialisations x label fractions x seeds."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from drivemim.arguments import ArgumentParser
from drivemim.config.shipped import find_config
from drivemim.process_ends import one_line_errors
from drivemim.trust import add_trust_option
from studies.label_efficiency.exposure_check import check_exposure
from studies.label_efficiency.initial_checkpoints import check_checkpoints
from studies.label_efficiency.inputs import default_metrics, prepare_inputs, relative_path
from studies.label_efficiency.label_plan import finished_runs, plan_label_study
from studies.label_efficiency.results import read_runs, report, write_results
from studies.label_efficiency.settings import FRACTIONS, Initialisation, LabelStudy
from workflow.steps import run_cli

REPOSITORY = Path(__file__).resolve().parents[1]


def _arguments() -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument(
        "config", help="detector config, or name of a shipped one, trained on FrameDetection"
    )
    parser.add_argument("--index", type=Path, required=True, help="index of labelled frames")
    parser.add_argument(
        "--train", required=True, metavar="SPLIT", help="split that the labels are taken from"
    )
    parser.add_argument(
        "--val", required=True, metavar="SPLIT", help="split that all runs are evaluated on"
    )
    parser.add_argument(
        "--init", action="append", required=True, metavar="random|NAME=FILE",
        help="random initialisation, or a pretrained backbone; the first is the baseline",
    )  # fmt: skip
    parser.add_argument(
        "--fractions", type=float, nargs="+", default=list(FRACTIONS), help="label fractions"
    )
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[0, 1, 2],
        help="seeds of the runs of every initialisation and fraction (default: 0 1 2)",
    )  # fmt: skip
    parser.add_argument("--iterations", type=int, required=True, help="iterations of every run")
    parser.add_argument(
        "--metric",
        nargs="+",
        help="the first is used in the headline (default: mAP50, and AP50 of each class)",
    )
    parser.add_argument("--work-dir", type=Path, required=True, help="folder of runs and results")
    parser.add_argument(
        "--cfg-options", nargs="+", default=[], metavar="KEY=VALUE",
        help="keys of the config to replace in all runs, dotted",
    )  # fmt: skip
    parser.add_argument(
        "--allow-boxes-read", action="store_true",
        help="run and mark backbones whose pretraining read boxes of more frames than a run "
        "trains on",
    )  # fmt: skip
    parser.add_argument(
        "--transductive", action="store_true",
        help="run and mark backbones whose pretraining saw images of --val",
    )  # fmt: skip
    parser.add_argument("--fresh", action="store_true", help="repeat completed steps")
    parser.add_argument(
        "--report-only", action="store_true", help="report the finished runs; run nothing"
    )
    add_trust_option(parser)
    return parser.parse_args()


def main() -> int:
    """Run incomplete steps, then print and write the results."""
    args = _arguments()
    with one_line_errors():
        config = find_config(args.config).resolve()
        study = LabelStudy(
            config=config,
            index=args.index.resolve(),
            train=args.train,
            val=args.val,
            initialisations=tuple(Initialisation.parse(text, Path.cwd()) for text in args.init),
            iterations=args.iterations,
            work_dir=Path(relative_path(args.work_dir.absolute(), REPOSITORY)),
            fractions=tuple(args.fractions),
            seeds=tuple(args.seeds),
            options=tuple(args.cfg_options),
            metrics=tuple(args.metric or default_metrics(config, args.cfg_options)),
            allow_boxes_read=args.allow_boxes_read,
            transductive=args.transductive,
        )
        inputs = prepare_inputs(study, REPOSITORY)
        notes = check_exposure(study, inputs, REPOSITORY)
        if not args.report_only:
            check_checkpoints(study, REPOSITORY)
    if not args.report_only:
        plan = plan_label_study(study, inputs, REPOSITORY)
        run_cli(
            "study", plan, study.work_dir,
            repository=REPOSITORY, fresh=args.fresh, independent=True,
        )  # fmt: skip
    with one_line_errors():
        runs = finished_runs(study, inputs, REPOSITORY)
        results = read_runs(study, runs, REPOSITORY)
        files = write_results(study, inputs, results, REPOSITORY, notes)
    print(report(study, inputs, results, notes))
    print("written:", *files)
    return 0


if __name__ == "__main__":
    sys.exit(main())
