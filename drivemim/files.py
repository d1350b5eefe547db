"""Files that are whole or absent."""

from __future__ import annotations

import os
from pathlib import Path


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
