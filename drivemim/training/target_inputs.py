"""Checks, before a run begins, that the data have the lidar and boxes that a loss reads."""

from __future__ import annotations

from typing import Any

from torch import nn

from drivemim.errors import ConfigError
from drivemim.training.agreement import datasets_in


def check_lidar(model: nn.Module, dataset: Any) -> None:
    """Refuse an auxiliary target that reads lidar if no data set loads any.

    Args:
        model: a pretrainer; other models pass.
        dataset: data set of the clips, possibly wrapped in others.

    Raises:
        ConfigError: naming the target and the option that is missing.
    """
    for number, target in enumerate(getattr(model, "auxiliary", ())):
        if "lidar" not in getattr(target, "reads", ()):
            continue
        if not any(getattr(each, "lidar_points", 0) for each in datasets_in(dataset)):
            raise ConfigError(
                f"model.auxiliary.{number}, {type(target).__name__}, learns from lidar, but "
                "train_dataloader loads none; set train_dataloader.dataset.lidar_points=4096, or "
                "model.auxiliary=[]"
            )


def check_weighted_boxes(model: nn.Module, dataset: Any) -> None:
    """Refuse weights of objects' patches if no frame of the training data has a box.

    Args:
        model: a pretrainer; other models pass.
        dataset: data set of the clips, possibly wrapped in others.

    Raises:
        ConfigError: naming the setting.
    """
    if getattr(model, "patch_weights", None) is None:
        return
    if not any(getattr(each, "has_boxes", False) for each in datasets_in(dataset)):
        raise ConfigError(
            "model.patch_weights reads boxes, but no frame of train_dataloader has one; build the "
            "index with annotations, or set train_dataloader.dataset.boxes or "
            "model.patch_weights=None"
        )
