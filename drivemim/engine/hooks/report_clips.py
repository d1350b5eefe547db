"""Hook that reports a run's training clips and refuses data of which most is missing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmengine.hooks import Hook
from mmengine.logging import print_log

from drivemim.datasets import ClipDataset
from drivemim.datasets.clip_coverage import (
    check_share,
    describe_coverage,
    describe_stretch,
    measure_coverage,
)
from drivemim.registry import HOOKS


@HOOKS.register_module()
class ReportClips(Hook):
    """Log one line per clip data set before the first iteration.

    The line gives the number of clips and the fraction of their frames that is valid. A second line
    follows if ``image_size`` stretches images by more than 5 %. Training is
    refused if most frames are missing. Data sets without clips are skipped.
    """

    def before_train(self, runner: Any) -> None:
        """Log the clips, then check them.

        Raises:
            ConfigError: if less than half of a data set's frames are valid, naming the cause.
        """
        for dataset in clip_datasets(runner.train_dataloader.dataset):
            coverage = measure_coverage(dataset.clips)
            print_log(describe_coverage(dataset.clips, coverage), logger="current")
            if stretch := describe_stretch(dataset.clips, dataset.image_size):
                print_log(stretch, logger="current")
            check_share(dataset.clips, coverage)


def clip_datasets(dataset: Any) -> Iterator[ClipDataset]:
    """Yield the clip data sets inside wrappers, in order."""
    if isinstance(dataset, ClipDataset):
        yield dataset
        return
    for part in getattr(dataset, "datasets", None) or [getattr(dataset, "dataset", None)]:
        if part is not None:
            yield from clip_datasets(part)
