"""Digests of image files that do not depend on comments and metadata of JPEG files."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import BinaryIO

_START, _SCAN, _COMMENT, _ADOBE = b"\xff\xd8", 0xDA, 0xFE, 0xEE
_END = 4096
"""Size in bytes of the blocks of a file that ``picture_key`` and ``compact_key`` read."""


def picture_key(path: Path) -> bytes:
    """Return the digest of the last bytes of a file, of a JPEG file at most from its first scan.

    Files with the same ``picture_digest`` have the same key.

    Raises:
        OSError: if it does not exist or cannot be read.
    """
    with path.open("rb") as stream:
        _, begin = _jpeg_tables(stream)
        end = stream.seek(0, 2)
        stream.seek(max(begin, end - _END))
        return hashlib.blake2b(stream.read(), digest_size=8).digest()


def compact_key(path: Path) -> int:
    """Return a 64-bit key of a file's picture, from its length and blocks of its middle and end.

    Files with the same ``picture_digest`` have the same key. If the picture is no longer than a
    block, the file's name counts too, with links followed: two frames may have the same content if
    it is that short.

    Raises:
        OSError: if it does not exist or cannot be read.
    """
    real = Path(os.path.realpath(path))
    with real.open("rb") as stream:
        tables, begin = _jpeg_tables(stream)
        size = stream.seek(0, 2) - begin
        name = real.name.encode() if size <= _END else b""
        digest = hashlib.blake2b(name + f"/{size}/".encode() + tables, digest_size=8)
        for offset in (size // 2 - _END // 2, size - _END):
            stream.seek(begin + max(0, offset))
            digest.update(stream.read(_END))
    return int.from_bytes(digest.digest(), "little")


def picture_digest(path: Path) -> str:
    """Return the SHA-256 of a file's content, of a JPEG file without comments and metadata.

    These are the segments COM and APPn before the first scan; Adobe's APP14 counts, because it
    tells the colours. The size in pixels is in a segment that counts.

    Raises:
        OSError: if it does not exist or cannot be read.
    """
    with path.open("rb") as stream:
        tables, begin = _jpeg_tables(stream)
        digest = hashlib.sha256(tables)
        stream.seek(begin)
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _jpeg_tables(stream: BinaryIO) -> tuple[bytes, int]:
    """Return the segments before the first scan that count, and the position of the scan.

    Of other files, and of a JPEG file without a scan, nothing and the position 0.
    """
    if stream.read(2) != _START:
        return b"", 0
    kept = [_START]
    while len(head := stream.read(2)) == 2 and head[0] == 0xFF:
        if head[1] == 0xFF:  # A fill byte: the next one may be the marker.
            stream.seek(-1, 1)
            continue
        if head[1] == _SCAN:
            return b"".join(kept), stream.tell() - 2
        length = stream.read(2)
        payload = stream.read(max(0, int.from_bytes(length, "big") - 2))
        is_metadata = head[1] == _COMMENT or (0xE0 <= head[1] <= 0xEF and head[1] != _ADOBE)
        if not is_metadata:
            kept.append(head + length + payload)
    return b"", 0
