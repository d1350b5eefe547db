"""Train a pretrainer or a detector: drivemim train CONFIG."""

from __future__ import annotations

import argparse
import sys

from drivemim.arguments import ArgumentParser, add_launcher
from drivemim.config.loading import add_config_options
from drivemim.process_ends import one_line_errors
from drivemim.training.loggers import LOGGERS
from drivemim.training.run import NEWEST, train
from drivemim.training.stopping import advice_to_go_on
from drivemim.trust import add_trust_option


def main() -> None:
    """Parse the command line and train.

    Ctrl-C and SIGTERM write a checkpoint; the last line has the command that goes on.
    """
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("config", help="path of an MMEngine config, or name of a shipped one")
    add_run_options(parser, "the config's, else work_dirs/NAME_OF_CONFIG")
    add_launcher(parser)
    add_config_options(parser)
    add_trust_option(parser)
    args = parser.parse_args()
    with one_line_errors(args.launcher), advice_to_go_on(sys.argv, args.launcher):
        train(
            args.config,
            work_dir=args.work_dir,
            resume=args.resume,
            overwrite=args.overwrite,
            amp=args.amp,
            launcher=args.launcher,
            seed=args.seed,
            init=args.init,
            iterations=args.iterations,
            loggers=args.logger,
            options=args.cfg_options,
        )


def add_run_options(parser: argparse.ArgumentParser, work_dir: str) -> None:
    """Add the options that ``drivemim train`` and ``drivemim pretrain`` share.

    Args:
        parser: parser of the command.
        work_dir: default of ``--work-dir``, in words.
    """
    parser.add_argument("--work-dir", help=f"folder for logs and checkpoints (default: {work_dir})")
    parser.add_argument(
        "--init",
        metavar="WEIGHTS",
        help="initial weights of the backbone: an export, or weights of MAE, timm, DINO (the "
        "self-supervised ViT), mmpretrain or torchvision; every tensor has to fit",
    )
    parser.add_argument(
        "--resume",
        nargs="?",
        const=NEWEST,
        metavar="CHECKPOINT",
        help="resume from a checkpoint; without a value, the newest complete one in --work-dir, or "
        "from the beginning if there is none",
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="start from the beginning although --work-dir has an earlier run; its checkpoints are "
        "removed after the first iteration, other files stay",
    )
    parser.add_argument("--amp", action="store_true", help="mixed precision")
    parser.add_argument("--seed", type=int, help="replaces randomness.seed of the config")
    parser.add_argument(
        "--iterations", type=int, help="length of the training; schedules are scaled to it"
    )
    parser.add_argument(
        "--logger",
        nargs="+",
        default=[],
        metavar="NAME",
        help=f"send scalars and pictures to {', '.join(LOGGERS)}; TensorBoard's files are always "
        "written",
    )
