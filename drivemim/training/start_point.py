"""Choose where a run starts: its checkpoint, its seed, and whether anything is left to train."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner

from drivemim import compat
from drivemim.config.dumps import dump_path, is_dump_file
from drivemim.errors import MAX_SEED, ConfigError, check_range
from drivemim.option_words import as_spoken
from drivemim.training.hooks.stop_on_signal import PENDING
from drivemim.training.hooks.strict_load import StrictLoad
from drivemim.training.training_length import training_length
from drivemim.training.work_dir import (
    NEWEST,
    RemoveEarlierRun,
    check_kept,
    checkpoint_folder,
    choose_checkpoint,
    read_progress,
    refuse_second_run,
)


@dataclass(frozen=True, kw_only=True)
class StartPoint:
    """The point where a run begins or resumes.

    Attributes:
        checkpoint: the checkpoint to resume from, None for a new run.
        trained: the checkpoint's progress from ``read_progress``; empty for a new run.
        hooks: hooks to register; they remove an earlier run that is overwritten.
    """

    checkpoint: Path | None
    trained: Mapping[str, Any]
    hooks: tuple[Hook, ...] = ()


def choose_start(
    cfg: Config, resume: bool | str | Path | None, overwrite: bool, seed: int | None
) -> StartPoint:
    """Choose the checkpoint to resume from, and set the seed of the run in its config.

    Args:
        cfg: config of the run.
        resume: see ``drivemim.training.run.train``.
        overwrite: likewise.
        seed: seed to use in place of the config's.

    Raises:
        CheckpointError: if the checkpoint does not exist, or none in the folder is complete.
        ConfigError: if another run is going on in the folder; if the folder has an earlier run, and
            neither ``resume`` nor ``overwrite`` is given; if the run reads a file that
            ``overwrite`` removes; or if the seed is not the checkpoint's.
    """
    refuse_second_run(cfg.work_dir, cfg.get("launcher", "none"))
    if isinstance(resume, bool):
        resume = NEWEST if resume else None
    if resume is None and cfg.get("resume"):  # same meaning as in MMEngine
        resume = cfg.get("load_from") or NEWEST
    hook = (cfg.get("default_hooks") or {}).get("checkpoint")
    folder, dump = checkpoint_folder(cfg), dump_path(cfg, cfg.work_dir)
    # Whether the user runs the config that an earlier run wrote into the folder.
    is_read = dump.exists() and dump.samefile(cfg.filename)
    checkpoint = choose_checkpoint(
        resume,
        folder,
        hook,
        config=dump if is_dump_file(dump) and not is_read else None,
        overwrite=overwrite,
    )
    trained = {} if checkpoint is None else read_progress(checkpoint)
    cfg.randomness = {
        **(cfg.get("randomness") or {}),
        "seed": _choose_seed(cfg, seed, checkpoint, trained),
    }
    if not overwrite:
        return StartPoint(checkpoint=checkpoint, trained=trained)
    removal = RemoveEarlierRun(folder, hook)
    check_kept(cfg, removal.paths)
    return StartPoint(checkpoint=checkpoint, trained=trained, hooks=(removal,))


def compare_complete(runner: Runner, checkpoint: str | Path, line: str) -> None:
    """Print that a run is complete; refuse its checkpoint if it is not of the config's model.

    Args:
        runner: the run.
        checkpoint: its last checkpoint.
        line: message from :func:`describe_complete`.

    Raises:
        CheckpointError: if the checkpoint does not fit the model, or is not finite.
    """
    content = compat.read_checkpoint(checkpoint)
    # No step follows, so an optimizer state that is not finite does no harm.
    content.pop("optimizer", None)
    StrictLoad().after_load_checkpoint(runner, content)
    if is_main_process():
        print_log(as_spoken(line))


def _choose_seed(
    cfg: Config, seed: int | None, checkpoint: Path | None, trained: Mapping[str, Any]
) -> int:
    """Return the seed: the checkpoint's, or else the given one, or else the config's, or else 0.

    Raises:
        ConfigError: if the given seed is not the checkpoint's, or the seed is out of range.
    """
    configured = (cfg.get("randomness") or {}).get("seed")
    chosen = seed if seed is not None else configured
    if (known := trained.get("seed")) is not None:
        if seed is not None and seed != known:
            raise ConfigError(
                f"--seed {seed}, but {checkpoint} was trained with seed {known}; leave --seed out"
            )
        chosen = known
    check_range("randomness.seed" if seed is None else "--seed", chosen or 0, 0, MAX_SEED)
    return int(chosen or 0)


def describe_complete(cfg: Config, start: StartPoint) -> str | None:
    """Return the message of a run that has nothing left to train; None if training is left.

    This is no error, so that scripts can always pass ``--resume``.
    """
    length = training_length(cfg)
    checkpoint, trained = start.checkpoint, start.trained
    is_pending = trained.get(PENDING) and cfg.get("val_cfg") is not None
    if checkpoint is None or length is None or is_pending:
        return None
    unit, done = ("epoch", trained["epoch"]) if length.by_epoch else ("iteration", trained["iter"])
    if length.by_epoch and (epoch_length := trained.get("epoch_length")):
        # Checkpoints by iteration count the epoch that has begun, even after its last iteration.
        done = max(done, trained["iter"] // epoch_length)
    if done < length.units:
        return None
    return (
        f"The run is complete: {checkpoint} is of {unit} {done}, and {length.key}={length.units}. "
        f"Nothing was trained. To train longer, {length.to_train_longer()}"
    )
