"""Finding the newest checkpoint of a run."""

from __future__ import annotations

import re
from pathlib import Path

from mmengine.logging import print_log

from drivemim.compat import is_complete

_PERIODIC = re.compile(r"(iter|epoch)_(\d+)\.pth")


def newest_checkpoint(folder: Path) -> Path | None:
    """Find the newest periodic checkpoint that is complete.

    MMEngine's ``last_checkpoint`` file is not used: after a kill it may be outdated, and in a
    copied folder it has paths of another machine.

    Args:
        folder: work directory of a run, with ``iter_N.pth`` or ``epoch_N.pth``.

    Raises:
        OSError: if the folder exists and cannot be read. ``glob`` would find nothing.
    """
    found = [
        (match[1], int(match[2]), path)
        for path in (folder.iterdir() if folder.is_dir() else ())
        if (match := _PERIODIC.fullmatch(path.name))
    ]
    if not found:
        return None
    kind = max(found, key=lambda entry: entry[2].stat().st_mtime_ns)[0]
    candidates = sorted((entry for entry in found if entry[0] == kind), reverse=True)
    return next((path for _, _, path in candidates if is_complete(path)), None)


def checkpoint_in(path: Path) -> Path:
    """Return a checkpoint: the path itself, or the newest complete one of a run's folder.

    Raises:
        FileNotFoundError: if the path is a folder without one.
    """
    if not path.is_dir():
        return path
    found = newest_checkpoint(path)
    if found is None:
        raise FileNotFoundError(
            f"{path} is a folder without a complete checkpoint (iter_N.pth or epoch_N.pth); give "
            "the work directory of a run, or a checkpoint"
        )
    print_log(f"{found} is the newest complete checkpoint in {path}", "current")
    return found
