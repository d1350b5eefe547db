"""Initial weights of a run, under any key of its config that may name them."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log

from drivemim.checkpoint_kinds import describe_missing
from drivemim.config.building import build_model
from drivemim.config.loading import is_pretrainer
from drivemim.errors import ConfigError
from drivemim.transfer.initial_weights import (
    backbone_config,
    load_initial_weights,
    take_initial_weights,
)


def note_unused_weights(init: str | Path | None, checkpoint: Path | None) -> None:
    """If a run goes on from a checkpoint, print that it does not use the initial weights."""
    if init is not None and checkpoint is not None:
        print_log(f"--init is not used: the run goes on with the weights of {checkpoint}")


def set_initial_weights(cfg: Config, init: str | Path | None, options: Mapping[str, Any]) -> None:
    """Set the config key of the backbone's initial weights, in place.

    Args:
        cfg: config of a run.
        init: file of the weights; None changes nothing.
        options: dotted config keys that the user set.

    Raises:
        ConfigError: if the options have initial weights, too.
        FileNotFoundError: if there is no such file.
    """
    if init is None:
        return
    key, other = "load_from", "backbone_checkpoint"
    if not is_pretrainer(cfg.model):
        key, other = other, key
    for option in (key, other):
        if options.get(option):
            raise ConfigError(f"--init and --cfg-options {option}={options[option]}: give one")
    if not Path(init).is_file():
        raise FileNotFoundError(f"--init: {describe_missing('weights file', init)}")
    cfg[key] = str(init)


def check_initial_weights(cfg: Config, config: str | Path) -> None:
    """Refuse initial weights that do not fit a config's model, before long work.

    Args:
        cfg: config of a run.
        config: its name, for errors.

    Raises:
        ConfigError: if the model cannot be built, or several keys name weights.
        CheckpointError: if the weights are damaged or do not fit.
        FileNotFoundError: if the weights file does not exist.
    """
    cfg = copy.deepcopy(cfg)
    if (initial := take_initial_weights(cfg)) is not None:
        path = initial.pop("checkpoint")
        architecture = backbone_config(cfg.model)
        load_initial_weights(build_model(cfg, config), path, architecture=architecture, **initial)


def add_initial_weights(cfg: Config) -> None:
    """Add hooks that strictly load the initial weights, and disable other weights of the backbone.

    In a resumed run, ``cfg.load_from`` is the checkpoint to resume from, and no hook loads it.

    Args:
        cfg: config of a run, changed in place.

    Raises:
        ConfigError: if ``backbone_checkpoint`` is set, and the model has no backbone.
    """
    hooks: list[dict[str, Any]] = []
    if path := cfg.get("backbone_checkpoint"):
        if is_pretrainer(cfg.model) or "backbone" not in cfg.model:
            raise ConfigError(
                f"backbone_checkpoint={path}, but the config's model has no backbone; a pretrainer "
                f"starts from load_from={path}"
            )
        cfg.model.backbone.init_cfg = None
        hooks.append({"type": "drivemim.LoadBackbone", "checkpoint": path})
    # Hide the checkpoint of a resumed run from take_initial_weights.
    resumed, cfg.load_from = (cfg.load_from, None) if cfg.resume else (None, cfg.load_from)
    if (initial := take_initial_weights(cfg)) is not None:
        hooks.append({"type": "drivemim.LoadBackbone", **initial})
    cfg.load_from = resumed or cfg.load_from
    if cfg.load_from and not cfg.resume:
        hooks.append({"type": "drivemim.StrictLoad", "partial": True})
    cfg.custom_hooks = [*cfg.custom_hooks, *hooks]
