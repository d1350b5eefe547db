"""Images of the same name in several folders, and one image under several names."""

import shutil

import pytest

from drivemim.data.index.builders.frames import build_frames_index
from drivemim.data.index.frame_index import FrameIndex

BOX = {"bbox": [1, 2, 3, 4]}


@pytest.fixture
def build(tmp_path):
    """Builds an index of folders in ``tmp_path``."""

    def build(roots, coco):
        folders = [tmp_path / root for root in roots]
        return FrameIndex.open(build_frames_index(folders, tmp_path / "index.arrow", coco=coco))

    return build


def boxed(index):
    """Paths of the frames that have a box."""
    rows = index.boxes.sample.tolist()
    return [index.frames.path[row] for row in rows]


def test_the_image_beside_the_coco_file_wins(build, put_images, put_coco):
    put_images("cam0/000001.jpg", "cam1/000001.jpg")
    coco = put_coco("cam1/labels.json", ["000001.jpg"], [BOX])
    index = build(["cam0", "cam1"], [coco])
    assert boxed(index) == ["cam1/000001.jpg"]
    assert sorted(index.frames.path) == ["cam0/000001.jpg", "cam1/000001.jpg"]  # cam0 unlabelled
    assert boxed(build(["."], [coco])) == ["cam1/000001.jpg"]
    assert boxed(build(["cam1"], [coco])) == ["000001.jpg"]


@pytest.mark.parametrize("roots", [["cam0", "cam1"], ["."], ["cam1", "cam0"]])
def test_one_coco_file_for_each_camera(build, put_images, put_coco, roots):
    put_images("cam0/000001.jpg", "cam1/000001.jpg")
    files = [
        put_coco(f"cam{number}/labels.json", ["000001.jpg"], [{"bbox": [number, 2, 3, 4]}])
        for number in (0, 1)
    ]
    index = build(roots, files)
    assert boxed(index) == ["cam0/000001.jpg", "cam1/000001.jpg"]
    assert index.boxes.image_box[:, 0].tolist() == [0, 1]
    assert list(index.scenes.name) == ["cam0", "cam1"]
    assert index.scene_rows("labels").tolist() == [0, 1]


def test_sequences_of_one_name_stay_the_cameras_own(build, put_images, put_coco):
    """Frames of two cameras at one time would be a sequence that jumps between them."""
    put_images("cam0/1.jpg", "cam1/1.jpg", "cam1/2.jpg")
    names = {0: ["1.jpg"], 1: ["1.jpg", "2.jpg"]}
    files = [
        put_coco(
            f"cam{number}/labels.json",
            [
                {"file_name": file, "sequence": "monday", "frame": frame}
                for frame, file in enumerate(names[number])
            ],
        )
        for number in (0, 1)
    ]
    index = build(["."], files)
    assert list(index.scenes.name) == ["cam0/monday", "cam1/monday"]
    assert index.frames.timestamp.tolist() == [0, 0, 100_000]
    assert index.frames.next.tolist() == [-1, 2, -1]


def test_a_missing_image_is_not_taken_from_another_camera(build, put_images, put_coco):
    put_images("cam0/1.jpg", "cam0/2.jpg", "cam1/1.jpg")
    coco = put_coco("cam1/labels.json", ["1.jpg", "2.jpg"])
    for roots in (["cam0", "cam1"], ["."]):
        with pytest.raises(FileNotFoundError, match=r"cam1/2\.jpg is missing"):
            build(roots, [coco])


def test_ambiguous_names_are_refused(build, put_images, put_coco, tmp_path):
    put_images("cam0/1.jpg", "cam1/1.jpg", "cam1/2.jpg")
    above = put_coco("annotations/labels.json", ["1.jpg", "2.jpg"], [BOX])
    for roots in (["cam0", "cam1"], ["cam1", "cam0"]):
        with pytest.raises(ValueError, match=r"may be in .*cam. or in .*cam.; put labels\.json"):
            build(roots, [above])
    assert boxed(build(["cam1"], [above])) == ["1.jpg"]
    longer = put_coco("annotations/labels.json", ["cam1/1.jpg", "cam1/2.jpg"], [BOX])
    assert boxed(build(["."], [longer])) == ["cam1/1.jpg"]
    # The root has the image, and so has the COCO file's own folder, which is in no root.
    beside = put_coco("cam1/labels.json", ["1.jpg"], [BOX])
    with pytest.raises(ValueError, match=rf"may be in {tmp_path}/cam0 or in {tmp_path}/cam1"):
        build(["cam0"], [beside])


def test_the_folder_to_give_is_named(build, put_images, put_coco, tmp_path):
    put_images("cam0/1.jpg", "cam1/2.jpg")
    coco = put_coco("cam1/labels.json", ["2.jpg"])
    with pytest.raises(FileNotFoundError, match=rf"in none of .*cam0; give --root {tmp_path}/cam1"):
        build(["cam0"], [coco])
    coco = put_coco("cam1/labels.json", ["gone/2.jpg"])
    with pytest.raises(FileNotFoundError, match=r"lists gone/2\.jpg, .*relative to as --root"):
        build(["cam0"], [coco])


def test_links_to_one_image_are_one_image(build, put_images, put_coco, tmp_path):
    """``all`` is trained on, and val.json names one of its images through a link."""
    put_images("data/all/1.jpg", "data/all/2.jpg", "elsewhere/3.jpg")
    (tmp_path / "data" / "val").mkdir()
    (tmp_path / "data" / "val" / "a.jpg").symlink_to(tmp_path / "data" / "all" / "2.jpg")
    train = put_coco("data/train.json", ["all/1.jpg", "all/2.jpg"])
    val = put_coco("data/val.json", ["val/a.jpg"])
    with pytest.raises(
        ValueError, match=r"val/a\.jpg is listed twice, by .*train\.json as all/2\.jpg and .*val\."
    ):
        build(["data"], [train, val])
    # A linked folder, and the root itself under two names.
    (tmp_path / "again").symlink_to(tmp_path / "data" / "all")
    with pytest.raises(ValueError, match=r"again/1\.jpg is listed twice, by .*/all as data/all/1"):
        build(["data/all", "again"], [])


def test_a_root_touched_through_a_link_is_not_walked_again(build, put_images, put_coco, tmp_path):
    put_images("data/a/1.jpg", "data/a/2.jpg")
    (tmp_path / "link").symlink_to(tmp_path / "data")
    coco = put_coco("data/train.json", ["a/1.jpg"], [BOX])
    index = build(["link"], [coco])
    assert list(index.frames.path) == ["a/1.jpg"]
    assert index.image_path(0) == tmp_path / "link" / "a" / "1.jpg"


@pytest.mark.parametrize(
    "name", ["./a//1.jpg", "b/../a/1.jpg", "{root}/data/a/1.jpg", "{root}/link/a/1.jpg", "c/1.jpg"]
)
def test_names_of_one_file_are_one_path(build, put_images, put_coco, tmp_path, name):
    put_images("data/a/1.jpg", "data/b/2.jpg")
    (tmp_path / "link").symlink_to(tmp_path / "data")
    (tmp_path / "data" / "c").symlink_to(tmp_path / "data" / "a")
    coco = put_coco("data/train.json", [name.format(root=tmp_path)], [BOX])
    index = build(["data"], [coco])
    assert list(index.frames.path) == ["c/1.jpg" if name == "c/1.jpg" else "a/1.jpg"]
    again = put_coco("data/val.json", ["a/1.jpg"])
    with pytest.raises(ValueError, match=r"a/1\.jpg is listed twice"):
        build(["data"], [coco, again])


def test_absolute_names_touch_the_root_that_has_them(build, put_images, put_coco, tmp_path):
    put_images("a/1.jpg", "b/2.jpg", "b/3.jpg", "c/4.jpg")
    names = [str(tmp_path / "b" / "2.jpg"), "3.jpg"]
    for listed in (names, names[:1]):
        index = build(["a", "b"], [put_coco("c/labels.json", listed, [BOX])])
        assert boxed(index) == ["b/2.jpg"]
        own = ["b/2.jpg", "b/3.jpg"][: len(listed)]
        assert sorted(index.frames.path) == ["a/1.jpg", *own]


def test_a_name_that_leads_up_through_a_link(build, put_images, put_coco, tmp_path):
    """``link/..`` is the folder above the link's target, not the one that holds the link."""
    put_images("data/1.jpg", "other/1.jpg", "other/deep/2.jpg")
    (tmp_path / "data" / "link").symlink_to(tmp_path / "other" / "deep")
    coco = put_coco("data/train.json", ["link/../1.jpg"], [BOX])
    index = build(["data"], [coco])
    assert index.image_path(0).samefile(tmp_path / "other" / "1.jpg")


def test_a_root_with_dots_is_a_root(build, put_images):
    put_images("data/a/1.jpg", "data/b/2.jpg")
    index = build(["data/b/../a", "./data/b"], [])
    assert list(index.frames.path) == ["a/1.jpg", "b/2.jpg"]
    assert list(index.scenes.name) == ["a", "b"]


def test_a_changed_coco_file_is_seen_where_the_root_is_a_link(put_images, put_coco, tmp_path):
    put_images("far/away/data/a/1.jpg")
    (tmp_path / "near").mkdir()
    (tmp_path / "near" / "data").symlink_to(tmp_path / "far" / "away" / "data")
    coco = put_coco("near/labels.json", ["a/1.jpg"])
    out = build_frames_index([tmp_path / "near" / "data"], tmp_path / "index.arrow", coco=[coco])
    FrameIndex.open(out)
    put_coco("near/labels.json", ["a/1.jpg"], [BOX])
    with pytest.raises(ValueError, match=r"near/.*labels\.json changed"):
        FrameIndex.open(out)


def test_the_real_frames_of_two_cameras(real_data, build, put_coco, tmp_path):
    """A frame of CamVid in two folders under one name, with the boxes of one of them."""
    image = sorted((real_data / "camvid" / "val").iterdir())[0]
    for camera in ("cam0", "cam1"):
        (tmp_path / camera).mkdir()
        shutil.copy(image, tmp_path / camera / "000001.jpg")
    size = {"width": 480, "height": 360}
    coco = put_coco("cam1/labels.json", [{"file_name": "000001.jpg", **size}], [BOX])
    assert boxed(build(["cam0", "cam1"], [coco])) == ["cam1/000001.jpg"]
