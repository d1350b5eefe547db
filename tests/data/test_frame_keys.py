"""Keys of frames: equal for moved, copied and linked files, different for different frames."""

import json
import shutil

import cv2
import numpy as np
import pytest

from drivemim.data.index.builders.frames import build_frames_index
from drivemim.data.index.builders.nuscenes import build_nuscenes_index
from drivemim.data.index.frame_index import FrameIndex
from drivemim.data.index.frame_keys import (
    annotated_scenes,
    frame_keys,
    frames_in_samples,
    scene_tokens,
)
from drivemim.generated import MARKER


@pytest.fixture
def folder(tmp_path):
    """Two splits of three images; those of val have no boxes in the file that lists train."""
    random = np.random.default_rng(0)
    for split in ("train", "val"):
        images = []
        for number in range(3):
            path = tmp_path / "data" / split / f"{split}{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            # Stored without compression, so that any pixel can be changed in the file.
            noise = random.integers(0, 256, (48, 64, 3), np.uint8)
            cv2.imwrite(str(path), noise, [cv2.IMWRITE_PNG_COMPRESSION, 0])
            images.append({
                "id": number, "file_name": f"{split}/{path.name}", "width": 64, "height": 48,
                "sequence": f"drive-{split}", "frame": number,
            })  # fmt: skip
        box = {"id": 1, "image_id": 0, "category_id": 1, "bbox": [1, 1, 9, 9], "area": 81}
        document = {"images": images, "annotations": [{**box, "iscrowd": 0}],
                    "categories": [{"id": 1, "name": "car"}]}  # fmt: skip
        (tmp_path / "data" / f"{split}.json").write_text(json.dumps(document))
    return tmp_path / "data"


def keys_of(root, out, *splits):
    files = [root / f"{split}.json" for split in splits]
    index = FrameIndex.open(build_frames_index([root], out, coco=files))
    rows = np.arange(len(index.frames))
    paths = [index.frames.path[row] for row in rows]
    return dict(zip(paths, frame_keys(index, rows).tolist(), strict=True))


def test_a_frame_is_the_same_by_another_index_root_and_link(folder, tmp_path):
    whole = keys_of(folder, tmp_path / "whole.arrow", "train", "val")
    assert len(set(whole.values())) == 6
    only = keys_of(folder, tmp_path / "only.arrow", "val")
    assert only == {path: key for path, key in whole.items() if path.startswith("val/")}
    moved = tmp_path / "elsewhere" / "moved"
    shutil.copytree(folder, moved)
    assert keys_of(moved, tmp_path / "moved.arrow", "train", "val") == whole
    linked = tmp_path / "links"
    shutil.copytree(folder, linked)
    for path in (linked / "val").iterdir():
        path.unlink()
        path.symlink_to(folder / "val" / path.name)
    assert keys_of(linked, tmp_path / "linked.arrow", "train", "val") == whole


def test_a_copy_and_a_hard_link_under_another_name_are_the_same_frame(folder, tmp_path):
    keys = keys_of(folder, tmp_path / "a.arrow", "val")
    renamed = tmp_path / "renamed" / "drive"
    renamed.mkdir(parents=True)
    shutil.copy(folder / "val" / "val0.png", renamed / "x0.png")
    (renamed / "x1.png").hardlink_to(folder / "val" / "val1.png")
    index = FrameIndex.open(
        build_frames_index([tmp_path / "renamed"], tmp_path / "b.arrow", coco=[])
    )
    found = frame_keys(index, np.arange(2)).tolist()
    assert found == [keys["val/val0.png"], keys["val/val1.png"]]


def test_files_of_a_few_bytes_are_distinguished_by_name(tmp_path):
    drive = tmp_path / "data" / "drive"
    drive.mkdir(parents=True)
    for name in ("0.png", "1.png"):
        cv2.imwrite(str(drive / name), np.zeros((48, 64, 3), np.uint8))
    index = FrameIndex.open(build_frames_index([tmp_path / "data"], tmp_path / "a.arrow", coco=[]))
    assert len(set(frame_keys(index, np.arange(2)).tolist())) == 2


def test_other_content_of_the_same_name_and_length_is_another_frame(folder, tmp_path):
    before = keys_of(folder, tmp_path / "a.arrow", "val")
    path = folder / "val" / "val1.png"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    after = keys_of(folder, tmp_path / "b.arrow", "val")
    assert [name for name in before if before[name] != after[name]] == ["val/val1.png"]


def test_a_missing_image_is_an_error(folder, tmp_path):
    index = FrameIndex.open(
        build_frames_index([folder], tmp_path / "a.arrow", coco=[folder / "val.json"])
    )
    (folder / "val" / "val2.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"val2\.png"):
        frame_keys(index, np.arange(3))


def test_a_scene_with_any_box_is_annotated(folder, tmp_path):
    out = tmp_path / "a.arrow"
    (folder / "free").mkdir()
    (folder / "val" / "val0.png").rename(folder / "free" / "x.png")
    document = json.loads((folder / "val.json").read_text())
    document["images"] = document["images"][1:]
    document["annotations"] = []
    (folder / "val.json").write_text(json.dumps(document))
    index = FrameIndex.open(
        build_frames_index([folder], out, coco=[folder / "train.json", folder / "val.json"])
    )
    found = dict(zip(index.scenes.name, annotated_scenes(index).tolist(), strict=True))
    assert found == {"drive-train": True, "drive-val": False}


def test_unique_tokens_identify_scenes(write, tables, folder, tmp_path):
    root = write(tables)
    index = FrameIndex.open(build_nuscenes_index(root, "v1.0-mini", tmp_path / "rig.arrow"))
    assert scene_tokens(index) == list(index.scenes.token)
    # Towns of one seed have the same tokens, whatever their scenes show.
    (root / MARKER).touch()
    assert scene_tokens(index) is None
    frames = build_frames_index([folder], tmp_path / "f.arrow", coco=[folder / "val.json"])
    assert scene_tokens(FrameIndex.open(frames)) is None


def test_frames_in_samples_are_the_keyframes_of_tables_and_all_images_of_folders(
    tables, write, folder, tmp_path
):
    index = FrameIndex.open(build_nuscenes_index(write(tables), "v1.0-mini", tmp_path / "t.arrow"))
    assert not index.frames.keyframe.all()
    assert frames_in_samples(index).tolist() == index.frames.keyframe.tolist()
    images = FrameIndex.open(build_frames_index([folder / "train"], tmp_path / "f.arrow"))
    assert frames_in_samples(images).tolist() == [True] * 3
