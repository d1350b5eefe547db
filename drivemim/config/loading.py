"""Read configs, and check that their keys have a use."""

from __future__ import annotations

import argparse
import ast
import copy
import inspect
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.runner import Runner
from torch.distributed import init_process_group
from torch.nn.utils import clip_grad_norm_
from torch.utils.data import DataLoader

from drivemim.compat import explain_build_error
from drivemim.config import class_options
from drivemim.config.dumps import is_dump, remove_run_additions
from drivemim.config.nested import short_type, walk
from drivemim.config.option_kinds import check_kinds
from drivemim.config.option_values import ConfigOptions
from drivemim.config.sections import check_sections
from drivemim.config.shipped import find_config
from drivemim.config.whole_numbers import make_whole
from drivemim.data.clips.augmentation import AugmentSettings
from drivemim.data.detection.box_filters import BoxFilters
from drivemim.errors import CheckpointError, ConfigError, DataError, did_you_mean


def _takes(function: Any, *others: str) -> frozenset[str]:
    """Return the names of a function's parameters, and others."""
    return frozenset({*inspect.signature(function).parameters, *others} - {"self"})


# Keys that MMEngine's Runner reads besides its constructor's arguments.
_RUNNER_EXTRAS = (
    "runner_type", "compile", "activation_checkpointing", "efficient_conv_bn_eval",
    "model_wrapper_cfg", "find_unused_parameters", "sync_bn", "custom_imports", "gpu_ids",
    "experiment_name", "backbone_checkpoint",
)  # fmt: skip
# Variables that MMDetection's shipped configs define for configs that inherit them.
_MMDETECTION_VARIABLES = (
    "backend_args", "file_client_args", "dataset_type", "data_root", "train_pipeline",
    "val_pipeline", "test_pipeline", "test_pipeline_stage2", "train_pipeline_stage2",
    "tta_model", "tta_pipeline", "img_norm_cfg", "norm_cfg", "num_classes", "max_epochs",
    "max_iters", "base_lr", "interval", "image_size", "img_scale", "img_scales", "metainfo",
    "albu_train_transforms", "num_last_epochs", "stage2_num_epochs", "pretrained",
    "checkpoint", "checkpoint_file", "batch_augments", "load_pipeline", "train_dataset",
    "classes", "num_levels", "num_proposals", "num_stages",
)  # fmt: skip
# Of these variables, those that MMDetection's own tools read from a dumped config.
_MMDETECTION_READS = ("tta_model", "tta_pipeline")
_TOP_LEVEL = _takes(Runner.__init__, *_RUNNER_EXTRAS) - {"cfg"}
_DATALOADER = _takes(DataLoader.__init__, "num_batch_per_epoch") - {"kwargs"}
# Arguments that are dicts without a ``type``, with the keys that the class knows which reads them.
# None: the keys are names in the data, and the class checks them itself.
_SETTINGS: dict[str, frozenset[str] | None] = {
    "augment": frozenset(field.name for field in fields(AugmentSettings)),
    "filters": frozenset(field.name for field in fields(BoxFilters)),
    "class_map": None,
    "budget_fraction": None,
    "clip_grad": _takes(clip_grad_norm_, "type", "clip_value") - {"parameters"},
    "paramwise_cfg": frozenset(
        {"decay_rate", "custom_keys", "norm_decay_mult", "bias_decay_mult", "bias_lr_mult"}
        | {"dwconv_decay_mult", "flat_decay_mult", "dcn_offset_lr_mult", "bypass_duplicate"}
    ),
    "mp_cfg": frozenset({"mp_start_method", "opencv_num_threads"}),
    "dist_cfg": _takes(init_process_group, "init_backend"),
    "filter_cfg": frozenset({"filter_empty_gt", "min_size", "bbox_min_size"}),
    "test_cfg": frozenset(
        {"nms_pre", "nms", "score_thr", "max_per_img", "min_bbox_size", "mask_thr_binary"}
    ),
}
EXTRA_HOOKS = ("pictures", "probe")
"""Keys of ``default_hooks`` for hooks that MMEngine does not have; a value of None disables one."""
# Sections without a ``type``, with the keys that they may have. Without a check, a wrong key would
# fail late or not at all.
_UNTYPED: dict[str, frozenset[str]] = {
    "train_dataloader": _DATALOADER,
    "val_dataloader": _DATALOADER,
    "test_dataloader": _DATALOADER,
    "randomness": _takes(Runner.set_randomness),
    "env_cfg": frozenset({"cudnn_benchmark", "mp_cfg", "dist_cfg", "resource_limit"}),
    "auto_scale_lr": frozenset({"enable", "base_batch_size"}),
    "default_hooks": frozenset(
        {"runtime_info", "timer", "sampler_seed", "logger", "param_scheduler", "checkpoint"}
        | {"visualization", *EXTRA_HOOKS}
    ),
}


def load_config(path: str | Path, options: Mapping[str, Any] | None = None) -> Config:
    """Read a config, apply the command line's options, and check all keys that can be checked.

    Arguments of registered classes are checked when they are built; see :func:`config_errors`.

    Args:
        path: path of an MMEngine config, or name of a shipped one.
        options: dotted key to value, as ``--cfg-options`` gives them.

    Raises:
        ConfigError: if the file is missing, if a key is unknown (the message names the nearest
            valid one), or if an option does not fit.
    """
    path = find_config(path)
    config = read_config(path)
    _check_top_level(config)
    _check_variables(config, path)
    _check_untyped(config)
    if is_dump(config):
        remove_run_additions(config)
    chosen, others = class_options.split_options(options or {})
    class_options.apply_classes(config, chosen, option=True)
    for key in others:
        if not isinstance(key, str):
            raise ConfigError(f"--cfg-options: {key!r} is not a dotted key")
        _check_option(config, key)
        _open(config, key)
    if others:
        check_kinds(config, others)
        _merge(config, others, path)
        _check_untyped(config)
    check_sections(config, others)
    make_whole(config)
    return config


def read_config(path: str | Path, options: Mapping[str, Any] | None = None) -> Config:
    """Read a config of any kind and apply the command line's options; check no keys.

    Args:
        path: path of an MMEngine config, or name of a shipped one.
        options: dotted key to value, as ``--cfg-options`` gives them.

    Raises:
        ConfigError: if the file is missing or cannot be read, or an option does not fit.
    """
    path = find_config(path)
    with reading_errors(path):
        config = Config.fromfile(str(path))
    class_options.apply_classes(
        config, {key: config[key] for key in class_options.KEYS if key in config}
    )
    chosen, others = class_options.split_options(options or {})
    class_options.apply_classes(config, chosen, option=True)
    if others:
        _merge(config, others, path)
    return config


def _merge(config: Config, options: Mapping[str, Any], path: Path) -> None:
    """Write options into a config, in place.

    Raises:
        ConfigError: if an option leads through a value that is neither a dict nor a list.
    """
    try:
        config.merge_from_dict(copy.deepcopy(dict(options)))  # removes ``_delete_`` in place
    except (AttributeError, KeyError, TypeError) as error:
        first = str(error).strip().partition("\n")[0]
        raise ConfigError(f"--cfg-options of {path}: {first}") from error


@contextmanager
def reading_errors(config: str | Path) -> Iterator[None]:
    """Add the config's name to any error while the config is read.

    Raises:
        ConfigError: for every error, since a config is a program and can raise anything.
    """
    try:
        yield
    except ConfigError:
        raise
    except Exception as error:
        line = f"line {error.lineno}: {error.msg}" if isinstance(error, SyntaxError) else str(error)
        first = line.strip().partition("\n")[0]
        kind = "" if isinstance(error, OSError) else f"{type(error).__name__}: "
        raise ConfigError(f"{config} cannot be read: {kind}{first}") from error


def add_config_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--cfg-options`` to a command."""
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action=ConfigOptions,
        metavar="KEY=VALUE",
        help="keys of the config to replace, dotted: train_dataloader.batch_size=8",
    )


@contextmanager
def config_errors() -> Iterator[None]:
    """Turn the error of a wrong ``type``, argument or value, found while building, into one line.

    Raises:
        ConfigError: naming class, key and the nearest valid one.
    """
    try:
        yield
    except (CheckpointError, ConfigError, DataError):
        raise
    except (AssertionError, KeyError, TypeError, ValueError) as error:
        line = explain_build_error(error)
        if line is None:
            raise
        raise ConfigError(line) from error


def drop_variables(config: Config) -> None:
    """Remove, in place, the top-level names that neither the Runner nor MMDetection's tools read.

    Only other lines of the config read such variables, and these lines have been evaluated. If an
    option replaces a setting that was computed from a variable, the variable's value is no longer
    true.
    """
    for key in [each for each in config if each not in (*_TOP_LEVEL, *_MMDETECTION_READS)]:
        config.pop(key)


def is_pretrainer(model: Mapping[str, Any]) -> bool:
    """Return whether a model config is a pretrainer's: it has an encoder, but no backbone.

    Detectors such as DINO have both.
    """
    return "encoder" in model and "backbone" not in model


def dicts_in(config: Any) -> Iterator[Mapping[str, Any]]:
    """Yield every dict in nested dicts and lists, outer ones first."""
    if isinstance(config, Mapping):
        yield config
        config = config.values()
    elif not isinstance(config, (list, tuple)):
        return
    for value in config:
        yield from dicts_in(value)


def defaults_of(kind: type) -> dict[str, Any]:
    """Return a class's defaults for the arguments that a config leaves out."""
    parameters = inspect.signature(kind).parameters.values()
    return {each.name: each.default for each in parameters if each.default is not each.empty}


def _check_top_level(config: Config) -> None:
    """Refuse a top-level name that neither the Runner nor any line of the config reads.

    A dumped config has variables, but no longer the lines that read them. JSON and YAML have no
    such lines either. There, only a misspelt name is refused.
    """
    is_plain = is_dump(config) or Path(config.filename).suffix != ".py"
    for key in config:
        if key in _TOP_LEVEL or key in _MMDETECTION_VARIABLES:
            continue
        if key in class_options.KEYS and class_options.reads_classes(config):
            continue
        if is_plain:
            is_unread = bool(get_close_matches(key, _TOP_LEVEL, cutoff=0.8))
        else:
            uses = len(re.findall(rf"\b{re.escape(key)}\b", config.text))
            assigned = len(re.findall(rf"^{re.escape(key)}\s*=", config.text, re.MULTILINE))
            is_unread = uses <= assigned
        if is_unread:
            raise ConfigError(
                f"{config.filename}: nothing reads the key '{key}'"
                f"{did_you_mean(key, set(_TOP_LEVEL))}"
            )


def _check_untyped(config: Config) -> None:
    """Refuse an unknown key in a section without a ``type``."""
    for section, valid in _UNTYPED.items():
        keys = config.get(section)
        for key in keys if isinstance(keys, Mapping) else ():
            if key not in valid:
                raise ConfigError(
                    f"{config.filename}: {section} has no key '{key}'"
                    f"{did_you_mean(key, set(valid))}"
                )


def _check_option(config: Config, dotted: str) -> None:
    """Refuse an option whose key does not exist, unless a class may read it."""
    here: Any = config.to_dict()
    variable, _, inside = dotted.partition(".")
    if variable in here and variable not in _TOP_LEVEL:
        keys = _keys(here, variable) or _keys(here, variable, here[variable])
        raise ConfigError(
            f"--cfg-options {dotted}: '{variable}' is a variable of {config.filename}, which has "
            f"been read, so that changing it would change nothing; set {_fix(keys, inside)}"
        )
    walked: list[str] = []
    for part in dotted.split("."):
        name = ".".join(walked) or "the config"
        if isinstance(here, (list, tuple)):
            if not part.isdigit() or int(part) >= len(here):
                raise ConfigError(
                    f"--cfg-options {dotted}: {name} is a list of {len(here)}, "
                    f"'{part}' is not a position in it"
                )
            here = here[int(part)]
        elif not isinstance(here, Mapping) or part in here and here[part] is None:
            return
        elif part in here:
            here = here[part]
        elif isinstance(here.get("dataset"), Mapping) and part in here["dataset"]:
            raise ConfigError(
                f"--cfg-options {dotted}: {name} is a {short_type(here)} around another data set; "
                f"set {name}.dataset.{dotted.removeprefix(f'{name}.')}"
            )
        elif "type" in here or part in _valid_additions(walked) or _is_setting(walked, part):
            return
        else:
            known = _SETTINGS.get(name.rpartition(".")[2]) or ()
            valid = {*here, *_valid_additions(walked), *known}
            raise ConfigError(
                f"--cfg-options {dotted}: {name} has no key '{part}'{did_you_mean(part, valid)}"
            )
        walked.append(part)


def _is_setting(walked: list[str], part: str) -> bool:
    """Return whether the class that reads the dict knows the key, or checks its keys itself."""
    if not walked or walked[-1] not in _SETTINGS:
        return False
    known = _SETTINGS[walked[-1]]
    return known is None or part in known


def _open(config: Config, dotted: str) -> None:
    """Replace None by an empty dict where an option sets a key inside it."""
    here: Any = config
    for part in dotted.split(".")[:-1]:
        if isinstance(here, (list, tuple)):
            here = here[int(part)]
            continue
        if part in here and here[part] is None:
            here[part] = ConfigDict()
        if not isinstance(here.get(part), (Mapping, list, tuple)):
            return
        here = here[part]


def _check_variables(config: Config, path: Path) -> None:
    """Refuse a variable that overrides an inherited one and that no line of the same file reads."""
    if path.suffix != ".py":
        return
    text = path.read_text()
    names = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)]
    read = {node.id for node in names if isinstance(node.ctx, ast.Load)}
    applied = class_options.KEYS if class_options.reads_classes(config) else ()
    for name in sorted({node.id for node in names} - read - _TOP_LEVEL - {"_base_", *applied}):
        assigned = re.compile(rf"^(\w+, )*{name}(, \w+)* *=", re.MULTILINE)
        if len(assigned.findall(config.text)) > len(assigned.findall(text)):
            raise ConfigError(
                f"{path}: '{name}' is inherited, and the lines that read it have been read: this "
                f"changes nothing; set {_fix(_keys(config, name))}"
            )


def _keys(config: Mapping[str, Any], name: str, value: Any = None) -> list[str]:
    """Return the dotted keys that end in a name, or have a value if one is given.

    Only keys in sections that the Runner reads are returned.
    """
    roots = sorted(config.keys() & _TOP_LEVEL)
    found = (pair for root in roots for pair in walk(config[root], root))
    if value is None:
        return [key for key, _ in found if key.endswith(f".{name}")]
    return [key for key, here in found if here == value]


def _fix(keys: list[str], inside: str = "") -> str:
    """Return the end of an error's message: the keys to set, or a key inside each of them."""
    return ", ".join(f"{key}.{inside}".rstrip(".") for key in keys) or "the key that it went into"


def _valid_additions(walked: list[str]) -> frozenset[str]:
    """Return the keys that may be added at a place of the config."""
    if not walked:
        return _TOP_LEVEL
    if walked == ["optim_wrapper"]:
        return frozenset({"type", "optimizer", "constructor", "paramwise_cfg", "clip_grad",
                          "accumulative_counts", "loss_scale", "dtype"})  # fmt: skip
    return _UNTYPED.get(walked[0], frozenset()) if len(walked) == 1 else frozenset()
