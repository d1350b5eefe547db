"""Hook that gives a resumed run the schedule of its config."""

from __future__ import annotations

import logging
import math
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import EpochBasedTrainLoop

from drivemim.compat import is_resumed, read_checkpoint
from drivemim.errors import CheckpointError, ConfigError
from drivemim.option_words import as_spoken
from drivemim.registry import HOOKS
from drivemim.training.optimizer_settings import check_same_optimizer

_KIND = "optimizer"
"""Key of a checkpoint's ``meta``: class of the optimizer, or of several optimizers by name."""
# Keys of a scheduler's state that change with its steps. All other keys are settings.
_PROGRESS = frozenset({"last_step", "_global_step", "_last_value"})
# The same for a scheduler that follows results, such as ReduceOnPlateauLR. Its ``end`` is the
# length of the training, which may differ from the checkpoint's.
_RESULTS = _PROGRESS | {"best", "num_bad_epochs", "cooldown_counter", "end"}


@HOOKS.register_module()
class ResumeSchedule(Hook):
    """Let the schedulers of a resumed run follow its config, and keep its optimizer.

    A checkpoint holds the schedulers and the optimizer's settings of the run that wrote it, and
    MMEngine silently loads both over those of the config. This hook refuses another optimizer or
    other settings. It computes the schedule from the config alone: it steps the config's schedulers
    from the start to the checkpoint's iteration, so that the run continues at the learning rate
    that a run of this config has there.

    A scheduler that follows results, such as ``ReduceOnPlateauLR``, cannot be computed from a
    config. If the config has one, all schedulers are loaded from the checkpoint, and the config
    must have the same schedulers as the checkpoint.

    Raises:
        CheckpointError: if the checkpoint's optimizer has no parameter groups.
        ConfigError: if the config's optimizer is not the checkpoint's or has other settings; if a
            scheduler follows results and the schedulers differ from the checkpoint's; or if a
            scheduler cannot be saved.
    """

    priority = "HIGH"  # after the hooks that compare the checkpoint's model

    def __init__(self) -> None:
        # From the checkpoint, by the name of the optimizer: its schedulers, its learning rate.
        self._states: dict[str, list[dict[str, Any]]] = {}
        self._rates: dict[str, float] = {}

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Record the class of the optimizer."""
        kinds = {name: type(each.optimizer).__name__ for name, each in _wrappers(runner).items()}
        if kinds:
            checkpoint["meta"][_KIND] = kinds.get("", kinds)

    def after_load_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Compare the optimizers; prevent the loading of the checkpoint's schedule."""
        if not is_resumed(runner):
            return
        stored = checkpoint.pop("param_schedulers", None) or []
        self._states = dict(stored) if isinstance(stored, Mapping) else {"": stored}
        states, kinds = checkpoint.get("optimizer"), checkpoint.get("meta", {}).get(_KIND)
        for name, wrapper in _wrappers(runner).items():
            if states is None:
                continue
            state = states.get(name) if name else states
            kind = kinds.get(name) if isinstance(kinds, Mapping) else kinds
            key = ".".join(part for part in ("optim_wrapper", name, "optimizer") if part)
            scaled = bool((runner.cfg.get("auto_scale_lr") or {}).get("enable"))
            check_same_optimizer(wrapper.optimizer, state, kind, key=key, follows_batch=scaled)
            self._rates[name] = float(state["param_groups"][0]["lr"])
            if not _follows_results(runner):
                _replace_settings(wrapper, state)

    def before_train(self, runner: Any) -> None:
        """Step the config's schedulers to the checkpoint's iteration, or load the checkpoint's."""
        _check_saving(runner)
        if not is_resumed(runner) or not _wrappers(runner):
            return
        if _follows_results(runner):
            self._load_states(runner)
            return
        _step_schedulers(runner)
        for name, wrapper in _wrappers(runner).items():
            self._report_rate(runner, name, wrapper.optimizer.param_groups[0]["lr"])

    def _report_rate(self, runner: Any, name: str, rate: float) -> None:
        """Warn if the learning rate of one optimizer differs from the checkpoint's."""
        before = self._rates.get(name)
        if before is None or math.isclose(rate, before, rel_tol=1e-6):
            return
        print_log(
            f"{f'{name}: the' if name else 'The'} checkpoint's run would continue at a learning "
            f"rate of {before:.4g}. The run follows the config's schedule: the learning rate at "
            f"iteration {runner.iter} is {rate:.4g}",
            logger="current",
            level=logging.WARNING,
        )

    def _load_states(self, runner: Any) -> None:
        """Load the checkpoint's schedulers, but with the ends that the config gives them.

        Raises:
            ConfigError: if the config has other schedulers than the checkpoint.
        """
        for name, schedulers in _schedulers(runner).items():
            states = self._states.get(name, [])
            same = len(states) == len(schedulers) and all(
                _settings(scheduler, scheduler.state_dict()) == _settings(scheduler, state)
                for scheduler, state in zip(schedulers, states, strict=True)
            )
            if not same:
                kinds = ", ".join(type(scheduler).__name__ for scheduler in schedulers)
                raise ConfigError(
                    f"param_scheduler ({kinds}) differs from the checkpoint's, and one of them "
                    "follows results, so that the learning rate at iteration "
                    f"{runner.iter} cannot be computed. Set it as it was, or start a new run from "
                    "the weights with load_from=CHECKPOINT"
                )
            for scheduler, state in zip(schedulers, states, strict=True):
                end = scheduler.end
                scheduler.load_state_dict(state)
                scheduler.end = end


def _wrappers(runner: Any) -> dict[str, Any]:
    """Return the optimizer wrappers by name; a single one has the name ``""``."""
    wrapper = runner.optim_wrapper
    if isinstance(wrapper, OptimWrapperDict):
        return dict(wrapper.items())
    return {"": wrapper} if isinstance(wrapper, OptimWrapper) else {}


def _schedulers(runner: Any) -> dict[str, list[Any]]:
    """Return the schedulers of each optimizer by its name."""
    schedulers = runner.param_schedulers or []
    return dict(schedulers) if isinstance(schedulers, dict) else {"": schedulers}


def _follows_results(runner: Any) -> bool:
    """Return whether any scheduler of the run follows results, such as the validation loss."""
    return any(
        getattr(each, "need_val_args", False)
        for schedulers in _schedulers(runner).values()
        for each in schedulers
    )


def _settings(scheduler: Any, state: Mapping[str, Any]) -> dict[str, Any]:
    """Return a scheduler's settings, without its progress."""
    progress = _RESULTS if getattr(scheduler, "need_val_args", False) else _PROGRESS
    return {key: value for key, value in state.items() if key not in progress}


def _replace_settings(wrapper: Any, state: dict[str, Any]) -> None:
    """Replace the checkpoint's optimizer settings by the config's."""
    for own, loaded in zip(wrapper.optimizer.param_groups, state["param_groups"], strict=True):
        params = loaded["params"]
        loaded.clear()
        loaded.update({**own, "params": params})
    state.pop("base_param_settings", None)
    if wrapper.base_param_settings is not None:
        state["base_param_settings"] = wrapper.base_param_settings


def _step_schedulers(runner: Any) -> None:
    """Step the config's schedulers from the start to the iteration of the checkpoint."""
    every = [each for schedulers in _schedulers(runner).values() for each in schedulers]
    verbose = [each.verbose for each in every]
    for each in every:
        each.verbose = False
    with warnings.catch_warnings():
        # PyTorch's warning about scheduler steps without optimizer steps does not apply.
        warnings.simplefilter("ignore")
        for by_epoch in _steps(runner):
            for each in every:
                if each.by_epoch == by_epoch:
                    each.step()
    for each, value in zip(every, verbose, strict=True):
        each.verbose = value


def _steps(runner: Any) -> Iterator[bool]:
    """Yield False for each iteration of the run so far, and True for each epoch that ended."""
    loop, epochs = runner.train_loop, runner.epoch
    epoch_length = runner.iter // epochs if epochs else None
    if isinstance(loop, EpochBasedTrainLoop):
        length = len(loop.dataloader)
        # Otherwise, the run that wrote the checkpoint had epochs of another length.
        if 0 <= runner.iter - epochs * length <= length:
            epoch_length = length
    for number in range(1, runner.iter + 1):
        yield False
        if epoch_length and number % epoch_length == 0 and number // epoch_length <= epochs:
            yield True


def _check_saving(runner: Any) -> None:
    """Refuse schedulers whose state cannot be saved; warn if only a trusted file can hold it.

    Raises:
        ConfigError: naming the scheduler.
    """
    for schedulers in _schedulers(runner).values():
        for each in schedulers:
            name = type(each).__name__
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "state.pth"
                try:
                    torch.save(each.state_dict(), path)
                except Exception as error:  # pickle raises what the object raises
                    raise ConfigError(
                        f"param_scheduler: the state of {name} cannot be saved ({error}), and a "
                        "checkpoint needs it; give it plain values"
                    ) from error
                try:
                    read_checkpoint(path)
                except CheckpointError as error:
                    print_log(
                        as_spoken(
                            f"param_scheduler: the state of {name} holds more than plain values "
                            f"({error.unsafe_content}). The run can be resumed only with "
                            "--trust-checkpoint"
                        ),
                        logger="current",
                        level=logging.WARNING,
                    )
