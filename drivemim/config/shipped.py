"""Configs that ship with DriveMIM, found by name."""

from __future__ import annotations

from pathlib import Path

import drivemim
from drivemim.errors import ConfigError, did_you_mean

_NO_CONFIGS = {
    ".pth": "a checkpoint",
    ".safetensors": "an exported backbone",
    ".arrow": "an index",
}
"""Suffixes of files that are mistaken for configs."""


def configs_folder() -> Path:
    """Return the folder of the shipped configs: in the installed package, or in the repository."""
    package = Path(drivemim.__file__).parent
    return next(path for path in (package / "configs", package.parent / "configs") if path.is_dir())


def find_config(name: str | Path) -> Path:
    """Return the path of a config.

    Args:
        name: path of a config file, or the name of a shipped one without folder and suffix, for
            example ``vit_base_nuscenes``.

    Raises:
        ConfigError: if there is no such file and no shipped config of that name.
    """
    path = Path(name)
    if path.is_file():
        if path.suffix in _NO_CONFIGS:
            raise ConfigError(
                f"{path} is {_NO_CONFIGS[path.suffix]}, not a config; the config comes first"
            )
        return path
    if path.suffix or len(path.parts) > 1:  # a path
        names = [other.name for other in path.parent.glob("*.py")]
        raise ConfigError(f"there is no config {path}{did_you_mean(path.name, names)}")
    shipped = {
        config.stem: config
        for config in sorted(configs_folder().rglob("*.py"))
        if "_base_" not in config.parts
    }
    if path.name not in shipped:
        longer = [name for name in shipped if name.startswith(path.name)]
        hint = f"; there are {', '.join(longer)}" if longer else did_you_mean(path.name, shipped)
        raise ConfigError(
            f"there is no config {path}, neither a file nor one that ships with DriveMIM{hint}"
        )
    return shipped[path.name]
