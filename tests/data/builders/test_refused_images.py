"""Images that an index cannot have: one error names all of them."""

import json
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from drivemim.data.index.builders.frames import build_frames_index
from drivemim.errors import DataError


def test_all_refused_images_are_named_at_once(tmp_path):
    for name in ("a/0.png", "a/1.png", "b/0.png", "b/1.png"):
        (tmp_path / "d" / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / "d" / name), np.full((30, 40, 3), 9, np.uint8))
    (tmp_path / "d" / "a" / "1.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"a/1.png is not a readable image .*replace it$"):
        build_frames_index([tmp_path / "d"], tmp_path / "i.arrow")
    (tmp_path / "d" / "b" / "0.png").write_text("<html>")
    cv2.imwrite(str(tmp_path / "d" / "b" / "1.png"), np.full((30, 40), 9, np.uint16))
    with pytest.raises(DataError) as error:
        build_frames_index([tmp_path / "d"], tmp_path / "i.arrow")
    folder = tmp_path / "d"
    assert str(error.value).startswith(f"{folder}/a/1.png is not a readable image")
    assert str(error.value).endswith(f". 2 more are refused: {folder}/b/0.png, {folder}/b/1.png")


def _png(header):
    """A PNG file with this content of the chunk IHDR, and no pixels."""
    data = b"\x89PNG\r\n\x1a\n"
    for chunk in (b"IHDR" + header, b"IDAT"):
        length, checksum = len(chunk) - 4, zlib.crc32(chunk)
        data += length.to_bytes(4, "big") + chunk + checksum.to_bytes(4, "big")
    return data


_SIZE = (30_000).to_bytes(4, "big")


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (_SIZE + _SIZE + bytes((8, 2, 0, 0, 0)), "900000000 pixels"),
        (_SIZE, "Truncated IHDR"),
    ],
)
@pytest.mark.parametrize("name", ["1.png", "0_mask.png"])
def test_a_damaged_or_very_large_header_is_refused(tmp_path, monkeypatch, header, reason, name):
    """Also of a file that could be a label map by its name."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2**26)  # other libraries remove Pillow's limit
    folder = tmp_path / "d"
    folder.mkdir()
    cv2.imwrite(str(folder / "0.jpg"), np.full((30, 40, 3), 9, np.uint8))
    (folder / name).write_bytes(_png(header))
    with pytest.raises(DataError, match=rf"{name} is not a readable image \(.*{reason}"):
        build_frames_index([folder], tmp_path / "i.arrow")


def test_a_coco_file_without_images_is_refused(tmp_path):
    cv2.imwrite(str(tmp_path / "0.png"), np.full((30, 40, 3), 9, np.uint8))
    image = {"id": 1, "file_name": "0.png", "width": 40, "height": 30}
    for name, images in (("train", [image]), ("val", [])):
        document = {"images": images, "annotations": [], "categories": [{"id": 1, "name": "car"}]}
        (tmp_path / f"{name}.json").write_text(json.dumps(document))
    files = [tmp_path / "train.json", tmp_path / "val.json"]
    with pytest.raises(DataError, match=r"val\.json lists no images; correct it, or leave it out"):
        build_frames_index([tmp_path], tmp_path / "i.arrow", coco=files)
