"""Draw a pretrainer's input, mask and reconstruction: drivemim visualize CONFIG CHECKPOINT."""

from __future__ import annotations

from pathlib import Path

from drivemim.arguments import ArgumentParser
from drivemim.config.loading import add_config_options
from drivemim.process_ends import one_line_errors
from drivemim.transfer.run_checkpoints import checkpoint_in
from drivemim.trust import add_trust_option
from drivemim.visualization.reconstructions import draw_reconstructions


def main() -> None:
    """Parse the command line and draw."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("config", help="config of a pretraining run")
    parser.add_argument(
        "checkpoint", help="checkpoint of the same run, or its folder for the newest one"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the pictures")
    parser.add_argument(
        "--clips", type=int, default=4, help="number of clips, spread over the data (default: 4)"
    )
    parser.add_argument("--scenes", nargs="+", help="a split or scene names; default: the config's")
    parser.add_argument(
        "--width", type=int, default=1200, help="width of a picture, pixels (default: 1200)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the masks")
    add_config_options(parser)
    add_trust_option(parser)
    args = parser.parse_args()
    scenes = args.scenes[0] if args.scenes and len(args.scenes) == 1 else args.scenes
    with one_line_errors():
        written = draw_reconstructions(
            args.config,
            checkpoint_in(Path(args.checkpoint)),
            args.out,
            count=args.clips,
            scenes=scenes,
            options=args.cfg_options,
            width=args.width,
            seed=args.seed,
        )
    print(f"{len(written)} pictures in {args.out}")
