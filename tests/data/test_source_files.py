import hashlib
import json
import os
import pickle
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from drivemim.data.index import source_files as sources
from drivemim.data.index.builders.frames import build_frames_index
from drivemim.data.index.frame_index import FrameIndex
from drivemim.data.index.source_files import Fingerprint, fingerprints, is_unchanged


@pytest.fixture
def data(tmp_path):
    """A folder with an image, its COCO file and the index of both."""
    root = tmp_path / "data"
    root.mkdir()
    cv2.imwrite(str(root / "0.jpg"), np.zeros((30, 40, 3), np.uint8))
    image = {"id": 1, "file_name": "0.jpg", "width": 40, "height": 30}
    (root / "train.json").write_text(json.dumps({"images": [image]}))
    build_frames_index([root], root / "index.arrow", coco=[root / "train.json"])
    return root


@pytest.fixture
def read(monkeypatch):
    """The files whose content was compared."""
    names: list[Path] = []
    digest = sources.file_digest

    def count(file):
        names.append(file)
        return digest(file)

    monkeypatch.setattr(sources, "file_digest", count)
    return names


def _touch(path: Path, seconds: float) -> None:
    time = path.stat().st_mtime + seconds
    os.utime(path, (time, time))


def test_a_fingerprint_is_of_the_content(tmp_path):
    file = tmp_path / "a.json"
    file.write_bytes(b"abc")
    (known,) = fingerprints(tmp_path, [file])
    assert (known.name, known.size) == ("a.json", 3)
    # SHA-256 of "abc", FIPS 180-2, appendix B.1.
    assert known.digest == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    large = tmp_path / "large"
    large.write_bytes(bytes(range(256)) * 12_000)
    assert fingerprints(tmp_path, [large])[0].digest == (
        hashlib.sha256(large.read_bytes()).hexdigest()
    )
    _touch(file, 5)
    assert is_unchanged(file, known)
    file.write_bytes(b"abd")
    assert not is_unchanged(file, known)


@pytest.mark.parametrize("seconds", [3600, -3600])
def test_a_copied_data_set_is_the_same(data, tmp_path, read, seconds):
    copy = tmp_path / "copy"
    shutil.copytree(data, copy)
    _touch(copy / "train.json", seconds)
    for index in (data / "index.arrow", copy / "index.arrow"):
        assert FrameIndex.open(index, data_root=copy).image_path(0) == copy / "0.jpg"
    assert read == [copy / "train.json"] * 2
    # What was compared once is not read again, in this process or another.
    opened = FrameIndex.open(copy / "index.arrow", data_root=copy)
    assert pickle.loads(pickle.dumps(opened)).data_root == copy
    FrameIndex.open(data / "index.arrow")
    assert len(read) == 2
    # The same length, the same time as the copy's, another content.
    changed = (copy / "train.json").read_text().replace('"id": 1', '"id": 2')
    time = (copy / "train.json").stat().st_mtime + 1
    (copy / "train.json").write_text(changed)
    os.utime(copy / "train.json", (time, time))
    with pytest.raises(ValueError, match=r"older than its tables: .*copy/train\.json changed"):
        FrameIndex.open(copy / "index.arrow", data_root=copy)
    FrameIndex.open(data / "index.arrow")


def test_content_is_not_read_if_size_and_time_suffice(data, read):
    FrameIndex.open(data / "index.arrow")
    with (data / "train.json").open("a") as file:
        file.write(" ")
    with pytest.raises(ValueError, match="older than its tables"):
        FrameIndex.open(data / "index.arrow")
    assert read == []


def test_beside_a_read_only_index_the_copy_is_compared_each_time(data, tmp_path, read, monkeypatch):
    _touch(data / "train.json", 10)

    def refuse(path, content):
        raise OSError(30, "Read-only file system", str(path))

    monkeypatch.setattr(sources, "write_bytes", refuse)
    for count in (1, 2):
        FrameIndex.open(data / "index.arrow")
        assert len(read) == count


def test_an_older_index_goes_by_time(tmp_path):
    file = tmp_path / "a.json"
    file.write_bytes(b"abc")
    known = Fingerprint("a.json", 3, file.stat().st_mtime_ns)
    assert is_unchanged(file, known)
    _touch(file, -5)
    assert is_unchanged(file, known)
    _touch(file, 10)
    assert not is_unchanged(file, known)
