"""Pretrain a backbone on a folder or an index, and export it: drivemim pretrain SOURCE."""

from __future__ import annotations

import sys

from drivemim.arguments import ArgumentParser
from drivemim.cli.train import add_run_options
from drivemim.config.loading import add_config_options
from drivemim.process_ends import one_line_errors
from drivemim.training.pretraining import pretrain
from drivemim.training.stopping import advice_to_go_on
from drivemim.transfer.exporting import EXPORT, export_backbone
from drivemim.trust import add_trust_option


def main() -> None:
    """Parse the command line, train and export.

    Ctrl-C and SIGTERM write a checkpoint; the last line has the command that goes on.
    """
    parser = ArgumentParser(description=__doc__)
    _add_arguments(parser)
    args = parser.parse_args()
    with one_line_errors(), advice_to_go_on(sys.argv, "none"):
        run = pretrain(
            args.config,
            data=args.source,
            scenes=args.scenes,
            init=args.init,
            work_dir=args.work_dir,
            resume=args.resume,
            overwrite=args.overwrite,
            amp=args.amp,
            seed=args.seed,
            iterations=args.iterations,
            hours=args.hours,
            loggers=args.logger,
            options=args.cfg_options,
        )
        export_backbone(run.checkpoint, run.work_dir / EXPORT)
    print(f"{run.work_dir / EXPORT}: the backbone after {run.iteration} iterations")


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "source",
        help="a folder of images and videos, of a rig or of nuScenes' tables, which is indexed; or "
        "an index (.arrow)",
    )
    parser.add_argument(
        "--config",
        help="name of a shipped pretraining config, or path of one (default: vit_base_frames with "
        "a GPU, else vit_micro_frames)",
    )
    parser.add_argument(
        "--scenes",
        nargs="+",
        metavar="NAME",
        help="splits or scenes to pretrain on (default: all but those for evaluation: splits or "
        "folders called val, validation, eval, test and the like, and nuScenes' own val and test)",
    )
    add_run_options(parser, "work_dirs/NAME_OF_SOURCE")
    parser.add_argument(
        "--hours",
        type=float,
        help="length of the training in hours, instead of --iterations; the time of an iteration "
        "is measured for 20 seconds first",
    )
    add_config_options(parser)
    add_trust_option(parser)
