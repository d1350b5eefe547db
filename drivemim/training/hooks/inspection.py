"""Base class of hooks that inspect a pretrainer at intervals, without changing the training."""

from __future__ import annotations

from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook

from drivemim.config.loading import is_pretrainer
from drivemim.errors import ConfigError, check_whole_number
from drivemim.training.bare_model import bare_model, evaluation_mode

_TIMES = 20
"""Number of inspections in a run if no interval is set."""


class InspectionHook(Hook):
    """Call ``inspect`` on the main process, with the pretrainer in evaluation mode.

    Args:
        interval: the model is inspected every ``interval`` iterations, and after the last one;
            None for 20 times in the run.

    Raises:
        ConfigError: if the interval is not positive.
    """

    priority = "LOW"

    def __init__(self, interval: int | None) -> None:
        name = type(self).__name__
        check_whole_number(f"{name}: interval", 1 if interval is None else interval)
        self.interval = interval

    def before_train(self, runner: Any) -> None:
        """Open the data.

        Raises:
            ConfigError: if the run is not a pretraining.
        """
        if not is_pretrainer(runner.cfg.model):
            raise ConfigError(
                f"{type(self).__name__}: the model is a {runner.cfg.model.get('type')}, not a "
                "pretrainer; drivemim test --show-dir FOLDER draws detections"
            )
        if is_main_process():
            self.open(runner)

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Inspect the model if this iteration is due."""
        if self.is_due(runner, runner.iter + 1):
            self.look(runner, runner.iter + 1)

    def is_due(self, runner: Any, iteration: int) -> bool:
        """Return whether the model is inspected after this number of iterations."""
        interval = self.interval or max(1, runner.max_iters // _TIMES)
        return iteration % interval == 0 or iteration == int(runner.max_iters)

    def look(self, runner: Any, iteration: int) -> None:
        """Inspect the model on the main process."""
        if is_main_process():
            model = bare_model(runner.model)
            with evaluation_mode(model):
                self.inspect(runner, model, iteration)

    def open(self, runner: Any) -> None:
        """Open the data, on the main process before training."""
        raise NotImplementedError

    def inspect(self, runner: Any, model: Any, iteration: int) -> None:
        """Compute pictures or scalars with the model, and send them to the run's loggers.

        Args:
            runner: the run.
            model: its pretrainer, in evaluation mode.
            iteration: number of iterations so far.
        """
        raise NotImplementedError
