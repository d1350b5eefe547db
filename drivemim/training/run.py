"""Training and testing on MMEngine's Runner, for pretraining and detection."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.registry import RUNNERS
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from drivemim import compat
from drivemim.checkpoint_kinds import describe_missing
from drivemim.config.dumps import RUN_HOOKS, DumpConfig, dump_of, without_config_dump
from drivemim.config.loading import (
    EXTRA_HOOKS,
    config_errors,
    drop_variables,
    is_pretrainer,
    load_config,
)
from drivemim.errors import CheckpointError, ConfigError
from drivemim.evaluation.curves import ClassCurves
from drivemim.evaluation.results_file import results_json
from drivemim.files import ensure_folder, ensure_writable, write_bytes
from drivemim.training.compact_log import brief_console, deprecations_in_log
from drivemim.training.device import pin_with_accelerator, start_process_group
from drivemim.training.hooks.average_after_updates import AverageAfterUpdates
from drivemim.training.hooks.check_agreement import CheckAgreement
from drivemim.training.hooks.describe_run import DescribeRun, LogFirstIteration
from drivemim.training.hooks.estimate_run import EstimateRun, WaitForData
from drivemim.training.hooks.load_teachers import LoadTeachers
from drivemim.training.hooks.progress_bar import ProgressBar
from drivemim.training.hooks.record_pretraining import RecordPretraining
from drivemim.training.hooks.stop_on_signal import StopOnSignal
from drivemim.training.input_files import check_input_files
from drivemim.training.loggers import add_loggers, failures_reported
from drivemim.training.start_point import (
    StartPoint,
    choose_start,
    compare_complete,
    describe_complete,
)
from drivemim.training.start_weights import (
    add_initial_weights,
    note_unused_weights,
    set_initial_weights,
)
from drivemim.training.stopping import StopSignals, leave_signals
from drivemim.training.training_checks import check_training
from drivemim.training.training_length import training_length
from drivemim.training.value_errors import errors_of_values
from drivemim.training.work_dir import (
    NEWEST,
    MarkBegin,
    nothing_left_unless_begun,
    only_run_in,
)
from drivemim.transfer.run_checkpoints import checkpoint_in

__all__ = ["NEWEST", "check_test_options", "evaluate", "train"]

_LOG_INTERVAL = 10  # MMEngine's default
_PLAIN_CHECKPOINT_HOOKS = ("CheckpointHook", "mmengine.CheckpointHook")


def train(
    config: str | Path,
    *,
    work_dir: str | Path | None = None,
    resume: bool | str | Path | None = None,
    overwrite: bool = False,
    amp: bool = False,
    launcher: str = "none",
    seed: int | None = None,
    init: str | Path | None = None,
    iterations: int | None = None,
    loggers: Sequence[str] = (),
    options: Mapping[str, Any] | None = None,
    hooks: Sequence[Hook] = (),
) -> Runner:
    """Train the model of a config to the end.

    Whatever the config says, all random numbers of a run depend on (seed, iteration, rank). A run
    stops at a loss that is not finite, writes every checkpoint completely or not at all, and
    refuses clips of which most frames are missing. A resumed run repeats the random numbers of an
    unbroken one for clips and for items of a ``SeededDataset``. Other data sets do so only if the
    run is resumed at the end of an epoch and without persistent workers. A run that is complete
    already is compared with its checkpoint, and trains nothing.

    Args:
        config: path of an MMEngine config, or name of a shipped one.
        work_dir: folder of logs and checkpoints; by default the config's, else
            ``work_dirs/NAME_OF_CONFIG``.
        resume: a checkpoint to resume from, or True (or ``NEWEST``) for the newest complete one in
            ``work_dir``. If there is none yet, True starts from the beginning.
        overwrite: start from the beginning in a folder that has an earlier run, which is refused
            otherwise. After the first iteration, that run's checkpoints are removed.
        amp: use mixed precision, bfloat16 if the device has it.
        launcher: ``none``, ``pytorch``, ``slurm`` or ``mpi``, like MMEngine's.
        seed: replaces the config's ``randomness.seed``; 0 if neither is set.
        init: initial weights of the backbone, in place of a pretraining config's ``load_from`` or a
            detector's ``backbone_checkpoint``. A resumed run has those of its checkpoint.
        iterations: length in place of the config's; warm-up and schedules are scaled to it.
        loggers: loggers besides those of the config, such as ``wandb`` or ``mlflow``; see
            ``drivemim.training.loggers``.
        options: dotted config keys to replace.
        hooks: hooks to register after those of the config.

    Returns:
        The runner, after training.

    Raises:
        ConfigError: if the config is invalid or contradicts itself.
        CheckpointError: if a checkpoint cannot be read or written, or does not fit.
        NonFiniteLossError: if the loss is not finite.
        RunStopped: after Ctrl-C or SIGTERM, with a checkpoint; it is a ``KeyboardInterrupt``.
    """
    cfg = _prepare(config, work_dir, launcher, options)
    set_initial_weights(cfg, init, options or {})
    check_training(cfg, config, amp, iterations, options or {})
    add_loggers(cfg, loggers)
    start = choose_start(cfg, resume, overwrite, seed)
    checkpoint = start.checkpoint
    note_unused_weights(init, checkpoint)
    check_input_files(cfg, ["train_dataloader", "val_dataloader"], weights=checkpoint is None)
    dump = dump_of(cfg)
    cfg.resume = checkpoint is not None
    cfg.load_from = str(checkpoint or "") or cfg.get("load_from")
    _add_run_hooks(cfg, strict=checkpoint is not None)
    add_initial_weights(cfg)
    return _run(cfg, start, dump, hooks)


def _run(cfg: Config, start: StartPoint, dump: Config, added: Sequence[Hook]) -> Runner:
    """Build the runner of a checked config and train; clear up what a refused run leaves."""
    checkpoint = start.checkpoint
    # StopSignals is the outermost context: the others clean up before signals have their usual
    # effect again.
    with (
        StopSignals() as signals,
        _reporting(cfg.work_dir) as mark,
        only_run_in(cfg.work_dir, cfg.launcher),
        closing(ProgressBar()) as bar,
    ):
        runner = _build(cfg)
        if checkpoint is not None and (line := describe_complete(cfg, start)):
            compare_complete(runner, checkpoint, line)
            return runner
        # Hooks of the same priority run in the order in which they are registered.
        hooks = [CheckAgreement(compare_checkpoint=checkpoint is not None), DumpConfig(dump)]
        if is_pretrainer(cfg.model):
            hooks += [RecordPretraining(), LoadTeachers(), AverageAfterUpdates()]
        waits = WaitForData()
        hooks += [*added, DescribeRun(), LogFirstIteration(), waits, EstimateRun(waits), bar]
        for hook in (*start.hooks, *hooks, mark, StopOnSignal(signals)):
            runner.register_hook(hook)
        with config_errors(), failures_reported(runner), _ending_workers(runner):
            runner.train()
    return runner


@contextmanager
def _ending_workers(runner: Runner) -> Iterator[None]:
    """End the data loader workers with a run, also after an error.

    Not with ``finally``: after Ctrl-C and SIGTERM, ``StopSignals`` ends them when it exits.
    """
    try:
        yield
    except Exception:
        compat.stop_workers(runner)
        raise
    compat.stop_workers(runner)


@contextmanager
def _reporting(work_dir: str | Path) -> Iterator[MarkBegin]:
    """Report deprecations in the log and wrong values in one line; remove what a refused run wrote.

    Yields:
        A hook, which the run has to register.
    """
    with (
        nothing_left_unless_begun(work_dir) as mark,
        deprecations_in_log(),
        errors_of_values(mark),
    ):
        yield mark


def evaluate(
    config: str | Path,
    checkpoint: str | Path,
    *,
    work_dir: str | Path | None = None,
    out: str | Path | None = None,
    show_dir: str | Path | None = None,
    show_count: int = 50,
    show_score: float | None = None,
    launcher: str = "none",
    options: Mapping[str, Any] | None = None,
) -> dict[str, float]:
    """Evaluate a checkpoint with the config's test data and metrics.

    Args:
        config: path of an MMEngine config, or name of a shipped one.
        checkpoint: weights of exactly the config's model, or a run's folder for its newest
            checkpoint.
        work_dir: folder of logs; by default the config's, else ``work_dirs/NAME_OF_CONFIG``.
        out: JSON file for the metrics, and for the curves that charts show.
        show_dir: folder for pictures of detections; see ``DrawDetections``.
        show_count: number of pictures.
        show_score: smallest score of a drawn detection; None draws as many as there are objects.
        launcher: same as in :func:`train`.
        options: dotted config keys to replace.

    Returns:
        Metric name to value.

    Raises:
        ConfigError: if the config is invalid or contradicts itself.
        CheckpointError: if the checkpoint is damaged or of another model.
        FileNotFoundError: if a folder has no complete checkpoint.
    """
    checkpoint = checkpoint_in(Path(checkpoint))
    if out is not None:
        ensure_writable(out)
    if show_dir is not None:
        ensure_folder(show_dir)
    check_test_options(options or {})
    cfg = _prepare(config, work_dir, launcher, options)
    add_loggers(cfg)
    _check_test(cfg, config, checkpoint)
    cfg.load_from, cfg.resume = str(checkpoint), False
    hooks: list[dict[str, Any]] = [{"type": "drivemim.StrictLoad"}]
    if show_dir is not None:
        pictures = {"folder": str(show_dir), "count": show_count, "min_score": show_score}
        hooks.append({"type": "drivemim.DrawDetections", **pictures})
    cfg.custom_hooks = [*(cfg.get("custom_hooks") or []), *hooks]
    with _reporting(cfg.work_dir) as mark:
        runner = _build(cfg)
        for hook in (CheckAgreement(compare_checkpoint=True), mark):
            runner.register_hook(hook)
        with config_errors(), failures_reported(runner), _ending_workers(runner):
            metrics: dict[str, float] = runner.test()
    if out is not None and is_main_process():
        curves: dict[str, ClassCurves] = {}
        for metric in runner.test_loop.evaluator.metrics:
            curves.update(getattr(metric, "curves", {}))
        write_bytes(Path(out), results_json(metrics, curves))
    return metrics


def _check_test(cfg: Config, config: str | Path, checkpoint: str | Path) -> None:
    """Refuse a config without test data, and files that do not exist."""
    if cfg.get("test_dataloader") is None:
        fix = "; a backbone is evaluated with drivemim probe" if is_pretrainer(cfg.model) else ""
        raise ConfigError(f"{config} has no test_dataloader: it cannot be tested{fix}")
    check_input_files(cfg, ["test_dataloader"], weights=False)
    if not Path(checkpoint).is_file():
        raise CheckpointError(describe_missing("checkpoint", checkpoint))


def check_test_options(options: Mapping[str, Any]) -> None:
    """Refuse options for validation data only: a test has its own data and metrics."""
    for key in options:
        other = re.sub(r"^val_(?=dataloader\b|evaluator\b)", "test_", key)
        if other != key and other not in options:
            raise ConfigError(
                f"--cfg-options {key}: a test does not read it, so that it would change nothing; "
                f"set {other}"
            )


def _prepare(
    config: str | Path,
    work_dir: str | Path | None,
    launcher: str,
    options: Mapping[str, Any] | None,
) -> Config:
    if launcher == "none" and int(os.environ.get("WORLD_SIZE", "1")) > 1 and "RANK" in os.environ:
        raise ConfigError(
            f"torchrun started {os.environ['WORLD_SIZE']} processes, and with --launcher none each "
            "of them would do the whole run in the same folder; add --launcher pytorch"
        )
    if options and options.get("launcher", launcher) != launcher:
        raise ConfigError(
            f"--cfg-options launcher={options['launcher']} would change nothing: give --launcher"
        )
    cfg = load_config(config, options)
    drop_variables(cfg)
    cfg.work_dir = str(work_dir or cfg.get("work_dir") or Path("work_dirs") / Path(config).stem)
    ensure_folder(cfg.work_dir)
    cfg.launcher = launcher
    cfg.setdefault("experiment_name", Path(cfg.work_dir).resolve().name)
    if launcher != "none" and not torch.cuda.is_available():
        cfg.setdefault("model_wrapper_cfg", {
            "type": "MMDistributedDataParallel",
            "device_ids": None,
            "broadcast_buffers": False,
            "find_unused_parameters": cfg.get("find_unused_parameters", False),
        })  # fmt: skip
    return cfg


def _build(cfg: Config) -> Runner:
    # MMEngine would share the log of a run of the same name that began in the same second.
    for instance, name in compat.run_instances():
        if name.startswith(f"{cfg.experiment_name}_"):
            compat.forget_instance(instance, name)
    start_process_group(cfg.launcher)
    kind = RUNNERS.get(cfg.runner_type) if "runner_type" in cfg else Runner
    with config_errors():
        if kind is None:  # MMEngine's error names the unknown type.
            return RUNNERS.build(cfg)
        return brief_console(without_config_dump(_with_own_loaders(kind))).from_cfg(cfg)


def _with_own_loaders(runner: type[Runner]) -> type[Runner]:
    """Return the same Runner, with data loaders that fit the process and its device."""

    def build_dataloader(*args: Any, **kwargs: Any) -> Any:
        loader = runner.build_dataloader(*args, **kwargs)
        if isinstance(loader, DataLoader):
            leave_signals(loader)
            pin_with_accelerator(loader)
        return loader

    return type(runner.__name__, (runner,), {"build_dataloader": staticmethod(build_dataloader)})


def _add_run_hooks(cfg: Config, strict: bool) -> None:
    """Add what every run needs, even if the config inherits MMDetection's own hooks."""
    hooks = dict(cfg.get("default_hooks") or {})
    for name in EXTRA_HOOKS:  # MMEngine accepts None only for its own default hooks.
        if hooks.get(name, "") is None:
            del hooks[name]
    checkpoint = hooks.get("checkpoint", {"type": "CheckpointHook", "interval": 1})
    if checkpoint is not None and checkpoint.get("type") in _PLAIN_CHECKPOINT_HOOKS:
        hooks["checkpoint"] = {**checkpoint, "type": "drivemim.AtomicCheckpoint"}
    logger, length = hooks.get("logger", {"type": "LoggerHook"}), training_length(cfg)
    if logger is not None and length is not None and not length.by_epoch:
        # A short run prints the loss of its last iteration at least.
        interval = min(logger.get("interval", _LOG_INTERVAL), length.units)
        hooks["logger"] = {**logger, "interval": interval}
    cfg.default_hooks = hooks
    added = [*RUN_HOOKS, *(["StrictLoad"] if strict else [])]
    cfg.custom_hooks = [
        *(cfg.get("custom_hooks") or []),
        *({"type": f"drivemim.{name}"} for name in added),
    ]
