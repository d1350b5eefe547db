"""Digests of image files that do not depend on comments and metadata of JPEG files."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import BinaryIO

_START, _SCAN, _COMMENT, _ADOBE = b"\xff\xd8", 0xDA, 0xFE, 0xEE
_PADDING = b"\0"
"""Byte that cameras append to files up to the size of their buffer."""
_BLOCK = 4096
"""Size in bytes of the blocks of a file that ``picture_key`` and ``compact_key`` read."""
_PLACES = (0, 1 / 8, 1 / 4, 1 / 2, 3 / 4, 1)
"""Places of ``compact_key``'s blocks in a picture: the first at its start, the last at its end."""


def picture_key(path: Path) -> bytes:
    """Return the digest of the last bytes of a file's picture, of JPEG at most from its first scan.

    Files with the same ``picture_digest`` have the same key.

    Raises:
        OSError: if it does not exist or cannot be read.
    """
    with path.open("rb") as stream:
        _, begin, end = _picture(stream)
        start = max(begin, end - _BLOCK)
        stream.seek(start)
        return hashlib.blake2b(stream.read(end - start), digest_size=8).digest()


def compact_key(path: Path) -> int:
    """Return a 64-bit key of a file's picture, from its length and blocks at six places.

    A picture no longer than the six is read whole. Files with the same ``picture_digest`` have the
    same key. If the picture is no longer than a block, the file's name counts too, with links
    followed: two frames may have the same content if it is that short.

    Raises:
        OSError: if it does not exist or cannot be read.
    """
    real = Path(os.path.realpath(path))
    with real.open("rb") as stream:
        tables, begin, end = _picture(stream)
        size = end - begin
        name = real.name.encode() if size <= _BLOCK else b""
        digest = hashlib.blake2b(name + f"/{size}/".encode() + tables, digest_size=8)
        whole = size <= len(_PLACES) * _BLOCK
        for place in () if whole else _PLACES:
            offset = int(size * place) - _BLOCK // 2
            stream.seek(begin + min(max(0, offset), size - _BLOCK))
            digest.update(stream.read(_BLOCK))
        if whole:
            stream.seek(begin)
            digest.update(stream.read(size))
    return int.from_bytes(digest.digest(), "little")


def picture_digest(path: Path) -> str:
    """Return the SHA-256 of a file's content without zeros at its end, of JPEG without metadata.

    Metadata are the segments COM and APPn before the first scan; Adobe's APP14 counts, because it
    tells the colours. The size in pixels is in a segment that counts.

    Raises:
        OSError: if it does not exist or cannot be read.
    """
    with path.open("rb") as stream:
        tables, begin, end = _picture(stream)
        digest = hashlib.sha256(tables)
        stream.seek(begin)
        while block := stream.read(min(1 << 20, end - stream.tell())):
            digest.update(block)
    return digest.hexdigest()


def _picture(stream: BinaryIO) -> tuple[bytes, int, int]:
    """Return the tables of a JPEG file that count, and where any file's picture begins and ends.

    It ends before the padding. That of another file begins with the file.
    """
    tables, begin = _jpeg_tables(stream)
    end = stream.seek(0, 2)
    while end > begin:
        start = max(begin, end - (1 << 16))
        stream.seek(start)
        if kept := stream.read(end - start).rstrip(_PADDING):
            return tables, begin, start + len(kept)
        end = start
    return tables, begin, end


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
