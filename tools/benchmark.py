"""Measure speed and memory: benchmark.py end-to-end|index|masks|step|town|windows [options]."""

import importlib
import sys

from drivemim.arguments import ArgumentParser

BENCHMARKS = {
    name: f"{name.removesuffix('s').replace('-', '_')}_benchmark"
    for name in ("end-to-end", "index", "masks", "step", "town", "windows")
}


def main() -> int:
    """Pass the remaining command line to the named benchmark."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("benchmark", choices=BENCHMARKS)
    arguments = parser.parse_args(sys.argv[1:2])
    module = importlib.import_module(f"benchmarks.{BENCHMARKS[arguments.benchmark]}")
    return int(module.main(sys.argv[2:]) or 0)


if __name__ == "__main__":
    sys.exit(main())
