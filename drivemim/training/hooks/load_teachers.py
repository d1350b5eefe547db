"""Hook that gives frozen teachers, whose features are a target, their weights."""

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
    A resumed run has the weights in its checkpoint.
    """

    priority = "VERY_HIGH"

    def before_train(self, runner: Any) -> None:
        """Load the weights.

        Raises:
            FileNotFoundError: if there is no such file.
            CheckpointError: if it is damaged, or does not fit.
        """
        model = bare_model(runner.model)
        targets = {f"model.{name}": each for name, each in model.named_modules()}
        for place, target in targets.items():
            if not isinstance(target, FeatureTarget) or target.has_weights:
                continue
            architecture = dict(walk(runner.cfg.model, "model")).get(f"{place}.teacher")
            with _as_encoder(model, target.teacher):
                report = load_initial_weights(
                    model, str(target.checkpoint), architecture=architecture
                )
            target.has_weights = True
            runner.logger.info(f"{place}: {report}")


@contextmanager
def _as_encoder(model: nn.Module, teacher: nn.Module) -> Iterator[None]:
    """Let a teacher be a pretrainer's encoder, to load and verify it like one."""
    encoder = model.encoder
    model.encoder = teacher
    try:
        yield
    finally:
        model.encoder = encoder
