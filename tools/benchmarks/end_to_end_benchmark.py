"""Benchmark of whole pretraining iterations with their data loading, side by side.

Every variant is a real run with the config's own data loader and workers, in a temporary folder.
The variants take turns for several rounds, so that a change of the machine's load affects all of
them equally; the table has medians over the rounds. The first iterations of a run are not counted.
"""

from __future__ import annotations

import shlex
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.pretraining_config import load_pretraining_config
from drivemim.arguments import ArgumentParser
from drivemim.config.option_values import parse_value
from drivemim.errors import ConfigError
from drivemim.process_ends import one_line_errors
from drivemim.training.data_choice import index_key
from drivemim.training.run_time import time_iterations


@dataclass(kw_only=True)
class Variant:
    """A config with options, and its measurements.

    Attributes:
        name: name in the table.
        config: path or name of the config.
        options: dotted config keys to replace.
        rates: valid frames per second, one number per round.
        waiting: fraction of the time that waits for data, one number per round.
    """

    name: str
    config: str
    options: dict[str, object]
    rates: list[float] = field(default_factory=list)
    waiting: list[float] = field(default_factory=list)


def parse_variant(text: str, index: str | None) -> Variant:
    """Read ``CONFIG`` or ``CONFIG KEY=VALUE ...``, split as a shell does: quotes keep spaces.

    Args:
        text: the argument.
        index: index of the training data; None for the config's.

    Raises:
        ConfigError: if an option is not KEY=VALUE, a quote has no end, or the config is wrong or a
            detector's.
    """
    try:
        config, *pairs = shlex.split(text)
    except ValueError as error:
        raise ConfigError(f"{text!r} is not CONFIG [KEY=VALUE ...]: {error}") from error
    options: dict[str, object] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise ConfigError(f"{text!r}: {pair!r} is not KEY=VALUE")
        options[key] = parse_value(value)
    cfg = load_pretraining_config(config, options)
    if index is not None:
        options[index_key(cfg, config)] = index
    return Variant(name=text, config=config, options=options)


def main(argv: Sequence[str] | None = None) -> int:
    """Print one row per variant."""
    parser = ArgumentParser(prog="benchmark.py end-to-end", description=__doc__)
    parser.add_argument(
        "variants", nargs="+", metavar="'CONFIG [KEY=VALUE ...]'",
        help="pretraining configs, each with options in the same argument; the others are compared "
        "with the first",
    )  # fmt: skip
    parser.add_argument("--index", help="index of the training data, in place of the configs'")
    parser.add_argument(
        "--iterations", type=int, default=40, help="timed iterations of a run (default: 40)"
    )
    parser.add_argument("--rounds", type=int, default=3, help="runs per variant (default: 3)")
    arguments = parser.parse_args(argv)
    with one_line_errors():
        variants = [parse_variant(text, arguments.index) for text in arguments.variants]
        for _ in range(arguments.rounds):
            for variant in variants:
                timed = time_iterations(
                    variant.config, options=variant.options, count=arguments.iterations
                )
                variant.rates.append(timed.frames_per_second)
                variant.waiting.append(timed.waiting)
    print(f"{arguments.iterations} iterations, median of {arguments.rounds} rounds")
    print("| variant | frames per s | range | relative to the first | waiting for data |")
    print("|---|---|---|---|---|")
    for variant in variants:
        rates, waiting = variant.rates, statistics.median(variant.waiting)
        rate, first = statistics.median(rates), statistics.median(variants[0].rates)
        print(
            f"| {variant.name} | {rate:.1f} | {min(rates):.1f} to {max(rates):.1f} | "
            f"{rate / first:.2f} | {waiting:.0%} |"
        )
    return 0
