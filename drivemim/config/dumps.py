"""Writing and reading of the config in a training run's folder."""

from __future__ import annotations

import ast
import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from drivemim.files import write_bytes

GUARANTEES = (
    "ReseedEveryIteration",
    "StopOnNonFiniteLoss",
    "AverageLosses",
    "ReportClips",
    "ResumeSchedule",
    "ResumeAverages",
)
"""Hooks that every training run has, whatever its config says."""
_GUARANTEES = {f"drivemim.{name}" for name in GUARANTEES}
# Older dumps do not have the last three.
_WRITTEN_DOWN = {f"drivemim.{name}" for name in GUARANTEES[:3]}
# Names that MMEngine writes into a dumped config; others mean that it has code.
_LITERALS = {"dict", "inf", "nan"}


def is_dump(config: Config) -> bool:
    """Return whether a run wrote the config: no code, no ``_base_``, and keys that runs add.

    Args:
        config: config as MMEngine reads it, before any option is applied.
    """
    if not {"launcher", "work_dir"} <= set(config):
        return False
    text = Path(config.filename).read_text()
    if Path(config.filename).suffix != ".py":
        return "_base_" not in text
    names = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)]
    read = {node.id for node in names if isinstance(node.ctx, ast.Load)}
    return read <= _LITERALS and "_base_" not in {node.id for node in names}


def undo_run(config: Config) -> None:
    """Remove from a dumped config, in place, what its run added to the original config.

    Otherwise these additions would affect another run: hooks would exist twice, a hook would load a
    backbone that ``backbone_checkpoint`` no longer names, and the dump of a resumed run would start
    from that run's checkpoint.
    """
    hooks = config.get("custom_hooks") or []
    if {hook.get("type") for hook in hooks} >= _WRITTEN_DOWN:
        config.custom_hooks = [hook for hook in hooks if not _is_added(hook, config)]
    if config.get("resume"):
        config.resume, config.load_from = False, None
    if config.get("experiment_name") == Path(config.work_dir).resolve().name:
        config.pop("experiment_name")


def _is_added(hook: Mapping[str, Any], config: Config) -> bool:
    """Return whether a hook is one that a run adds by itself."""
    backbone = config.get("backbone_checkpoint")
    loads = hook.get("type") == "drivemim.LoadBackbone"
    return (
        hook.get("type") in {*_GUARANTEES, "drivemim.StrictLoad"}
        or loads
        and bool(backbone)
        and str(hook.get("checkpoint")) == str(backbone)
    )


def dump_of(config: Config) -> Config:
    """Copy a run's config for the dump, before the run adds to it.

    Args:
        config: config with the options of the command line, without variables.
    """
    dump = copy.deepcopy(config)
    if dump.get("experiment_name") == Path(dump.work_dir).resolve().name:
        dump.pop("experiment_name")
    return dump


class DumpConfig(Hook):
    """Write a run's config into its folder when nothing can refuse the run any more.

    MMEngine's Runner writes the config when it is built and overwrites that of an earlier run,
    although a wrong checkpoint or config may still end the run before its first iteration. This
    hook writes it when training begins. It overwrites another config only after the first
    iteration.

    Args:
        config: from :func:`dump_of`.
    """

    priority = "LOWEST"

    def __init__(self, config: Config) -> None:
        self.config = config
        self.is_written = False

    def before_train(self, runner: Any) -> None:
        """Write the config if there is none."""
        if not self._path(runner).exists():
            self._write(runner)

    def after_train_iter(self, runner: Any, *args: Any, **kwargs: Any) -> None:
        """Overwrite the config of an earlier run."""
        if not self.is_written:
            self._write(runner)

    def _path(self, runner: Any) -> Path:
        return Path(runner.work_dir) / Path(self.config.filename).name

    def _write(self, runner: Any) -> None:
        self.is_written = True
        if is_main_process():
            text: str = self.config.dump()
            write_bytes(self._path(runner), text.encode())


def dumps_nothing(runner: type[Runner]) -> type[Runner]:
    """Return the same Runner, which leaves the config to :class:`DumpConfig`."""
    return type(runner.__name__, (runner,), {"dump_config": lambda self: None})
