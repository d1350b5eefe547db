from types import SimpleNamespace
from typing import Any

import pytest
from torch import nn

from drivemim.errors import ConfigError
from drivemim.models import LidarTarget, ObjectWeights
from drivemim.training.target_inputs import check_lidar, check_weighted_boxes


def wrapped(*lidar_points: int) -> Any:
    datasets = [SimpleNamespace(lidar_points=count) for count in lidar_points]
    return SimpleNamespace(dataset=SimpleNamespace(datasets=datasets))


def test_a_target_from_lidar_needs_lidar() -> None:
    model = nn.Module()
    check_lidar(model, wrapped(0))
    model.auxiliary = nn.ModuleList([LidarTarget()])
    check_lidar(model, wrapped(0, 4096))
    with pytest.raises(ConfigError, match=r"model.auxiliary.0, LidarTarget, .*lidar_points=4096"):
        check_lidar(model, wrapped(0, 0))


def test_weights_of_objects_need_boxes() -> None:
    def data(*has_boxes: bool) -> Any:
        return SimpleNamespace(datasets=[SimpleNamespace(has_boxes=each) for each in has_boxes])

    model = nn.Module()
    check_weighted_boxes(model, data(False))
    model.patch_weights = ObjectWeights()
    check_weighted_boxes(model, data(False, True))
    with pytest.raises(ConfigError, match="patch_weights reads boxes, but no frame of train_datal"):
        check_weighted_boxes(model, data(False, False))
