"""Named strategies of a config."""

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
        config: config with ``strategies``, or config of a pretraining run, whose only strategy is
            named after the config's file.
        path: path of the config.
        only: names of the strategies to return; None for all.

    Raises:
        ConfigError: if the config has no strategies, or not those in ``only``.
    """
    if "strategies" in config:
        named = {str(name): dict(each) for name, each in config["strategies"].items()}
    elif "masking" in config.get("model", {}):
        named = {Path(path).stem: dict(config["model"]["masking"])}
    else:
        raise ConfigError(
            f"{path} has neither strategies nor model.masking; see the shipped config 'strategies'"
        )
    for name in only or ():
        if name not in named:
            raise ConfigError(f"{path} has no strategy {name!r}, only {', '.join(named)}")
    return {name: each for name, each in named.items() if not only or name in only}
