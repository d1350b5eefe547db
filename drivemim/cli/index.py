"""Build the index of a data set: nuScenes or nuImages tables, or folders of images and videos."""

import argparse
import sys
import time
from pathlib import Path

from drivemim.arguments import ArgumentParser
from drivemim.data.index.builders.frames import VIDEO_RATE
from drivemim.data.index.index_building import build_index


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = ArgumentParser(description=__doc__)
    sources = parser.add_subparsers(dest="source", required=True)

    versions = {
        "nuscenes": ("nuScenes tables of any version", "v1.0-mini, v1.0-trainval, v1.0-test, ..."),
        "nuimages": ("nuImages tables", "v1.0-mini, v1.0-train, v1.0-val or v1.0-test"),
    }
    for source, (what, which) in versions.items():
        tables = sources.add_parser(source, help=what)
        tables.add_argument(
            "--root", type=Path, required=True, help="folder that contains the version folder"
        )
        tables.add_argument("--version", required=True, help=which)
        tables.add_argument("--out", type=Path, help="default: ROOT/drivemim-VERSION.arrow")
        tables.add_argument(
            "--missing-images",
            choices=("error", "drop", "ignore"),
            default="error",
            help="frames whose image is missing: stop with an error (default), leave them out, or "
            "do not check",
        )
        tables.add_argument(
            "--camera-rotations-as-written",
            action="store_true",
            help="accept cameras' rotations that seem to be in another convention than w, x, y, z "
            "and camera to ego",
        )
        if source == "nuscenes":
            tables.add_argument(
                "--rectified",
                action="store_true",
                help="the images are rectified, although camera_distortion is not zero",
            )
        if source == "nuimages":
            tables.add_argument(
                "--keyframes-only",
                action="store_true",
                help="leave out the unlabelled images around the annotated ones",
            )

    frames = sources.add_parser("frames", help="folders of image sequences and videos")
    frames.add_argument("--root", type=Path, required=True, action="append", help="repeatable")
    frames.add_argument("--coco", type=Path, default=[], action="append", help="repeatable")
    frames.add_argument(
        "--rate", type=float, default=10.0, help="frames per second of image sequences (default 10)"
    )
    frames.add_argument(
        "--video-rate",
        type=float,
        default=VIDEO_RATE,
        help=f"frames per second to extract from videos (default {VIDEO_RATE:g}); 0 ignores videos",
    )
    frames.add_argument("--out", type=Path, help="default: FIRST_ROOT/drivemim-frames.arrow")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Build the index, then print its contents."""
    arguments = parse_arguments(argv)
    started = time.perf_counter()
    options = {
        name: value
        for name, value in vars(arguments).items()
        if name not in ("source", "keyframes_only")
    }
    if arguments.source == "nuimages":
        options["sweeps"] = not arguments.keyframes_only
    try:
        index = build_index(arguments.source, **options)
    except (OSError, ValueError) as error:
        print(f"drivemim index: {error}", file=sys.stderr)
        return 1
    print(
        f"{index.path}: {len(index.scenes)} scenes, {len(index.samples)} samples, "
        f"{len(index.frames)} frames of {len(index.cameras)} cameras, {len(index.boxes)} boxes of "
        f"{len(index.tracks)} objects; {index.path.stat().st_size / 2**20:.1f} MiB "
        f"in {time.perf_counter() - started:.1f} s"
    )
    return 0
