"""Generate a data set in nuScenes' format: drives through a small synthetic town."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from drivemim.arguments import ArgumentParser
from drivemim.process_ends import one_line_errors
from drivemim.town import TownConfig, generate_town

DEFAULTS = TownConfig()
"""Values of the options that are not given."""


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the data set")
    parser.add_argument(
        "--scenes",
        type=int,
        default=DEFAULTS.scenes,
        help="2 to 850; up to 10 give v1.0-mini, more give v1.0-trainval (default: %(default)s)",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=DEFAULTS.seconds,
        help="length of a scene, seconds (default: %(default)s)",
    )
    parser.add_argument(
        "--sweep-rate",
        type=float,
        default=DEFAULTS.sweep_rate,
        help="images per second and camera, keyframes included; a multiple of 2 "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--image-size",
        type=int,
        nargs=2,
        default=DEFAULTS.image_size,
        metavar=("HEIGHT", "WIDTH"),
        help="size of the images, pixels (default: %(default)s)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=DEFAULTS.seed,
        help="the same seed gives the same files (default: %(default)s)",
    )
    parser.add_argument(
        "--workers", type=int, default=2, help="number of processes (default: %(default)s)"
    )
    parser.add_argument(
        "--pedestrians",
        type=int,
        default=DEFAULTS.pedestrians,
        help="number per scene, spread over the whole drive (default: %(default)s)",
    )
    parser.add_argument(
        "--vehicles",
        type=int,
        default=DEFAULTS.vehicles,
        help="number per scene, spread over the whole drive; includes cycles and trailers "
        "(default: %(default)s)",
    )
    parser.add_argument("--depth", action="store_true", help="also write metric depth maps")
    parser.add_argument("--instances", action="store_true", help="also write instance maps")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Generate the data set and print the speed; return the exit code."""
    arguments = parse_arguments(argv)
    start = time.perf_counter()

    printed = 0

    def progress(done: int, total: int) -> None:
        """Print the number of images so far, if it has changed."""
        nonlocal printed
        if done == printed:
            return
        printed = done
        rate = done / (time.perf_counter() - start)
        ending = "\n" if done == total or not sys.stdout.isatty() else ""
        lead = "\r" if sys.stdout.isatty() else ""
        print(f"{lead}{done}/{total} images, {rate:.1f} images/s", end=ending, flush=True)

    options = {**vars(arguments), "image_size": tuple(arguments.image_size)}
    with one_line_errors():
        try:
            out = generate_town(**options, progress=progress)
        except KeyboardInterrupt:
            print(f"stopped: {arguments.out} is as it was before", file=sys.stderr)
            return 130
    print(f"{out}: {time.perf_counter() - start:.1f} s")
    return 0
