"""Pretraining on an index or a folder, with as much of the config chosen by the data as wanted."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import print_log

from drivemim.config.dumps import dump_path
from drivemim.config.loading import is_pretrainer, load_config
from drivemim.data.index.frame_index import FrameIndex
from drivemim.errors import CheckpointError, ConfigError
from drivemim.training.data_choice import (
    DataSource,
    check_data_options,
    index_of_run,
    index_option,
    options_of_data,
    options_to_go_on,
)
from drivemim.training.earlier_run import earlier_run, warn_without_config
from drivemim.training.input_files import check_input_files
from drivemim.training.loggers import add_loggers
from drivemim.training.run import train
from drivemim.training.run_time import check_hours, iterations_in
from drivemim.training.start_point import choose_start
from drivemim.training.start_weights import check_initial_weights, set_initial_weights
from drivemim.training.training_checks import check_training
from drivemim.training.work_dir import checkpoint_folder, read_progress
from drivemim.transfer.run_checkpoints import newest_checkpoint

_ON_CPU, _ON_GPU = "vit_micro_frames", "vit_base_frames"


@dataclass(frozen=True)
class PretrainingRun:
    """A finished pretraining run.

    Attributes:
        work_dir: folder of logs and checkpoints.
        checkpoint: the last checkpoint.
        iteration: number of iterations that were trained.
    """

    work_dir: Path
    checkpoint: Path
    iteration: int


def pretrain(
    config: str | Path | None = None,
    *,
    data: str | Path | None = None,
    scenes: str | Sequence[str] | None = None,
    index: FrameIndex | str | Path | None = None,
    init: str | Path | None = None,
    work_dir: str | Path | None = None,
    resume: bool | str | Path | None = None,
    overwrite: bool = False,
    amp: bool = False,
    seed: int | None = None,
    iterations: int | None = None,
    hours: float | None = None,
    loggers: Sequence[str] = (),
    options: Mapping[str, Any] | None = None,
) -> PretrainingRun:
    """Pretrain a backbone on unlabelled images.

    Several GPUs: ``torchrun --nproc_per_node 8 -m drivemim train CONFIG --launcher pytorch``.

    Args:
        config: name of a shipped config, for example ``vit_base_nuscenes``, or path of a config. By
            default, with ``data``, ``vit_base_frames`` if there is a GPU, else
            ``vit_micro_frames``.
        data: a folder of images and videos, of a rig or of nuScenes' tables, which is indexed into
            ``work_dir``; or an index. Scenes whose split or folder is called ``val``, ``test`` or
            the like are left out, and an image size that stretches the images by more than 10 % is
            replaced, unless ``scenes`` or ``options`` say it.
        scenes: splits or scenes of ``data`` to pretrain on.
        index: replaces the index of the config's data set, and nothing else; not with ``data``.
        init: initial weights, in place of the config's ``load_from``: an export, an official MAE
            checkpoint, a ViT of timm, DINO or mmpretrain, or torchvision's ResNet. Every tensor of
            the backbone has to fit.
        work_dir: folder of logs and checkpoints; by default ``work_dirs/NAME_OF_CONFIG``, or
            ``work_dirs/NAME_OF_DATA``.
        resume: go on from the newest complete checkpoint in ``work_dir``, if there is one; or the
            checkpoint to go on from. The run keeps the config, index, scenes, image size, batch and
            length that it began with, by the config in its folder; what is given here replaces
            them. A run that is complete is returned as it is.
        overwrite: replace an earlier run in ``work_dir``, see :func:`drivemim.train`.
        amp: use mixed precision, bfloat16 if the device has it.
        seed: seed of the run.
        iterations: length of the training, in place of the config's; warm-up and schedules are
            scaled to it.
        hours: length of the training in hours, instead of ``iterations``; the time of an iteration
            is measured for 20 seconds first. A resumed run keeps its number of iterations.
        loggers: send scalars and pictures to ``wandb``, ``mlflow``, ``clearml``, ``aim``,
            ``neptune`` or ``dvclive``, besides TensorBoard's files.
        options: other keys of the config to replace, dotted, like ``--cfg-options``.

    Returns:
        The run, with the path of its last checkpoint.

    Raises:
        ConfigError: if the config is not of a pretrainer, is invalid or contradicts itself.
        CheckpointError: if a checkpoint cannot be read or written, or does not fit.
        DataError: if the data lacks something that the config needs.
        FileNotFoundError: if there is no such index or folder.
        NonFiniteLossError: if the loss is not finite.
        RunStopped: after Ctrl-C or SIGTERM, with a checkpoint (a ``KeyboardInterrupt``).

    Example:
        >>> run = drivemim.pretrain("vit_base_nuscenes", index=index, work_dir="work_dirs/pretrain")
        >>> run.checkpoint
        PosixPath('work_dirs/pretrain/iter_80000.pth')
        >>> run = drivemim.pretrain(data="drives", hours=8)
    """
    if iterations is not None and hours is not None:
        raise ConfigError("--iterations and --hours: give one")
    if hours is not None:
        check_hours(hours, options)
    source = _check_data(config, data, scenes, index)
    folder = _work_dir(work_dir, source, config, options)
    earlier = earlier_run(folder, resume, config)
    if earlier is not None:
        print_log(f"config: {earlier.config}, of the run that goes on; options replace parts of it")
        config = earlier.config
    config = config or _default_config()
    cfg, replaced = _load(config, options)
    cfg.work_dir = str(folder)
    set_initial_weights(cfg, init, replaced)  # refuses, like choose_start, before long work
    add_loggers(cfg, loggers)
    if source is not None:
        start = choose_start(cfg, resume, overwrite, seed)
        if start.checkpoint is not None and earlier is None:
            warn_without_config(start.checkpoint)
        if earlier is None:
            # Indexing is long work, too: what is wrong whatever the data is comes first.
            check_data_options(cfg, config, replaced, scenes)
            check_input_files(cfg, [], weights=start.checkpoint is None)
            if hours is None:  # The schedule is scaled to a number that is measured later.
                check_training(copy.deepcopy(cfg), config, amp, iterations, replaced)
            if start.checkpoint is None:
                check_initial_weights(cfg, config)
            found = source.open(folder, taken=dump_path(cfg, folder).is_file())
            replaced |= options_of_data(found, cfg, config, replaced, scenes)
        else:
            earlier.check_source(source.path, index_of_run(cfg, config), iterations)
            replaced |= options_to_go_on(source, cfg, config, replaced, scenes)
    elif index is not None:
        replaced |= index_option(cfg, config, index, replaced)
    if earlier is not None and not {"train_cfg", "train_cfg.max_iters"} & replaced.keys():
        iterations = earlier.iterations(iterations)
    elif hours is not None:
        iterations = _measured(hours, config, amp, replaced)
    runner = train(
        config, work_dir=folder, resume=resume, overwrite=overwrite, amp=amp, seed=seed,
        init=init, iterations=iterations, loggers=loggers, options=replaced,
    )  # fmt: skip
    return _finished_run(Path(runner.work_dir), checkpoint_folder(runner.cfg))


def _load(config: str | Path, options: Mapping[str, Any] | None) -> tuple[Config, dict[str, Any]]:
    """Read a pretraining config; return it and a copy of the options.

    Raises:
        ConfigError: if it is of something else.
    """
    replaced = dict(options or {})
    cfg = load_config(config, replaced)
    if not is_pretrainer(cfg.get("model") or {}):
        raise ConfigError(
            f"{config} is not a pretraining config; for a detector, use drivemim train"
        )
    return cfg, replaced


def _check_data(
    config: str | Path | None,
    data: str | Path | None,
    scenes: str | Sequence[str] | None,
    index: FrameIndex | str | Path | None,
) -> DataSource | None:
    """Return the source of ``data``; refuse arguments that contradict each other."""
    if data is None:
        if config is None:
            raise ConfigError("pretrain needs a config, or data=... for which it chooses one")
        if scenes is not None:
            raise ConfigError("scenes=... needs data=...")
        return None
    if index is not None:
        raise ConfigError("data=... and index=...: give one")
    return DataSource(Path(data))


def _default_config() -> str:
    """Choose a recipe by the device, and print it."""
    has_gpu = torch.cuda.is_available()
    config, other = (_ON_GPU, "resnet50_frames") if has_gpu else (_ON_CPU, _ON_GPU)
    print_log(
        f"recipe: {config}, for {'a GPU' if has_gpu else 'a CPU'}; --config takes others, such as "
        f"{other}"
    )
    return config


def _work_dir(
    work_dir: str | Path | None,
    source: DataSource | None,
    config: str | Path | None,
    options: Mapping[str, Any] | None,
) -> Path:
    """Return the folder of the run."""
    if work_dir is not None:
        return Path(work_dir)
    if source is not None:
        return Path("work_dirs") / source.name
    assert config is not None
    own = load_config(config, options).get("work_dir")
    return Path(own or Path("work_dirs") / Path(config).stem)


def _measured(hours: float, config: str | Path, amp: bool, options: Mapping[str, Any]) -> int:
    """Return the number of iterations in a time."""
    iterations, seconds = iterations_in(hours, config, amp=amp, options=options)
    print_log(f"length: {iterations} iterations of {seconds:.3g} s, measured, in {hours:g} hours")
    return iterations


def _finished_run(work_dir: Path, checkpoints: Path) -> PretrainingRun:
    """Describe the run in a folder by its newest checkpoint."""
    checkpoint = newest_checkpoint(checkpoints)
    if checkpoint is None:
        raise CheckpointError(
            f"{checkpoints} has no checkpoint after training; default_hooks.checkpoint wrote none"
        )
    return PretrainingRun(work_dir, checkpoint, int(read_progress(checkpoint)["iter"]))
