"""COCO files of other programs: read correctly, or refused in one sentence with the fix."""

import gzip
import json

import pytest

from drivemim.data.detection.detection_dataset import FrameDetection
from drivemim.data.index.builders.coco import read_coco
from drivemim.data.index.builders.frames import build_frames_index
from drivemim.data.index.frame_index import FrameIndex
from drivemim.errors import DataError

BOX = {"bbox": [1, 2, 3, 4]}


def change(path, old, new):
    """Replace text in a JSON file by text that Python's ``json`` would not write."""
    content = path.read_text()
    assert old in content
    path.write_text(content.replace(old, new))
    return path


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
def test_files_of_windows_have_the_same_boxes(put_coco, encoding):
    path = put_coco("labels.json", ["0.jpg"], [BOX])
    path.write_bytes(path.read_text().encode(encoding))
    (box,) = read_coco(path).boxes_of(0)
    assert (box.category, box.corners) == ("car", (1, 2, 4, 6))


def test_numbers_as_text_and_as_floats_are_numbers(put_coco):
    """pandas writes integers of a column with gaps as floats; JavaScript writes fields as text."""
    path = put_coco(
        "labels.json",
        [{"id": "7", "file_name": "0.jpg", "width": "40", "height": 30.0, "frame": 3.0}],
        [{"id": 1.0, "image_id": 7.0, "category_id": "2", "bbox": ["1", 2.5, "3e0", "4.0"],
          "iscrowd": "0", "track_id": 5.0}],
    )  # fmt: skip
    parsed = read_coco(path)
    assert (parsed.images[0].id, parsed.images[0].width, parsed.images[0].frame) == (7, 40, 3)
    assert parsed.boxes_of(7) == (("pedestrian", (1, 2.5, 4, 6.5), "5", False),)


def test_nan_counts_as_missing_in_optional_fields(put_coco, caplog):
    path = put_coco("labels.json", ["0.jpg"], [{**BOX, "area": "X", "track_id": "X"}])
    change(path, '"X"', "NaN")
    assert read_coco(path).boxes_of(0) == (("car", (1, 2, 4, 6), "", False),)
    (message,) = caplog.messages
    assert message.startswith(f"{path}: 2 values are NaN, which JSON does not have")


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_box_that_is_not_a_number_is_named(put_coco, constant):
    path = put_coco("labels.json", ["0.jpg"], [BOX, {"bbox": [1, 2, "X", 4]}])
    change(path, '"X"', constant)
    with pytest.raises(
        DataError, match=r"labels\.json is not a COCO file: .*annotations\[1\]\.bbox"
    ):
        read_coco(path)
    path = put_coco("labels.json", ["0.jpg"], [{"bbox": [1, 2, "nan", 4]}])
    with pytest.raises(DataError, match=r"annotation 0 has bbox \(1.0, 2.0, nan, 4.0\); give"):
        read_coco(path)


@pytest.mark.parametrize(
    ("images", "annotations", "message"),
    [
        ([{"id": "cam/7", "file_name": "0.jpg"}], [], r"images\[0\]\.id`; number images, ann"),
        (["0.jpg"], [{**BOX, "image_id": "0.jpg"}], r"annotations\[0\]\.image_id`; number images"),
        (["0.jpg"], [{**BOX, "image_id": "007"}], "without leading zeros"),
        ([{"file_name": "0.jpg", "width": None}], [], r"images\[0\]\.width`; give every image the"),
        ([{"file_name": "0.jpg", "height": 0}], [],
         "image 0 is 40 x 0 pixels; give width and height of 0.jpg"),
        ([{"id": 3, "file_name": "0.jpg"}, {"id": 3, "file_name": "1.jpg"}], [],
         "has image id 3 more than once; number images, .* anew where files were merged"),
        ([{"file_name": "C:\\data\\0.jpg"}], [],
         r"image 0 has file_name 'C:.*0\.jpg', a place on another computer; make it relative"),
        ([{"file_name": "\\\\server\\share\\0.jpg"}], [], "a place on another computer"),
    ],
)  # fmt: skip
def test_missing_or_misspelt_settings_are_named(put_coco, images, annotations, message):
    with pytest.raises(DataError, match=rf"labels\.json.*{message}"):
        read_coco(put_coco("labels.json", images, annotations))


def test_a_missing_size_or_name_is_refused(put_coco):
    for field, fix in {
        "width": "give every image the width",
        "file_name": "name the file",
    }.items():
        path = put_coco("labels.json", ["0.jpg"])
        document = json.loads(path.read_text())
        del document["images"][0][field]
        path.write_text(json.dumps(document))
        with pytest.raises(
            DataError, match=rf"missing required field `{field}`.*images\[0\].*{fix}"
        ):
            read_coco(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'[{"image_id": 1, "bbox": [1, 2, 3, 4]}]', "a list is a file of results; name the file"),
        (b'{"videos": [], "annotations": []}', "one of YouTube-VIS, .* written as CocoVID"),
        (b'{"image_id": 1}\n{"image_id": 2}\n', "JSON value on each line"),
        (gzip.compress(b"{}", mtime=0), "unpack it: gunzip -k"),
        (b"", "it is empty"),
        (b'{"images": []', "it ends too early"),
        ('{"images": [], "info": "\u00e9"}'.encode("latin1"), None),
        ('{"images": [{"id": 1, "file_name": "\u00e9"}]}'.encode("latin1"), "it is not UTF-8"),
    ],
)  # fmt: skip
def test_json_files_that_are_no_coco_files_are_refused(tmp_path, content, message):
    path = tmp_path / "labels.json"
    path.write_bytes(content)
    if message is None:  # what is not read may be anything
        assert read_coco(path).images == []
        return
    with pytest.raises(DataError, match=rf"labels\.json is not a COCO file: .*{message}") as caught:
        read_coco(path)
    assert "\n" not in str(caught.value)


def test_backslashes_are_slashes(put_coco, put_images, tmp_path):
    put_images("data/train/1.jpg", "data/train/2.jpg")
    coco = put_coco("data/labels.json", [r"train\1.jpg", r".\train\\2.jpg"], [BOX])
    index = FrameIndex.open(
        build_frames_index([tmp_path / "data"], tmp_path / "i.arrow", coco=[coco])
    )
    assert list(index.frames.path) == ["train/1.jpg", "train/2.jpg"]
    assert list(index.scenes.name) == ["train"]


def test_a_slash_at_the_beginning_of_a_name_is_pointed_at(put_coco, put_images, tmp_path):
    put_images("data/train/1.jpg")
    coco = put_coco("data/labels.json", ["/train/1.jpg"])
    with pytest.raises(FileNotFoundError, match=r"/train/1\.jpg is missing.*without the slash"):
        build_frames_index([tmp_path / "data"], tmp_path / "i.arrow", coco=[coco])


def test_exchanged_width_and_height_are_named(put_coco, put_images, tmp_path):
    put_images("0.jpg")
    coco = put_coco("labels.json", [{"file_name": "0.jpg", "width": 30, "height": 40}])
    with pytest.raises(
        DataError, match=r"is 30x40 pixels, but .* 40x30 \(width and height are swap"
    ):
        build_frames_index([tmp_path], tmp_path / "i.arrow", coco=[coco])


def test_the_category_of_a_roboflow_project_needs_no_class(put_coco, put_images, tmp_path):
    """Roboflow's category 0 stands for the project: without boxes, perhaps with a class's name."""
    put_images("0.jpg")
    for project in ("street-scenes", "car"):
        categories = [
            {"id": 0, "name": project, "supercategory": "none"},
            {"id": 1, "name": "car", "supercategory": project},
        ]
        coco = put_coco(
            "labels.json", ["0.jpg"], [{**BOX, "category_id": 1}], categories=categories
        )
        out = build_frames_index([tmp_path], tmp_path / "i.arrow", coco=[coco])
        dataset = FrameDetection(index=out, filters={})
        (instance,) = dataset.get_data_info(0)["instances"]
        assert (instance["bbox"], instance["bbox_label"]) == ([1, 2, 4, 6], 1)
        assert set(dataset.index.categories) == {project, "car"}


def test_two_categories_of_one_name_with_boxes_are_refused(put_coco):
    categories = [{"id": 0, "name": "car"}, {"id": 1, "name": "car"}]
    found = [{**BOX, "category_id": number} for number in (0, 1)]
    with pytest.raises(DataError, match="has category 'car' more than once; merge the two"):
        read_coco(put_coco("labels.json", ["0.jpg"], found, categories=categories))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Pedestrians", "; add 'Pedestrians' to class_map, mapped to one of"),
        ("CAR", "to None; did you mean 'car'?"),
        ("trolley", "category 'trolley' is in no class map; add 'trolley'"),  # is no trailer
    ],
)
def test_a_category_with_boxes_needs_a_class(put_coco, put_images, tmp_path, name, message):
    put_images("0.jpg")
    coco = put_coco("labels.json", ["0.jpg"], [BOX], categories=[{"id": 4, "name": name}])
    out = build_frames_index([tmp_path], tmp_path / "i.arrow", coco=[coco])
    with pytest.raises(DataError) as caught:
        FrameDetection(index=out, filters={}).get_data_info(0)
    assert message in str(caught.value)


def test_a_video_id_of_minus_one_means_no_video(put_coco):
    """Converters that join data sets of images and videos give it to the single images."""
    path = put_coco(
        "labels.json",
        [{"file_name": "a/0.jpg", "video_id": 1, "frame_id": 0},
         {"file_name": "b/0.jpg", "video_id": -1, "frame_id": -1},
         {"file_name": "b/1.jpg", "video_id": -1, "frame_id": -1}],
        [{**BOX, "image_id": 1, "video_id": -1, "instance_id": -1}],
        videos=[{"id": 1, "name": "drive"}],
    )  # fmt: skip
    parsed = read_coco(path)
    assert [(each.sequence, each.frame) for each in parsed.images] == [
        ("drive", 0), ("", None), ("", None)
    ]  # fmt: skip
    assert parsed.boxes_of(1)[0].track == ""


def test_videos_may_be_named_by_text(put_coco):
    """The video ids of BDD100K are names; in other data sets, some begin with a dash."""
    path = put_coco(
        "labels.json",
        [{"file_name": "0.jpg", "video_id": "b1c66a42-6f7d68ca", "frame_id": 4},
         {"file_name": "1.jpg", "video_id": "-0GkXyz", "frame_id": 0}],
        [{**BOX, "video_id": "b1c66a42-6f7d68ca", "instance_id": 9}],
        videos=[{"id": "b1c66a42-6f7d68ca"}, {"id": "-0GkXyz", "name": "tube"}],
    )  # fmt: skip
    parsed = read_coco(path)
    assert [(each.sequence, each.frame) for each in parsed.images] == [
        ("video-b1c66a42-6f7d68ca", 4), ("tube", 0)
    ]  # fmt: skip
    assert parsed.boxes_of(0)[0].track == "9"


def test_minus_one_as_text_means_no_track(put_coco):
    found = [{**BOX, "track_id": "-1"}, {"bbox": [5, 6, 7, 8], "track_id": "-1"}]
    boxes = read_coco(put_coco("labels.json", ["0.jpg"], found)).boxes_of(0)
    assert [box.track for box in boxes] == ["", ""]


def test_tao_numbers_frames_in_another_field(put_coco, caplog):
    path = put_coco(
        "labels.json",
        [{"file_name": "0.jpg", "video_id": 3, "frame_index": 60},
         {"file_name": "1.jpg", "video_id": 3, "frame_index": 30}],
        [BOX],
        videos=[{"id": 3, "name": "v"}],
    )  # fmt: skip
    assert [each.frame for each in read_coco(path).images] == [60, 30]
    assert caplog.messages == []
