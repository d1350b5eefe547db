"""Draw the mask of each strategy on one clip: drivemim visualize-masks CONFIG --out FOLDER."""

from __future__ import annotations

from pathlib import Path

from drivemim.arguments import ArgumentParser
from drivemim.config.loading import add_config_options
from drivemim.evaluation.mask_analysis import PATCH_SIZE
from drivemim.process_ends import one_line_errors
from drivemim.visualization.mask_panels import draw_masks


def main() -> None:
    """Parse the command line and draw."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument(
        "config", help="config with strategies and a dataset, or config of a pretraining run"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the pictures")
    parser.add_argument("--clip", type=int, default=0, help="number of the clip (default: 0)")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="draw only these strategies")
    parser.add_argument("--mask-ratio", type=float, help="fraction of patches that is hidden")
    parser.add_argument(
        "--marks", type=int, default=8, help="number of world points to mark (default: 8)"
    )
    parser.add_argument(
        "--width", type=int, default=1800, help="width of a picture, pixels (default: 1800)"
    )
    parser.add_argument(
        "--patch-size",
        type=int,
        help=f"side of a patch, pixels (default: that of the config's encoder, or {PATCH_SIZE})",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the masks")
    add_config_options(parser)
    args = parser.parse_args()
    with one_line_errors():
        written = draw_masks(
            args.config,
            args.out,
            item=args.clip,
            options=args.cfg_options,
            only=args.only,
            ratio=args.mask_ratio,
            marks=args.marks,
            width=args.width,
            patch_size=args.patch_size,
            seed=args.seed,
        )
    print(f"{len(written)} pictures in {args.out}")
