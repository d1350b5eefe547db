"""Measure how many training iterations fit into a given time."""

from __future__ import annotations

import io
import math
import tempfile
import time
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.hooks import Hook

from drivemim.clips import Clips
from drivemim.config.loading import EXTRA_HOOKS, load_config
from drivemim.errors import ConfigError, RunStopped, check_range
from drivemim.training.hooks.estimate_run import WaitForData, prefetched_iterations
from drivemim.training.run import train
from drivemim.training.stopping import signal_name

_MAX_ITERATIONS = 200
"""Number of counted iterations after which the measurement ends."""
_LONGEST = 20.0
"""Time of the counted iterations, in seconds, after which the measurement ends with fewer."""
_ENOUGH = 8
"""Number of counted iterations that the measurement needs, however long they take."""
_SHORTEST = 0.001
"""Shortest time for a training, in hours."""


class IterationTimes(Hook):
    """Note when iterations end, and end the run when there are enough.

    Args:
        first: number of iterations that are not counted. The very first ones are slow. Those whose
            data the workers load before the first one ends are fast.

    Attributes:
        ends: time at the end of each iteration, in seconds of ``time.perf_counter``.
        clock: hook that measures the waits, to be registered as well.
        waits: seconds that each iteration waited for its data.
        frames: number of valid frames of each iteration, if the data are clips.
    """

    priority = "LOWEST"

    def __init__(self, first: int) -> None:
        self.ends: list[float] = []
        self.waits: list[float] = []
        self.frames: list[int] = []
        self.clock = WaitForData()
        self.first = first

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Note time and frames, once the device has computed the loss; end the run if it is due."""
        float(outputs["loss"].detach())
        self.ends.append(time.perf_counter())
        self.waits.append(self.clock.last)
        self.clock.end_iteration()
        clips = data_batch["clips"] if isinstance(data_batch, Mapping) else data_batch
        if isinstance(clips, Clips):
            self.frames.append(int(clips.valid_BTN.sum()))
        counted = self.ends[self.first :]
        if len(counted) > _ENOUGH and counted[-1] - counted[0] > _LONGEST:
            runner.train_loop.stop_training = True

    @property
    def seconds(self) -> float:
        """Mean time of an iteration in seconds, including the wait for its data."""
        counted = self.ends[self.first :]
        return (counted[-1] - counted[0]) / (len(counted) - 1)

    @property
    def frames_per_second(self) -> float:
        """Valid frames per second, including the wait for data; NaN if the data are not clips."""
        frames = self.frames[self.first + 1 :]
        return sum(frames) / len(frames) / self.seconds if frames else math.nan

    @property
    def waiting(self) -> float:
        """Fraction of the time of an iteration that waits for data, 0 to 1."""
        waits = self.waits[self.first + 1 :]
        return sum(waits) / len(waits) / self.seconds


def check_hours(hours: float, options: Mapping[str, Any] | None) -> None:
    """Refuse a time that is too short, or that is given together with a number of iterations.

    Raises:
        ConfigError: naming the options.
    """
    check_range("--hours", hours, _SHORTEST)
    if (options or {}).get("train_cfg.max_iters"):
        raise ConfigError("--hours and --cfg-options train_cfg.max_iters=N: give one")


def iterations_in(
    hours: float,
    config: str | Path,
    *,
    amp: bool = False,
    options: Mapping[str, Any] | None = None,
) -> tuple[int, float]:
    """Train for about 20 seconds, in a temporary folder, to measure how long iterations take.

    If loading is slower than training, the measured time may be too short, because of batches that
    the workers load in advance.

    Args:
        hours: time for a training.
        config: path of a config whose loop counts iterations, or name of a shipped one.
        amp: see :func:`drivemim.train`.
        options: dotted config keys to replace.

    Returns:
        The number of iterations, at least 2, and the mean seconds of one with its loading.

    Raises:
        ConfigError: if the time is too short, or the config cannot be trained by iterations.
        RunStopped: after Ctrl-C or SIGTERM (a ``KeyboardInterrupt``).
    """
    check_hours(hours, options)
    times = time_iterations(config, amp=amp, options=options)
    updates = _updates(load_config(config, options))
    count = int(hours * 3600 / times.seconds)
    return _multiple(max(2, count), updates), times.seconds


def time_iterations(
    config: str | Path,
    *,
    amp: bool = False,
    options: Mapping[str, Any] | None = None,
    count: int = _MAX_ITERATIONS,
) -> IterationTimes:
    """Train for about 20 seconds, or ``count`` iterations, in a temporary folder.

    Nothing is printed, validated, probed, drawn or saved.

    Args:
        config: path of a config whose loop counts iterations, or name of a shipped one.
        amp: see :func:`drivemim.train`.
        options: dotted config keys to replace.
        count: largest number of iterations that are counted.

    Returns:
        The hook with the times.

    Raises:
        ConfigError: if the config cannot be trained by iterations.
        RunStopped: after Ctrl-C or SIGTERM (a ``KeyboardInterrupt``).
    """
    cfg = load_config(config, options)
    loader = cfg.train_dataloader
    prefetched = prefetched_iterations(loader.get("num_workers", 0), loader.get("prefetch_factor"))
    times = IterationTimes(3 + prefetched)  # the first three iterations are slow
    with tempfile.TemporaryDirectory() as folder:
        try:
            with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
                train(
                    config, work_dir=Path(folder) / "run", amp=amp, hooks=[times.clock, times],
                    iterations=_multiple(count + times.first, _updates(cfg)),
                    options=_measuring_options(cfg, options),
                )  # fmt: skip
        except RunStopped as stopped:
            name = signal_name(stopped.number)
            raise RunStopped(
                f"Stopped by {name} while the time of an iteration was measured; nothing is saved",
                number=stopped.number,
            ) from stopped
    return times


def _updates(cfg: Config) -> int:
    """Return the number of iterations between two updates of the weights."""
    return int(cfg.optim_wrapper.get("accumulative_counts", 1))


def _multiple(count: int, of: int) -> int:
    """Return the largest multiple of ``of`` that is not above ``count``, but at least ``of``."""
    return max(count // of, 1) * of


def _measuring_options(cfg: Config, options: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the options of a run without checkpoints, validations, pictures and probes.

    Pictures and probes come 20 times in a run of any length, so a short run would mainly measure
    their time.
    """
    checkpoint = {"interval": -1, "save_last": False, "save_best": None}
    nothing: dict[str, Any] = {
        f"default_hooks.checkpoint.{key}": value for key, value in checkpoint.items()
    }
    if cfg.get("visualizer"):  # nothing is sent to other loggers
        nothing["visualizer.vis_backends"] = [{"type": "LocalVisBackend"}]
    validation = dict.fromkeys(("val_cfg", "val_dataloader", "val_evaluator"))
    inspections = tuple(f"default_hooks.{name}" for name in EXTRA_HOOKS)
    kept = {key: each for key, each in (options or {}).items() if not key.startswith(inspections)}
    return {**kept, **nothing, **validation, **dict.fromkeys(inspections)}
