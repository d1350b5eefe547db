"""Check that the files of a config exist, before anything is built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from drivemim.checkpoint_kinds import describe_missing
from drivemim.config.nested import short_type, walk
from drivemim.data.index.frame_index import describe_missing_index
from drivemim.errors import ConfigError


def check_input_files(
    cfg: Config, loaders: Sequence[str], *, weights: bool, folder: Path = Path()
) -> None:
    """Refuse indices and initial weights that do not exist.

    Args:
        cfg: config of a run.
        loaders: keys of the data loaders that the run builds.
        weights: whether the run reads initial weights and those of teachers; a resumed run does
            not.
        folder: folder that paths are relative to.

    Raises:
        ConfigError: if a value is not a path. A path with commas that is given without quotes is a
            list.
        FileNotFoundError: if a weights file is missing, or an index; the message has every key that
            names the first missing index.
    """
    files = {key: cfg.get(key) for key in ("backbone_checkpoint", "load_from")}
    for key, part in walk(cfg.get("model"), "model"):
        if isinstance(part, Mapping) and short_type(part) == "FeatureTarget":
            files[f"{key}.checkpoint"] = part.get("checkpoint")
    for key, path in files.items() if weights else ():
        if isinstance(path, (list, tuple)):
            raise _divided_path(key, path)
        if path and not isinstance(path, (str, Path)):
            raise ConfigError(f"{key}={path!r} must be a path")
        if path and "://" not in str(path) and not (folder / path).is_file():
            raise FileNotFoundError(f"{key}: {describe_missing('weights file', folder / path)}")
    missing: dict[str, list[str]] = {}
    for loader in loaders:
        for key, value in walk(cfg.get(loader), loader):
            if key.endswith(".index") and _is_divided_path(value, folder):
                raise _divided_path(key, value)
            is_path = key.endswith(".index") and isinstance(value, (str, Path))
            if is_path and not (folder / value).is_file():
                missing.setdefault(str(value), []).append(key)
    for path, keys in missing.items():
        options = " ".join(f"{key}=INDEX" for key in keys)
        raise FileNotFoundError(
            f"{describe_missing_index(folder / path)}. To take another one: --cfg-options {options}"
        )


def _is_divided_path(value: Any, folder: Path) -> bool:
    """Return whether a value is a list whose parts, joined by commas, are an existing path."""
    texts = isinstance(value, (list, tuple)) and all(isinstance(part, str) for part in value)
    return texts and (folder / ",".join(value)).is_file()


def _divided_path(key: str, parts: Sequence[Any]) -> ConfigError:
    """Return the error for a path that was divided at its commas."""
    path = ",".join(map(str, parts))
    return ConfigError(
        f"{key} must be one path, but is a list of {len(parts)}. A path with commas needs quotes: "
        f"--cfg-options \"{key}='{path}'\""
    )
