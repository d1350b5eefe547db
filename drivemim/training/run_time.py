"""How many iterations a run does in a given time, measured."""

from __future__ import annotations

import io
import tempfile
import time
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook

from drivemim.errors import RunStopped, check_range
from drivemim.training.run import train

_MOST = 200
_LONGEST = 20.0
"""Seconds after which an iteration ends the measurement, once there are enough of them."""
_ENOUGH = 8
_SHORTEST = 0.001


class _TimeIterations(Hook):
    """Note when iterations end, and end the run when there are enough.

    Attributes:
        ends: seconds of a clock.
        first: number of iterations whose time does not count: the first ones are slow, and those
            whose data the workers load before the first one ends are fast.
    """

    priority = "LOWEST"

    def __init__(self) -> None:
        self.ends: list[float] = []
        self.first = 3

    def before_train(self, runner: Any) -> None:
        """Note how many batches the workers load in advance."""
        loader = runner.train_dataloader
        self.first += loader.num_workers * (getattr(loader, "prefetch_factor", None) or 0)

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Note the time, once the device has computed the loss."""
        float(outputs["loss"].detach())
        self.ends.append(time.perf_counter())
        counted = self.ends[self.first :]
        if len(counted) > _ENOUGH and counted[-1] - counted[0] > _LONGEST:
            runner.train_loop.stop_training = True

    @property
    def seconds(self) -> float:
        """Mean time of an iteration, with its loading."""
        counted = self.ends[self.first :]
        return (counted[-1] - counted[0]) / (len(counted) - 1)


def iterations_in(
    hours: float,
    config: str | Path,
    *,
    amp: bool = False,
    options: Mapping[str, Any] | None = None,
) -> tuple[int, float]:
    """Train for about 20 seconds, in a folder that is removed, to see how long iterations take.

    Args:
        hours: time for a training.
        config: path of a config whose loop counts iterations, or name of a shipped one.
        amp: see :func:`drivemim.train`.
        options: dotted config keys to replace.

    Returns:
        The number of iterations, at least 2, and the mean seconds of one with its loading.

    Raises:
        ConfigError: if the time is too short, or the config cannot be trained by iterations.
        KeyboardInterrupt: after Ctrl-C or SIGTERM.
    """
    check_range("--hours", hours, _SHORTEST)
    hook = _TimeIterations()
    with tempfile.TemporaryDirectory() as folder:
        try:
            with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
                train(
                    config, work_dir=Path(folder) / "run", amp=amp, hooks=[hook],
                    iterations=_MOST + hook.first, options=_measured(options),
                )  # fmt: skip
        except RunStopped as stopped:
            raise KeyboardInterrupt from stopped
    return max(2, int(hours * 3600 / hook.seconds)), hook.seconds


def _measured(options: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the options of a run that writes no checkpoint and validates nothing."""
    checkpoint = {"interval": -1, "save_last": False, "save_best": None}
    nothing = {f"default_hooks.checkpoint.{key}": value for key, value in checkpoint.items()}
    validation = dict.fromkeys(("val_cfg", "val_dataloader", "val_evaluator"))
    return {**(options or {}), **nothing, **validation}
