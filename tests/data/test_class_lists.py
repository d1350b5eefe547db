"""Class lists, the classes of categories, and data sets with classes of their own."""

import numpy as np
import pytest
from nuscenes.eval.detection.utils import category_to_detection_name
from own_classes import FIVE, write_coco

from drivemim.data import ClipDataset
from drivemim.data.class_lists import (
    category_classes,
    category_labels,
    check_categories,
    class_names,
    class_palette,
)
from drivemim.data.classes import CLASSES, DEFAULT, DETECTION_CLASSES, NUSCENES
from drivemim.data.detection.detection3d_dataset import FrameDetection3D
from drivemim.data.detection.detection_dataset import FrameDetection
from drivemim.errors import ConfigError, DataError


@pytest.fixture(scope="module")
def coco_index(tmp_path_factory):
    return write_coco(tmp_path_factory.mktemp("five"))


def test_classes_are_given_as_a_list_or_as_a_preset():
    assert class_names(None) == ("pedestrian", "vehicle")
    assert class_names("nuscenes") == DETECTION_CLASSES
    assert class_names(["car", "tram"]) == ("car", "tram")


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ("nuscene", r"'nuscene' is not a preset \(nuscenes\); .* did you mean 'nuscenes'\?"),
        ("car", r"a single class is written \['car'\]"),
        ([], "has no name; give at least one, or leave classes out"),
        (["car", " "], "has an empty name"),
        (["car", "tram", "car"], r"has 'car' more than once"),
        (["car", 3], "must be a list of names"),
        (7, "must be a list of names"),
        (["rest"], "'rest' is what has no class"),
    ],
)
def test_invalid_class_lists_are_refused(classes, message):
    with pytest.raises(ConfigError, match=message):
        class_names(classes)


def test_the_order_of_the_default_classes_does_not_change_the_class_map():
    assert category_classes(list(DEFAULT)) == DEFAULT
    assert category_classes(list(DEFAULT), CLASSES[::-1]) == DEFAULT
    assert category_classes(["tuk-tuk"]) == {}


def test_the_preset_is_the_official_mapping():
    found = category_classes(list(NUSCENES), DETECTION_CLASSES)
    assert found == {name: category_to_detection_name(name) for name in NUSCENES}
    # The order of the classes does not matter.
    assert category_classes(list(NUSCENES), sorted(DETECTION_CLASSES)) == found
    names = ["person", "car", "traffic light", "van", "motorcycle"]
    assert category_labels(names, DETECTION_CLASSES).tolist() == [5, 0, -1, -1, 6]
    with pytest.raises(DataError, match="'tuk-tuk' is in no class map"):
        category_labels(["tuk-tuk"], DETECTION_CLASSES)


def test_categories_get_the_most_specific_of_a_users_classes():
    names = ["vehicle.car", "vehicle.truck", "vehicle.bicycle", "human.pedestrian.stroller"]
    names += ["truck", "person", "animal", "tuk-tuk"]
    classes = ("truck", "pedestrian", "vehicle", "bicycle")
    # Trucks have a class of their own, cars are vehicles; unknown categories have no class.
    assert category_labels(names, classes).tolist() == [2, 0, 3, 1, 0, 1, -1, -1]
    chosen = {"tuk-tuk": "vehicle", "truck": None}
    assert category_labels(names, classes, chosen).tolist() == [2, 0, 3, 1, -1, 1, -1, 2]


def test_every_class_must_have_a_category_and_every_map_known_names():
    names = ["car", "cyclist", "rider"]
    check_categories(names, ("car", "cyclist"), where="INDEX")
    check_categories(names, ("car", "bike"), {"rider": "bike"}, where="INDEX")
    check_categories(names, DETECTION_CLASSES, where="INDEX")
    check_categories(names, ("car", "tram"), where="INDEX", all_classes=False)
    for classes, class_map, message in (
        (("car", "cyclst"), None, "no category of INDEX is mapped to 'cyclst': .*mean 'cyclist'"),
        (("car",), {"ridr": "car"}, "there is no category 'ridr'; .*did you mean 'rider'"),
        (("car",), {"rider": "cra"}, "'rider' maps to 'cra', which is none of .*mean 'car'"),
        (CLASSES, {"car": "truck"}, "'car' maps to 'truck', .* name it in classes="),
        (("car", "cyclist"), {"cyclist": None}, "no category of INDEX is mapped to 'cyclist'"),
    ):
        with pytest.raises(ConfigError, match=message):
            check_categories(names, classes, class_map, where="INDEX")


def test_classes_keep_their_known_colors_in_any_order():
    known = {"classes": ("a", "b"), "palette": [(1, 2, 3), (4, 5, 6)]}
    colors = class_palette(["b", "c", "d", "a"], known)
    assert (colors[0], colors[3]) == ((4, 5, 6), (1, 2, 3))
    assert len(set(colors)) == 4
    assert all(0 <= part <= 255 for color in colors for part in color)


def boxes_of(dataset, row, names):
    return [
        (dataset.metainfo["classes"][each["bbox_label"]], *each["bbox"])
        for each in dataset.get_data_info(row)["instances"]
        if dataset.metainfo["classes"][each["bbox_label"]] in names
    ]


def test_a_folder_with_five_classes(coco_index):
    dataset = FrameDetection(index=coco_index, filters={}, scenes="train", classes=FIVE)
    assert dataset.metainfo["classes"] == FIVE
    assert len(dataset.metainfo["palette"]) == 5
    assert boxes_of(dataset, 0, FIVE) == [
        ("tram", 0, 60, 32, 108), ("pedestrian", 40, 60, 72, 108), ("car", 80, 60, 112, 108),
        ("truck", 120, 60, 152, 108), ("cyclist", 160, 60, 192, 108),
    ]  # fmt: skip
    assert dataset.get_subset([0]).metainfo == dataset.metainfo
    clips = ClipDataset(index=coco_index, image_size=(96, 160), scenes="train", classes=FIVE)[0]
    assert clips.classes == FIVE
    assert clips.labels_BTNM[0, 0, 0].tolist() == [4, 2, 0, 1, 3]


def test_shared_classes_have_the_same_objects(coco_index, small_index):
    """Pedestrians of two, of three and of five classes; vehicles of two and of three."""
    unknown = {"tram": None, "building": None}  # only the default classes ask for them
    for index, more, class_map in (
        (coco_index, "cyclist", unknown), (small_index, "bicycle", None),
    ):  # fmt: skip
        two = FrameDetection(index=index, filters={}, class_map=class_map)
        three = FrameDetection(index=index, filters={}, classes=("vehicle", more, "pedestrian"))
        assert two.metainfo["classes"] == CLASSES
        found = set()
        for row in range(len(two)):
            assert boxes_of(three, row, CLASSES) == boxes_of(two, row, CLASSES)
            found |= {name for name, *_ in boxes_of(three, row, (more, *CLASSES))}
        assert found == {"pedestrian", "vehicle", more}


def test_mistakes_are_found_when_the_index_is_opened(coco_index):
    arguments = {"index": coco_index, "filters": {}}
    with pytest.raises(ConfigError, match="no category of .*index.arrow is mapped to 'tramm'"):
        FrameDetection(**arguments, classes=("car", "tramm"))
    # A test set may lack a class of the training set.
    FrameDetection(**arguments, classes=("car", "tramm"), test_mode=True)
    with pytest.raises(ConfigError, match="no category of .* is mapped to 'tramm'"):
        ClipDataset(index=coco_index, image_size=(96, 160), classes=("car", "tramm"))
    with pytest.raises(ConfigError, match="MotionBoxes cannot tell the classes car, tram apart"):
        ClipDataset(
            index=coco_index, image_size=(96, 160), classes=("car", "tram"), boxes="MotionBoxes"
        )


def test_3d_detectors_can_have_some_of_the_ten_classes(small_index):
    ten = FrameDetection3D(index=small_index, filters={})
    two = FrameDetection3D(index=small_index, filters={}, classes=("truck", "pedestrian"))
    assert two.metainfo["classes"] == ("truck", "pedestrian")
    count = 0
    for row in range(len(ten)):
        chosen = [
            {**each, "bbox_label": two.classes.index(DETECTION_CLASSES[each["bbox_label"]])}
            for each in ten.get_data_info(row)["instances"]
            if DETECTION_CLASSES[each["bbox_label"]] in two.classes
        ]
        found = two.get_data_info(row)["instances"]
        np.testing.assert_equal(found, chosen)
        count += len(found)
    assert count > 0
    with pytest.raises(ConfigError, match="'vehicle' is none of nuScenes' detection task"):
        FrameDetection3D(index=small_index, filters={}, classes=("vehicle",))
