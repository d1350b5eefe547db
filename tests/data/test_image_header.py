import io
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from drivemim.data.index.builders.folder_frames import image_size
from drivemim.data.index.image_header import (
    ImageHeader,
    check_bit_depth,
    check_upright,
    read_header,
)
from drivemim.data.index.images import read_image
from drivemim.errors import DataError

PICTURE = np.full((20, 30, 3), 40, np.uint8)
PICTURE[:6, :9] = 220


def encoded(kind, orientation=None, **settings):
    """Bytes of the picture with an EXIF orientation."""
    stream = io.BytesIO()
    if orientation is not None:
        settings["exif"] = Image.Exif()
        settings["exif"][274] = orientation
    Image.fromarray(PICTURE).save(stream, kind, **settings)
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", [None, 1, 2, 3, 4, 5, 6, 7, 8])
def test_orientations_are_read_from_every_format(kind, orientation):
    header = read_header(io.BytesIO(encoded(kind, orientation)))
    assert header.orientation == (orientation or 1)
    assert header.size == ((20, 30) if kind == "JPEG" else None)


def xmp(orientation, template='tiff:Orientation="%d"'):
    """An XMP packet with an orientation."""
    start = '<x:xmpmeta xmlns:x="adobe:ns:meta/" xmlns:tiff="http://ns.adobe.com/tiff/1.0/">'
    return f"{start}<rdf:Description {template % orientation}/></x:xmpmeta>".encode()


def with_chunk(name, content):
    """A PNG file of the picture with a chunk before its pixels."""
    data = encoded("PNG")
    checked = name + content
    chunk = len(content).to_bytes(4, "big") + checked + zlib.crc32(checked).to_bytes(4, "big")
    return data[:33] + chunk + data[33:]  # the signature's 8 bytes and IHDR's 25 come first


def profile(orientation, kind=b"exif"):
    """EXIF as ImageMagick writes it into text."""
    exif = Image.Exif()
    exif[274] = orientation
    data = exif.tobytes()
    return b"\n%s\n%8d\n%s\n" % (kind, len(data), data.hex().encode())


ELSEWHERE = {
    "jpeg xmp": lambda n: encoded("JPEG", xmp=xmp(n)),
    "jpeg xmp element": lambda n: encoded(
        "JPEG", xmp=xmp(n, "><tiff:Orientation>%d</tiff:Orientation")
    ),
    "jpeg exif without it": lambda n: encoded("JPEG", xmp=xmp(n), exif=Image.Exif()),
    "webp xmp": lambda n: encoded("WEBP", xmp=xmp(n)),
    "png iTXt": lambda n: with_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp(n)),
    "png iTXt compressed": lambda n: with_chunk(
        b"iTXt", b"XML:com.adobe.xmp\0\1\0en\0key\0" + zlib.compress(xmp(n))
    ),
    "png tEXt": lambda n: with_chunk(b"tEXt", b"Raw profile type exif\0" + profile(n)),
    "png zTXt": lambda n: with_chunk(
        b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(profile(n))
    ),
}


@pytest.mark.parametrize("place", ELSEWHERE)
@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_orientations_outside_of_exif_are_those_that_pillow_turns_by(tmp_path, place, orientation):
    data = ELSEWHERE[place](orientation)
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        assert image.getexif()[274] == orientation
    header = read_header(io.BytesIO(data))
    assert header.orientation == orientation
    path = tmp_path / "0.img"
    path.write_bytes(data)
    if orientation == 1:
        assert image_size(path) == (30, 20)
        return
    tag = "EXIF" if "EXt" in place or "zTXt" in place else "XMP"
    with pytest.raises(DataError, match=rf"has {tag} orientation {orientation}: programs show it"):
        image_size(path)


def test_imagemagick_s_other_name_for_exif_is_refused_too(tmp_path):
    """Pillow does not read it, so that its command would lose the orientation."""
    path = tmp_path / "0.png"
    path.write_bytes(with_chunk(b"tEXt", b"Raw profile type APP1\0" + profile(6, b"APP1")))
    with pytest.raises(DataError, match="has APP1 orientation 6.*mogrify -auto-orient"):
        image_size(path)


def test_exif_counts_before_xmp():
    for orientation in (1, 3):
        for kind in ("JPEG", "WEBP"):
            data = encoded(kind, orientation, xmp=xmp(6))
            assert read_header(io.BytesIO(data)).orientation == orientation
            with Image.open(io.BytesIO(data)) as image:
                assert image.getexif()[274] == orientation


def test_xmp_of_a_tiff_file():
    stream = io.BytesIO()
    Image.fromarray(PICTURE).save(stream, "TIFF", tiffinfo={700: xmp(8)})
    assert read_header(stream).orientation == 1  # not at its beginning
    stream.seek(0)
    assert read_header(stream).orientation == 8
    with Image.open(stream) as image:
        assert image.getexif()[274] == 8


@pytest.mark.parametrize("place", ELSEWHERE)
def test_broken_text_does_not_crash(place):
    data = ELSEWHERE[place](6)
    for length in range(min(len(data), 900)):
        assert read_header(io.BytesIO(data[:length])).orientation in (1, 6)
    for content in (b"", b"Raw profile type exif", b"Raw profile type exif\0\nexif\n 1\nxyz"):
        for name in (b"tEXt", b"zTXt", b"iTXt"):
            assert read_header(io.BytesIO(with_chunk(name, content))).orientation == 1


@pytest.mark.parametrize("place", [name for name in ELSEWHERE if "xmp" in name or "TXt" in name])
def test_the_command_turns_by_orientations_outside_of_exif(tmp_path, place):
    """Orientation 3 turns by 180 degrees: the bright corner at the top left goes to the other."""
    path = tmp_path / f"0.{place.split()[0]}"
    path.write_bytes(ELSEWHERE[place](3))
    with pytest.raises(DataError) as caught:
        image_size(path)
    command = str(caught.value).split("rotate its pixels: ")[1].split(". If they refer")[0]
    subprocess.run(command.replace("python", sys.executable, 1), shell=True, check=True)
    turned = read_image(path, token="t", stored=(20, 30))
    assert turned[[1, 1, -2, -2], [1, -2, 1, -2]].mean(axis=1).argmax() == 3


def test_little_endian_exif_and_invalid_orientations():
    for orientation, wanted in ((6, 6), (0, 1), (9, 1)):
        entry = b"\x12\x01\x03\x00\x01\x00\x00\x00" + bytes([orientation, 0, 0, 0])
        exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0" + entry + b"\0\0\0\0"
        data = encoded("JPEG")
        segment = b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
        header = read_header(io.BytesIO(data[:2] + segment + data[2:]))
        assert header == ImageHeader((20, 30), wanted)


def test_progressive_and_grey_files_have_a_size():
    assert read_header(io.BytesIO(encoded("JPEG", progressive=True))).size == (20, 30)
    done, grey = cv2.imencode(".jpg", PICTURE[..., 0])
    assert done
    assert read_header(io.BytesIO(grey.tobytes())).size == (20, 30)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_headers_cut_anywhere_do_not_crash(kind):
    data = encoded(kind, 6)
    for length in range(min(len(data), 300)):
        assert read_header(io.BytesIO(data[:length])).orientation in (1, 6)
    # What comes after the header may be anything, and a thumbnail within it as well.
    assert read_header(io.BytesIO(b"no image at all")) == ImageHeader()
    assert read_header(io.BytesIO(b"")) == ImageHeader()


def test_a_thumbnail_is_not_the_image():
    thumbnail = encoded("JPEG", 6)
    data = encoded("JPEG")
    segment = b"\xff\xe2" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    assert read_header(io.BytesIO(data[:2] + segment + data[2:])) == ImageHeader((20, 30), 1)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_a_turned_image_is_refused_when_it_is_read(tmp_path, suffix):
    kind = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}[suffix]
    for orientation in (3, 6):
        path = tmp_path / f"{orientation}.{suffix}"
        path.write_bytes(encoded(kind, orientation))
        for stored in ((20, 30), (30, 20)):
            match = rf"{orientation}\.{suffix} of frame f7 has EXIF orientation {orientation}"
            with pytest.raises(DataError, match=match):
                read_image(path, token="f7", stored=stored)
    path.write_bytes(encoded(kind, 1))
    assert read_image(path, token="f7", stored=(20, 30)).shape == (20, 30, 3)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
@pytest.mark.parametrize("orientation", range(2, 9))
def test_the_command_of_the_error_turns_the_pixels(tmp_path, suffix, orientation):
    kind = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}[suffix]
    path = tmp_path / f"it's 1.{suffix}"
    path.write_bytes(encoded(kind, orientation))
    with pytest.raises(DataError) as caught:
        check_upright(path, ImageHeader(None, orientation))
    command = str(caught.value).split("rotate its pixels: ")[1].split(". If they refer")[0]
    assert command.startswith("python -c ")
    command = command.replace("python", sys.executable, 1)
    subprocess.run(command, shell=True, check=True)
    turned = read_image(path, token="t", stored=(20, 30) if orientation < 5 else (30, 20))
    # Orientation n of EXIF, done by hand: which corner of the picture shows the bright square.
    corner = turned[[1, 1, -2, -2], [1, -2, 1, -2]].mean(axis=1)
    wanted = {2: 1, 3: 3, 4: 2, 5: 0, 6: 1, 7: 3, 8: 2}[orientation]
    assert corner.argmax() == wanted


@pytest.mark.parametrize("suffix", ["png", "tiff", "pgm"])
@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bits_are_refused_when_they_are_indexed_and_read(tmp_path, suffix, channels):
    suffix = "ppm" if suffix == "pgm" and channels == 3 else suffix
    values = np.repeat(np.linspace(0, 4095, 600).reshape(20, 30, 1), channels, axis=2)
    for kind, bits in ((np.uint16, 16), (np.uint8, 8)):
        path = tmp_path / f"{bits}.{suffix}"
        assert cv2.imwrite(str(path), (values % 2 ** min(bits, 12)).astype(kind).squeeze())
        with path.open("rb") as stream:
            assert read_header(stream).bits == bits
    assert image_size(path) == (30, 20)
    assert read_image(path, token="f7", stored=(20, 30)).shape == (20, 30, 3)
    deep = tmp_path / f"16.{suffix}"
    with pytest.raises(DataError, match=rf"16\.{suffix} has 16 bits per channel.*keep depth maps"):
        image_size(deep)
    with pytest.raises(DataError, match=rf"16\.{suffix} of frame f7 has 16 bits per channel"):
        read_image(deep, token="f7", stored=(20, 30))


@pytest.mark.parametrize(
    ("start", "name"),
    [
        (b"\0\0\0\x20ftypavif\0\0\0\0", "AVIF or HEIF"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "AVIF or HEIF"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
        (b"\xff\x4f\xff\x51\0\x2f\0\0\0\0\0\0", "JPEG 2000"),
        (b"GIF89a\x10\0\x10\0\0\0", "GIF"),
    ],
)
def test_formats_whose_orientation_is_not_read_are_refused(start, name):
    header = read_header(io.BytesIO(start + bytes(40)))
    with pytest.raises(DataError, match=f"image a.jpg of frame f is {name}, of which orientation"):
        check_bit_depth(Path("a.jpg"), header, "f")
