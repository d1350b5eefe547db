"""Reading of image headers without decoding: size, orientation, bit depth.

The orientation is read from the same places as in Pillow's ``exif_transpose``, which annotation
tools and image loaders use: from EXIF (in PNG also from a text chunk), else from XMP.
"""

from __future__ import annotations

import re
import shlex
import struct
import zlib
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from PIL import Image

from drivemim.errors import DataError

# The first bytes of JPEG and PNG files, and bytes 8 to 12 of WebP files.
JPEG_START, PNG_START, _WEBP = b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"WEBP"
_TIFF_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
"""Byte order of a TIFF file, as ``struct`` writes it, by the file's first bytes."""
_EXIF, _XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
"""First bytes of the JPEG segments ``_APP1`` that hold EXIF and XMP data."""
_START_OF_SCAN, _APP1 = 0xDA, 0xE1
"""Markers of JPEG segments."""
_BITS, _ORIENTATION, _XMP_TAG = 258, 274, 700
"""Numbers of TIFF tags: bits per sample, orientation, XMP packet."""
_SHORT = 3
"""TIFF's type of 16-bit numbers."""
_XMP_ORIENTATION = re.compile(rb"tiff:Orientation\s*(?:=\s*[\"']|>)\s*([0-9])")
_PNG_XMP, _RAW_EXIF, _RAW_APP1 = (
    b"XML:com.adobe.xmp", b"Raw profile type exif", b"Raw profile type APP1"
)  # fmt: skip
"""Keywords of the text chunks of PNG files that hold XMP and EXIF data."""
_LONGEST_TEXT = 2**20
"""Maximum number of bytes to decompress of a text chunk."""
# Header of a Netpbm file: magic number, width, height and greatest value, with comments between.
_NETPBM = re.compile(rb"P[2356](?:\s+(?:#[^\n]*\n\s*)*\d+){2}\s+(?:#[^\n]*\n\s*)*(\d+)")
_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers of the JPEG segments that hold the image's size."""
_TURNS = {
    2: "mirrored", 3: "turned by 180 degrees", 4: "mirrored top to bottom",
    5: "turned by 90 degrees and mirrored", 6: "turned by 90 degrees clockwise",
    7: "turned by 90 degrees and mirrored", 8: "turned by 90 degrees counterclockwise",
}  # fmt: skip
"""How programs display an image of each EXIF orientation but 1, compared with its pixels."""
PILLOW_ERRORS = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)
"""Errors that Pillow raises for damaged files, and for sizes that it refuses to decode."""
TURN_PIXELS = (
    'python -c "import sys; from PIL import Image, ImageOps; '
    '[ImageOps.exif_transpose(Image.open(p)).save(p, quality=95) for p in sys.argv[1:]]"'
)
"""Command that rotates the pixels of image files to match their EXIF orientation; the files'
names are to be appended."""


_OTHER_FORMATS = (
    (re.compile(rb".{4}ftyp(?:avi[fs]|heic|heix|hevc|hevx|mif1|msf1)", re.DOTALL), "AVIF or HEIF"),
    (re.compile(rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51"), "JPEG 2000"),
    (re.compile(rb"\0\0\0\x0cJXL |\xff\x0a"), "JPEG XL"),
    (re.compile(rb"GIF8[79]a"), "GIF"),
)
"""Formats whose orientation and bit depth are not read."""


class ImageHeader(NamedTuple):
    """Properties of an image's pixels according to its file.

    Attributes:
        size: height and width of the stored pixels, for JPEG files; None for others.
        orientation: EXIF's number, 1 (as stored) to 8; 1 if the file has none.
        bits: bits per channel of a pixel; 8 if the file does not say.
        tag: place of the orientation: ``EXIF``, ``XMP``, or ``APP1`` for a text chunk of a PNG file
            that ImageMagick and ExifTool read, and Pillow does not.
        unread: name of the format if its properties are not read; else empty.
    """

    size: tuple[int, int] | None = None
    orientation: int = 1
    bits: int = 8
    tag: str = "EXIF"
    unread: str = ""


class _Orientations:
    """Orientation values in different places of a file; of each place, the first one is kept."""

    def __init__(self) -> None:
        self._found: dict[str, int] = {}

    def add(self, tag: str, value: int | None) -> None:
        """Store the value of a place, unless it is None or the place already has one."""
        if value is not None:
            self._found.setdefault(tag, value)

    def header(self, **fields: Any) -> ImageHeader:
        """Return a header with the orientation from EXIF if there is one, else from XMP or APP1."""
        for tag in ("EXIF", "XMP", "APP1"):
            if tag in self._found:
                value = self._found[tag]
                return ImageHeader(orientation=value if value in _TURNS else 1, tag=tag, **fields)
        return ImageHeader(**fields)


def read_header(stream: BinaryIO) -> ImageHeader:
    """Read the header of a JPEG, PNG, WebP, TIFF or Netpbm file without decoding pixels.

    Args:
        stream: the file, at its beginning.

    Returns:
        The header. For other formats and broken files, it has the values that could be read, and
        defaults for the others: whether a file is broken is left to the decoder.
    """
    start = stream.read(12)
    if start.startswith(JPEG_START):
        stream.seek(2)
        return _jpeg_header(stream)
    if start.startswith(PNG_START):
        head = stream.read(13)  # the rest of IHDR's header, width, height and bit depth
        stream.seek(8)
        bits = head[12] if len(head) == 13 else 8
        return _png_orientations(stream).header(bits=bits)
    if start[8:] == _WEBP:
        return _webp_orientations(stream).header()
    if start[:4] in _TIFF_ORDERS:
        data = start + stream.read()
        orientations = _Orientations()
        orientations.add("EXIF", _tiff_value(data, _ORIENTATION))
        orientations.add("XMP", _xmp_orientation(_tiff_bytes(data, _XMP_TAG)))
        depth = _tiff_value(data, _BITS)
        return orientations.header(bits=8 if depth is None else depth)
    for pattern, name in _OTHER_FORMATS:
        if pattern.match(start):
            return ImageHeader(unread=name)
    if netpbm := _NETPBM.match(start + stream.read(1000)):
        return ImageHeader(bits=int(netpbm[1]).bit_length())
    return ImageHeader()


def check_bit_depth(path: Path, header: ImageHeader, frame: str = "") -> None:
    """Check that an image has at most 8 bits per channel.

    Decoding would keep only the high byte of each channel, so images of a 12-bit camera, an
    infrared camera or a 16-bit depth map would become almost black.

    Args:
        path: path of the image, for the error.
        header: header of the image.
        frame: token of the image's frame, for the error; empty for none.

    Raises:
        DataError: if it has more than 8 bits per channel, or is of a format whose bit depth and
            orientation are not read; with the fix.
    """
    if header.unread:
        raise DataError(
            f"image {path}{f' of frame {frame}' if frame else ''} is {header.unread}, of which "
            "orientation and bit depth are not read; convert it to JPEG or PNG"
        )
    if header.bits <= 8:
        return
    raise DataError(
        f"image {path}{f' of frame {frame}' if frame else ''} has {header.bits} bits per channel, "
        "of which only the highest 8 would be read; convert the images to 8 bits by the sensor's "
        "range (for 12 bits: value / 16), or keep depth maps outside --root"
    )


def check_upright(path: Path, header: ImageHeader, frame: str = "") -> None:
    """Check that programs display an image in the orientation in which it is stored.

    Otherwise, calibration refers to the stored pixels, while boxes may have been drawn on the
    displayed image, and the file does not say which.

    Args:
        path: path of the image, for the error.
        header: header of the image.
        frame: token of the image's frame, for the error; empty for none.

    Raises:
        DataError: if the orientation is not 1; with the fix.
    """
    if header.orientation == 1:
        return
    file = shlex.quote(str(path))
    turn, removed = f"{TURN_PIXELS} {file}", "-Orientation="
    if header.tag == "XMP":
        removed = "-XMP-tiff:Orientation="
    elif header.tag == "APP1":
        turn, removed = f"mogrify -auto-orient -strip {file}", "-all:Orientation="
    raise DataError(
        f"image {path}{f' of frame {frame}' if frame else ''} has {header.tag} orientation "
        f"{header.orientation}: programs show it {_TURNS[header.orientation]}, but its pixels are "
        "stored differently, and boxes or calibration can refer to either. If they refer to the "
        f"displayed image, rotate its pixels: {turn}. If they refer to the stored pixels, remove "
        f"the tag: exiftool -overwrite_original {removed} {file}. data/README.md has the commands "
        "for whole folders"
    )


def _jpeg_header(stream: BinaryIO) -> ImageHeader:
    """Read the segments of a JPEG file before its first scan."""
    size, orientations = None, _Orientations()
    while len(mark := stream.read(2)) == 2 and mark[0] == 0xFF:
        if mark[1] == 0xFF:  # A fill byte: the next one may be the marker.
            stream.seek(-1, 1)
            continue
        if mark[1] == _START_OF_SCAN or len(length := stream.read(2)) < 2:
            break
        payload = stream.read(max(0, int.from_bytes(length, "big") - 2))
        if mark[1] in _FRAME_HEADERS and len(payload) >= 5:
            size = struct.unpack_from(">HH", payload, 1)
        elif mark[1] == _APP1 and payload.startswith(_EXIF):
            orientations.add("EXIF", _exif_orientation(payload))
        elif mark[1] == _APP1 and payload.startswith(_XMP):
            orientations.add("XMP", _xmp_orientation(payload))
    return orientations.header(size=size)


def _png_orientations(stream: BinaryIO) -> _Orientations:
    """Read the chunks of a PNG file: each is length, name, content and checksum."""
    orientations = _Orientations()
    while len(head := stream.read(8)) == 8:
        length, name = int.from_bytes(head[:4], "big"), head[4:]
        if name not in (b"eXIf", b"tEXt", b"zTXt", b"iTXt"):
            stream.seek(length + 4, 1)
            continue
        content = stream.read(length)
        stream.seek(4, 1)
        if name == b"eXIf":
            orientations.add("EXIF", _exif_orientation(content))
            continue
        keyword, _, rest = content.partition(b"\0")
        if keyword == _PNG_XMP:
            orientations.add("XMP", _xmp_orientation(_png_text(name, rest)))
        elif keyword in (_RAW_EXIF, _RAW_APP1):
            tag = "EXIF" if keyword == _RAW_EXIF else "APP1"
            orientations.add(tag, _exif_orientation(_raw_profile(_png_text(name, rest))))
    return orientations


def _png_text(name: bytes, content: bytes) -> bytes:
    """Return the text of a PNG chunk; empty if it cannot be decompressed.

    Args:
        name: name of the chunk.
        content: content of the chunk after the keyword.
    """
    compressed = name == b"zTXt"
    if compressed:
        content = content[1:]
    elif name == b"iTXt":
        compressed = content[:1] == b"\1"
        _, _, content = content[2:].partition(b"\0")  # the language
        _, _, content = content.partition(b"\0")  # the keyword in that language
    if not compressed:
        return content
    try:
        return zlib.decompressobj().decompress(content, _LONGEST_TEXT)
    except zlib.error:
        return b""


def _raw_profile(text: bytes) -> bytes:
    """Decode a profile that ImageMagick wrote as text; return empty bytes if it is broken.

    The first line of the text is empty, the second has the profile's name, the third its length,
    and the others the profile in hexadecimal.
    """
    try:
        return bytes.fromhex(b"".join(text.split(b"\n")[3:]).decode("ascii"))
    except ValueError:
        return b""


def _webp_orientations(stream: BinaryIO) -> _Orientations:
    """Read the chunks of a WebP file: name, length and content, padded to an even length."""
    orientations = _Orientations()
    while len(head := stream.read(8)) == 8:
        length = int.from_bytes(head[4:], "little")
        padded = length + length % 2
        if head[:4] == b"EXIF":
            orientations.add("EXIF", _exif_orientation(stream.read(padded)))
        elif head[:4] == b"XMP ":
            orientations.add("XMP", _xmp_orientation(stream.read(padded)))
        else:
            stream.seek(padded, 1)
    return orientations


def _exif_orientation(data: bytes) -> int | None:
    """Return the orientation in EXIF data, which are TIFF data; None if there is none."""
    return _tiff_value(data.removeprefix(_EXIF), _ORIENTATION)


def _xmp_orientation(data: bytes) -> int | None:
    """Return the orientation in an XMP packet; None if there is none."""
    match = _XMP_ORIENTATION.search(data)
    return None if match is None else int(match[1])


def _tiff_bytes(data: bytes, number: int) -> bytes:
    """Return the content of a tag of bytes in the first directory of TIFF data; empty if none."""
    entry = _tiff_entry(data, number)
    if entry is None:
        return b""
    order = _TIFF_ORDERS[data[:4]]
    count, start = struct.unpack_from(f"{order}II", data, entry + 4)
    return data[start : start + count]


def _tiff_value(data: bytes, number: int) -> int | None:
    """Return the first number of a tag in the first directory of TIFF data; None if none."""
    entry = _tiff_entry(data, number)
    if entry is None:
        return None
    order = _TIFF_ORDERS[data[:4]]
    _, kind, count = struct.unpack_from(f"{order}HHI", data, entry)
    code, start = "H" if kind == _SHORT else "I", entry + 8
    if count * struct.calcsize(f"={code}") > 4:  # The entry has the offset of the numbers.
        (start,) = struct.unpack_from(f"{order}I", data, entry + 8)
    if start + struct.calcsize(f"={code}") > len(data):
        return None
    return int(struct.unpack_from(f"{order}{code}", data, start)[0])


def _tiff_entry(data: bytes, number: int) -> int | None:
    """Return the position of a tag's entry in the first directory of TIFF data; None if none."""
    order = _TIFF_ORDERS.get(data[:4])
    if order is None or len(data) < 8:
        return None
    (start,) = struct.unpack_from(f"{order}I", data, 4)
    if start + 2 > len(data):
        return None
    (entries,) = struct.unpack_from(f"{order}H", data, start)
    for entry in range(start + 2, min(start + 2 + 12 * entries, len(data) - 11), 12):
        (tag,) = struct.unpack_from(f"{order}H", data, entry)
        if tag == number:
            return entry
    return None
