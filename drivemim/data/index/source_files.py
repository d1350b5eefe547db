"""Fingerprints of source files, and checks that the files are unchanged, also after a copy."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

from drivemim.errors import DataError
from drivemim.files import write_bytes

_BLOCK = 1 << 20
"""Bytes of a file that are read at a time."""


class Fingerprint(msgspec.Struct, frozen=True):
    """Identification of the state of a source file.

    Attributes:
        name: path of the file, relative to the root that was given to ``fingerprints``.
        size: size of the file, bytes.
        mtime_ns: when the file was last written, nanoseconds since 1970.
        digest: SHA-256 of the file's content; ``""`` in indices of older versions.
    """

    name: str
    size: int
    mtime_ns: int
    digest: str = ""


def fingerprints(root: Path, files: Iterable[Path]) -> tuple[Fingerprint, ...]:
    """Return the fingerprints of files, named relative to ``root``."""
    result = []
    for file in files:
        status = file.stat()
        name = os.path.relpath(file, root)
        result.append(Fingerprint(name, status.st_size, status.st_mtime_ns, file_digest(file)))
    return tuple(result)


def is_unchanged(file: Path, known: Fingerprint) -> bool:
    """Return whether a file is unchanged since its fingerprint was taken.

    The content is read only if the size is the same and the time differs. A fingerprint without a
    digest is of a changed file if the file was written later.

    Raises:
        OSError: if the file does not exist or cannot be read.
    """
    status = file.stat()
    if status.st_size != known.size:
        return False
    if not known.digest:
        return status.st_mtime_ns <= known.mtime_ns
    return status.st_mtime_ns == known.mtime_ns or file_digest(file) == known.digest


def check_sources(sources: Iterable[Fingerprint], root: Path, built: Path, *, command: str) -> None:
    """Check that the sources of a file have not changed since it was built from them.

    Sources that do not exist (only the images were copied) are not compared. A copied source has
    another modification time, so its content is compared once; the result is stored in a cache file
    beside ``built``.

    Args:
        sources: the source files at the time of building.
        root: folder that the sources' names are relative to.
        built: file that was built from the sources.
        command: command that builds ``built`` again, for the error.

    Raises:
        ValueError: if a source changed; names the first one.
    """
    cache = built.with_name(f".{built.name}.compared")
    compared = _read_cache(cache)
    added = False
    for known in sources:
        file = root / known.name
        try:
            status = file.stat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        # With links resolved, since ``link/..`` is not the folder of the link.
        key = os.path.realpath(file)
        now = Fingerprint(key, status.st_size, status.st_mtime_ns, known.digest)
        if known.digest and now == compared.get(key):
            continue
        if not is_unchanged(file, known):
            raise DataError(
                f"{built} is older than its tables: {file} changed since it was built; rebuild "
                f"with {command}"
            )
        if known.digest and status.st_mtime_ns != known.mtime_ns:
            compared[key], added = now, True
    if added:
        _write_cache(cache, compared)


def _read_cache(cache: Path) -> dict[str, Fingerprint]:
    """Return the copied sources that were found unchanged, by their real path."""
    try:
        entries = msgspec.json.decode(cache.read_bytes(), type=list[Fingerprint])
    except (OSError, ValueError):
        return {}  # Without a cache, the files are compared again, which only costs time.
    return {entry.name: entry for entry in entries}


def _write_cache(cache: Path, compared: dict[str, Fingerprint]) -> None:
    try:
        write_bytes(cache, msgspec.json.encode(list(compared.values())))
    except OSError:
        return  # Beside a read-only index there is no cache, and each process compares again.


def file_digest(file: Path) -> str:
    """Return the SHA-256 of a file's content."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
