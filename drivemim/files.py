"""Files that are whole or absent."""

from __future__ import annotations

import os
from pathlib import Path


def check_target(path: str | Path) -> None:
    """Refuse, before the work, a file that could not be written after it.

    Raises:
        IsADirectoryError: if it is a folder.
        NotADirectoryError: if it is to lie below a file.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; name a file to write")
    above = next((parent for parent in path.absolute().parents if parent.exists()), None)
    if above is not None and not above.is_dir():
        raise NotADirectoryError(f"{path} cannot be written: {above} is a file")


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Write beside, then rename: ``path`` is either what it was, or complete.

    Raises:
        OSError: naming ``path``, if it cannot be written; nothing half-written is left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with open(partial, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        partial.unlink(missing_ok=True)
