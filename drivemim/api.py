"""The public functions of DriveMIM; ``import drivemim`` offers each of them.

The command line offers the same: ``drivemim index``, ``drivemim train``, ``drivemim export``, ...
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from drivemim.config.loading import is_pretrainer, load_config
from drivemim.config.nested import walk
from drivemim.data.index import index_building
from drivemim.data.index.frame_index import FrameIndex, describe_missing_index
from drivemim.errors import CheckpointError, ConfigError
from drivemim.option_words import speaks_python
from drivemim.training import predicting, run
from drivemim.training.predicting import PredictionRun
from drivemim.training.work_dir import checkpoint_folder, read_progress
from drivemim.transfer import exporting, pretrained_backbone
from drivemim.transfer.run_checkpoints import newest_checkpoint

__all__ = [
    "PredictionRun",
    "PretrainingRun",
    "build_index",
    "evaluate",
    "export_backbone",
    "load_backbone",
    "open_index",
    "predict",
    "pretrain",
    "train",
]

build_index = speaks_python(index_building.build_index)
evaluate = speaks_python(run.evaluate)
export_backbone = speaks_python(exporting.export_backbone)
load_backbone = speaks_python(pretrained_backbone.load_backbone)
predict = speaks_python(predicting.predict)
train = speaks_python(run.train)


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


@speaks_python
def open_index(path: str | Path) -> FrameIndex:
    """Open an index; this takes milliseconds, whatever its size.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not an index, or of another version.

    Example:
        >>> index = drivemim.open_index("data/nuscenes/drivemim-v1.0-mini.arrow")
    """
    return FrameIndex.open(path)


@speaks_python
def pretrain(
    config: str | Path,
    *,
    index: FrameIndex | str | Path | None = None,
    work_dir: str | Path | None = None,
    resume: bool | str | Path | None = None,
    overwrite: bool = False,
    amp: bool = False,
    seed: int | None = None,
    iterations: int | None = None,
    options: Mapping[str, Any] | None = None,
) -> PretrainingRun:
    """Pretrain a backbone on unlabelled images.

    Several GPUs: ``torchrun --nproc_per_node 8 -m drivemim train CONFIG --launcher pytorch``.

    Args:
        config: name of a shipped config, for example ``vit_base_nuscenes``, or path of a config.
        index: replaces the index of the config's data set.
        work_dir: folder of logs and checkpoints; by default ``work_dirs/NAME_OF_CONFIG``.
        resume: go on from the newest complete checkpoint in ``work_dir``, if there is one; or the
            checkpoint to go on from. A run that is complete is returned as it is.
        overwrite: replace an earlier run in ``work_dir``, see :func:`drivemim.train`.
        amp: use mixed precision, bfloat16 if the device has it.
        seed: seed of the run.
        iterations: length of the training, in place of the config's; warm-up and schedules are
            scaled to it.
        options: other keys of the config to replace, dotted, like ``--cfg-options``.

    Returns:
        The run, with the path of its last checkpoint.

    Raises:
        ConfigError: if the config is not of a pretrainer, is invalid or contradicts itself.
        CheckpointError: if a checkpoint cannot be read or written, or does not fit.
        DataError: if the data lacks something that the config needs.
        FileNotFoundError: if there is no such index.
        NonFiniteLossError: if the loss is not finite.
        RunStopped: after Ctrl-C or SIGTERM, with a checkpoint (a ``KeyboardInterrupt``).

    Example:
        >>> run = drivemim.pretrain("vit_base_nuscenes", index=index, work_dir="work_dirs/pretrain")
        >>> run.checkpoint
        PosixPath('work_dirs/pretrain/iter_80000.pth')
    """
    replaced = dict(options or {})
    cfg = load_config(config, replaced)
    if not is_pretrainer(cfg.get("model") or {}):
        raise ConfigError(f"{config} is not a pretraining config; use drivemim.train for detectors")
    if index is not None:
        replaced |= _index_option(cfg, config, index, replaced)
    runner = train(
        config, work_dir=work_dir, resume=resume, overwrite=overwrite, amp=amp, seed=seed,
        iterations=iterations, options=replaced,
    )  # fmt: skip
    return _finished_run(Path(runner.work_dir), checkpoint_folder(runner.cfg))


def _index_option(
    cfg: Config, config: str | Path, index: FrameIndex | str | Path, options: Mapping[str, Any]
) -> dict[str, str]:
    """Return the option that replaces the index of the training data."""
    path = index.path if isinstance(index, FrameIndex) else Path(index)
    if not path.is_file():
        raise FileNotFoundError(describe_missing_index(path))
    key = _index_key(cfg, config)
    if key in options:
        raise ConfigError(f"index={path} and options['{key}']={options[key]}: give one")
    return {key: str(path)}


def _finished_run(work_dir: Path, checkpoints: Path) -> PretrainingRun:
    """Describe the run in a folder by its newest checkpoint."""
    checkpoint = newest_checkpoint(checkpoints)
    if checkpoint is None:
        raise CheckpointError(
            f"{checkpoints} has no checkpoint after training; default_hooks.checkpoint wrote none"
        )
    return PretrainingRun(work_dir, checkpoint, int(read_progress(checkpoint)["iter"]))


def _index_key(cfg: Config, config: str | Path) -> str:
    """Return the dotted key of the training data's index."""
    dataloader = (cfg.get("train_dataloader") or {}).get("dataset") or {}
    keys = [
        key for key, value in walk(dataloader, "train_dataloader.dataset") if key.endswith(".index")
    ]
    if len(keys) != 1:
        raise ConfigError(
            f"index=...: the training data of {config} has {len(keys) or 'no'} indices"
            + (f" ({', '.join(keys)})" if keys else "")
            + "; set them in options"
        )
    return keys[0]
