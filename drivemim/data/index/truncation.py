"""Detection of truncated image files, by the data that a decoder needs.

A JPEG may lack its end marker, and a video, a second image or a maker's note may follow it, so its
last bytes prove nothing. A complete JPEG has all scans, and its last scan encodes the last block
of the image (ITU-T T.81, annexes B, F and G).
"""

from __future__ import annotations

import re
from io import BytesIO
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import JpegImagePlugin

from drivemim.data.index.image_header import JPEG_START, PNG_START

# Markers of JPEG segments (ITU-T T.81, table B.1).
_JPEG_END = b"\xff\xd9"
_SCAN = 0xDA
_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = frozenset((0xC2, 0xC6, 0xCA, 0xCE))
"""Frame headers of progressive images."""
_BETWEEN_SCANS = frozenset((0xC4, 0xCC, 0xDA, 0xDB, 0xDC, 0xDD, *range(0xE0, 0xF0), 0xFE))
"""Segments that may follow a scan: tables, further scans, application data and comments."""
_AFTER_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
"""The marker that ends a scan; stuffed zeros and restart markers are part of the scan's data."""
_GREY = 128
"""Value of the blocks that libjpeg fills in if the file has no data for them."""
_OTHER_DATA = b"".join(
    bytes((37 * position + 213) % 251 for position in range(64)) + bytes((0xFF, 0xD0 + restart))
    for restart in range(8)
)
"""Scan data of no image, with every restart marker that a decoder can wait for.

A decoder reads zeros after the end of the data; this data begins with ones.
"""


class _Header(NamedTuple):
    """Facts from the headers before a JPEG's first scan.

    Attributes:
        scan: position of the first scan in the file.
        progressive: whether the image is progressive, with several scans of each component.
        components: ids of the encoded components (such as Y, Cb and Cr).
    """

    scan: int
    progressive: bool
    components: frozenset[int]


def is_truncated(data: bytes) -> bool:
    """Return whether a JPEG or PNG file ends early.

    A JPEG with an end marker is not decoded here. If it was cut and then given an end marker, only
    its decoded pixels show it: see :func:`end_is_missing`. If only the end of a progressive image's
    last and finest scan is lost, not even these show it.
    """
    if data.startswith(JPEG_START):
        header = _read_header(data)
        if header is None:
            return True
        if _has_end(data, header):
            return header.progressive and _last_scan(data, header) is None
        end = _last_scan(data, header)
        return end is None or not _is_complete(data[:end])
    if data.startswith(PNG_START):
        return not _has_png_end(data)
    return not data


def end_is_missing(data: bytes, image: NDArray[np.uint8]) -> bool:
    """Return whether a decoder filled the end of a JPEG with grey because data is missing.

    Args:
        data: the file, which is not truncated by :func:`is_truncated`.
        image: the decoded image, at any scale, rotated or not, uint8 (H, W, 3).
    """
    if not data.startswith(JPEG_START):
        return False
    corners = image[[0, 0, -1, -1], [0, -1, 0, -1]]
    if not (corners == _GREY).all(axis=1).any():
        return False
    # A complete image can also have a corner of that grey.
    header = _read_header(data)
    assert header is not None
    end = _last_scan(data, header)
    return end is None or not _is_complete(data[:end])


def append_end_marker(data: bytes) -> bytes:
    """Append the end marker to a JPEG that lacks it; OpenCV does not decode such a file."""
    if not data.startswith(JPEG_START) or data.endswith(_JPEG_END):
        return data
    header = _read_header(data)
    return data if header is None or _has_end(data, header) else data + _JPEG_END


def _read_header(data: bytes) -> _Header | None:
    """Parse the segments before the first scan; return None if the file ends before it.

    A thumbnail is inside of a segment, so its own markers are skipped.
    """
    position, progressive, components = 2, False, frozenset[int]()
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:
            position += 1
            continue
        if marker == _SCAN:
            return _Header(position, progressive, components)
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        if marker in _FRAME_HEADERS:
            progressive = marker in _PROGRESSIVE
            components = frozenset(data[position + 10 : position + 2 + length : 3])
        position += 2 + length
    return None


def _has_end(data: bytes, header: _Header) -> bool:
    """Return whether a JPEG has an end marker after its first scan begins."""
    # No end marker can occur within a scan's data.
    return data.endswith(_JPEG_END) or data.find(_JPEG_END, header.scan) >= 0


def _last_scan(data: bytes, header: _Header) -> int | None:
    """Return the position where the last scan's data end; None if scans are missing.

    The scans of every component must encode its first coefficient (DC) and the 63 others (AC), each
    down to the last bit.
    """
    missing = {(component, part) for component in header.components for part in ("DC", "AC")}
    position, end = header.scan, None
    while position + 4 <= len(data) and data[position + 1] in _BETWEEN_SCANS:
        scan = data[position + 1] == _SCAN
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        content = data[position + 4 : position + 2 + length]
        position += 2 + length
        following = _AFTER_SCAN.search(data, position)
        if scan and len(content) >= 6:
            first, last, bits = content[-3], content[-2], content[-1] & 15
            parts = ["DC"] * (first == 0) + ["AC"] * (last == 63) if bits == 0 else []
            missing -= {(component, part) for component in content[1:-3:2] for part in parts}
            end = following.start() if following else len(data)
        if not following:
            break
        position = following.start()
    return None if missing else end


def _is_complete(data: bytes) -> bool:
    """Return whether a JPEG without end marker encodes its last block.

    If it does, data appended to the file changes no pixel. Zeros at the end, or ones in flash
    memory, are removed first: they may be space that was reserved for the file and never written.
    """
    end = len(data.rstrip(b"\0\xff"))
    # The scan's own last bytes can be a zero, or the pair that encodes a byte of ones.
    tails = [tail for tail in (b"", b"\0", b"\xff\0") if data.startswith(tail, end)]
    for written in (data[:end] + tail for tail in tails):
        pixels = _decode(written + _JPEG_END)
        if pixels is not None and pixels == _decode(written + _OTHER_DATA + _JPEG_END):
            return True
    return False


def _decode(data: bytes) -> bytes | None:
    """Return the decoded pixels of a JPEG; None if it cannot be decoded.

    Pillow decodes it, because it does not print libjpeg's warnings.
    """
    try:
        return JpegImagePlugin.JpegImageFile(BytesIO(data)).tobytes()
    except (OSError, SyntaxError):
        return None


def _has_png_end(data: bytes) -> bool:
    """Return whether the end chunk is complete; a chunk is length, type, content and checksum."""
    position = len(PNG_START)
    while position + 12 <= len(data):
        kind = data[position + 4 : position + 8]
        position += 12 + int.from_bytes(data[position : position + 4], "big")
        if kind == b"IEND":
            return position <= len(data)
        if not kind.isalpha():
            return False
    return False
