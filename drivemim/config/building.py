"""Build a config's model without a run: without weights, data and other processes."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import DefaultScope

from drivemim import compat
from drivemim.config.loading import config_errors, is_pretrainer
from drivemim.errors import ConfigError
from drivemim.registry import MODELS


def build_model(config: Config, name: str | Path, scope: str = "mmdet") -> Any:
    """Build the model of a config, with ``BN`` instead of ``MMSyncBN``.

    Nothing is downloaded, because no weights are initialised.

    Args:
        config: config with ``model``.
        name: name of the config, for errors.
        scope: default scope of the registry, if the config does not name one.

    Raises:
        ConfigError: if the model cannot be built.
    """
    model = ConfigDict(_disable_sync_bn(config.model))
    with (
        DefaultScope.overwrite_default_scope(config.get("default_scope") or scope),
        suppress_logs(),
    ):
        try:
            with config_errors():
                return MODELS.build(model)
        except ConfigError as error:
            raise ConfigError(f"{name}: {error}") from error


def patch_size_of(config: Config, name: str | Path) -> int | None:
    """Return the side of the patches that a pretraining config masks, pixels; None for others.

    Args:
        config: the config.
        name: its name, for errors.

    Raises:
        ConfigError: if the model cannot be built.
    """
    if not is_pretrainer(config.get("model") or {}):
        return None
    with torch.device("meta"):
        encoder = build_model(config, name).encoder
    return int(getattr(encoder, "mask_patch_size", 1))


@contextmanager
def suppress_logs() -> Iterator[None]:
    """Silence all logs up to level WARNING and all Python warnings.

    MMEngine logs a line for every layer, and MMDetection warns about its own code.
    """
    with disable_logs(logging.WARNING), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def disable_logs(level: int) -> Iterator[None]:
    """Silence all logs up to a level, in addition to those that the caller has disabled."""
    before = logging.root.manager.disable
    _disable(max(before, level))
    try:
        yield
    finally:
        _disable(before)


def _disable(level: int) -> None:
    """Silence all logs up to a level; level 0 silences none."""
    logging.disable(level)
    # Loggers cache which levels are enabled. ``logging.disable`` does not clear the caches of
    # MMEngine's loggers; setting their level does.
    for each in compat.run_instances().values():
        if isinstance(each, logging.Logger):
            each.setLevel(each.level)


def _disable_sync_bn(model: Any) -> Any:
    """Return a model's config with ``BN``, which needs no other processes, for ``MMSyncBN``."""
    if isinstance(model, Mapping):
        settings = {key: _disable_sync_bn(value) for key, value in model.items()}
        return settings | ({"type": "BN"} if settings.get("type") == "MMSyncBN" else {})
    if isinstance(model, (list, tuple)):
        return type(model)(_disable_sync_bn(value) for value in model)
    return model
