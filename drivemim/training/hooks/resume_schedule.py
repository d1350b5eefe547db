"""Hook that gives a resumed run the schedule of its config."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator
from typing import Any

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.optim import OptimWrapper
from mmengine.runner import EpochBasedTrainLoop

from drivemim.errors import ConfigError
from drivemim.registry import HOOKS

# How far a scheduler is; everything else in its state says what it does.
_PROGRESS = frozenset({"last_step", "_global_step", "_last_value"})


@HOOKS.register_module()
class ResumeSchedule(Hook):
    """Let the schedulers of a resumed run follow its config.

    A checkpoint holds the schedulers and the optimizer's settings of the run that wrote it, and
    MMEngine silently loads both over those of the config. This hook compares them. If the
    schedulers differ, it steps those of the config from the start to the checkpoint's iteration:
    the run continues at the learning rate that a run of this config has there. If optimizer
    settings differ, it refuses. If nothing differs, it changes nothing. A loop that counts epochs
    begins again with the epoch that the checkpoint was written in; a warning says so.

    Raises:
        ConfigError: if the config has other optimizer settings than the checkpoint.
    """

    priority = "HIGHEST"

    def __init__(self) -> None:
        self._schedule: list[dict[str, Any]] = []
        self._settings: list[dict[str, Any]] = []

    def before_run(self, runner: Any) -> None:
        """Remember the config's schedulers and optimizer settings before a checkpoint is loaded."""
        if isinstance(runner.optim_wrapper, OptimWrapper):
            self._schedule = _schedule_of(runner)
            self._settings = _settings_of(runner)

    def before_train(self, runner: Any) -> None:
        """Compare them with those of the checkpoint, and follow the config's schedule."""
        if not runner._resume:
            return
        if line := _describe_repetition(runner.train_loop):
            print_log(line, logger="current", level=logging.WARNING)
        if not isinstance(runner.optim_wrapper, OptimWrapper):
            return
        for ours, loaded in zip(self._settings, _settings_of(runner), strict=True):
            for key in sorted({*ours, *loaded}):
                if ours.get(key) != loaded.get(key):
                    name = key.removeprefix("initial_")
                    raise ConfigError(
                        f"optim_wrapper.optimizer.{name} gives {ours.get(key)}, but the checkpoint "
                        f"was trained with {loaded.get(key)}, which a resumed run keeps. Set it to "
                        "that, or start a new run from the weights with load_from=CHECKPOINT"
                    )
        if self._schedule != _schedule_of(runner):
            _follow_config(runner)
            rate = runner.optim_wrapper.param_groups[0]["lr"]
            print_log(
                "The schedule of the config differs from the checkpoint's. The run follows the "
                f"config's: the learning rate at iteration {runner.iter} is {rate:.4g}",
                logger="current",
                level=logging.WARNING,
            )


def _describe_repetition(loop: Any) -> str | None:
    """Return a line if a resumed loop repeats iterations of the epoch that it was stopped in.

    MMEngine's loop of epochs restores both numbers, and then always begins an epoch at its start.
    """
    if not isinstance(loop, EpochBasedTrainLoop):
        return None
    length = len(loop.dataloader)
    repeated = loop.iter - loop.epoch * length
    if not 0 < repeated <= length:  # at the end of an epoch, or of data of another length
        return None
    total = loop.max_iters + repeated
    return (
        f"The checkpoint was written after {repeated} of {length} iterations of epoch "
        f"{loop.epoch + 1}, and that epoch begins again: its first {repeated} iterations are "
        f"trained twice, and the run ends at iteration {total} instead of {loop.max_iters}. To "
        "avoid this, save by epoch (default_hooks.checkpoint.by_epoch=True) and resume from such a "
        "checkpoint"
    )


def _schedule_of(runner: Any) -> list[dict[str, Any]]:
    """Return what each scheduler does, without how far it is."""
    return [
        {key: value for key, value in each.state_dict().items() if key not in _PROGRESS}
        for each in runner.param_schedulers or ()
    ]


def _settings_of(runner: Any) -> list[dict[str, Any]]:
    """Return the numbers of each parameter group that no scheduler changes."""
    scheduled = {each.param_name for each in runner.param_schedulers or ()}
    if "momentum" in scheduled:
        scheduled.add("betas")
    return [
        {key: value for key, value in group.items() if key not in scheduled and _is_number(value)}
        for group in runner.optim_wrapper.param_groups
    ]


def _is_number(value: Any) -> bool:
    values = value if isinstance(value, tuple | list) else [value]
    return all(
        isinstance(each, int | float) and not isinstance(each, bool) for each in values
    ) and bool(values)


def _follow_config(runner: Any) -> None:
    """Step the config's schedulers from the start to the iteration of the checkpoint."""
    for group in runner.optim_wrapper.param_groups:
        for key in [each for each in group if each.startswith("initial_")]:
            group[key.removeprefix("initial_")] = group[key]
    schedulers = runner.build_param_scheduler(copy.deepcopy(runner.cfg.param_scheduler))
    with warnings.catch_warnings():
        # PyTorch's warning about scheduler steps without optimizer steps does not apply.
        warnings.simplefilter("ignore")
        for by_epoch in _steps(runner):
            for each in schedulers:
                if each.by_epoch == by_epoch:
                    each.step()
    runner.param_schedulers = schedulers


def _steps(runner: Any) -> Iterator[bool]:
    """Yield False for each iteration of the run so far, and True for each epoch that ended."""
    epoch_length = runner.iter // runner.epoch if runner.epoch else None
    for number in range(1, runner.iter + 1):
        yield False
        if epoch_length and number % epoch_length == 0:
            yield True
