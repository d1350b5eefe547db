"""JPEG files that differ only in comments and metadata count as copies."""

import cv2
import numpy as np
import pytest

from drivemim.data.index.copies import find_copies
from drivemim.data.index.picture_digest import frame_key, picture_digest, quick_digest


def jpeg(seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (64, 96, 3), np.uint8)
    return cv2.imencode(".jpg", pixels)[1].tobytes()


def with_segment(content, marker, text):
    length = (len(text) + 2).to_bytes(2, "big")
    return content[:2] + b"\xff" + bytes([marker]) + length + text + content[2:]


def test_comments_and_metadata_of_jpeg_files_do_not_count(tmp_path):
    plain = jpeg(0)
    colours = with_segment(plain, 0xEE, b"Adobe\0\x64\0\0\0\0\0")
    contents = {
        "plain": plain,
        "comment": with_segment(plain, 0xFE, b"shot on a Monday" * 600),  # longer than the end
        "exif": with_segment(plain, 0xE1, b"Exif\0\0"),
        "colours": colours,
        "other": jpeg(1),
        "text": b"not a JPEG file",
        "cut": plain[:20],
    }
    paths = []
    for name, content in contents.items():
        paths.append(tmp_path / f"{name}.jpg")
        paths[-1].write_bytes(content)
    found = find_copies(paths, np.arange(len(paths)))
    assert found.tolist() == [[0, 0], [1, 0], [2, 0]]
    assert len({quick_digest(path) for path in paths[:3]}) == 1
    assert len({picture_digest(path) for path in paths}) == 5


def write_all(folder, contents):
    paths = [folder / f"{number}.jpg" for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    return paths


@pytest.mark.parametrize("size", [1 << 15, 1 << 18, 1 << 20])
def test_padding_does_not_count(tmp_path, size):
    """Some cameras write every image in a buffer of one size and fill it with zeros."""
    plain = [jpeg(seed) for seed in range(3)]
    paths = write_all(tmp_path, [*plain, *(each.ljust(size, b"\0") for each in plain)])
    for key in (frame_key, quick_digest, picture_digest):
        keys = [key(path) for path in paths]
        assert len(set(keys)) == 3
        assert keys[:3] == keys[3:]


def test_padding_over_several_reads_and_nothing_else(tmp_path):
    paths = write_all(tmp_path, [b"\0" * 200_000, b"\0" * 300_000, b"", jpeg(0)[:20] + b"\0" * 99])
    assert len({picture_digest(path) for path in paths}) == 2
    # Nothing but the name is left that tells two empty pictures apart.
    assert len({frame_key(path) for path in paths}) == 4


@pytest.mark.parametrize("place", [0, 1 / 8, 1 / 4, 1 / 2, 3 / 4, 1])
@pytest.mark.parametrize("size", [5_000, 24_000, 1_000_000])
def test_pictures_that_differ_at_one_place_have_keys_of_their_own(tmp_path, place, size):
    content = bytearray(np.random.default_rng(0).integers(1, 256, size, np.uint8).tobytes())
    before = bytes(content)
    content[min(int(size * place), size - 1)] ^= 0x80
    one, other = write_all(tmp_path, [before, bytes(content)])
    assert frame_key(one) != frame_key(other)
