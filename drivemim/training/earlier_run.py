"""Find the run that ``pretrain --resume`` goes on with, and its config and length."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log

from drivemim.config.dumps import is_dump_file
from drivemim.config.embedded import embedded_config
from drivemim.config.loading import is_pretrainer, load_config
from drivemim.errors import CheckpointError, ConfigError
from drivemim.training.training_length import training_length
from drivemim.training.work_dir import NEWEST, checkpoint_folder, read_progress
from drivemim.transfer.run_checkpoints import newest_checkpoint

_COMPARED = ("model", "train_dataloader")
"""Parts of a config that tell the runs of a folder apart."""


@dataclass(frozen=True)
class EarlierRun:
    """A run to go on with.

    Attributes:
        config: path of the config that the run wrote into its folder, with its options applied.
        checkpoint: the checkpoint to resume from.
    """

    config: Path
    checkpoint: Path

    def check_source(self, source: Path, own: Path, iterations: int | None) -> None:
        """Refuse other data for a run that is complete: they would not be used.

        Args:
            source: index or folder that the user named.
            own: index of the run.
            iterations: length that the user gave; None for none.

        Raises:
            ConfigError: naming both.
        """
        length = training_length(load_config(self.config))
        done = int(read_progress(self.checkpoint).get("iter", 0))
        if length is None or length.by_epoch or done < (iterations or length.units):
            return
        if source.is_file() and os.path.realpath(source) != os.path.realpath(own):
            raise ConfigError(
                f"{self.checkpoint.parent} has a complete run on {own}, not on {source}; name "
                "another --work-dir"
            )

    def iterations(self, wanted: int | None) -> int | None:
        """Log the length; return the one to scale the run to, or None to keep the run's own.

        Args:
            wanted: number of iterations that the user gave; None for none.
        """
        length = training_length(load_config(self.config))
        if length is None or length.by_epoch:
            return wanted
        if wanted is None or wanted == length.units:
            print_log(f"length: {length.units} iterations, as the run began")
            return None
        print_log(f"length: {wanted} iterations, instead of the {length.units} that it began with")
        return wanted


def earlier_run(
    work_dir: Path, resume: bool | str | Path | None, config: str | Path | None
) -> EarlierRun | None:
    """Find the run to go on with, by the config that it wrote.

    Args:
        work_dir: folder in which the run goes on.
        resume: see :func:`drivemim.training.pretraining.pretrain`.
        config: config that the user named; None for none.

    Returns:
        The run; None if nothing is resumed, if the checkpoint does not exist, or if no run has
        written its config beside the checkpoint.

    Raises:
        CheckpointError: if the checkpoint cannot be read.
        ConfigError: if the run is of another config than the named one, or the folder has the
            configs of several runs and the checkpoint does not tell which is its own.
    """
    if not resume:
        return None
    named = None if resume is True or str(resume) == NEWEST else Path(resume)
    if named is not None and not named.is_file():
        return None  # choose_checkpoint refuses it later
    folders = [work_dir] if named is None else [named.parent, work_dir]
    runs = [each for folder in folders for each in _runs_in(folder, named)]
    runs = list({each.config.resolve(): each for each in runs}.values())
    if not runs:
        return None
    if len(runs) > 1:  # those that wrote the checkpoint, or all if that is unclear
        runs = [each for each in runs if _wrote_checkpoint(each)] or runs
    if config is not None:
        return _run_of_config(runs, config)
    if len(runs) > 1:
        names = ", ".join(str(each.config) for each in runs)
        raise ConfigError(
            f"--resume: {runs[0].checkpoint} may be of any of the runs whose configs are {names}; "
            "name one with --config"
        )
    return runs[0]


def warn_without_config(checkpoint: Path) -> None:
    """Warn that the config of a checkpoint's run is not beside the checkpoint."""
    print_log(
        f"{checkpoint}: its run's config is not beside it, so that data, image size, batch and "
        "length are those of a new run, unless they are given",
        level=logging.WARNING,
    )


def _runs_in(folder: Path, checkpoint: Path | None) -> Iterator[EarlierRun]:
    """Yield the pretraining runs whose configs are in a folder.

    Args:
        folder: the folder, which may not exist.
        checkpoint: checkpoint to resume from; None for the newest complete one of each run. A run
            without one is left out.
    """
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.suffix != ".py" or not is_dump_file(path):
            continue
        config = load_config(path)
        if not is_pretrainer(config.get("model") or {}):
            continue
        config.work_dir = str(folder)
        if resumed := checkpoint or newest_checkpoint(checkpoint_folder(config)):
            yield EarlierRun(path, resumed)


def _wrote_checkpoint(run: EarlierRun) -> bool:
    """Return whether the config in a run's checkpoint has the model and data of its config file."""
    text = read_progress(run.checkpoint).get("cfg")
    try:
        own = embedded_config(text, str(run.checkpoint)) if text else Config()
    except CheckpointError:
        return False
    written = load_config(run.config)
    pairs = ((own.get(key), written.get(key)) for key in _COMPARED)
    return all(_without_tuples(one) == _without_tuples(other) for one, other in pairs)


def _without_tuples(value: Any) -> Any:
    """Return a part of a config with lists instead of tuples, for comparison."""
    if isinstance(value, dict):
        return {key: _without_tuples(each) for key, each in value.items()}
    return [_without_tuples(each) for each in value] if isinstance(value, (list, tuple)) else value


def _run_of_config(runs: list[EarlierRun], config: str | Path) -> EarlierRun:
    """Return the run whose config has the same name as the user's.

    Raises:
        ConfigError: if no run's config has it.
    """
    for run in runs:
        if run.config.stem == Path(config).stem:
            return run
    names = " or ".join(run.config.stem for run in runs)
    raise ConfigError(
        f"--resume --config {config}, but {runs[0].checkpoint} is of a run of {names}; leave "
        "--config out, or name another --work-dir"
    )
