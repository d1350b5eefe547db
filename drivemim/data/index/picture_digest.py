"""Digests of the pictures in image files.

A picture is a file's content without trailing zeros and, for JPEG, without metadata: the segments
COM and APPn before the first scan. Adobe's APP14 belongs to the picture, because it tells the
colours.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import BinaryIO

_START, _SCAN, _COMMENT, _ADOBE = b"\xff\xd8", 0xDA, 0xFE, 0xEE
_PADDING = b"\0"
"""Byte that cameras append to files up to the size of their buffer."""
_BLOCK = 4096
"""Size in bytes of the blocks of a picture that ``quick_digest`` and ``frame_key`` read."""
_PLACES = (0, 1 / 8, 1 / 4, 1 / 2, 3 / 4, 1)
"""Places of ``frame_key``'s blocks in a picture: the first at its start, the last at its end."""


def quick_digest(path: Path) -> bytes:
    """Return a digest of the last 4096 bytes of a file's picture, a quick test before the whole.

    Only bytes from the first scan of a JPEG file on are hashed. Files with the same
    ``picture_digest`` have the same quick digest.

    Raises:
        OSError: if the file does not exist or cannot be read.
    """
    with path.open("rb") as stream:
        _, begin, end = _picture(stream)
        start = max(begin, end - _BLOCK)
        stream.seek(start)
        return hashlib.blake2b(stream.read(end - start), digest_size=8).digest()


def frame_key(path: Path) -> int:
    """Return a 64-bit key of a file's picture, from its length and blocks at six places.

    A picture of at most six blocks is read whole. Files with the same ``picture_digest`` have the
    same key, except pictures of at most 4096 bytes. The name of such a file is hashed, too, with
    links followed, because two frames may have the same content if it is that short.

    Raises:
        OSError: if the file does not exist or cannot be read.
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
    """Return the SHA-256 of a file's picture.

    The segments that give a JPEG file's size in pixels and its tables are hashed, too.

    Raises:
        OSError: if the file does not exist or cannot be read.
    """
    with path.open("rb") as stream:
        tables, begin, end = _picture(stream)
        digest = hashlib.sha256(tables)
        stream.seek(begin)
        while block := stream.read(min(1 << 20, end - stream.tell())):
            digest.update(block)
    return digest.hexdigest()


def _picture(stream: BinaryIO) -> tuple[bytes, int, int]:
    """Return the segments to hash of a JPEG file, and where any file's picture begins and ends.

    The picture ends before the padding. It begins at the first scan of a JPEG file, and at 0 in
    other files.
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
    """Return a JPEG file's segments before the first scan, without metadata, and where it begins.

    For other files, and for a JPEG file without a scan, return nothing and the position 0.
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
