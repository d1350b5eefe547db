import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from drivemim.data.index.builders.frames import build_frames_index
from drivemim.data.index.frame_index import FrameIndex


def _image(path: Path, width: int = 40, height: int = 30) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.zeros((height, width, 3), np.uint8))


def _coco(path: Path, images: list[dict], annotations: list[dict]) -> Path:
    categories = [{"id": 4, "name": "car"}, {"id": 2, "name": "pedestrian"}]
    size = {"width": 40, "height": 30}
    document = {
        "images": [{**size, **image} for image in images],
        "annotations": annotations,
        "categories": categories,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    return path


def test_every_folder_of_images_is_a_sequence(tmp_path):
    for name in ("b/img_10.jpg", "b/img_9.jpg", "a/0.png"):
        _image(tmp_path / "drives" / name)
    (tmp_path / "drives" / "a" / "notes.txt").write_text("no image")
    out = build_frames_index([tmp_path / "drives"], tmp_path / "index.arrow", rate=2.0)
    index = FrameIndex.open(out)
    assert list(index.scenes.name) == ["a", "b"]
    assert list(index.frames.path) == ["a/0.png", "b/img_9.jpg", "b/img_10.jpg"]
    assert index.frames.timestamp.tolist() == [0, 0, 500_000]
    assert index.frames.next.tolist() == [-1, 2, -1]
    assert index.frames.sample.tolist() == [0, 1, 2]
    assert index.samples.keyframes.tolist() == [[0], [1], [2]]
    assert index.cameras == ("camera",)
    assert len(index.boxes) == 0
    assert index.image_path(1) == tmp_path / "drives" / "b" / "img_9.jpg"


def test_the_assumed_camera_is_marked_as_such(tmp_path):
    _image(tmp_path / "0.jpg", width=40, height=30)
    index = FrameIndex.open(build_frames_index([tmp_path], tmp_path / "index.arrow"))
    assert index.frames.intrinsics[0].tolist() == [[40, 0, 20], [0, 40, 15], [0, 0, 1]]
    assert index.frames.camera_to_ego[0].tolist() == [0, 0, 0, 1, 0, 0, 0]
    assert not index.frames.calibrated[0]
    assert list(index.scenes.name) == [tmp_path.name]


def test_coco_files_give_sequences_boxes_and_splits(tmp_path):
    for name in ("x/1.jpg", "x/2.jpg", "y/3.jpg"):
        _image(tmp_path / "data" / name)
    _image(tmp_path / "more" / "drive" / "0.jpg")
    train = _coco(
        tmp_path / "data" / "train.json",
        [
            {"id": 7, "file_name": "x/2.jpg", "sequence": "s", "frame": 30},
            {"id": 3, "file_name": "x/1.jpg", "sequence": "s", "frame": 20},
        ],
        [
            {"id": 1, "image_id": 7, "category_id": 2, "bbox": [1, 2, 3, 4], "track_id": 5},
            {"id": 2, "image_id": 3, "category_id": 2, "bbox": [5, 6, 7, 8], "track_id": 5},
            {"id": 3, "image_id": 7, "category_id": 4, "bbox": [0, 0, 9, 9]},
            {"id": 4, "image_id": 7, "category_id": 4, "bbox": [0, 0, 9, 9], "iscrowd": 1},
        ],
    )
    val = _coco(
        tmp_path / "data" / "val.json",
        [{"id": 7, "file_name": "y/3.jpg", "sequence": "s", "frame": 1}],
        [{"id": 1, "image_id": 7, "category_id": 4, "bbox": [1, 1, 2, 2]}],
    )
    out = build_frames_index(
        [tmp_path / "data", tmp_path / "more"],
        tmp_path / "index.arrow",
        coco=[train, val],
        rate=10.0,
    )
    index = FrameIndex.open(out)
    # The same sequence name in two files is two scenes; a root that no file touches is added.
    assert list(zip(index.scenes.split, index.scenes.name, strict=True)) == [
        ("", "more/drive"), ("train", "s"), ("val", "s")
    ]  # fmt: skip
    assert list(index.frames.path) == [
        "more/drive/0.jpg", "data/x/1.jpg", "data/x/2.jpg", "data/y/3.jpg"
    ]  # fmt: skip
    assert index.frames.timestamp.tolist() == [0, 0, 1_000_000, 0]  # of each scene
    assert index.boxes.sample.tolist() == [1, 2, 2, 2, 3]
    assert index.boxes.crowd.tolist() == [False, False, False, True, False]
    assert index.boxes.image_box[:2].tolist() == [[5, 6, 12, 14], [1, 2, 4, 6]]
    assert np.isnan(index.boxes.center).all()
    names = [index.categories[number] for number in index.boxes.category]
    assert names == ["pedestrian", "pedestrian", "car", "car", "car"]
    # One walker in two frames is one track; boxes without a track are tracks of their own.
    assert index.boxes.track.tolist() == [0, 0, 1, 2, 3]
    assert index.scene_rows("train").tolist() == [1]
    assert index.scene_rows(["train:s", "val:s"]).tolist() == [1, 2]


def test_users_mistakes_are_named(tmp_path):
    out = tmp_path / "index.arrow"
    with pytest.raises(FileNotFoundError, match="no folder .*/nowhere"):
        build_frames_index([tmp_path / "nowhere"], out)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="no images"):
        build_frames_index([tmp_path / "empty"], out)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "0.jpg").write_bytes(b"not an image")
    with pytest.raises(ValueError, match=r"bad/0\.jpg is not a readable image"):
        build_frames_index([tmp_path / "bad"], out)
    with pytest.raises(FileNotFoundError, match=r"no COCO file .*none\.json"):
        build_frames_index([tmp_path / "empty"], out, coco=[tmp_path / "none.json"])
    assert not out.exists()


def test_an_image_listed_twice_is_named(tmp_path):
    for name in ("a/0.jpg", "b/1.jpg"):
        _image(tmp_path / name)
    out = tmp_path / "index.arrow"
    with pytest.raises(ValueError, match=rf"a/0\.jpg is listed twice, by {tmp_path} and .*/a;"):
        build_frames_index([tmp_path, tmp_path / "a"], out)
    files = [
        _coco(tmp_path / f"{split}.json", [{"id": 1, "file_name": "b/1.jpg"}], [])
        for split in ("train", "val")
    ]
    with pytest.raises(ValueError, match=r"b/1\.jpg is listed twice, by .*train.* and .*val"):
        build_frames_index([tmp_path], out, coco=files)


def test_files_of_other_programs_are_skipped_and_counted(tmp_path, capsys):
    for name in (
        "a/1.jpg", "a/2.jpg", "a/._1.jpg", "a/._2.jpg", "a/.ipynb_checkpoints/1-checkpoint.jpg",
        "a/@eaDir/1.jpg/SYNOPHOTO_THUMB_M.jpg", "@eaDir/b.jpg", "__MACOSX/a/._1.jpg",
        ".Trash-1000/files/3.jpg",
    ):  # fmt: skip
        _image(tmp_path / "drives" / name)
    for name in ("a/.DS_Store", "a/Thumbs.db", ".DS_Store"):
        (tmp_path / "drives" / name).write_bytes(b"not an image")
    index = FrameIndex.open(build_frames_index([tmp_path / "drives"], tmp_path / "index.arrow"))
    assert list(index.frames.path) == ["a/1.jpg", "a/2.jpg"]
    (line,) = capsys.readouterr().out.strip().splitlines()
    assert line == (
        "skipped 10 files and folders that are not recordings: .DS_Store (2), "
        ".Trash-1000 (1), ._* (2), .ipynb_checkpoints (1), @eaDir (2), Thumbs.db (1), __MACOSX (1)"
    )
    # A folder that the user names is what the user means.
    hidden = tmp_path / "drives" / ".Trash-1000"
    index = FrameIndex.open(build_frames_index([hidden], tmp_path / "index.arrow"))
    assert list(index.frames.path) == ["files/3.jpg"]
    assert capsys.readouterr().out == ""


def test_a_coco_file_s_images_have_to_be_there(tmp_path):
    _image(tmp_path / "0.jpg")
    coco = _coco(tmp_path / "boxes.json", [{"id": 1, "file_name": "0.jpg"},
                                           {"id": 2, "file_name": "1.jpg"}], [])  # fmt: skip
    (tmp_path / "1.jpg").touch()
    with pytest.raises(FileNotFoundError, match=r"/1\.jpg is empty, .*boxes\.json lists it"):
        build_frames_index([tmp_path], tmp_path / "index.arrow", coco=[coco])
    (tmp_path / "1.jpg").unlink()
    (tmp_path / "1.jpg").symlink_to(tmp_path / "gone.jpg")
    with pytest.raises(FileNotFoundError, match=r"/1\.jpg is a link to a missing file, .*boxes"):
        build_frames_index([tmp_path], tmp_path / "index.arrow", coco=[coco])


def test_a_read_only_root_suggests_another_place(tmp_path, monkeypatch):
    _image(tmp_path / "drives" / "0.jpg")
    allowed = os.access
    monkeypatch.setattr(
        os, "access", lambda path, mode: "drives" not in str(path) and allowed(path, mode)
    )
    message = r"drives/index\.arrow cannot be written: .*drives is read-only; .* with --out FILE"
    with pytest.raises(PermissionError, match=message):
        build_frames_index([tmp_path / "drives"], tmp_path / "drives" / "index.arrow")
    build_frames_index([tmp_path / "drives"], tmp_path / "index.arrow")


def test_linked_folders_are_sequences_and_circles_end(tmp_path):
    _image(tmp_path / "elsewhere" / "0.jpg")
    _image(tmp_path / "drives" / "a" / "0.jpg")
    (tmp_path / "drives" / "b").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "drives" / "a" / "up").symlink_to(tmp_path / "drives")
    out = build_frames_index([tmp_path / "drives"], tmp_path / "index.arrow")
    assert list(FrameIndex.open(out).frames.path) == ["a/0.jpg", "b/0.jpg"]


@pytest.mark.parametrize(
    ("images", "annotations", "problem"),
    [
        ([{"id": 1, "file_name": "1.jpg"}, {"id": 1, "file_name": "0.jpg"}], [], "image id 1"),
        ([{"id": 1, "file_name": "0.jpg"}, {"id": 2, "file_name": "0.jpg"}], [],
         "file_name '0.jpg'"),
        ([{"id": 1, "file_name": "0.jpg", "width": 0}], [], "image 1 is 0 x 30 pixels"),
        ([{"id": 1, "file_name": "0.jpg"}],
         [{"id": 5, "image_id": 1, "category_id": 4, "bbox": [9, 9, -4, 2]}],
         "annotation 5 has a box -4 wide and 2 high"),
    ],
)  # fmt: skip
def test_implausible_values_are_refused_by_name(tmp_path, images, annotations, problem):
    _image(tmp_path / "0.jpg")
    _image(tmp_path / "1.jpg")
    coco = _coco(tmp_path / "boxes.json", images, annotations)
    with pytest.raises(ValueError, match=rf"boxes\.json.*{problem}"):
        build_frames_index([tmp_path], tmp_path / "index.arrow", coco=[coco])


def test_broken_coco_files_are_named(tmp_path):
    _image(tmp_path / "0.jpg")
    out = tmp_path / "index.arrow"
    good = {"id": 1, "file_name": "0.jpg"}
    coco = tmp_path / "boxes.json"
    coco.write_text('{"images": 3}')
    with pytest.raises(ValueError, match=r"boxes\.json is not a COCO file"):
        build_frames_index([tmp_path], out, coco=[coco])
    _coco(coco, [good], [{"id": 8, "image_id": 9, "category_id": 4, "bbox": [0, 0, 1, 1]}])
    with pytest.raises(ValueError, match="annotation 8 has image_id 9"):
        build_frames_index([tmp_path], out, coco=[coco])
    _coco(coco, [good], [{"id": 8, "image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1]}])
    with pytest.raises(ValueError, match="annotation 8 has category_id 1"):
        build_frames_index([tmp_path], out, coco=[coco])
    _coco(coco, [good, {"id": 2, "file_name": "gone.jpg"}], [])
    with pytest.raises(FileNotFoundError, match=r"gone\.jpg is missing"):
        build_frames_index([tmp_path], out, coco=[coco])


def test_real_sequences(real_data, tmp_path):
    root = real_data / "camvid"
    coco = [root / "train.json", root / "val.json"]
    index = FrameIndex.open(build_frames_index([root], tmp_path / "index.arrow", coco=coco))
    assert len(index.frames) == 468
    assert index.scenes.sample_count[index.scene_rows("val")].sum() == 101


@pytest.mark.parametrize("name", ["0.jpg", "0.png"])
@pytest.mark.parametrize("orientation", [3, 6])
def test_images_that_exif_turns_are_refused(tmp_path, set_orientation, name, orientation):
    data = tmp_path / "data"
    _image(data / name)
    set_orientation(data / name, 1)
    index = FrameIndex.open(build_frames_index([data], tmp_path / "index.arrow"))
    assert (index.frames.width[0], index.frames.height[0]) == (40, 30)
    set_orientation(data / name, orientation)
    match = rf"{name} has EXIF orientation {orientation}: .*exif_transpose.*exiftool"
    with pytest.raises(ValueError, match=match):
        build_frames_index([data], tmp_path / "index.arrow")
    # A COCO file has the size that its author's program showed, or that of the file.
    for size in ({"width": 40, "height": 30}, {"width": 30, "height": 40}):
        coco = _coco(data / "coco.json", [{"id": 1, "file_name": name, **size}], [])
        with pytest.raises(ValueError, match=match):
            build_frames_index([data], tmp_path / "index.arrow", coco=[coco])


def test_a_coco_file_with_another_size_than_the_image_has_is_refused(tmp_path):
    _image(tmp_path / "0.jpg", width=40, height=30)
    image = {"id": 7, "file_name": "0.jpg", "width": 80, "height": 60}
    coco = _coco(tmp_path / "coco.json", [image], [])
    with pytest.raises(
        ValueError, match=r"says that 0\.jpg \(id 7\) is 80x60 pixels, but .* 40x30"
    ):
        build_frames_index([tmp_path], tmp_path / "index.arrow", coco=[coco])


def test_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    """The root user can read every folder, so the test raises the error itself."""
    for name in ("a/0.jpg", "locked/1.jpg"):
        _image(tmp_path / "drives" / name)
    locked = tmp_path / "drives" / "locked"
    scandir = os.scandir

    def refuse(path):
        if Path(path) == locked:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(
        ValueError, match=r"drives/locked cannot be read \(Permission denied\); mak"
    ):
        build_frames_index([tmp_path / "drives"], tmp_path / "index.arrow")
