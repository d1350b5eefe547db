"""Splits and scenes that have the same name."""

import json

import pytest

from drivemim.data import ClipDataset
from drivemim.data.detection.detection3d_dataset import FrameDetection3D
from drivemim.data.detection.detection_dataset import FrameDetection
from drivemim.data.index.builders.frames import build_frames_index
from drivemim.data.index.frame_index import FrameIndex
from drivemim.data.index.scene_selection import has_scenes
from drivemim.errors import DataError

ALL = "scenes=None takes all (for example --cfg-options test_dataloader.dataset.scenes=None)"


@pytest.fixture
def build(tmp_path):
    """Builds the index of COCO files in ``tmp_path / "data"``."""

    def build(*coco, roots=("data",)):
        folders = [tmp_path / root for root in roots]
        return FrameIndex.open(build_frames_index(folders, tmp_path / "index.arrow", coco=coco))

    return build


def paths(index, scenes):
    """Paths of the frames that are selected."""
    rows = set(index.scene_rows(scenes).tolist())
    scene_of = index.frames.scene.tolist()
    return [path for path, scene in zip(index.frames.path, scene_of, strict=True) if scene in rows]


def test_a_split_has_the_images_of_its_file(build, put_images, put_coco):
    """Both files list images of the folder ``train``, and one of them is called so as well."""
    put_images("data/train/0.jpg", "data/train/1.jpg", "data/train/2.jpg")
    train = put_coco("data/train.json", ["train/0.jpg", "train/2.jpg"])
    val = put_coco("data/val.json", ["train/1.jpg"])
    index = build(train, val)
    assert paths(index, "train") == ["train/0.jpg", "train/2.jpg"]
    assert paths(index, "val") == ["train/1.jpg"]
    assert paths(index, ["train"]) == ["train/0.jpg", "train/2.jpg"]
    assert paths(index, "train:train") == ["train/0.jpg", "train/2.jpg"]
    assert paths(index, "val:train") == ["train/1.jpg"]
    assert paths(index, ["train", "val"]) == paths(index, None)


def test_a_scene_and_a_split_that_differ_are_refused(build, put_images, put_coco):
    """The folder ``train`` is all of val.json's; train.json lists other images."""
    put_images("data/train/0.jpg", "data/a/1.jpg")
    index = build(
        put_coco("data/train.json", ["a/1.jpg"]), put_coco("data/val.json", ["train/0.jpg"])
    )
    for scenes in ("train", ["train"], ["a", "train"]):
        with pytest.raises(
            ValueError,
            match=r"'train' is the name of a split and of a scene .*different frames; "
            r"write 'train:\*' \(the split\) or 'val:train' \(the scene\)",
        ):
            index.scene_rows(scenes)
    assert paths(index, "train:*") == ["a/1.jpg"]
    assert paths(index, "val:train") == ["train/0.jpg"]
    assert paths(index, "a") == ["a/1.jpg"]


def test_an_unlabelled_folder_and_a_split_of_one_name_are_refused(build, put_images, put_coco):
    put_images("data/labelled/0.jpg", "train/1.jpg")
    index = build(put_coco("data/train.json", ["labelled/0.jpg"]), roots=("data", "train"))
    with pytest.raises(
        ValueError, match=r"write 'train:\*' \(the split\) or ':train' \(the scene\)"
    ):
        index.scene_rows("train")
    assert paths(index, ":train") == ["train/1.jpg"]
    assert paths(index, "train:*") == ["data/labelled/0.jpg"]


def test_the_same_frames_under_both_names_are_accepted(build, put_images, put_coco):
    put_images("data/train/0.jpg", "data/val/1.jpg")
    index = build(
        put_coco("data/train.json", ["train/0.jpg"]), put_coco("data/val.json", ["val/1.jpg"])
    )
    assert paths(index, "train") == ["train/0.jpg"]
    assert paths(index, "val") == ["val/1.jpg"]


def test_a_drive_in_two_splits_needs_the_split(build, put_images, put_coco):
    """Else a list of drives to train on would bring images of val along."""
    put_images("data/0.jpg", "data/1.jpg")
    drive = {"sequence": "monday", "frame": 0}
    index = build(
        put_coco("data/train.json", [{"file_name": "0.jpg", **drive}]),
        put_coco("data/val.json", [{"file_name": "1.jpg", **drive}]),
    )
    with pytest.raises(
        ValueError,
        match="'monday' in each of the splits 'train', 'val'; write 'train:monday' or 'val:monday'",
    ):
        index.scene_rows(["monday"])
    assert paths(index, ["val:monday"]) == ["1.jpg"]
    assert paths(index, ["train:monday", "val:monday"]) == ["0.jpg", "1.jpg"]
    with pytest.raises(
        ValueError, match="no scene or split 'val:monda'; did you mean 'val:monday'"
    ):
        index.scene_rows("val:monda")


def test_an_official_split_counts_where_the_index_has_none_of_the_name(build, put_images, put_coco):
    put_images("data/0.jpg", "data/1.jpg", "data/2.jpg")
    names = {"0.jpg": "scene-0061", "1.jpg": "scene-0103", "2.jpg": "scene-0061"}

    def listed(*files):
        return [{"file_name": file, "sequence": names[file], "frame": 0} for file in files]

    index = build(put_coco("data/train.json", listed("0.jpg", "1.jpg")))
    assert paths(index, "train") == ["0.jpg", "1.jpg"]  # officially, both are of mini
    assert paths(index, "mini_val") == ["1.jpg"]
    assert paths(index, ["mini_train"]) == ["0.jpg"]
    both = build(put_coco("data/a.json", listed("0.jpg")), put_coco("data/b.json", listed("2.jpg")))
    with pytest.raises(ValueError, match="'scene-0061' in each of the splits 'a', 'b'"):
        both.scene_rows("mini_train")


def test_a_missing_official_split_names_existing_scenes(build, put_images, put_coco):
    put_images("data/a/0.jpg", "data/b/1.jpg")
    index = build()
    with pytest.raises(ValueError, match="split 'mini_train'") as error:
        index.scene_rows("mini_train")
    assert str(error.value).endswith("It has no splits, and the scenes 'a', 'b'; " + ALL)
    index = build(put_coco("data/x.json", ["a/0.jpg"]), put_coco("data/y.json", ["b/1.jpg"]))
    with pytest.raises(ValueError, match="It has the splits 'x', 'y'; scenes=None takes all "):
        index.scene_rows("mini_train")
    put_images(*(f"data/s{number}/0.jpg" for number in range(10)))
    with pytest.raises(ValueError, match="'s5' and 4 more; scenes=None"):
        build().scene_rows("mini_val")


def test_only_names_that_select_something_are_suggested(build, put_images, put_coco):
    """An index of nuScenes' mini part has scenes of train and val, and none of test."""
    put_images("data/0.jpg")
    sequence = {"file_name": "0.jpg", "sequence": "scene-0061", "frame": 0}
    index = build(put_coco("data/mine.json", [sequence]))
    with pytest.raises(ValueError, match="no scene or split 'training'") as error:
        index.scene_rows("training")
    assert str(error.value) == (
        f"scenes: {index.path} has no scene or split 'training'; did you mean 'train'? It has the "
        "split 'mine', and scenes of the nuScenes splits 'train', 'mini_train', 'train_detect'; "
        + ALL
    )
    for name in ("tests", "vall"):  # like 'test' and 'val', in which nothing is
        with pytest.raises(ValueError, match=rf"no scene or split '{name}'\. It has the split"):
            index.scene_rows(name)


@pytest.mark.parametrize("nothing", [[], (), ""])
def test_an_empty_selection_is_refused_wherever_scenes_are_selected(
    build, put_images, put_coco, nothing
):
    put_images("data/a/0.jpg")
    path = build(put_coco("data/train.json", ["a/0.jpg"])).path
    match = "no scene or split ''" if nothing == "" else "selects nothing of"
    for select in (
        lambda: FrameIndex.open(path).scene_rows(nothing),
        lambda: ClipDataset(index=path, image_size=(8, 8), scenes=nothing),
        lambda: FrameDetection(index=path, filters={}, scenes=nothing),
        lambda: FrameDetection3D(index=path, filters={}, scenes=nothing),
    ):
        with pytest.raises(DataError, match=rf"{match}.* It has the split 'train'; scenes=None"):
            select()


def test_a_number_is_not_a_name(build, put_images):
    put_images("data/61/0.jpg")
    index = build()
    assert index.scene_rows("61").tolist() == index.scene_rows(":61").tolist() == [0]
    for number in (61, [61]):  # what --cfg-options makes of it
        with pytest.raises(DataError, match=r"scenes: 61 \(int\) is not a name; write it in quo"):
            index.scene_rows(number)


def test_only_unknown_names_are_missing(build, put_images, put_coco):
    """An ambiguous name stays an error: it is there, and a run must not train on other scenes."""
    put_images("data/0.jpg", "data/1.jpg", "data/train/2.jpg")
    monday = {"sequence": "monday", "frame": 0}
    index = build(
        put_coco("data/train.json", [{"file_name": "0.jpg", **monday}]),
        put_coco(
            "data/more.json",
            [{"file_name": "1.jpg", **monday}, {"file_name": "train/2.jpg"}],
        ),
    )
    for there in ("more", ["more", "train:monday"], "train:*"):
        assert has_scenes(index, there)
    for missing in ("val", "mini_train", "tuesday", ["more", "tuesday"], "val:monday"):
        assert not has_scenes(index, missing)
    for ambiguous in ("train", "monday", ["tuesday", "monday"], ["monday", "tuesday"]):
        with pytest.raises(DataError, match="have different frames|in each of the splits"):
            has_scenes(index, ambiguous)
    with pytest.raises(DataError, match="is not a name"):
        has_scenes(index, ["more", 61])
    with pytest.raises(DataError, match="selects nothing"):
        has_scenes(index, [])


def test_camvid_cut_within_its_folder(real_data, tmp_path):
    """The last 67 images of the folder ``train`` are kept for validation."""
    root = real_data / "camvid"
    document = json.loads((root / "train.json").read_text())
    images = [
        {key: value for key, value in image.items() if key not in ("sequence", "frame")}
        for image in document["images"]
    ]
    files = []
    for name, part in (("train", images[:300]), ("val", images[300:])):
        own = {image["id"] for image in part}
        boxes = [each for each in document["annotations"] if each["image_id"] in own]
        files.append(tmp_path / f"{name}.json")
        files[-1].write_text(json.dumps({**document, "images": part, "annotations": boxes}))
    index = FrameIndex.open(build_frames_index([root], tmp_path / "index.arrow", coco=files))
    train, val = paths(index, "train"), paths(index, "val")
    assert sorted(train) == sorted(image["file_name"] for image in images[:300])
    assert sorted(val) == sorted(image["file_name"] for image in images[300:])


def test_idd_is_three_parts_without_a_leak(real_data, tmp_path):
    root = real_data / "idd"
    if not root.is_dir():
        pytest.skip(f"no real frames at {root}")
    index = FrameIndex.open(
        build_frames_index(
            [root, root / "unlabelled"],
            tmp_path / "index.arrow",
            coco=[root / "train.json", root / "val.json"],
        )
    )
    parts = [set(paths(index, name)) for name in ("train", "val", "unlabelled")]
    assert [len(part) for part in parts] == [1064, 339, 404]
    assert len(set.union(*parts)) == len(index.frames) == 1064 + 339 + 404
    for name, part in zip(("train", "val"), parts, strict=False):
        listed = json.loads((root / f"{name}.json").read_text())["images"]
        assert part == {image["file_name"] for image in listed}
