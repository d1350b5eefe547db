"""The named mask strategies of a config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from drivemim.errors import ConfigError


def strategies_from_config(
    config: Mapping[str, Any], path: str | Path, only: Sequence[str] | None = None
) -> dict[str, dict[str, Any]]:
    """Return the configs of strategies by name, for the tools that compare strategies.

    Args:
        config: config with ``strategies``, a dict of configs by name; or config of a pretraining
            run, whose only strategy is named after the config's file.
        path: path of the config.
        only: names of the strategies to return; None for all.

    Raises:
        ConfigError: if the config has no strategies, or lacks one of ``only``.
    """
    if "strategies" in config:
        configs = {str(name): dict(strategy) for name, strategy in config["strategies"].items()}
    elif "masking" in config.get("model", {}):
        configs = {Path(path).stem: dict(config["model"]["masking"])}
    else:
        raise ConfigError(
            f"{path} has neither strategies nor model.masking; see the shipped config 'strategies'"
        )
    for name in only or ():
        if name not in configs:
            raise ConfigError(f"{path} has no strategy {name!r}, only {', '.join(configs)}")
    return {name: strategy for name, strategy in configs.items() if not only or name in only}
