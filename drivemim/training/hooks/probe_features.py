"""Hook that probes the encoder's features during pretraining."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log

from drivemim.config.loading import dicts_in
from drivemim.data import ClipDataset
from drivemim.data.index.copies import shared_frames
from drivemim.errors import ConfigError, check_whole_number
from drivemim.evaluation.frozen_probe import (
    check_patches,
    effective_rank,
    linear_scores,
    score_patches,
)
from drivemim.registry import HOOKS
from drivemim.training.hooks.inspection import InspectionHook
from drivemim.training.hooks.report_clips import clip_datasets
from drivemim.training.probing import collect_patches, frames_of, probe_datasets
from drivemim.transfer.export_metadata import training_image_size


@HOOKS.register_module()
class ProbeFeatures(InspectionHook):
    """Log how well a linear classifier finds objects in the encoder's features.

    The classifier sees frozen features of single labelled frames, patch by patch; see
    ``drivemim.evaluation.frozen_probe``. It is trained anew each time, for the first time before
    the first iteration. The scalars are ``probe/CLASS_AP`` and ``probe/mAP``, in [0, 1], and
    ``probe/effective_rank``, which falls towards 1 if the features collapse. The pretraining itself
    does not change.

    Args:
        train: split or scene names to learn from.
        val: split or scene names to score. Pretraining must not see their images.
        index: index of the labelled frames; None for the index of the training data, the first one
            if there are several.
        class_map: class of each category of that index, see ``ClipDataset``; None for the training
            data's own if ``index`` is None.
        cameras: name of a camera, or names of several; None for the training data's own if
            ``index`` is None, and for all cameras of another index.
        interval: iterations between probes; None for 20 in the run. There is always one after the
            last iteration.
        frames: number of frames of each split, evenly spread.
        level: which of the encoder's maps.
        transductive: allow a pretraining that sees images of ``val``.

    Raises:
        ConfigError: if a number is out of range.
    """

    def __init__(
        self,
        *,
        train: str | Sequence[str],
        val: str | Sequence[str],
        index: str | Path | None = None,
        class_map: Mapping[str, str] | None = None,
        cameras: str | Sequence[str] | None = None,
        interval: int | None = None,
        frames: int = 200,
        level: int = -1,
        transductive: bool = False,
    ) -> None:
        super().__init__(interval)
        check_whole_number("ProbeFeatures: frames", frames)
        self.splits = {"train": train, "val": val}
        self.index = index
        self.class_map = class_map
        self.cameras = cameras
        self.frames = frames
        self.level = level
        self.transductive = transductive
        self._datasets: Mapping[str, ClipDataset] = {}

    def before_train(self, runner: Any) -> None:
        """Open the data, and probe the weights that the run starts from.

        Raises:
            ConfigError: if the run is not a pretraining, no index is known, or the run sees images
                of ``val``.
            DataError: if a scene is unknown, a class does not occur, or ``val`` has images of
                ``train``.
        """
        super().before_train(runner)
        # If a resumed run is due here, the run before it made this probe.
        if runner.iter == 0 or not self.is_due(runner, runner.iter):
            self.look(runner, runner.iter)

    def open(self, runner: Any) -> None:
        """Open the labelled frames, and compare them with the training data.

        Raises:
            ConfigError: if no index is known, or the run sees images of ``val``.
        """
        parts = dicts_in(runner.cfg.train_dataloader)
        trained: Mapping[str, Any] = next((part for part in parts if "index" in part), {})
        if self.index is None and not trained:
            raise ConfigError(
                "ProbeFeatures: the training data has no index; set the hook's index to that of "
                "labelled frames"
            )
        settings = {"index": self.index or trained["index"], "classes": trained.get("classes")}
        if self.index is None:  # Another index has its own categories, folders and cameras.
            own = ("class_map", "data_root", "cameras")
            settings |= {key: trained[key] for key in own if key in trained}
        given = {"class_map": self.class_map, "cameras": self.cameras}
        settings |= {key: value for key, value in given.items() if value is not None}
        self._datasets = probe_datasets(training_image_size(runner.cfg), settings, self.splits)
        if not self.transductive:
            self._check_unseen(clip_datasets(runner.train_dataloader.dataset))

    def inspect(self, runner: Any, model: Any, iteration: int) -> None:
        """Compute the features, and train and evaluate the classifier."""
        train, val = (
            collect_patches(model, dataset, level=self.level, max_clips=self.frames)
            for dataset in self._datasets.values()
        )
        check_patches(train, val)
        scores_XC = linear_scores(train, val.features_XD)
        metrics = score_patches(scores_XC, val.labels_X, train.classes)
        del metrics["balanced_accuracy"]
        rank = effective_rank(val.features_XD)
        scalars = {f"probe/{name}": value for name, value in metrics.items()}
        runner.visualizer.add_scalars({**scalars, "probe/effective_rank": rank}, step=iteration)
        classes = ", ".join(f"{name.removesuffix('_AP')} {metrics[name]:.1%}" for name in metrics)
        print_log(
            f"probe after iteration {iteration}: AP of patches: {classes}; effective rank "
            f"{rank:.1f}",
            logger="current",
        )

    def _check_unseen(self, training_sets: Iterable[ClipDataset]) -> None:
        """Refuse a pretraining that sees images of ``val``."""
        val = frames_of(self._datasets["val"])
        for dataset in training_sets:
            seen = frames_of(dataset)
            if shared := len(shared_frames(val.index, val.rows, seen.index, seen.rows)):
                raise ConfigError(
                    f"ProbeFeatures: pretraining sees {shared} of the {len(np.unique(val.rows))} "
                    "images of val; leave them out of train_dataloader.dataset.scenes, or set "
                    "transductive=True"
                )
