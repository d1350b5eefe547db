import io
import subprocess
import sys

import cv2
import numpy as np
import pytest
from PIL import Image

from drivemim.datasets.builders.folder_frames import image_size
from drivemim.datasets.image_header import ImageHeader, check_upright, read_header
from drivemim.datasets.images import read_image
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


def test_little_endian_exif_and_values_that_mean_nothing():
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
def test_headers_cut_anywhere_are_no_crash(kind):
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
    command = str(caught.value).split("turn its pixels: ")[1].split(". If they mean")[0]
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
    with pytest.raises(DataError, match=rf"16\.{suffix} has 16 bits a channel.*keep depth maps"):
        image_size(deep)
    with pytest.raises(DataError, match=rf"16\.{suffix} of frame f7 has 16 bits a channel"):
        read_image(deep, token="f7", stored=(20, 30))
