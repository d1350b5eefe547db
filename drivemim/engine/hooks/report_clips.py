"""Says what a run is about to train on, and stops it where most of that is missing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmengine.hooks import Hook
from mmengine.logging import print_log

from drivemim.datasets import ClipDataset
from drivemim.datasets.clip_coverage import check_share, describe_coverage, measure_coverage
from drivemim.registry import HOOKS


@HOOKS.register_module()
class ReportClips(Hook):
    """Logs one line per clip data set before the first iteration.

    It says how many clips there are and what share of their frames is valid. Training on frames
    of which most are missing is refused; data sets that are not of clips are passed over.
    """

    def before_train(self, runner: Any) -> None:
        """Log, then check.

        Raises:
            ConfigError: if less than half of a data set's frames are valid, naming the cause.
        """
        for dataset in clip_datasets(runner.train_dataloader.dataset):
            coverage = measure_coverage(dataset.clips)
            print_log(describe_coverage(dataset.clips, coverage), logger="current")
            check_share(dataset.clips, coverage)


def clip_datasets(dataset: Any) -> Iterator[ClipDataset]:
    """Find the clip data sets inside what is wrapped around them, in their order."""
    if isinstance(dataset, ClipDataset):
        yield dataset
        return
    for part in getattr(dataset, "datasets", None) or [getattr(dataset, "dataset", None)]:
        if part is not None:
            yield from clip_datasets(part)
