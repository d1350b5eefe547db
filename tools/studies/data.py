"""The folder of the studies' real frames: command line option and check."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from drivemim.errors import DataError

FOLDERS = ("camvid", "frames", "surround-clips")


def add_data_argument(parser: argparse.ArgumentParser, repository: Path) -> None:
    """Add the option ``--data``, the folder of the real frames."""
    parser.add_argument(
        "--data",
        type=Path,
        default=os.environ.get("DRIVEMIM_REAL_DATA", repository / "data"),
        help=f"folder of {', '.join(FOLDERS)} (default: $DRIVEMIM_REAL_DATA, else data)",
    )


def check_data(folder: Path) -> Path:
    """Return the folder's absolute path.

    Raises:
        DataError: if a part is missing; the message names it.
    """
    missing = [name for name in FOLDERS if not (folder / name).is_dir()]
    if missing:
        raise DataError(
            f"{folder} has no {', '.join(missing)}; see data/README.md, or give the folder that "
            "has them with --data"
        )
    return folder.resolve()
