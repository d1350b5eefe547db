import numpy as np
import pytest
from nuscenes.eval.common.config import config_factory
from nuscenes.eval.detection.constants import ATTRIBUTE_NAMES, DETECTION_NAMES
from nuscenes.eval.detection.utils import (
    category_to_detection_name,
    detection_name_to_rel_attributes,
)
from nuscenes.utils.color_map import get_colormap

from drivemim.data.classes import (
    ATTRIBUTES,
    CLASS_ATTRIBUTES,
    CLASS_RANGES,
    CLASSES,
    DETECTION_CLASSES,
    NUSCENES,
    NUSCENES_DETECTION,
    check_class_map,
    describe_unmapped,
    labels_of,
)
from drivemim.errors import ConfigError


def test_every_nuscenes_category_has_a_place():
    # The devkit's colours name every category, those of lidar segmentation too.
    labels = labels_of(list(get_colormap()))
    assert len(labels) == 32
    assert len(NUSCENES) == 23


def test_labels_are_positions_in_classes():
    names = ["vehicle.car", "human.pedestrian.child", "vehicle.bicycle", "pedestrian", "car"]
    assert labels_of(names).tolist() == [1, 0, -1, 0, 1]
    assert CLASSES == ("pedestrian", "vehicle")
    assert labels_of([]).tolist() == []


def test_categories_without_boxes_need_no_class():
    used = np.array([False, True, False])
    assert labels_of(["street", "car", "bicycle"], used=used).tolist() == [-1, 1, -1]
    with pytest.raises(ValueError, match="'street' is in no class map; add 'street'"):
        labels_of(["street", "car"], used=np.array([True, True]))


def test_unknown_categories_are_named():
    with pytest.raises(ValueError, match=r"'vehicle\.cart' is in no class map.*'vehicle\.car'"):
        labels_of(["vehicle.cart"])
    with pytest.raises(ValueError, match="maps to 'tram', which is none of"):
        labels_of(["train"], {"train": "tram"})


def test_the_ten_detection_classes_are_the_devkits():
    assert list(DETECTION_CLASSES) == DETECTION_NAMES
    for category, name in NUSCENES_DETECTION.items():
        assert category_to_detection_name(category) == name, category
    labels = labels_of(["vehicle.truck", "animal"], NUSCENES_DETECTION, DETECTION_CLASSES)
    assert labels.tolist() == [1, -1]


def test_attributes_are_the_devkits():
    assert list(ATTRIBUTES) == sorted(ATTRIBUTE_NAMES)
    assert tuple(CLASS_ATTRIBUTES) == DETECTION_CLASSES
    for name, attributes in CLASS_ATTRIBUTES.items():
        assert list(attributes) == detection_name_to_rel_attributes(name)


def test_ranges_are_the_devkits():
    assert config_factory("detection_cvpr_2019").class_range == CLASS_RANGES


def test_a_class_map_may_only_name_existing_categories():
    check_class_map({"car": "vehicle", "rider": None}, ["car", "rider"])
    check_class_map(None, [])
    with pytest.raises(ConfigError, match="there is no category 'van'; there are none"):
        check_class_map({"van": "vehicle"}, [])


def test_categories_without_a_class_are_named_with_the_nearest():
    assert describe_unmapped(["car", "person"]) is None
    assert describe_unmapped(["tuk-tuk", "car", "persn"]) == (
        "categories without a class: 'persn'; did you mean 'person'?, 'tuk-tuk'. A config of "
        "the default classes maps each to 'pedestrian', 'vehicle' or None: "
        "class_map={'persn': ..., 'tuk-tuk': ...}"
    )
