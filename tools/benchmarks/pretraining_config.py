"""Reading of the pretraining configs that the benchmarks measure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.config import Config

from drivemim.config.loading import is_pretrainer, load_config
from drivemim.errors import ConfigError


def load_pretraining_config(name: str, options: Mapping[str, Any] | None = None) -> Config:
    """Read a config with options.

    Args:
        name: path or name of the config.
        options: dotted config keys to replace.

    Raises:
        ConfigError: if the config is wrong, or is not that of a pretrainer.
    """
    config = load_config(name, options)
    if not is_pretrainer(config.get("model") or {}):
        model = (config.get("model") or {}).get("type")
        raise ConfigError(
            f"{name} is not a pretraining config: its model is a {model}, not a pretrainer"
        )
    return config
