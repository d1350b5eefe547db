"""Benchmark of the generated town: images per second and core, including JPEG encoding."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from drivemim.arguments import ArgumentParser
from drivemim.town import TownConfig, generate_town


def measure(config: TownConfig) -> tuple[int, float, float]:
    """Generate a town in this process.

    Returns:
        Number of images, wall time and processor time in seconds, including scene building, lidar
        and tables.
    """
    with tempfile.TemporaryDirectory() as folder:
        wall, processor = time.perf_counter(), time.process_time()
        generate_town(
            Path(folder) / "town",
            scenes=config.scenes,
            seconds=config.seconds,
            sweep_rate=config.sweep_rate,
            image_size=config.image_size,
            seed=config.seed,
            workers=1,
        )
        wall, processor = time.perf_counter() - wall, time.process_time() - processor
    return config.images_per_scene * config.scenes, wall, processor


def main(argv: Sequence[str] | None = None) -> int:
    """Print images per second for each image size."""
    parser = ArgumentParser(prog="benchmark.py town", description=__doc__)
    parser.add_argument("--scenes", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--sweep-rate", type=float, default=4.0)
    parser.add_argument("--sizes", nargs="+", default=["450x800"], metavar="HEIGHTxWIDTH")
    arguments = parser.parse_args(argv)
    for size in arguments.sizes:
        height, width = (int(part) for part in size.split("x"))
        config = TownConfig(
            scenes=arguments.scenes,
            seconds=arguments.seconds,
            sweep_rate=arguments.sweep_rate,
            image_size=(height, width),
        )
        images, wall, processor = measure(config)
        print(
            f"town {width}x{height}: {images} images, {images / processor:.1f} images/s a core "
            f"(processor time), {images / wall:.1f} images/s (wall time)"
        )
    return 0
