"""Hook that compares the settings of model, data and evaluation before a run begins."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from mmengine.hooks import Hook
from mmengine.logging import print_log

from drivemim.compat import built_loaders
from drivemim.config.loading import dicts_in
from drivemim.registry import HOOKS
from drivemim.training.agreement import (
    check_epochs,
    check_evaluator,
    check_one_resize,
    check_scaled_rate,
    check_strides,
    check_updates,
    warn_of_copies,
    warn_of_ignored,
    warn_of_sizes,
    warn_of_stretch,
)
from drivemim.training.bare_model import bare_model
from drivemim.training.class_agreement import (
    check_annotations,
    check_classes,
    check_mask_classes,
    check_proposals,
    check_same_classes,
    has_heads,
)
from drivemim.training.schedule import check_schedule
from drivemim.training.schedule_hooks import describe_validation
from drivemim.training.target_inputs import check_lidar, check_weighted_boxes
from drivemim.training.training_length import training_length


@HOOKS.register_module()
class CheckAgreement(Hook):
    """Refuse settings that do not fit together, in training and in testing.

    See ``agreement``, ``class_agreement``, ``schedule`` and ``target_inputs`` of
    ``drivemim.training``. The hook runs once model and data
    are built, before weights are initialised or loaded.

    Args:
        compare_checkpoint: whether the loaded checkpoint must have the data set's classes, for
            example when a run is resumed or a detector is tested.
    """

    priority = 8  # before StrictLoad (10), which would name tensors in place of classes

    def __init__(self, compare_checkpoint: bool = False) -> None:
        self.compare_checkpoint = compare_checkpoint

    def before_run(self, runner: Any) -> None:
        """Compare the settings of model, data and evaluation.

        Raises:
            ConfigError: if settings do not fit together; the message names them.
        """
        model = bare_model(runner.model)
        loaders = built_loaders(runner)
        check_proposals(runner.cfg.get("model"))
        for key, loader in loaders.items():
            check_classes(model, loader.dataset, key)
            # A ConcatDataset has several data sets: compare them with each other.
            check_same_classes(loader.dataset, loader.dataset, (key, "another data set in it"))
            check_mask_classes(model, loader.dataset)
            check_annotations(loader.dataset, key)
            if key != "train_dataloader":
                for data_set in dicts_in(runner.cfg.get(key)):
                    check_one_resize(data_set.get("pipeline") or (), key)
            evaluator = key.replace("dataloader", "evaluator")
            check_evaluator(runner.cfg.get(evaluator), loader.dataset, evaluator)
        warnings: list[str | None] = []
        if len(loaders) == 2:
            names = ("train_dataloader", "val_dataloader")
            datasets = (loaders[names[0]].dataset, loaders[names[1]].dataset)
            check_same_classes(*datasets, names)
            warnings.append(warn_of_copies(*datasets, names))
        check_strides(model)
        evaluated = "val_dataloader" if "train_dataloader" in loaders else "test_dataloader"
        warnings.append(warn_of_sizes(runner.cfg, ("train_dataloader", evaluated)))
        first = next(iter(loaders.values())).dataset
        warnings.append(warn_of_stretch(first))
        if "train_dataloader" in loaders:
            check_lidar(model, loaders["train_dataloader"].dataset)
            check_weighted_boxes(model, loaders["train_dataloader"].dataset)
            epoch_length = _epoch_length(runner.train_loop)
            check_schedule(runner.cfg, epoch_length)
            length = training_length(runner.cfg, epoch_length)
            check_epochs(getattr(loaders["train_dataloader"], "sampler", None), length)
            check_updates(runner.cfg, length)
            if line := describe_validation(runner.cfg, length):
                print_log(line, "current")
            warnings.append(check_scaled_rate(runner.cfg))
            warnings.append(warn_of_ignored(runner.cfg, loaders["train_dataloader"].dataset))
        for warning in filter(None, warnings):
            print_log(warning, "current", level=logging.WARNING)

    def after_load_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Compare the checkpoint's classes with the data set's.

        Raises:
            ConfigError: if the lists of classes differ; the message has both.
        """
        classes: Any = checkpoint
        for key in ("meta", "dataset_meta", "classes"):
            classes = classes.get(key) if isinstance(classes, Mapping) else None
        if not self.compare_checkpoint or not isinstance(classes, (list, tuple)):
            return
        model = bare_model(runner.model)
        key, loader = next(iter(built_loaders(runner).items()))
        if has_heads(model):
            check_same_classes(classes, loader.dataset, ("the checkpoint", key))


def _epoch_length(loop: Any) -> int | None:
    """Return the number of iterations per epoch; None if it is unknown."""
    try:
        return len(loop.dataloader)
    except TypeError:  # an iterable data set
        return None
