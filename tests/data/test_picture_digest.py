"""JPEG files that differ only in comments and metadata count as copies."""

import cv2
import numpy as np

from drivemim.data.index.copies import find_copies
from drivemim.data.index.picture_digest import picture_digest, picture_key


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
    assert len({picture_key(path) for path in paths[:3]}) == 1
    assert len({picture_digest(path) for path in paths}) == 5
