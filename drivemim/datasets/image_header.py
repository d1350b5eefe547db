"""What an image file says of its pixels before decoding: size, EXIF orientation, bit depth."""

from __future__ import annotations

import re
import shlex
import struct
from pathlib import Path
from typing import BinaryIO, NamedTuple

from drivemim.errors import DataError

_JPEG_START, _PNG_START, _WEBP = b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"WEBP"
_TIFF_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
_EXIF = b"Exif\0\0"
_START_OF_SCAN, _APP1, _BITS, _ORIENTATION, _SHORT = 0xDA, 0xE1, 258, 274, 3
# Netpbm: magic number, width, height and greatest value, with comments between.
_NETPBM = re.compile(rb"P[2356](?:\s+(?:#[^\n]*\n\s*)*\d+){2}\s+(?:#[^\n]*\n\s*)*(\d+)")
_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_TURNS = {
    2: "mirrored", 3: "turned by 180 degrees", 4: "mirrored top to bottom",
    5: "turned by 90 degrees and mirrored", 6: "turned by 90 degrees clockwise",
    7: "turned by 90 degrees and mirrored", 8: "turned by 90 degrees counterclockwise",
}  # fmt: skip
TURN_PIXELS = (
    'python -c "import sys; from PIL import Image, ImageOps; '
    '[ImageOps.exif_transpose(Image.open(p)).save(p, quality=95) for p in sys.argv[1:]]"'
)
"""Command that turns the pixels of the image files after it as their EXIF orientation says."""


class ImageHeader(NamedTuple):
    """What a file says about its pixels.

    Attributes:
        size: height and width of the stored pixels, for JPEG files; None for others.
        orientation: EXIF's, 1 (as stored) to 8; 1 if the file has none.
        bits: of each channel of a pixel; 8 where the file does not say.
    """

    size: tuple[int, int] | None = None
    orientation: int = 1
    bits: int = 8


def read_header(stream: BinaryIO) -> ImageHeader:
    """Read the header of a JPEG, PNG, WebP, TIFF or Netpbm file, and nothing of its pixels.

    Args:
        stream: the file, at its beginning.

    Returns:
        The header; of other files and of broken ones, what could be read before the fault. Whether
        a file can be decoded is for the decoder to say.
    """
    start = stream.read(12)
    if start.startswith(_JPEG_START):
        stream.seek(2)
        return _jpeg_header(stream)
    if start.startswith(_PNG_START):
        head = stream.read(13)  # the rest of IHDR's begin, width, height and bit depth
        stream.seek(8)
        bits = head[12] if len(head) == 13 else 8
        return ImageHeader(orientation=_png_orientation(stream), bits=bits)
    if start[8:] == _WEBP:
        return ImageHeader(orientation=_webp_orientation(stream))
    if start[:4] in _TIFF_ORDERS:
        data = start + stream.read()
        return ImageHeader(orientation=_tiff_orientation(data), bits=_tiff_bits(data))
    if found := _NETPBM.match(start + stream.read(1000)):
        return ImageHeader(bits=int(found[1]).bit_length())
    return ImageHeader()


def check_depth(path: Path, header: ImageHeader, frame: str = "") -> None:
    """Refuse an image of more than 8 bits a channel, of which decoding keeps the high byte alone.

    A camera of 12 bits, an infrared camera or a depth map in 16 bits would become almost black.

    Args:
        path: of the image, for the error.
        header: of the image.
        frame: token of its frame, for the error.

    Raises:
        DataError: if it has more than 8 bits a channel, with what to do about it.
    """
    if header.bits <= 8:
        return
    raise DataError(
        f"image {path}{f' of frame {frame}' if frame else ''} has {header.bits} bits a channel, "
        "of which only the highest 8 would be read; convert the images to 8 bits by the sensor's "
        "range (for 12 bits: value / 16), or keep depth maps outside --root"
    )


def check_upright(path: Path, header: ImageHeader, frame: str = "") -> None:
    """Refuse an image that programs show otherwise than it is stored.

    Calibration describes the pixels that the sensor gave, boxes were drawn on what a program
    showed, and nothing in the file says which of the two is meant.

    Args:
        path: of the image, for the error.
        header: of the image.
        frame: token of its frame, for the error.

    Raises:
        DataError: if the EXIF orientation is not 1, with what to do about it.
    """
    if header.orientation == 1:
        return
    file = shlex.quote(str(path))
    raise DataError(
        f"image {path}{f' of frame {frame}' if frame else ''} has EXIF orientation "
        f"{header.orientation}: programs show it {_TURNS[header.orientation]}, but its pixels are "
        "not stored so, and boxes or calibration can mean either. If they mean the image as it is "
        f"shown, turn its pixels: {TURN_PIXELS} {file}. If they mean the pixels as they are "
        f"stored, remove the tag: exiftool -overwrite_original -Orientation= {file}. "
        "data/README.md has the commands for whole folders"
    )


def _jpeg_header(stream: BinaryIO) -> ImageHeader:
    """Go through the segments before the first scan."""
    size, orientation = None, None
    while len(mark := stream.read(2)) == 2 and mark[0] == 0xFF:
        if mark[1] == 0xFF:  # A fill byte: the next one may be the marker.
            stream.seek(-1, 1)
            continue
        if mark[1] == _START_OF_SCAN or len(length := stream.read(2)) < 2:
            break
        payload = stream.read(max(0, int.from_bytes(length, "big") - 2))
        if mark[1] in _FRAME_HEADERS and len(payload) >= 5:
            size = struct.unpack_from(">HH", payload, 1)
        elif mark[1] == _APP1 and payload.startswith(_EXIF) and orientation is None:
            orientation = _tiff_orientation(payload[len(_EXIF) :])
    return ImageHeader(size, 1 if orientation is None else orientation)


def _png_orientation(stream: BinaryIO) -> int:
    """Go through the chunks: length, name, content, checksum."""
    while len(head := stream.read(8)) == 8:
        length = int.from_bytes(head[:4], "big")
        if head[4:] == b"eXIf":
            return _tiff_orientation(stream.read(length))
        stream.seek(length + 4, 1)
    return 1


def _webp_orientation(stream: BinaryIO) -> int:
    """Go through the chunks: name, length, content, padded to an even length."""
    while len(head := stream.read(8)) == 8:
        length = int.from_bytes(head[4:], "little")
        if head[:4] == b"EXIF":
            return _tiff_orientation(stream.read(length).removeprefix(_EXIF))
        stream.seek(length + length % 2, 1)
    return 1


def _tiff_orientation(data: bytes) -> int:
    """Orientation in the first directory of TIFF data, which is what EXIF data is."""
    value = _tiff_value(data, _ORIENTATION)
    return value if value is not None and 1 <= value <= 8 else 1


def _tiff_bits(data: bytes) -> int:
    """Bits a channel in the first directory of TIFF data."""
    value = _tiff_value(data, _BITS)
    return 8 if value is None else value


def _tiff_value(data: bytes, wanted: int) -> int | None:
    """First number of a tag in the first directory of TIFF data."""
    order = _TIFF_ORDERS.get(data[:4])
    if order is None or len(data) < 8:
        return None
    (start,) = struct.unpack_from(f"{order}I", data, 4)
    if start + 2 > len(data):
        return None
    (entries,) = struct.unpack_from(f"{order}H", data, start)
    for entry in range(start + 2, min(start + 2 + 12 * entries, len(data) - 11), 12):
        tag, kind, count = struct.unpack_from(f"{order}HHI", data, entry)
        if tag != wanted:
            continue
        code, place = "H" if kind == _SHORT else "I", entry + 8
        if count * struct.calcsize(f"={code}") > 4:  # The entry says where the numbers are.
            (place,) = struct.unpack_from(f"{order}I", data, entry + 8)
        if place + struct.calcsize(f"={code}") > len(data):
            return None
        return int(struct.unpack_from(f"{order}{code}", data, place)[0])
    return None
