"""Checkpoints that the user trusts to run code.

A file is trusted only if the user names it in the environment variable
``DRIVEMIM_TRUST_CHECKPOINT``, whose entries are separated like those of ``PATH``. A variable also
reaches configs, data loaders and other processes. The option ``--trust-checkpoint`` of commands
sets it.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

VARIABLE = "DRIVEMIM_TRUST_CHECKPOINT"
OPTION = "--trust-checkpoint"


def is_trusted(path: str | Path) -> bool:
    """Return whether the user named this file as trusted."""
    named = [entry for entry in os.environ.get(VARIABLE, "").split(os.pathsep) if entry]
    resolved = Path(path).expanduser().resolve()
    return any(Path(entry).expanduser().resolve() == resolved for entry in named)


def trust_hint(path: str | Path) -> str:
    """Return the last sentence of an error message: how to trust a file."""
    whole = Path(path).expanduser().resolve()
    return (
        f"If you trust whoever wrote it with your account, name it: {OPTION} {whole} "
        f"(or {VARIABLE}={whole})"
    )


class TrustCheckpoint(argparse.Action):
    """The argparse action of ``--trust-checkpoint FILE ...``."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Add the files to the environment variable.

        Raises:
            ArgumentError: if a file does not exist.
        """
        for value in values:
            if not Path(value).expanduser().is_file():
                raise argparse.ArgumentError(self, f"there is no file {value}")
        paths = [str(Path(value).expanduser().resolve()) for value in values]
        earlier = os.environ.get(VARIABLE)
        os.environ[VARIABLE] = os.pathsep.join([earlier, *paths] if earlier else paths)


def add_trust_option(parser: argparse.ArgumentParser) -> None:
    """Add the option ``--trust-checkpoint`` to a command that reads checkpoints."""
    parser.add_argument(
        OPTION,
        nargs="+",
        action=TrustCheckpoint,
        metavar="FILE",
        help="checkpoints that may run code when they are read; see docs/reference/security.md",
    )
