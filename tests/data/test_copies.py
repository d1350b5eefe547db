"""Identical images of different scenes are found, and no others."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from drivemim.data.index import copies
from drivemim.data.index.builders.frames import build_frames_index
from drivemim.data.index.copies import describe_copies, find_copies, shared_frames
from drivemim.data.index.frame_index import FrameIndex

LONG = bytes(range(256)) * 80  # 20 kB, of which the middle and the last 4 kB are looked at first


def put(folder, contents):
    paths = []
    for number, content in enumerate(contents):
        paths.append(folder / f"{number}.jpg")
        paths[-1].write_bytes(content)
    return paths


@pytest.mark.parametrize("base", [b"short", LONG])
def test_copies_of_other_scenes_are_found_by_content(tmp_path, base):
    """Files 0, 3 and 5 are equal; 1 is so in its scene alone with 2; 4 in a byte."""
    other = b"X" + base[1:]
    again = base + b"0"
    paths = put(tmp_path, [base, again, again, base, other, base])
    found = find_copies(paths, np.array([0, 1, 1, 1, 2, 2]))
    assert found.tolist() == [[0, 0], [3, 0], [5, 0]]


def test_no_files_and_no_copies(tmp_path):
    assert find_copies([], np.zeros(0, np.int64)).shape == (0, 2)
    paths = put(tmp_path, [b"a", b"b"])
    assert find_copies(paths, np.array([0, 1])).shape == (0, 2)
    assert find_copies(put(tmp_path, [b"a", b"a"]), np.array([0, 0])).shape == (0, 2)


def test_splits_are_described_in_pairs():
    scenes = [("train", "a"), ("train", "b"), ("val", "a"), ("", "c"), ("train", "a")]
    found = np.array([[0, 0], [2, 0], [3, 0], [1, 1], [4, 1]])
    assert describe_copies(found, ["0", "1", "2", "3", "4"], scenes) == (
        "1 images are in folders without a split and in the split 'train', first 3 as 0; "
        "1 images are in folders without a split and in the split 'val', first 3 as 2; "
        "1 images are in different scenes of the split 'train', first 1 as 4; "
        "1 images are in the split 'train' and in the split 'val', first 0 as 2"
    )
    assert describe_copies(np.zeros((0, 2), np.int64), [], []) == ""


def test_an_index_says_which_images_are_in_two_splits(tmp_path, put_images, put_coco, caplog):
    """Copies under other names: one of train in val, one of val in an unlabelled folder."""
    put_images("data/train/a.png", "data/val/x.png", "more/drive/m.png")
    for name, content in {"train/b.png": 1, "val/y.png": 2}.items():
        _image(tmp_path / "data" / name, content)
    _image(tmp_path / "more" / "drive" / "n.png", 2)
    _image(tmp_path / "more" / "drive" / "o.png", 2)
    files = [
        put_coco("data/train.json", ["train/a.png", "train/b.png"]),
        put_coco("data/val.json", ["val/x.png", "val/y.png"]),
    ]
    roots = [tmp_path / "data", tmp_path / "more"]
    index = FrameIndex.open(build_frames_index(roots, tmp_path / "i.arrow", coco=files))
    paths = list(index.frames.path)
    black = [paths.index(f"{name}.png") for name in ("more/drive/m", "data/train/a", "data/val/x")]
    other = [paths.index(f"{name}.png") for name in ("more/drive/n", "more/drive/o", "data/val/y")]
    assert sorted(index.copies.tolist()) == sorted(
        [[row, min(black)] for row in black] + [[row, min(other)] for row in other]
    )
    (message,) = (text for text in caplog.messages if "copies of images" in text)
    assert (
        "1 images are in the split 'train' and in the split 'val', first data/train/a.png as "
        "data/val/x.png" in message
    )
    assert "2 images are in folders without a split and in the split 'val'" in message

    def rows(split):
        return np.flatnonzero(np.isin(index.frames.scene, index.scene_rows(split)))

    shared = shared_frames(index, rows("val"), index, rows("train"))
    assert [[paths[row] for row in pair] for pair in shared] == [
        ["data/val/x.png", "data/train/a.png"]
    ]
    assert shared_frames(index, rows("val")[:0], index, rows("train")).shape == (0, 2)


def test_nuscenes_is_not_compared(small_index):
    index = FrameIndex.open(small_index)
    rows = np.arange(len(index.frames))
    assert index.copies.shape == (0, 2)
    assert shared_frames(index, rows[:2], index, rows[2:]).shape == (0, 2)
    assert shared_frames(index, rows[:2], index, rows[1:]).tolist() == [[1, 1]]


def test_frames_of_two_indices_are_compared_by_content(tmp_path):
    """Of a/0, a/1, a/2, the first two are copies of b/7 and b/8; b/9 has the size of a/2 alone."""
    for name, value in {"a/0": 1, "a/1": 2, "a/2": 3, "b/7": 2, "b/8": 1, "b/9": 4}.items():
        _image(tmp_path / f"{name}.png", value)
    one, two = (
        FrameIndex.open(build_frames_index([tmp_path / name], tmp_path / f"{name}.arrow"))
        for name in "ab"
    )
    every = np.arange(3)
    names = [(one.frames.path[row], two.frames.path[found])
             for row, found in shared_frames(one, every, two, every)]  # fmt: skip
    assert [(Path(a).stem, Path(b).stem) for a, b in names] == [("0", "8"), ("1", "7")]
    assert shared_frames(one, every[:0], two, every).shape == (0, 2)
    assert shared_frames(one, every, two, every[:0]).shape == (0, 2)
    # One file under two names is one index.
    (tmp_path / "link.arrow").symlink_to(tmp_path / "a.arrow")
    link = FrameIndex.open(tmp_path / "link.arrow")
    assert shared_frames(one, every, link, every[1:]).tolist() == [[1, 1], [2, 2]]
    (tmp_path / "b" / "8.png").unlink()
    assert len(shared_frames(one, every, two, every)) == 1


def test_tokens_of_two_indices_identify_frames(small_index, tmp_path, monkeypatch):
    """With more frames than ``MAX_FILES``, the tokens are compared alone."""
    monkeypatch.setattr(copies, "MAX_FILES", 0)
    index = FrameIndex.open(small_index)
    copied = Path(shutil.copy(small_index, tmp_path / "copy.arrow"))
    other = FrameIndex.open(copied, data_root=index.data_root)
    found = shared_frames(index, np.array([0, 2]), other, np.array([2, 3]))
    assert found.tolist() == [[2, 2]]


def _image(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((30, 40, 3), value, np.uint8))
