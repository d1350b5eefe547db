import pytest
from nuscenes.utils.color_map import get_colormap

from drivemim.datasets.classes import CLASSES, NUSCENES, labels_of


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


def test_unknown_categories_are_named():
    with pytest.raises(ValueError, match=r"'vehicle\.cart' is in no class map.*'vehicle\.car'"):
        labels_of(["vehicle.cart"])
    with pytest.raises(ValueError, match="maps to 'tram', which is none of"):
        labels_of(["train"], {"train": "tram"})
