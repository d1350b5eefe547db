"""Hook that loads the weights of frozen teachers, whose features a pretraining predicts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mmengine.hooks import Hook
from torch import nn

from drivemim.config.nested import walk
from drivemim.models import FeatureTarget
from drivemim.training.bare_model import bare_model
from drivemim.transfer.initial_weights import load_initial_weights


class LoadTeachers(Hook):
    """Strictly load the ``checkpoint`` of every ``FeatureTarget`` before the first iteration.

    The features of an exported teacher are verified, too, with the normalisation of the pretrainer.
    In a resumed run, the teachers have their weights already, from the run's checkpoint.
    """

    priority = "VERY_HIGH"

    def before_train(self, runner: Any) -> None:
        """Load the weights.

        Raises:
            FileNotFoundError: if a teacher's file does not exist.
            CheckpointError: if the file is damaged, or does not fit the teacher.
        """
        model = bare_model(runner.model)
        targets = {f"model.{name}": each for name, each in model.named_modules()}
        for key, target in targets.items():
            if not isinstance(target, FeatureTarget) or target.has_weights:
                continue
            architecture = dict(walk(runner.cfg.model, "model")).get(f"{key}.teacher")
            with _as_encoder(model, target.teacher):
                report = load_initial_weights(
                    model, str(target.checkpoint), architecture=architecture
                )
            target.has_weights = True
            runner.logger.info(f"{key}: {report}")


@contextmanager
def _as_encoder(model: nn.Module, teacher: nn.Module) -> Iterator[None]:
    """Put a teacher in the place of the encoder, so that it is loaded and verified like one."""
    encoder = model.encoder
    model.encoder = teacher
    try:
        yield
    finally:
        model.encoder = encoder
