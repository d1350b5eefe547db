"""A check that the indices of a config exist, before anything is built."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config

from drivemim.config.loading import walk
from drivemim.data.index.frame_index import describe_missing_index


def check_indices(cfg: Config, loaders: Sequence[str]) -> None:
    """Refuse indices that do not exist.

    Args:
        cfg: config of a run.
        loaders: keys of the data loaders that the run builds.

    Raises:
        FileNotFoundError: with every key that names the first missing one.
    """
    missing: dict[str, list[str]] = {}
    for loader in loaders:
        for key, value in walk(cfg.get(loader), loader):
            is_path = key.endswith(".index") and isinstance(value, (str, Path))
            if is_path and not Path(value).is_file():
                missing.setdefault(str(value), []).append(key)
    for path, keys in missing.items():
        options = " ".join(f"{key}=INDEX" for key in keys)
        raise FileNotFoundError(
            f"{describe_missing_index(Path(path))}. To take another one: --cfg-options {options}"
        )
