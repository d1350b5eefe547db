"""Evaluate a checkpoint: drivemim test CONFIG CHECKPOINT."""

from __future__ import annotations

from drivemim.arguments import ArgumentParser, add_launcher
from drivemim.config.loading import add_config_options
from drivemim.process_ends import one_line_errors
from drivemim.training.run import evaluate
from drivemim.trust import add_trust_option


def main() -> None:
    """Parse the command line and evaluate."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("config", help="path of an MMEngine config, or name of a shipped one")
    parser.add_argument(
        "checkpoint",
        help="weights of the config's model, or a run's folder for its newest checkpoint",
    )
    parser.add_argument(
        "--work-dir",
        help="folder for logs (default: the config's, else work_dirs/NAME_OF_CONFIG)",
    )
    parser.add_argument("--out", metavar="JSON", help="file for the metrics")
    parser.add_argument(
        "--show-dir",
        metavar="FOLDER",
        help="folder for pictures: "
        "detected pedestrians red, vehicles blue, other classes named, with the score in percent; "
        "annotated objects white, ignored ones grey",
    )
    parser.add_argument("--show-count", type=int, default=50, help="number of pictures")
    parser.add_argument(
        "--show-score",
        type=float,
        metavar="SCORE",
        help="draw detections of at least this score; without it, as many of each image's highest "
        "scores as it has annotated objects, so images without any show no detections",
    )
    add_launcher(parser)
    add_config_options(parser)
    add_trust_option(parser)
    args = parser.parse_args()
    with one_line_errors(args.launcher):
        evaluate(
            args.config,
            args.checkpoint,
            work_dir=args.work_dir,
            out=args.out,
            show_dir=args.show_dir,
            show_count=args.show_count,
            show_score=args.show_score,
            launcher=args.launcher,
            options=args.cfg_options,
        )
