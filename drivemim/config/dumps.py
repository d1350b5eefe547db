"""Write and read the config in a training run's folder."""

from __future__ import annotations

import ast
import copy
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from drivemim.files import write_bytes

RUN_HOOKS = (
    "ReseedEveryIteration",
    "StopOnNonFiniteLoss",
    "AverageLosses",
    "ReportClips",
    "ResumeSchedule",
    "ResumeAverages",
    "ResumeEpoch",
)
"""Hooks that every training run has, whatever its config says."""
_RUN_HOOK_TYPES = {f"drivemim.{name}" for name in RUN_HOOKS}
# Every dump has these; dumps of older versions lack the others.
_OLDEST_RUN_HOOKS = {f"drivemim.{name}" for name in RUN_HOOKS[:3]}
# Names that MMEngine writes into a dumped config. A config that reads other names has code.
_LITERALS = {"dict", "inf", "nan"}
# Keys that a run adds to its config.
_RUN_KEYS = ("launcher", "work_dir")


def is_dump(config: Config) -> bool:
    """Return whether a run wrote the config: no code, no ``_base_``, and keys that runs add.

    Args:
        config: config as MMEngine reads it, before any option is applied.
    """
    return set(_RUN_KEYS) <= set(config) and _has_no_code(Path(config.filename))


def is_dump_file(path: Path) -> bool:
    """Return whether a run wrote a config file, like :func:`is_dump`; the file is not run."""
    if not path.is_file():
        return False
    try:
        is_plain, text = _has_no_code(path), path.read_text()
    except (SyntaxError, ValueError):
        return False
    form = r"^{}\s*=" if path.suffix == ".py" else r"\b{}\W?\s*:"
    return is_plain and all(re.search(form.format(key), text, re.MULTILINE) for key in _RUN_KEYS)


@contextmanager
def own_config_advised(config: str | Path, checkpoint: str | Path) -> Iterator[None]:
    """Add the path of the config that a checkpoint's run wrote to the error of a missing file.

    Args:
        config: the config that names the file.
        checkpoint: checkpoint of a run.

    Raises:
        FileNotFoundError: the error of the block, with the advice if there is such a config.
    """
    try:
        yield
    except FileNotFoundError as error:
        paths = sorted(Path(checkpoint).parent.glob("*.py"))
        own = next((path for path in paths if is_dump_file(path)), None)
        if own is None or own.resolve() == Path(config).resolve():
            raise
        raise FileNotFoundError(
            f"{error}; or take the data of the checkpoint's run with its own config, {own}"
        ) from error


def _has_no_code(path: Path) -> bool:
    """Return whether a config file has only values, and no ``_base_``."""
    text = path.read_text()
    if path.suffix != ".py":
        return "_base_" not in text
    names = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)]
    read = {node.id for node in names if isinstance(node.ctx, ast.Load)}
    return read <= _LITERALS and "_base_" not in {node.id for node in names}


def remove_run_additions(config: Config) -> None:
    """Remove from a dumped config, in place, what its run added to the original config.

    Otherwise, the additions would affect a new run of the dumped config: hooks would exist twice, a
    hook would load a backbone that ``backbone_checkpoint`` no longer names, and a run of the dump
    of a resumed run would resume from the same checkpoint.
    """
    hooks = config.get("custom_hooks") or []
    if {hook.get("type") for hook in hooks} >= _OLDEST_RUN_HOOKS:
        config.custom_hooks = [hook for hook in hooks if not _is_added(hook, config)]
    if config.get("resume"):
        config.resume, config.load_from = False, None
    if config.get("experiment_name") == Path(config.work_dir).resolve().name:
        config.pop("experiment_name")


def _is_added(hook: Mapping[str, Any], config: Config) -> bool:
    """Return whether a run has added a hook to the config by itself."""
    backbone = config.get("backbone_checkpoint")
    loads = hook.get("type") == "drivemim.LoadBackbone"
    return (
        hook.get("type") in {*_RUN_HOOK_TYPES, "drivemim.StrictLoad"}
        or loads
        and bool(backbone)
        and str(hook.get("checkpoint")) == str(backbone)
    )


def dump_of(config: Config) -> Config:
    """Copy a run's config for the dump, before the run adds hooks and settings to it.

    Args:
        config: config with the options of the command line applied, and without variables.
    """
    dump = copy.deepcopy(config)
    if dump.get("experiment_name") == Path(dump.work_dir).resolve().name:
        dump.pop("experiment_name")
    return dump


def dump_path(config: Config, work_dir: str | Path) -> Path:
    """Return where a run writes its config."""
    return Path(work_dir) / Path(config.filename).name


class DumpConfig(Hook):
    """Write a run's config into its folder after the first iteration.

    MMEngine's Runner writes the config when it is built and overwrites that of an earlier run,
    although a wrong checkpoint or config may still end the run before its first iteration. This
    hook waits until nothing can refuse the run any more. It does not overwrite a file that no run
    has written, because a user's own config may be in the folder.

    Args:
        config: from :func:`dump_of`.
    """

    priority = "LOWEST"

    def __init__(self, config: Config) -> None:
        self.config = config
        self.is_written = False

    def after_train_iter(self, runner: Any, *args: Any, **kwargs: Any) -> None:
        """Write the config once."""
        if self.is_written:
            return
        self.is_written = True
        path = dump_path(self.config, runner.work_dir)
        if is_main_process() and (is_dump_file(path) or not path.exists()):
            text: str = self.config.dump()
            write_bytes(path, text.encode())


def without_config_dump(runner: type[Runner]) -> type[Runner]:
    """Return a subclass of a Runner that leaves writing the config to :class:`DumpConfig`."""
    return type(runner.__name__, (runner,), {"dump_config": lambda self: None})
