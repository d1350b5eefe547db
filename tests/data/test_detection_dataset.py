"""FrameDetection and LoadReducedImage on a generated COCO folder, and on real frames."""

import json
import math
import pickle
import subprocess
import sys

import cv2
import numpy as np
import pytest

from drivemim.data.detection.detection_dataset import FrameDetection
from drivemim.data.detection.detection_transforms import LoadReducedImage
from drivemim.data.index.builders.frames import build_frames_index
from drivemim.data.index.images import read_image
from drivemim.errors import ConfigError, DataError

HEIGHT, WIDTH = 120, 200
CATEGORIES = [{"id": 1, "name": "car"}, {"id": 2, "name": "pedestrian"}, {"id": 3, "name": "rider"}]
# x, y, width, height and category of each frame's boxes.
BOXES = {
    "a/0.png": [([20, 40, 60, 30], 1), ([100, 30, 10, 40], 2)],
    "a/1.png": [([30, 40, 60, 30], 1), ([150, 30, 12, 40], 3)],
    "b/0.png": [],
}
NO_FILTERS: dict[str, float] = {}


@pytest.fixture
def folder(tmp_path):
    images, annotations = [], []
    for number, (name, boxes) in enumerate(BOXES.items(), 1):
        image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        for (x, y, w, h), category in boxes:
            image[y : y + h, x : x + w, category - 1] = 200
            annotations.append(
                dict(id=len(annotations) + 1, image_id=number, category_id=category, iscrowd=0)
                | dict(bbox=[x, y, w, h], area=w * h)
            )
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), image)
        sequence, frame = name.removesuffix(".png").split("/")
        images.append(
            dict(id=number, file_name=name, width=WIDTH, height=HEIGHT)
            | dict(sequence=sequence, frame=int(frame))
        )
    document = {"images": images, "annotations": annotations, "categories": CATEGORIES}
    (tmp_path / "images" / "train.json").write_text(json.dumps(document))
    root = tmp_path / "images"
    build_frames_index([root], tmp_path / "index.arrow", coco=[root / "train.json"])
    return tmp_path


@pytest.fixture
def index(folder):
    return folder / "index.arrow"


def test_items_equal_the_coco_file(folder, index):
    dataset = FrameDetection(index=index, filters=NO_FILTERS)
    assert len(dataset) == 3
    assert dataset.metainfo["classes"] == ("pedestrian", "vehicle")
    infos = {info["img_path"]: info for info in map(dataset.get_data_info, range(3))}
    first = infos[str(folder / "images" / "a" / "0.png")]
    assert (first["height"], first["width"], first["condition"]) == (HEIGHT, WIDTH, "")
    found = {each["bbox_label"]: each for each in first["instances"]}
    assert found[1]["bbox"] == [20, 40, 80, 70]
    assert found[0]["bbox"] == [100, 30, 110, 70]
    assert found[0]["ignore_flag"] == 0
    assert math.isnan(found[0]["distance"])
    assert found[0]["visibility"] == 0
    # Riders are neither class; a frame without boxes stays.
    assert len(infos[str(folder / "images" / "a" / "1.png")]["instances"]) == 1
    assert infos[str(folder / "images" / "b" / "0.png")]["instances"] == []
    assert len({info["frame_token"] for info in infos.values()}) == 3


def test_small_objects_are_ignored_not_dropped(index):
    dataset = FrameDetection(index=index, filters={"min_width": 11.0})
    flags = {
        each["bbox_label"]: each["ignore_flag"] for each in dataset.get_data_info(0)["instances"]
    }
    assert flags == {0: 1, 1: 0}
    assert sorted(dataset.get_cat_ids(0)) == [0, 1]


def test_filters_that_leave_nothing_are_refused_with_counts(index):
    """Four boxes: cars of 60 x 30 twice and pedestrians of 10 x 40; the rider is no class."""
    filters = {"min_width": 20.0, "min_height": 35.0}
    with pytest.raises(DataError) as error:
        FrameDetection(index=index, filters=filters)
    assert str(error.value) == (
        f"{index}: the filters leave no object in any of 3 frames. Of 3 objects they leave out: "
        "min_width=20 1, min_height=35 2 (an object can be in several); loosen them"
    )
    # One that is left is enough, and an evaluation may have none.
    assert len(FrameDetection(index=index, filters={"min_height": 35.0})) == 3
    assert len(FrameDetection(index=index, filters=filters, test_mode=True)) == 3
    lazy = FrameDetection(index=index, filters=filters, lazy_init=True)
    with pytest.raises(DataError, match="leave no object"):
        lazy.full_init()


def test_frames_without_any_object_are_refused_for_training(index):
    with pytest.raises(DataError, match="none of the 1 frames has an object of the classes"):
        FrameDetection(index=index, filters={}, scenes=["b"])
    nothing = {"car": None, "pedestrian": None}
    with pytest.raises(DataError, match="none of the 3 frames has an object"):
        FrameDetection(index=index, filters={}, class_map=nothing)


def test_crowds_alone_are_refused(folder, tmp_path):
    path = folder / "images" / "train.json"
    document = json.loads(path.read_text())
    for each in document["annotations"]:
        each["iscrowd"] = 1
    path.write_text(json.dumps(document))
    build_frames_index([folder / "images"], tmp_path / "crowds.arrow", coco=[path])
    with pytest.raises(DataError, match="Of 3 objects they leave out: crowds 3 "):
        FrameDetection(index=tmp_path / "crowds.arrow", filters={})


def test_the_check_for_trainable_objects_looks_beyond_the_first_frames(index, monkeypatch):
    monkeypatch.setattr("drivemim.data.detection.detection_dataset._CHUNK", 1)
    # The first frame has two boxes lower than 50 pixels and none wider than 100; so has the rest.
    assert len(FrameDetection(index=index, filters={}, indices=[2, 0])) == 2
    with pytest.raises(DataError, match="min_width=100 3"):
        FrameDetection(index=index, filters={"min_width": 100})


def test_a_misspelt_category_names_the_nearest(index):
    with pytest.raises(ConfigError) as error:
        FrameDetection(index=index, filters={}, class_map={"carr": "pedestrian"})
    assert str(error.value) == (
        "class_map: there is no category 'carr'; "
        "there are car, pedestrian, rider; did you mean 'car'?"
    )
    # One of another data set's would change nothing either.
    with pytest.raises(ConfigError, match="there is no category 'vehicle.car'"):
        FrameDetection(index=index, filters={}, class_map={"vehicle.car": None})
    with pytest.raises(ConfigError, match="did you mean 'pedestrian'"):
        FrameDetection(index=index, filters={}, class_map={"rider": "pedestrain"})
    both = FrameDetection(index=index, filters={}, class_map={"rider": "pedestrian"})
    assert sorted(both.get_cat_ids(1)) == [0, 1]


def test_a_misspelt_filter_names_the_nearest(index):
    with pytest.raises(ConfigError, match="did you mean 'min_height'"):
        FrameDetection(index=index, filters={"min_hight": 3})


def test_selecting_frames(index):
    assert len(FrameDetection(index=index, filters={}, scenes="train")) == 3
    assert len(FrameDetection(index=index, filters={}, scenes=["b"], test_mode=True)) == 1
    assert len(FrameDetection(index=index, filters={}, indices=2)) == 2
    assert len(FrameDetection(index=index, filters={}, indices=-1, test_mode=True)) == 1
    dataset = FrameDetection(index=index, filters={}, indices=[2, 0])
    every = FrameDetection(index=index, filters={})
    assert dataset.rows.tolist() == [every.rows[2], every.rows[0]]
    assert dataset.get_data_info(-1)["img_id"] == every.rows[0]
    assert dataset.get_data_info(-1)["sample_idx"] == 1
    part = every.get_subset([1])
    assert (len(part), len(every)) == (1, 3)
    every.get_subset_(1)
    assert len(every) == 1


def test_selecting_nothing_or_the_unknown_is_an_error(index):
    with pytest.raises(DataError, match="no frame of scenes"):
        FrameDetection(index=index, filters={}, indices=0)
    with pytest.raises(ValueError, match="CAM_FRONT"):
        FrameDetection(index=index, filters={}, cameras=["CAM_FRONT"])
    with pytest.raises(ValueError, match="no camera 'CAM_FRONT'"):
        FrameDetection(index=index, filters={}, cameras="CAM_FRONT")
    with pytest.raises(ValueError, match="sequence_c"):
        FrameDetection(index=index, filters={}, scenes=["sequence_c"])


def test_a_missing_image_is_named_with_its_token(folder, index):
    (folder / "images" / "a" / "0.png").unlink()
    dataset = FrameDetection(
        index=index, filters={}, pipeline=[LoadReducedImage(image_size=(8, 8))]
    )
    info = dataset.get_data_info(0)
    with pytest.raises(FileNotFoundError) as caught:
        dataset[0]
    assert info["img_path"] in str(caught.value)
    assert info["frame_token"] in str(caught.value)


def test_a_copy_in_another_process_reads_the_same(index):
    dataset = FrameDetection(index=index, filters={"min_width": 11.0})
    copied = pickle.loads(pickle.dumps(dataset))
    np.testing.assert_equal(copied.get_data_info(1), dataset.get_data_info(1))
    lazy = FrameDetection(index=index, filters={}, lazy_init=True)
    assert not hasattr(lazy, "rows")
    assert len(lazy) == 3


def bright(channel):
    """x1, y1, x2, y2 of the bright pixels of one colour channel."""
    ys, xs = np.nonzero(channel > 100)
    return np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])


@pytest.mark.parametrize("size", [(60, 100), (30, 100), (120, 200), (240, 400)])
def test_boxes_follow_the_image_to_any_size(index, size):
    dataset = FrameDetection(index=index, filters={}, pipeline=[LoadReducedImage(image_size=size)])
    results = dataset[0]
    assert results["img"].shape == (*size, 3)
    assert results["img_shape"] == size
    assert results["ori_shape"] == (HEIGHT, WIDTH)
    assert results["scale_factor"] == (size[1] / WIDTH, size[0] / HEIGHT)
    boxes = results["gt_bboxes"].numpy()
    for label, channel in ((0, 1), (1, 0)):
        box = boxes[results["gt_bboxes_labels"] == label][0]
        assert np.abs(bright(results["img"][:, :, channel]) - box).max() <= 0.51
    # Ground truth for metrics stays in the stored image's pixels.
    assert [20, 40, 80, 70] in [each["bbox"] for each in results["instances"]]


def test_no_more_is_decoded_than_the_size_needs(index, monkeypatch):
    asked = []

    def spy(path, *, token, stored, size):
        asked.append((stored, size))
        return read_image(path, token=token, stored=stored, size=size)

    monkeypatch.setattr("drivemim.data.detection.detection_transforms.read_image", spy)
    FrameDetection(index=index, filters={}, pipeline=[LoadReducedImage(image_size=(30, 50))])[0]
    assert asked == [((HEIGHT, WIDTH), (30, 50))]


def test_no_boxes_and_flips_and_ignore_flags(index):
    pipeline = [
        dict(type="drivemim.LoadReducedImage", image_size=(60, 100)),
        dict(type="mmdet.RandomFlip", prob=1.0),
        dict(type="mmdet.PackDetInputs", meta_keys=("instances", "frame_token", "ori_shape")),
    ]
    dataset = FrameDetection(index=index, filters={"min_width": 11.0}, pipeline=pipeline)
    packed = dataset[0]
    sample = packed["data_samples"]
    # The car 20..80 of 200 becomes 10..40 of 100, mirrored 60..90.
    assert sample.gt_instances.bboxes.tensor.tolist() == [[60, 20, 90, 35]]
    assert sample.gt_instances.labels.tolist() == [1]
    assert sample.ignored_instances.bboxes.tensor.tolist() == [[45, 15, 50, 35]]
    assert len(sample.metainfo["instances"]) == 2
    empty = dataset[2]["data_samples"]
    assert empty.gt_instances.bboxes.tensor.shape == (0, 4)


def test_a_frame_with_ignored_objects_only_is_skipped_in_training(index):
    # Frame a/1 has one car, ignored here; b/0 is empty and stays, as pure background.
    load = LoadReducedImage(image_size=(60, 100), skip_ignored_only=True)
    dataset = FrameDetection(index=index, filters={"min_height": 35.0}, pipeline=[load])
    passed_over = dataset.get_data_info(1)
    assert load(dict(passed_over)) is None
    assert load(dataset.get_data_info(2)) is not None
    for _ in range(10):
        assert dataset[1]["img_id"] != passed_over["img_id"]


def test_loading_twice_is_refused(index):
    twice = [LoadReducedImage(image_size=(60, 100)), LoadReducedImage(image_size=(60, 100))]
    with pytest.raises(ValueError, match="take LoadImageFromFile"):
        FrameDetection(index=index, filters={}, pipeline=twice)[0]
    with pytest.raises(ValueError, match="image_size"):
        LoadReducedImage(image_size=(0, 4))


def test_perfect_predictions_score_one_in_original_pixels(index):
    from drivemim.evaluation import DetectionAP

    dataset = FrameDetection(
        index=index, filters={}, pipeline=[LoadReducedImage(image_size=(45, 100))]
    )
    metric = DetectionAP()
    metric.dataset_meta = dataset.metainfo
    for results in map(dataset.__getitem__, range(len(dataset))):
        # What MMDetection does to predictions with rescale=True.
        rescaled = results["gt_bboxes"].numpy() / np.tile(results["scale_factor"], 2)
        labels = results["gt_bboxes_labels"]
        predicted = {"bboxes": rescaled, "labels": labels, "scores": np.ones(len(labels))}
        metric.process(None, [{**results, "pred_instances": predicted}])
    numbers = metric.evaluate(len(dataset))
    assert numbers["drivemim/mAP"] == pytest.approx(1.0)
    assert numbers["drivemim/vehicle_count"] == 2


def test_importing_the_data_set_imports_no_detector():
    code = (
        "import sys, drivemim.data.detection.detection_dataset as d; print('mmdet' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.split() == ["False"], result.stderr


def test_real_frames(real_data, tmp_path):
    from drivemim.data.index.builders.nuscenes import build_nuscenes_index

    out = tmp_path / "index.arrow"
    build_nuscenes_index(real_data / "surround-clips", "v1.0-mini", out)
    filters = {"max_distance": 60.0, "min_lidar_points": 1}
    assert len(FrameDetection(index=out, filters=filters, scenes="mini_train")) == 18
    dataset = FrameDetection(index=out, filters=filters)
    assert len(dataset) == 27
    infos = [dataset.get_data_info(number) for number in range(27)]
    instances = [each for info in infos for each in info["instances"]]
    assert len({info["camera"] for info in infos}) == 6
    assert {each["bbox_label"] for each in instances} == {0, 1}
    assert all(each["ignore_flag"] for each in instances if each["distance"] > 60)
    for info in infos:
        for each in info["instances"]:
            x1, y1, x2, y2 = each["bbox"]
            assert 0 <= x1 < x2 <= info["width"]
            assert 0 <= y1 < y2 <= info["height"]


@pytest.mark.parametrize("test_mode", [True, False])
def test_a_split_without_any_box_is_refused(put_coco, put_images, tmp_path, test_mode):
    """Also beside a split that has boxes."""
    put_images("a/0.jpg", "b/0.jpg", "b/1.jpg")
    train = put_coco("train.json", ["a/0.jpg"], [{"bbox": [1, 2, 30, 20]}])
    val = put_coco("val.json", ["b/0.jpg", "b/1.jpg"])
    out = build_frames_index([tmp_path], tmp_path / "index.arrow", coco=[train, val])

    def choose(scenes):
        return FrameDetection(index=out, filters={}, scenes=scenes, test_mode=test_mode)

    assert len(choose("train")) == 1
    with pytest.raises(ValueError, match=r"index.arrow: val has no annotated image, so"):
        choose("val")
    with pytest.raises(ValueError, match="val has no annotated image"):
        choose(["train", "val"])
