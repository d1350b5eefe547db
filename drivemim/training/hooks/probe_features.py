"""Hook that probes the encoder's features during pretraining."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper

from drivemim.config.loading import dicts_in, is_pretrainer
from drivemim.data import ClipDataset
from drivemim.data.index.copies import shared_frames
from drivemim.errors import ConfigError, check_range
from drivemim.evaluation.frozen_probe import (
    check_patches,
    effective_rank,
    linear_scores,
    score_patches,
)
from drivemim.registry import HOOKS
from drivemim.training.hooks.draw_reconstructions import evaluation_mode
from drivemim.training.hooks.report_clips import clip_datasets
from drivemim.training.probing import collect_patches, frames_of, probe_datasets
from drivemim.transfer.export_metadata import training_image_size

_PROBES = 20


@HOOKS.register_module()
class ProbeFeatures(Hook):
    """Log how well a linear classifier finds objects in the encoder's features.

    The classifier sees frozen features of single labelled frames, patch by patch; see
    ``drivemim.evaluation.frozen_probe``. It is trained anew each time, for the first time before
    the first iteration. The scalars are ``probe/CLASS_AP`` and ``probe/mAP``, in [0, 1], and
    ``probe/effective_rank``, which falls towards 1 if the features collapse. The pretraining itself
    does not change.

    Args:
        train: split or scene names to learn from.
        val: split or scene names to score. Pretraining must not see their images.
        index: index of the labelled frames; None for the index of the training data.
        interval: iterations between probes; None for 20 in the run. There is always one after the
            last iteration.
        frames: number of frames of each split, evenly spread.
        level: which of the encoder's maps.
        transductive: allow a pretraining that sees images of ``val``.

    Raises:
        ConfigError: if a number is out of range.
    """

    priority = "LOW"

    def __init__(
        self,
        *,
        train: str | Sequence[str],
        val: str | Sequence[str],
        index: str | Path | None = None,
        interval: int | None = None,
        frames: int = 200,
        level: int = -1,
        transductive: bool = False,
    ) -> None:
        check_range("ProbeFeatures: interval", 1 if interval is None else interval, 1)
        check_range("ProbeFeatures: frames", frames, 1)
        self.splits = {"train": train, "val": val}
        self.index = index
        self.interval = interval
        self.frames = frames
        self.level = level
        self.transductive = transductive
        self._datasets: Mapping[str, ClipDataset] = {}

    def before_train(self, runner: Any) -> None:
        """Open the data, and probe the weights that the run starts from.

        Raises:
            ConfigError: if the run is not a pretraining, or it sees images of ``val``.
            DataError: if a scene is unknown, a class does not occur, or ``val`` has images of
                ``train``.
        """
        if not is_pretrainer(runner.cfg.model):
            raise ConfigError(
                f"ProbeFeatures: the model is a {runner.cfg.model.get('type')}; a probe needs the "
                "encoder of a pretraining run"
            )
        if not is_main_process():
            return
        part = next(part for part in dicts_in(runner.cfg.train_dataloader) if "index" in part)
        settings = {key: part[key] for key in ("classes", "class_map") if part.get(key) is not None}
        settings["index"] = self.index or part["index"]
        size = training_image_size(runner.cfg)
        self._datasets = probe_datasets(size, settings, self.splits)
        if not self.transductive:
            self._check_apart(clip_datasets(runner.train_dataloader.dataset))
        self._probe(runner, runner.iter)

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Probe, if it is time."""
        iteration = runner.iter + 1
        interval = self.interval or max(1, runner.max_iters // _PROBES)
        if self._datasets and (iteration % interval == 0 or iteration == runner.max_iters):
            self._probe(runner, iteration)

    def _probe(self, runner: Any, iteration: int) -> None:
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        with evaluation_mode(model):
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

    def _check_apart(self, trained: Any) -> None:
        """Refuse a pretraining that sees images of ``val``."""
        val = frames_of(self._datasets["val"])
        for dataset in trained:
            seen = frames_of(dataset)
            if shared := len(shared_frames(val.index, val.rows, seen.index, seen.rows)):
                raise ConfigError(
                    f"ProbeFeatures: pretraining sees {shared} of the {len(np.unique(val.rows))} "
                    "images of val; leave them out of train_dataloader.dataset.scenes, or set "
                    "transductive=True"
                )
