"""Hook that reports a run's training clips, and refuses data most of whose frames are missing."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from mmengine.hooks import Hook
from mmengine.logging import print_log

from drivemim.data import ClipDataset, SeededDataset, SeededInfiniteSampler
from drivemim.data.clips.clip_coverage import (
    check_valid_fraction,
    describe_coverage,
    describe_stretch,
    measure_coverage,
)
from drivemim.errors import ConfigError
from drivemim.registry import HOOKS
from drivemim.training.bare_model import bare_model

_FAR = 1.5
"""Change of the images' proportions above which the line about it is a warning."""


@HOOKS.register_module()
class ReportClips(Hook):
    """Log one line per clip data set before the first iteration.

    The line gives the number of clips and the fraction of their frames that is valid. A second line
    follows if ``image_size`` stretches images by more than 10 %; it suggests another size. Above a
    factor of 1.5, the second line is a warning: height and width were probably swapped. Training
    is refused if most frames are missing. Data sets without clips are skipped.
    """

    def before_train(self, runner: Any) -> None:
        """Log the clips, then check them.

        Raises:
            ConfigError: if less than half of a data set's frames are valid, naming the cause, if
                clips get no seeds, or if patches do not divide the images.
        """
        loader = runner.train_dataloader
        model = bare_model(runner.model)
        patch_size = int(getattr(getattr(model, "encoder", None), "mask_patch_size", 1))
        for dataset in clip_datasets(loader.dataset):
            _check_seeds(loader)
            _check_image_size(dataset.image_size, patch_size)
            coverage = measure_coverage(dataset.clips)
            print_log(describe_coverage(dataset.clips, coverage), logger="current")
            if stretch := describe_stretch(dataset.clips, dataset.image_size, patch_size):
                level = logging.WARNING if stretch.factor > _FAR else logging.INFO
                print_log(stretch.line, logger="current", level=level)
            check_valid_fraction(dataset.clips, coverage)


def _check_image_size(image_size: tuple[int, int], patch_size: int) -> None:
    """Refuse a size that patches do not divide, before anything is written."""
    fitting = tuple(max(1, round(side / patch_size)) * patch_size for side in image_size)
    if fitting != tuple(image_size):
        raise ConfigError(
            f"image_size={tuple(image_size)} (height, width) is not a multiple of the encoder's "
            f"patches of {patch_size} pixels; set train_dataloader.dataset.image_size={fitting}"
        )


def _check_seeds(loader: Any) -> None:
    """Refuse a loader that gives clips no seeds: every epoch would have the same augmentation."""
    if not isinstance(loader.sampler, SeededInfiniteSampler):
        raise ConfigError(
            f"train_dataloader.sampler is a {type(loader.sampler).__name__}, which gives a "
            "ClipDataset no seeds, so that every epoch would have the same augmentations and "
            "masks; set train_dataloader.sampler=dict(type='drivemim.SeededInfiniteSampler')"
        )
    if isinstance(loader.dataset, SeededDataset):
        raise ConfigError(
            "train_dataloader.dataset is a SeededDataset around a ClipDataset, which takes the "
            "sampler's seeds itself; set train_dataloader.dataset to the inner data set"
        )


def clip_datasets(dataset: Any) -> Iterator[ClipDataset]:
    """Yield a data set if it has clips, or else the clip data sets that it wraps, in order."""
    if isinstance(dataset, ClipDataset):
        yield dataset
        return
    for inner in getattr(dataset, "datasets", None) or [getattr(dataset, "dataset", None)]:
        if inner is not None:
            yield from clip_datasets(inner)
