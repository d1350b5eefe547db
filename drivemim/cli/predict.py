"""Draw a detector's detections: drivemim predict CONFIG CHECKPOINT SOURCE."""

from __future__ import annotations

from drivemim.arguments import ArgumentParser
from drivemim.config.loading import add_config_options
from drivemim.data.index.builders.folders import PREDICTIONS_FILE
from drivemim.process_ends import one_line_errors
from drivemim.training.predicting import predict
from drivemim.trust import add_trust_option


def main() -> None:
    """Parse the command line and predict."""
    parser = ArgumentParser(description=__doc__)
    _add_arguments(parser)
    args = parser.parse_args()
    with one_line_errors():
        run = predict(
            args.config,
            args.checkpoint,
            args.source,
            out=args.out,
            score_threshold=args.score_threshold,
            scenes=args.scenes,
            cameras=args.cameras,
            sweeps=args.sweeps,
            every=args.every,
            max_images=args.max_images,
            skip_unreadable=args.skip_unreadable,
            device=args.device,
            options=args.cfg_options,
        )
    detections = sum(len(image["detections"]) for image in run.images)
    skipped = f", {run.skipped} files skipped" if run.skipped else ""
    print(f"{detections} detections in {len(run.images)} images{skipped}: {run.out}")


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("config", help="config of the detector; its data need not exist")
    parser.add_argument(
        "checkpoint",
        help="weights of the config's model, or a run's folder for its newest checkpoint",
    )
    parser.add_argument(
        "source", help="an image, a folder of images and videos, a video, or an index (.arrow)"
    )
    parser.add_argument(
        "--out",
        metavar="FOLDER",
        help=f"folder for the pictures (a video for each video) and {PREDICTIONS_FILE}; "
        "default: predict-SOURCE beside the checkpoint, with a number if that is another source's",
    )
    parser.add_argument(
        "--score-threshold",
        type=float,
        default=0.3,
        metavar="SCORE",
        help="smallest score of a detection (default: 0.3); the config's own, such as "
        "model.test_cfg.score_thr, applies as well",
    )
    parser.add_argument(
        "--scenes", nargs="+", metavar="NAME", help="splits or scenes of an index; default: all"
    )
    parser.add_argument(
        "--cameras", nargs="+", metavar="NAME", help="cameras of an index; default: all"
    )
    parser.add_argument(
        "--sweeps", action="store_true", help="take an index's sweeps, too, not only its keyframes"
    )
    parser.add_argument(
        "--every",
        type=int,
        default=1,
        metavar="N",
        help="take every Nth image of each folder, video, or camera of a scene (default: 1)",
    )
    parser.add_argument("--max-images", type=int, metavar="N", help="take at most N images")
    parser.add_argument(
        "--skip-unreadable",
        action="store_true",
        help="skip and count images and videos that cannot be read, instead of stopping",
    )
    parser.add_argument("--device", help="of the detector (default: a GPU if there is one)")
    add_config_options(parser)
    add_trust_option(parser)
