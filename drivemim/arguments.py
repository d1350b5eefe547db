"""The parser of every command's arguments: an unknown option suggests the nearest one."""

from __future__ import annotations

import argparse
import inspect
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from drivemim.errors import did_you_mean
from drivemim.process_ends import let_rank_zero_report, one_line_errors, process_rank, tell_torchrun


class ArgumentParser(argparse.ArgumentParser):
    """``argparse.ArgumentParser``, whose error on an unknown option names the nearest one.

    The error names the unknown option even if a required argument is missing as well: the option
    may be that argument with a typing error.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.flags: dict[str, bool] = {}
        """Options of this parser, and whether the help lists them."""
        self.has_commands = False
        """Whether this parser has commands, like ``drivemim``."""
        super().__init__(*args, **kwargs)

    def add_argument(self, *args: Any, **kwargs: Any) -> argparse.Action:
        """Add an argument, and remember its names."""
        action = super().add_argument(*args, **kwargs)
        self.flags |= dict.fromkeys(action.option_strings, action.help != argparse.SUPPRESS)
        return action

    def add_subparsers(self, **kwargs: Any) -> Any:
        """Add commands; a command's own parser checks the arguments that follow its name."""
        self.has_commands = True
        return super().add_subparsers(**kwargs)

    def error(self, message: str) -> NoReturn:
        """Exit with the usage and a message.

        Under torchrun every process makes the same error. The others wait, until rank 0 has
        reported it and torchrun ends them.
        """
        let_rank_zero_report()
        tell_torchrun(f"{self.prog}: error: {message}")
        if (rank := process_rank()) > 0:
            message = f"rank {rank}: {message}"
        super().error(message)

    def parse_known_args(  # type: ignore[override]  # its overloads return the same
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        """Parse; if an option is unknown, exit with an error that suggests the nearest one."""
        texts = list(sys.argv[1:] if args is None else args)
        for text in texts:
            if text == "--" or (self.has_commands and not text.startswith("-")):
                break
            flag = text.partition("=")[0]
            # Like argparse: an abbreviated option is known, and a text with a space is a value.
            is_known = any(known.startswith(flag) for known in self.flags)
            if flag.startswith("--") and " " not in text and not is_known:
                listed = [known for known, is_listed in self.flags.items() if is_listed]
                self.error(f"there is no option {flag}{did_you_mean(flag, listed)}")
        return super().parse_known_args(texts, namespace)


def add_launcher(parser: argparse.ArgumentParser) -> None:
    """Add ``--launcher``, and the rank that older launchers pass."""
    parser.add_argument(
        "--launcher",
        choices=["none", "pytorch", "slurm", "mpi"],
        default="none",
        help="what started the processes of a run on several GPUs; pytorch: torchrun "
        "(default: none, a single process)",
    )
    parser.add_argument("--local_rank", "--local-rank", type=int, help=argparse.SUPPRESS)


def run_with_paths(main: Callable[[Path, Path], None], description: str | None) -> None:
    """Run a script of two paths, such as a converter; a user's mistake is reported in one line.

    Args:
        main: the script's function; the command's arguments have the names of its parameters.
        description: the script's docstring, for ``--help``.
    """
    parser = ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = list(inspect.signature(main).parameters)
    for name in names:
        parser.add_argument(name, type=Path)
    arguments = parser.parse_args()
    with one_line_errors():
        main(*(getattr(arguments, name) for name in names))
