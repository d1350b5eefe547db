"""Splits of COCO files, by stem or folder."""

from pathlib import Path

import pytest

from drivemim.data.index.builders.coco_splits import split_names
from drivemim.data.index.builders.frames import build_frames_index
from drivemim.data.index.frame_index import FrameIndex


@pytest.mark.parametrize(
    ("files", "splits"),
    [
        (["train.json", "val.json"], ["train", "val"]),
        (["train/_annotations.coco.json", "valid/_annotations.coco.json",
          "test/_annotations.coco.json"], ["train", "valid", "test"]),
        (["train/_annotations.coco.json"], ["train"]),
        (["mine/_annotations.coco.json"], ["_annotations.coco"]),
        (["a/_annotations.coco.json", "b/_annotations.coco.json"], ["a", "b"]),
        (["train/labels.json", "val/labels.json"], ["train", "val"]),
        (["train/labels.json"], ["labels"]),
        (["Train/annotations/instances.json", "Test/annotations/instances.json"],
         ["Train", "Test"]),
        (["cam0/labels.json", "cam1/labels.json"], ["labels", "labels"]),
        (["test/cam0/labels.json", "test/cam1/labels.json"], ["labels", "labels"]),
        (["train/cam0/labels.json", "val/cam0/labels.json", "val/cam1/labels.json"],
         ["train", "val", "val"]),
        (["a.json", "a.json"], ["a", "a"]),
        ([], []),
    ],
)  # fmt: skip
def test_names(files, splits):
    assert split_names([Path("/data") / name for name in files]) == splits


def test_splits_named_by_folders_and_joined_splits_are_reported(capsys):
    split_names([Path("/d/train/x.json"), Path("/d/val/x.json"), Path("/d/y.json")])
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "/d/train/x.json is of the split 'train', by its folder",
        "/d/val/x.json is of the split 'val', by its folder",
    ]
    split_names([Path("/d/cam0/x.json"), Path("/d/cam1/x.json")])
    (line,) = capsys.readouterr().out.splitlines()
    assert line == (
        "2 COCO files are of the split 'x': /d/cam0/x.json, /d/cam1/x.json; rename them if they "
        "are not of one"
    )


def test_a_roboflow_export_has_its_splits(put_images, put_coco, tmp_path):
    put_images("train/a.jpg", "valid/b.jpg", "test/c.jpg")
    files = [
        put_coco(f"{split}/_annotations.coco.json", [name], [{"bbox": [1, 2, 3, 4]}])
        for split, name in (("train", "a.jpg"), ("valid", "b.jpg"), ("test", "c.jpg"))
    ]
    index = FrameIndex.open(build_frames_index([tmp_path], tmp_path / "i.arrow", coco=files))
    for split, name in (("train", "a.jpg"), ("valid", "b.jpg"), ("test", "c.jpg")):
        rows = index.scene_rows(split)
        assert [index.frames.path[row] for row in index.scenes.first_frame[rows].ravel()] == [
            f"{split}/{name}"
        ]
