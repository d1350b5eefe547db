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

    The option is named even if a required argument is missing, which may be the same mistake.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.flags: dict[str, bool] = {}
        """Options of this parser, and whether the help lists them."""
        self.has_commands = False
        super().__init__(*args, **kwargs)

    def add_argument(self, *args: Any, **kwargs: Any) -> argparse.Action:
        """Add an argument, and remember its names."""
        action = super().add_argument(*args, **kwargs)
        self.flags |= dict.fromkeys(action.option_strings, action.help != argparse.SUPPRESS)
        return action

    def add_subparsers(self, **kwargs: Any) -> Any:
        """Add commands, whose own parsers check what follows their names."""
        self.has_commands = True
        return super().add_subparsers(**kwargs)

    def error(self, message: str) -> NoReturn:
        """Exit with the usage and a message; of the processes of torchrun, rank 0 alone says it."""
        let_rank_zero_report()
        tell_torchrun(f"{self.prog}: error: {message}")
        if (rank := process_rank()) > 0:
            message = f"rank {rank}: {message}"
        super().error(message)

    def parse_known_args(  # type: ignore[override]  # its overloads return the same
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        """Parse; exit with the nearest option if there is an unknown one."""
        texts = list(sys.argv[1:] if args is None else args)
        for text in texts:
            if text == "--" or (self.has_commands and not text.startswith("-")):
                break
            flag = text.partition("=")[0]
            # argparse accepts abbreviations, and takes a text with a space for a value.
            is_known = any(known.startswith(flag) for known in self.flags)
            if flag.startswith("--") and " " not in text and not is_known:
                shown = [known for known, is_listed in self.flags.items() if is_listed]
                self.error(f"there is no option {flag}{did_you_mean(flag, shown)}")
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
    """Run a script of two paths, such as a converter; a missing file or folder is one line.

    Args:
        main: its function; the help names the arguments as this does.
        description: its docstring.
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
