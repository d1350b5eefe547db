"""Hook that loads the weights of frozen teachers, whose features a pretraining predicts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook
from torch import nn

from drivemim.compat import is_resumed
from drivemim.config.nested import walk
from drivemim.errors import ConfigError
from drivemim.models import FeatureTarget
from drivemim.training.bare_model import bare_model
from drivemim.transfer.initial_weights import load_initial_weights


class LoadTeachers(Hook):
    """Strictly load the ``checkpoint`` of every ``FeatureTarget`` before the first iteration.

    The features of an exported teacher are verified, too, with the normalisation of the pretrainer.
    If the run starts from the checkpoint of a whole pretraining run (``--init``), that run's
    teacher is replaced. A resumed run has the teacher in its checkpoint, and keeps it.
    """

    priority = "VERY_HIGH"

    def before_train(self, runner: Any) -> None:
        """Load the weights.

        Raises:
            ConfigError: if a resumed run names a file with another teacher than its checkpoint has.
            FileNotFoundError: if there is no such file, and the run is not resumed.
            CheckpointError: if the file is damaged, or does not fit.
        """
        model = bare_model(runner.model)
        targets = {f"model.{name}": each for name, each in model.named_modules()}
        for key, target in targets.items():
            if not isinstance(target, FeatureTarget) or target.checkpoint is None:
                continue
            resumed = is_resumed(runner)
            if resumed and not Path(target.checkpoint).is_file():
                continue
            before = {name: each.clone() for name, each in target.teacher.state_dict().items()}
            architecture = dict(walk(runner.cfg.model, "model")).get(f"{key}.teacher")
            with _as_encoder(model, target.teacher):
                report = load_initial_weights(model, target.checkpoint, architecture=architecture)
            target.has_weights = True
            if not resumed:
                runner.logger.info(f"{key}: {report}")
            elif not _is_equal(before, target.teacher):
                raise ConfigError(
                    f"{key}.checkpoint={target.checkpoint} has another teacher than the run that "
                    "is resumed, whose checkpoint has its own; name the file that the run began "
                    "with, or begin another run"
                )


def _is_equal(state: dict[str, torch.Tensor], module: nn.Module) -> bool:
    """Return whether a module has exactly these tensors."""
    return all(torch.equal(state[name], each) for name, each in module.state_dict().items())


@contextmanager
def _as_encoder(model: nn.Module, teacher: nn.Module) -> Iterator[None]:
    """Put a teacher in the place of the encoder, so that it is loaded and verified like one."""
    encoder = model.encoder
    model.encoder = teacher
    try:
        yield
    finally:
        model.encoder = encoder
