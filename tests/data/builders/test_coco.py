"""Fields of COCO and CocoVID files: read, without effect, refused, or reported as not read."""

import json

import pytest

from drivemim.data.detection.detection_dataset import FrameDetection
from drivemim.data.index.builders.coco import read_coco
from drivemim.data.index.builders.frames import build_frames_index
from drivemim.data.index.frame_index import FrameIndex

BOX = {"bbox": [1, 2, 3, 4]}


def boxes(path, image=0):
    return read_coco(path).boxes_of(image)


@pytest.mark.parametrize("field", ["ignore", "iscrowd"])
@pytest.mark.parametrize(
    ("value", "expected"), [(1, True), (True, True), (0, False), (None, False)]
)
def test_ignored_boxes_are_not_objects(put_coco, field, value, expected):
    found = boxes(put_coco("labels.json", ["0.jpg"], [{**BOX, field: value}, BOX]))
    assert [box.crowd for box in found] == [expected, False]


def test_an_ignored_annotation_is_neither_trained_on_nor_counted(put_coco, put_images, tmp_path):
    put_images("0.jpg")
    coco = put_coco("labels.json", ["0.jpg"], [{**BOX, "ignore": 1}, {"bbox": [9, 9, 5, 5]}])
    out = build_frames_index([tmp_path], tmp_path / "index.arrow", coco=[coco])
    instances = FrameDetection(index=out, filters={}).get_data_info(0)["instances"]
    assert [(each["bbox"], each["ignore_flag"]) for each in instances] == [
        ([1, 2, 4, 6], 1), ([9, 9, 14, 14], 0)
    ]  # fmt: skip


def test_fields_without_effect_are_silent_and_others_are_named(put_coco, caplog):
    image = {
        "file_name": "0.jpg", "license": 3, "coco_url": "http://x/0.jpg", "flickr_url": "",
        "date_captured": "2013-11-14", "sequence": "s", "frame": 3,
    }  # fmt: skip
    box = {**BOX, "area": 12.0, "segmentation": [[1, 2, 4, 2, 4, 6]], "iscrowd": 0, "ignore": 0}
    info = {"info": {"year": 2017}, "licenses": [{"id": 3}], "type": "instances"}
    read_coco(put_coco("labels.json", [image], [box], **info))
    assert caplog.messages == []
    path = put_coco(
        "labels.json",
        [{"file_name": "0.jpg", "prev_image_id": -1}, {"file_name": "1.jpg", "sensor_id": 2}],
        [
            {**BOX, "score": 0.3},
            {"bbox": [5, 6, 7, 8], "attributes": {"occluded": True}, "score": 0.2},
        ],
        videos=[{"id": 1, "name": "v", "fps": 30}],
        scenes=[],
    )
    read_coco(path)
    assert caplog.messages == [
        f"{path} has fields that are not read: scenes, images.prev_image_id, images.sensor_id, "
        "annotations.score, annotations.attributes, videos.fps"
    ]


def test_cocovid_gives_sequences_and_tracks(put_coco, put_images, tmp_path):
    """Frames out of order; object 7 in two frames of video a, another 7 in video b."""
    put_images("a/0.jpg", "a/5.jpg", "b/0.jpg")
    coco = put_coco(
        "train.json",
        [
            {"id": 10, "file_name": "a/5.jpg", "video_id": 3, "frame_id": 5},
            {"id": 11, "file_name": "a/0.jpg", "video_id": 3, "frame_id": 0},
            {"id": 12, "file_name": "b/0.jpg", "video_id": 4, "frame_id": 0},
        ],
        [
            {**BOX, "image_id": 10, "instance_id": 7, "video_id": 3},
            {**BOX, "image_id": 11, "instance_id": 7, "video_id": 3},
            {**BOX, "image_id": 12, "instance_id": 7, "video_id": 4},
            {**BOX, "image_id": 12, "instance_id": -1, "category_id": 2},
            {**BOX, "image_id": 12, "instance_id": -1, "category_id": 2},
        ],
        videos=[{"id": 3, "name": "drive a"}, {"id": 4, "name": "drive b"}],
    )
    index = FrameIndex.open(
        build_frames_index([tmp_path], tmp_path / "index.arrow", coco=[coco], rate=10)
    )
    assert list(index.scenes.name) == ["drive a", "drive b"]
    assert list(index.frames.path) == ["a/0.jpg", "a/5.jpg", "b/0.jpg"]
    assert index.frames.timestamp.tolist() == [0, 500_000, 0]
    assert index.boxes.track.tolist() == [0, 0, 1, 2, 3]  # -1 means no track
    assert index.frames.next.tolist() == [1, -1, -1]


def test_sequence_and_frame_take_precedence_over_video_id_and_frame_id(put_coco):
    path = put_coco(
        "labels.json",
        [
            {"file_name": "0.jpg", "video_id": 2, "frame_id": 8},
            {"file_name": "1.jpg", "video_id": 2, "frame_id": 9, "sequence": "s", "frame": 4},
        ],
    )
    assert [(each.sequence, each.frame) for each in read_coco(path).images] == [
        ("video-2", 8), ("s", 4)
    ]  # fmt: skip


def test_an_instance_outside_a_video_is_not_a_track(put_coco, caplog):
    """It may number the objects of each image: instance 1 of two images is two different cars."""
    path = put_coco("labels.json", ["0.jpg"], [{**BOX, "instance_id": 1}])
    assert boxes(path)[0].track == ""
    assert "instance_id is not read for images without video_id" in caplog.text
    path = put_coco("labels.json", ["0.jpg"], [{**BOX, "instance_id": 1, "track_id": "walker"}])
    assert boxes(path)[0].track == "walker"


@pytest.mark.parametrize(
    ("image", "annotations", "sections", "message"),
    [
        ({}, [BOX, {"segmentation": [[1, 2, 4, 2, 4, 6]]}], {},
         "annotation 1 has no bbox, and segmentations are not read; give it a bbox"),
        ({}, [{"bbox": None}], {}, "annotation 0 has no bbox"),
        ({}, [{**BOX, "bbox_mode": 0}], {}, "annotation 0 has bbox_mode 0; give bbox as x, y, w"),
        ({}, [{**BOX, "category_id": 9}], {}, "annotation 0 has category_id 9, which its categ"),
        ({}, [{**BOX, "track_id": 5}, {**BOX, "track_id": 5}], {},
         "annotations 0 and 1 of image 0 are of the same track '5'"),
        ({"video_id": 3}, [], {"videos": [{"id": 4, "name": "x"}]},
         "image 0 has video_id 3, which its videos lack"),
        ({"video_id": 3}, [], {"videos": [{"id": 3, "name": "x"}, {"id": 4, "name": "x"}]},
         "has video name 'x' more than once"),
        ({"video_id": 3}, [], {"videos": [{"id": 3, "name": "x"}, {"id": 3, "name": "y"}]},
         "has video id 3 more than once"),
        ({"video_id": 3}, [{**BOX, "video_id": 4}], {},
         "annotation 0 has video_id 4, but its image 0 3"),
        ({}, [{"bbox": [0.1, 0.2, 0.3, 0.4]}, {"bbox": [0, 0, 1, 1]}], {},
         "no box reaches beyond 1 pixel; give bbox in pixels"),
        ({}, [{**BOX, "id": 7}, {"bbox": [5, 6, 7, 8], "id": 7}], {},
         "has annotation id 7 more than once"),
        ({}, [{"bbox": [10, 5, 32, 20]}, {"bbox": [9, 9, 35, 9]}, {"bbox": [20, 9, 30, 9]}, BOX],
         {},
         r"3 of 4 boxes reach out of their images, first in 0\.jpg; is bbox x1, y1, x2, y2\?"),
        ({}, [{"bbox": [1, 2, 3, 4, 5]}], {}, "is not a COCO file: .*length 4"),
    ],
)  # fmt: skip
def test_invalid_files_are_refused(put_coco, image, annotations, sections, message):
    path = put_coco("labels.json", [{"file_name": "0.jpg", **image}], annotations, **sections)
    with pytest.raises(ValueError, match=rf"labels\.json.*{message}"):
        read_coco(path)


def test_boxes_that_are_cut_or_left_out_are_counted(put_coco, caplog):
    """In an image of 40 x 30 pixels, one pixel beyond the border is rounding, ten are not."""
    found = [[0, 0, 41, 31], [30, 20, 20, 10], [5, 5, 0, 3], [-2, 0, 9, 9]]
    path = put_coco("labels.json", ["0.jpg"], [{"bbox": box} for box in found])
    read_coco(path)
    assert caplog.messages == [
        f"{path}: 1 of 4 boxes have no area and are left out",
        f"{path}: 2 of 4 boxes reach out of their images, first in 0.jpg; 3 would as x1, y1, "
        "x2, y2, and 2 would as centre x, centre y, width, height. They are read as x, y, width, "
        "height, and cut at the border",
    ]


def test_copies_of_a_box_are_counted(put_coco, caplog):
    """A box of another category or image, or a crowd in the same place, is no copy."""
    found = [BOX, {**BOX, "iscrowd": 1}, {**BOX, "category_id": 2}, {**BOX, "image_id": 1}]
    path = put_coco("labels.json", ["0.jpg", "1.jpg"], [*found, BOX, BOX])
    assert len(boxes(path)) == 5
    assert caplog.messages == [
        f"{path}: 2 of 6 boxes are copies of another one of the same image and category under "
        "another id, first in image 0; they are kept"
    ]


@pytest.mark.parametrize(
    ("count", "width", "right", "warned"),
    [(20, 480, 100, True), (19, 480, 100, False), (20, 300, 100, False), (20, 480, 101, False)],
)
def test_boxes_that_may_be_in_percent_are_named(put_coco, caplog, count, width, right, warned):
    found = [{"bbox": [90, number, right - 90, 5]} for number in range(count)]
    read_coco(put_coco("labels.json", [{"file_name": "0.jpg", "width": width}], found))
    assert any("is bbox in percent?" in text for text in caplog.messages) == warned


def test_a_size_that_is_not_the_files_is_refused(put_coco, put_images, tmp_path):
    put_images("0.jpg")
    coco = put_coco("labels.json", [{"file_name": "0.jpg", "width": 80, "height": 60}], [BOX])
    with pytest.raises(ValueError, match=r"0\.jpg \(id 0\) is 80x60 pixels, but .* is 40x30; give"):
        build_frames_index([tmp_path], tmp_path / "index.arrow", coco=[coco])


def test_real_files_have_no_field_that_is_not_read(real_data, caplog):
    names = ("camvid/train.json", "camvid/val.json", "idd/train.json", "idd/val.json")
    found = [real_data / name for name in names if (real_data / name).is_file()]
    if not found:
        pytest.skip("no COCO file of CamVid or IDD")
    for path in found:
        parsed = read_coco(path)
        listed = json.loads(path.read_text())
        count = sum(len(parsed.boxes_of(image.id)) for image in parsed.images)
        assert count == len(listed["annotations"])
    assert caplog.messages == []


def test_a_category_without_a_class_is_reported_when_indexing(
    put_coco, put_images, tmp_path, caplog
):
    put_images("0.jpg")
    names = [{"id": 1, "name": "autorickshaw"}, {"id": 2, "name": "dragon"}]
    dragons = [{"bbox": [1, 2, 3, 4], "category_id": 2}]
    coco = put_coco("labels.json", ["0.jpg"], dragons, categories=names)
    build_frames_index([tmp_path], tmp_path / "index.arrow", coco=[coco])
    assert [line for line in caplog.messages if "without a class" in line] == [
        "categories without a class: 'dragon'. A config of the default classes maps each to "
        "'pedestrian', 'vehicle' or None: class_map={'dragon': ...}"
    ]


@pytest.mark.parametrize(
    ("annotations", "words"),
    [(None, "has no annotations"), ([], "has an empty list of annotations")],
)
def test_a_file_without_annotations_is_named(put_coco, caplog, annotations, words):
    path = put_coco("val.json", ["0.jpg", "1.jpg"])
    content = json.loads(path.read_text())
    content["annotations"] = annotations
    if annotations is None:
        del content["annotations"]
    path.write_text(json.dumps(content))
    read_coco(path)
    (message,) = caplog.messages
    assert message.startswith(
        f"{path} {words}: a detector would count its 2 images as images without objects."
    )
