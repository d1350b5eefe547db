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


class Fingerprint(msgspec.Struct, frozen=True):
    """Identification of the state of a source file.

    Attributes:
        name: its path, relative to a folder that the owner knows.
        size: bytes.
        mtime_ns: when it was last written, nanoseconds since 1970.
        digest: SHA-256 of its content; ``""`` in indices that were built before it was stored.
    """

    name: str
    size: int
    mtime_ns: int
    digest: str = ""


def fingerprints(root: Path, files: Iterable[Path]) -> tuple[Fingerprint, ...]:
    """Return the fingerprints of files, named relative to ``root``."""
    found = []
    for file in files:
        status = file.stat()
        name = os.path.relpath(file, root)
        found.append(Fingerprint(name, status.st_size, status.st_mtime_ns, file_digest(file)))
    return tuple(found)


def is_unchanged(file: Path, known: Fingerprint) -> bool:
    """Return whether size and content are unchanged; read the content only if the time differs.

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
    """Refuse a file whose sources changed after it was built.

    Sources that do not exist (only the images were copied) are not compared. A copy has other
    times, so its content is compared once; the result is stored beside ``built``.

    Args:
        sources: the source files at the time of building.
        root: folder that their names are relative to.
        built: file that was built from them.
        command: command that builds it again, for the error.

    Raises:
        ValueError: naming the first file that changed.
    """
    memory = built.with_name(f".{built.name}.compared")
    compared = _read_memory(memory)
    added = False
    for known in sources:
        file = root / known.name
        try:
            status = file.stat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        key = os.path.realpath(file)  # ``link/..`` is not the folder of the link
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
        _write_memory(memory, compared)


def _read_memory(memory: Path) -> dict[str, Fingerprint]:
    try:
        entries = msgspec.json.decode(memory.read_bytes(), type=list[Fingerprint])
    except (OSError, ValueError):
        return {}  # the files are compared again, which only costs time
    return {entry.name: entry for entry in entries}


def _write_memory(memory: Path, compared: dict[str, Fingerprint]) -> None:
    try:
        write_bytes(memory, msgspec.json.encode(list(compared.values())))
    except OSError:
        return  # beside a read-only index nothing is stored, and each process compares again


def file_digest(file: Path) -> str:
    """Return the SHA-256 of a file's content."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
