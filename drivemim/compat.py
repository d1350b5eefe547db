"""Code that depends on private or version-specific behaviour of DriveMIM's dependencies.

Supports the upstream MMEngine, MMCV and MMDetection and the maintained ``onedl-`` forks. Both share
import names but read checkpoints differently under ``torch>=2.6``.
"""

from __future__ import annotations

import inspect
import pickle
import re
import struct
import traceback
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
from mmengine.logging import MessageHub, MMLogger, print_log
from mmengine.optim import _ParamScheduler
from mmengine.optim.scheduler.param_scheduler import OneCycleParamScheduler
from mmengine.registry import FUNCTIONS, OPTIMIZERS, DefaultScope, Registry
from mmengine.runner import CheckpointLoader, checkpoint
from mmengine.visualization import Visualizer
from torch.nn.modules.batchnorm import _BatchNorm

from drivemim.checkpoint_kinds import describe_file, describe_missing
from drivemim.errors import CheckpointError, did_you_mean
from drivemim.foreign_messages import mute_prints
from drivemim.trust import is_trusted, trust_hint
from drivemim.unpickling import refused_globals, safe_globals

ParamScheduler = _ParamScheduler
"""Base class of MMEngine's schedulers; it has no public name."""
BatchNorm = _BatchNorm
"""Base class of every PyTorch batch normalisation, synchronised or not; it has no public name."""

mute_prints()

_LOOPS = ("train", "val", "test")
_ANNEALING = {
    "_annealing_cos": OneCycleParamScheduler._annealing_cos,
    "_annealing_linear": OneCycleParamScheduler._annealing_linear,
}
"""Functions of ``OneCycleLR`` by name; the state of this scheduler in a checkpoint names one."""


# --- Checkpoints ---------------------------------------------------------------------------------

# Reading a damaged or malicious pickle can raise any of these.
_UNREADABLE = (RuntimeError, EOFError, OSError, ValueError, TypeError, KeyError, IndexError,
               AttributeError, AssertionError, struct.error, pickle.UnpicklingError,
               zipfile.BadZipFile, ImportError)  # fmt: skip
_REFUSED = re.compile(
    r"builtins\.getattr\([^\n]*\)|numpy\.(?:dtype|ndarray)[^\n]*|a numpy scalar[^\n]*"
    r"|HistoryBuffer [^\n]*|ConfigDict of [^\n]*|argparse\.Namespace [^\n]*|(?<=GLOBAL )\S+"
)


def read_checkpoint(path: str | Path, map_location: Any = "cpu") -> Any:
    """Read a file written by ``torch.save``, including MMEngine's training checkpoints.

    Only tensors, plain values and the types of ``drivemim.unpickling`` are read. A file that needs
    more could run code. It is refused unless the user trusts it explicitly: see ``drivemim.trust``.

    Args:
        path: the file.
        map_location: where its tensors go, as in ``torch.load``.

    Returns:
        Its content.

    Raises:
        FileNotFoundError: if the file does not exist.
        CheckpointError: if the file is damaged or would run code.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(describe_missing("checkpoint", path))
    if problem := describe_file(path, wanted="torch"):
        raise CheckpointError(f"{path} {problem}")
    try:
        if is_trusted(path):
            print_log(f"{path} is trusted and may run code while it is read", "current")
            return torch.load(path, map_location=map_location, weights_only=False)
        with torch.serialization.safe_globals(safe_globals(_ANNEALING)):
            return torch.load(path, map_location=map_location, weights_only=True)
    except _UNREADABLE as error:
        if reason := _refusal(path, error):
            raise CheckpointError(
                f"{path} holds more than weights and plain values: {reason}. Reading that could "
                f"run any code, so nothing of it was read. Ask for a file of the weights alone "
                f"(.safetensors). {trust_hint(path)}",
                unsafe_content=reason,
            ) from error
        raise CheckpointError(
            f"{path} ({path.stat().st_size} bytes) is damaged or not a checkpoint: "
            f"{_damage(error)}. "
            "Copy it again, or take an older one"
        ) from error


def _damage(error: Exception) -> str:
    """Describe the damage of a file, without torch's advice to set weights_only=False."""
    text = str(error).strip()
    if "weights_only" in text:
        text = text.partition("WeightsUnpickler error:")[2].strip()
        if not text or "weights_only" in text.splitlines()[0]:
            return "it is not what torch.save writes"
    return text.splitlines()[0] if text else type(error).__name__


def _refusal(path: Path, error: Exception) -> str:
    """Return the objects that a file names and may not; empty if the file is only damaged."""
    if refused := refused_globals(path):
        return ", ".join(refused[:8]) + (f" and {len(refused) - 8} more" if refused[8:] else "")
    cause: BaseException | None = error
    while cause is not None:
        # torch wraps the errors of drivemim.unpickling in its own, which gives other advice.
        if found := _REFUSED.search(str(cause)):
            return found[0]
        cause = cause.__cause__ or cause.__context__
    return ""


def is_complete(path: Path) -> bool:
    """Return whether a checkpoint file is complete: a valid archive whose checksums match."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (zipfile.BadZipFile, OSError, EOFError):
        return False


def _load_from_local(filename: str, map_location: Any) -> Any:
    return _without_config(read_checkpoint(filename, map_location))


def _load_url(url: str, model_dir: Any = None, map_location: Any = None, **options: Any) -> Any:
    """Download a file once, like ``torch.hub``, and read it like any other checkpoint."""
    folder = Path(model_dir or Path(torch.hub.get_dir()) / "checkpoints")
    path = folder / Path(urlparse(url).path).name
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), progress=bool(options.get("progress")))
    return _without_config(read_checkpoint(path, map_location))


def _refuse_store(filename: str, map_location: Any = None, **_: Any) -> Any:
    raise CheckpointError(f"{filename}: copy the file to this machine and give its path")


def _without_config(content: Any) -> Any:
    """Remove ``meta['config']``, which MMEngine executes as code when it resumes a run."""
    if isinstance(content, dict) and isinstance(content.get("meta"), dict):
        content["meta"].pop("config", None)
    return content


def patch_checkpoint_loader() -> None:
    """Make MMEngine read all checkpoints, also downloaded ones, with :func:`read_checkpoint`.

    MMEngine's own readers run any code that a file contains, and their errors do not name a
    truncated file.
    Those of upstream MMEngine 0.10.7 also cannot resume a run under ``torch>=2.6``.
    """
    CheckpointLoader.register_scheme(prefixes="", loader=_load_from_local, force=True)
    stores = ["pavi://", r"(\S+\:)?s3://", r"(\S+\:)?petrel://"]
    CheckpointLoader.register_scheme(prefixes=stores, loader=_refuse_store, force=True)
    checkpoint.load_url = _load_url


def load_any(source: str, map_location: Any = "cpu") -> Any:
    """Read a checkpoint from a path, a URL, or a name such as ``torchvision://resnet50``.

    Raises:
        FileNotFoundError: if there is no such file.
        CheckpointError: if it is damaged, would run code, or is in a store such as ``s3://``.
        OSError: if it cannot be downloaded.
    """
    patch_checkpoint_loader()
    return CheckpointLoader.load_checkpoint(source, map_location, logger="silent")


# --- The Runner -----------------------------------------------------------------------------------


def built_loaders(runner: Any) -> dict[str, Any]:
    """Return the data loaders that a Runner has already built, by their config keys.

    The Runner's public properties would build the training loaders during a test.
    """
    loops = {f"{name}_dataloader": getattr(runner, f"_{name}_loop") for name in _LOOPS}
    return {key: loop.dataloader for key, loop in loops.items() if hasattr(loop, "dataloader")}


def stop_workers(runner: Any) -> None:
    """End the persistent data loader workers of a run; Python's clean-up waits 5 s for each."""
    for loader in built_loaders(runner).values():
        if getattr(loader, "_iterator", None) is not None:
            loader._iterator._shutdown_workers()
            loader._iterator = None


def run_instances() -> dict[tuple[type, str], Any]:
    """Return the loggers, message hubs and other instances that MMEngine keeps, by class and name.

    Names contain the second of a run's start; a second run in it would get the first's instances.
    """
    kinds = (MMLogger, MessageHub, Visualizer, DefaultScope)
    return {(kind, name): each for kind in kinds for name, each in kind._instance_dict.items()}


def forget_instance(kind: Any, name: str) -> None:
    """Close the files of one of :func:`run_instances`, and forget it, so that its name is free."""
    instance = kind._instance_dict.pop(name)
    for part in [instance] if kind is Visualizer else getattr(instance, "handlers", []):
        # The folder of its files may be gone, and a logger that did not start cannot be closed.
        with suppress(Exception):
            part.close()


def set_scheduler_step(scheduler: Any, step: int) -> None:
    """Set the number of steps that an MMEngine scheduler has taken."""
    scheduler._global_step = step


def is_resumed(runner: Any) -> bool:
    """Return whether a Runner resumes a run."""
    return bool(runner._resume)


def chosen_indices(dataset: Any) -> Any:
    """Return the ``indices`` that an MMEngine data set was built with; None for all."""
    return dataset._indices


# --- Errors while building from a config ---------------------------------------------------------

_UNEXPECTED = re.compile(r"got an unexpected keyword argument '(\w+)'")
_MISSING = re.compile(r"missing \d+ required (?:positional|keyword-only) arguments?: (.+)$")


def explain_build_error(error: BaseException) -> str | None:
    """Turn an error from building a registered class into one actionable line.

    Args:
        error: exception of ``Registry.build``, with its traceback.

    Returns:
        A line that names the class, the wrong key or type and the nearest valid one, or that
        quotes the class's own error about a value; None if the error is not about a config.
    """
    for frame in reversed([each for each, _ in traceback.walk_tb(error.__traceback__)]):
        found = frame.f_locals
        line = None
        if frame.f_code.co_name == "build_dataloader" and "must be callable" in str(error):
            line = _unknown_type(str(found.get("collate_fn_type")), FUNCTIONS)
        elif "optimizer_cls" in found and found["optimizer_cls"] is None:
            line = _unknown_type(str(found["self"].optimizer_cfg.get("type")), OPTIMIZERS)
        elif frame.f_code.co_name == "build_from_cfg":
            line = (
                _explain_arguments(error, found)
                or _explain_type(error, found)
                or _explain_value(error, found)
            )
        if line is not None:
            return line
    return None


def _explain_arguments(error: BaseException, local: dict[str, Any]) -> str | None:
    """Explain an unknown or missing argument of the class that was being built.

    Args:
        error: the error.
        local: local variables of MMEngine's ``build_from_cfg``; the same for the functions below.
    """
    cls, arguments, message = local.get("obj_cls"), local.get("args"), str(error)
    if not isinstance(error, TypeError) or cls is None or not isinstance(arguments, dict):
        return None
    name = getattr(cls, "__name__", str(cls))
    if (found := _UNEXPECTED.search(message)) and found[1] in arguments:
        return f"{name} has no argument '{found[1]}'{did_you_mean(found[1], _arguments(cls))}"
    if name in message and (found := _MISSING.search(message)):
        return f"{name} lacks its argument {found[1]}"
    return None


def _explain_type(error: BaseException, local: dict[str, Any]) -> str | None:
    """Explain a ``type`` that is unknown or missing."""
    name, registry, message = local.get("obj_type"), local.get("registry"), str(error)
    if local.get("obj_cls") is not None or not isinstance(registry, Registry):
        return None
    if isinstance(name, str) and isinstance(error, KeyError) and "registry" in message:
        return _unknown_type(name, registry)
    if "must contain the key" in message or "type must be a str" in message:
        return (
            f"a dict in the config lacks its key 'type': {' '.join(str(local.get('cfg')).split())}"
        )
    return None


def _explain_value(error: BaseException, local: dict[str, Any]) -> str | None:
    """Quote the error that a class raised while it was being built."""
    cls = local.get("obj_cls")
    if cls is None or isinstance(error, TypeError):
        return None
    name = getattr(cls, "__name__", str(cls))
    if not error.args or not str(error.args[0]):
        frame = traceback.extract_tb(error.__traceback__)[-1]
        reason = f"{type(error).__name__} in {frame.filename}:{frame.lineno}: {frame.line}"
    else:
        reason = str(error.args[0]).strip().partition("\n")[0]
    return f"{name} cannot be built: {reason}"


def _arguments(function_or_class: Any) -> set[str]:
    """Return the argument names; those of base classes too if ``**kwargs`` are forwarded."""
    functions = [function_or_class]
    if inspect.isclass(function_or_class):
        classes = function_or_class.__mro__
        functions = [vars(base)["__init__"] for base in classes if "__init__" in vars(base)]
    names: set[str] = set()
    for function in functions:
        try:
            parameters = inspect.signature(function).parameters
        except (TypeError, ValueError):
            break
        names |= {
            p.name
            for p in parameters.values()
            if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
        }
        if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            break
    return names - {"self"}


def _unknown_type(name: str, registry: Registry) -> str:
    """Return the message for a type that is not registered; it suggests the nearest one."""
    root = registry
    while root.parent is not None:
        root = root.parent
    known = _registered(root)
    own = set(registry.module_dict)
    scope, _, plain = name.rpartition(".")
    elsewhere = sorted(entry for entry in known if entry.rpartition(".")[2] == plain)
    if elsewhere and not scope:
        return f"there is no {registry.name} of type '{name}'; did you mean '{elsewhere[0]}'?"
    guess = did_you_mean(plain, {entry.rpartition(".")[2] for entry in known} | own)
    for entry in known:
        if guess and scope and entry == f"{scope}.{guess.split(chr(39))[1]}":
            guess = f"; did you mean '{entry}'?"
    return f"there is no {registry.name} of type '{name}'{guess}"


def _registered(registry: Registry) -> set[str]:
    """Return the names in a registry and its children, with their scopes: ``mmdet.ResNet``."""
    names = {f"{registry.scope}.{name}" for name in registry.module_dict}
    for child in registry.children.values():
        names |= _registered(child)
    return names


# --- The nuScenes devkit -------------------------------------------------------------------------


@contextmanager
def custom_eval_split(sample_tokens: Sequence[str]) -> Iterator[str]:
    """Let the devkit's ``DetectionEval`` score samples that are not an official split.

    ``DetectionEval`` itself scores an official split, or a custom split of whole scenes from a file
    beside the tables. Inside this context, the yielded split name stands for the given sample
    tokens. The results may also be empty; the devkit itself fails then, because it reads the type
    of the first box.
    """
    from nuscenes.eval.common import loaders
    from nuscenes.eval.detection import evaluate

    split = "drivemim-selection"
    chosen, class_field = evaluate.get_samples_of_custom_split, loaders._get_box_class_field
    evaluate.get_samples_of_custom_split = lambda split_name, nusc: list(sample_tokens)
    loaders._get_box_class_field = lambda boxes: "detection_name"
    try:
        yield split
    finally:
        evaluate.get_samples_of_custom_split = chosen
        loaders._get_box_class_field = class_field


# --- PyTorch -------------------------------------------------------------------------------------


def cpu_attention() -> Any:
    """Return PyTorch's operator of scaled dot-product attention on a CPU."""
    return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
