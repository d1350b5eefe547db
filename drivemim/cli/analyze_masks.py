"""Measure leakage and object coverage of each mask strategy; print a table, write a JSON file.

Leakage is the fraction of hidden content that another frame of the clip shows. It is computed
exactly from the depth maps of a generated town (drivemim town --depth), or from lidar; without
either, only the columns on objects are filled.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from drivemim.arguments import ArgumentParser
from drivemim.evaluation.mask_analysis import (
    DEPTH_HINT,
    DEPTHS,
    PATCH_SIZE,
    analysis_table,
    analyze_masks,
)
from drivemim.evaluation.results_file import results_json
from drivemim.files import ensure_writable, write_bytes
from drivemim.process_ends import one_line_errors


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument(
        "config",
        nargs="?",
        default="strategies",
        help="config with strategies, or of a pretraining run (default: strategies)",
    )
    parser.add_argument("--index", help="index of the data; default: the config's data set")
    parser.add_argument(
        "--scenes", nargs="+", help="a split or scene names; default: the config's, or all"
    )
    parser.add_argument("--cameras", nargs="+", help="default: the config's, or all")
    parser.add_argument(
        "--clips", type=int, default=8, help="number of clips, spread over the data (default: 8)"
    )
    parser.add_argument(
        "--draws", type=int, default=4, help="masks per strategy and clip (default: 4)"
    )
    parser.add_argument(
        "--num-frames", type=int, help="frames per camera in a clip (default: the config's, or 3)"
    )
    parser.add_argument(
        "--frame-interval",
        type=float,
        help="seconds between frames; default: the config's, or keyframes",
    )
    parser.add_argument(
        "--image-size", type=int, nargs=2, metavar=("HEIGHT", "WIDTH"),
        help="size that images are loaded at, pixels (default: the config's, or 224 400)",
    )  # fmt: skip
    parser.add_argument(
        "--patch-size",
        type=int,
        help=f"side of a patch, pixels (default: that of the config's encoder, or {PATCH_SIZE})",
    )
    parser.add_argument(
        "--mask-ratio",
        type=float,
        help="fraction of patches that is hidden; default: each strategy's own",
    )
    _add_mask_options(parser)
    return parser.parse_args()


def _add_mask_options(parser: ArgumentParser) -> None:
    parser.add_argument("--only", nargs="+", metavar="NAME", help="measure only these strategies")
    parser.add_argument(
        "--depth",
        choices=DEPTHS,
        default="auto",
        help="default: depth maps if there are any, else lidar",
    )
    parser.add_argument(
        "--lidar-points",
        type=int,
        help="points per frame for strategies (default: the config's, or 0)",
    )
    parser.add_argument(
        "--contrast-teacher",
        action="store_true",
        help="use the image's contrast in place of a teacher; without this, strategies that need a "
        "teacher are left out",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the masks")
    parser.add_argument("--out", type=Path, help="JSON file for the results")


def main() -> None:
    """Measure, print and write the results."""
    args = parse_arguments()
    given = {
        "index": args.index,
        "image_size": None if args.image_size is None else tuple(args.image_size),
        "num_frames": args.num_frames,
        "frame_interval": args.frame_interval,
        "cameras": args.cameras,
        "scenes": args.scenes,
        "lidar_points": args.lidar_points,
    }
    with one_line_errors():
        if args.out is not None:
            ensure_writable(args.out)
        results = analyze_masks(
            args.config,
            patch_size=args.patch_size,
            dataset={name: value for name, value in given.items() if value is not None},
            only=args.only,
            ratio=args.mask_ratio,
            count=args.clips,
            draws=args.draws,
            depth=args.depth,
            contrast_teacher=args.contrast_teacher,
            seed=args.seed,
        )
        if args.out is not None:
            write_bytes(args.out, results_json(results))
    h, w = results["grid"]
    ratios = dict.fromkeys((results["ratios"][0], results["ratios"][-1]))
    depth = f"depth from {results['depth']}" if results["depth"] else "no depth"
    print(
        f"{results['dataset']['index']}: {results['clips']} clips, {args.draws} masks each, "
        f"{h}x{w} patches, "
        f"{' to '.join(f'{each:g}' for each in ratios)} hidden, strategies get "
        f"{results['dataset']['lidar_points']} lidar points per frame; "
        f"{depth}\n\n{analysis_table(results)}"
    )
    classes = ", ".join(next(iter(results["strategies"].values()))["class_balance"])
    print(
        f"\n{classes}: fraction of the hidden patches that show the class, divided by its fraction "
        "of all patches"
    )
    if results["depth"] is None:
        print(f"\nNot measured, without depth: leakage ({DEPTH_HINT})")
    if not any(row["objects"] for row in results["strategies"].values()):
        print("\nNot measured, without boxes in these clips: objects")
    if results["left_out"]:
        print(
            "\nLeft out, because they need a teacher (--contrast-teacher): "
            f"{', '.join(results['left_out'])}"
        )
