"""Choose index, scenes and image size from the data, where the user has not set them."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.logging import print_log

from drivemim.array_types import Ints
from drivemim.config.building import patch_size_of
from drivemim.config.nested import walk
from drivemim.data.index.builders.rig_calibration import CALIBRATION
from drivemim.data.index.frame_index import FrameIndex, describe_missing_index
from drivemim.data.index.frame_keys import frames_in_samples
from drivemim.data.index.image_shapes import fitting_size, image_shapes
from drivemim.data.index.index_building import IndexKind, build_index
from drivemim.data.index.scene_selection import has_scenes
from drivemim.errors import ConfigError, DataError
from drivemim.files import plain_path
from drivemim.training.scene_choice import pretraining_scenes

INDEX = "index.arrow"
"""Name of the index in the folder of a run that indexes its data itself."""


@dataclass(frozen=True)
class DataSource:
    """A folder of images and videos, of a rig or of nuScenes' tables; or an index.

    Args:
        path: the folder or the index.

    Raises:
        FileNotFoundError: if it does not exist.
        DataError: if it is another file.
    """

    path: Path

    def __post_init__(self) -> None:
        if not self.path.exists():
            raise FileNotFoundError(f"there is no folder or index at {self.path}")
        if self.path.is_file() and self.path.suffix != ".arrow":
            raise DataError(
                f"{self.path} is neither a folder nor an index (.arrow); name the folder of the "
                "images or videos"
            )

    @property
    def name(self) -> str:
        """Name of the folder, or of the index without its suffix."""
        path = self.path.resolve()
        return path.name if path.is_dir() else path.stem

    def open(self, work_dir: Path, *, taken: bool = False) -> FrameIndex:
        """Open the index, or index the folder.

        Args:
            work_dir: folder of the run, in which the index of a folder is written. The index of an
                earlier run stays.
            taken: whether the folder is that of an earlier run. Checkpoints in it show this, too.

        Raises:
            DataError: if the folder has tables of several versions.
            OSError: if an image, a table or a folder cannot be read.
            ValueError: if a file is broken or contradicts another.
        """
        if self.path.is_file():
            return FrameIndex.open(self.path)
        out = work_dir / INDEX
        if taken or any(work_dir.glob("*.pth")):
            numbered = (work_dir / f"index_{number}.arrow" for number in count(2))
            out = next(path for path in chain([out], numbered) if not path.exists())
        kind, version = self._kind()
        work_dir.mkdir(parents=True, exist_ok=True)
        index = build_index(kind, self.path, version=version, out=out)
        scenes = len(index.scenes)
        print_log(
            f"index: {len(index.frames)} images of {scenes} scene{'s'[: scenes > 1]}, "
            f"{len(index.boxes)} boxes ({kind}{f' {version}' if version else ''}): {out}"
        )
        return index

    def earlier_index(self, path: Path) -> FrameIndex:
        """Open the index of a run that goes on.

        Args:
            path: path of the run's index.

        Returns:
            The run's index; but if the source is an index itself, the source.

        Raises:
            ConfigError: if the source is another folder than the index was built from.
            FileNotFoundError: if the index does not exist.
        """
        if self.path.is_file():
            return FrameIndex.open(self.path)
        index = FrameIndex.open(path)
        if not self._is_root(index):
            raise ConfigError(
                f"the earlier run is on another folder than {self.path}: its index {path} was "
                f"built with {index.info.command}; name another --work-dir"
            )
        print_log(f"index: {path}, of the run that goes on; later images are not in it")
        return index

    def _is_root(self, index: FrameIndex) -> bool:
        """Return whether an index was built from this folder, perhaps by another path to it."""
        words = shlex.split(index.info.command)
        roots = [root for option, root in pairwise(words) if option == "--root"]
        same = (str(plain_path(self.path)), os.path.realpath(self.path))
        return any(root in same or os.path.realpath(root) in same for root in roots)

    def _kind(self) -> tuple[IndexKind, str | None]:
        """Return the kind of the folder, and the version of its tables; None for other folders.

        Raises:
            DataError: if the folder has tables of several versions.
        """
        tables = sorted(path.parent for path in self.path.glob("*/sample_data.json"))
        if len(tables) > 1:
            names = ", ".join(path.name for path in tables)
            raise DataError(
                f"{self.path} has tables of several versions ({names}); build the index with "
                f"drivemim index nuscenes --root {self.path} --version {tables[0].name}, then "
                "name the index"
            )
        if tables:
            is_nuimages = (tables[0] / "object_ann.json").exists()
            return ("nuimages" if is_nuimages else "nuscenes"), tables[0].name
        is_rig = next(self.path.rglob(CALIBRATION), None) is not None
        return ("rig" if is_rig else "frames"), None


def index_key(config: Config, name: str | Path) -> str:
    """Return the dotted key of the training data's index.

    Args:
        config: config of a pretrainer.
        name: its name, for the error.

    Raises:
        ConfigError: if the training data have no index, or several.
    """
    dataset = (config.get("train_dataloader") or {}).get("dataset") or {}
    keys = [
        key for key, value in walk(dataset, "train_dataloader.dataset") if key.endswith(".index")
    ]
    if len(keys) != 1:
        raise ConfigError(
            f"index=...: the training data of {name} has {len(keys) or 'no'} indices"
            + (f" ({', '.join(keys)})" if keys else "")
            + "; set them in options"
        )
    return keys[0]


def index_option(
    config: Config, name: str | Path, index: FrameIndex | str | Path, options: Mapping[str, Any]
) -> dict[str, str]:
    """Return the option that replaces the index of the training data.

    Args:
        config: config of a pretrainer.
        name: its name, for errors.
        index: the index, or its path.
        options: other options of the run, as dotted keys.

    Raises:
        ConfigError: if the options have an index, too, or the config has none or several.
        FileNotFoundError: if there is no such index.
    """
    path = index.path if isinstance(index, FrameIndex) else Path(index)
    if not path.is_file():
        raise FileNotFoundError(describe_missing_index(path))
    key = index_key(config, name)
    if key in options:
        raise ConfigError(f"index={path} and options['{key}']={options[key]}: give one")
    return {key: str(path)}


def check_data_options(
    config: Config,
    name: str | Path,
    options: Mapping[str, Any],
    scenes: str | Sequence[str] | None,
) -> None:
    """Refuse options that conflict with a choice from the data, before the data are indexed.

    Args:
        config: config of a pretrainer.
        name: its name, for errors.
        options: options that the user gave.
        scenes: names of splits or scenes that the user gave; None for none.

    Raises:
        ConfigError: if an option sets the index or a dict with it, or if the options and ``scenes``
            both name scenes.
    """
    key = index_key(config, name)
    if parents := [each for each in options if key.startswith(f"{each}.")]:
        raise ConfigError(
            f"--cfg-options {parents[0]}=...: give its keys one by one, such as {key}, so that "
            "they can be compared with the choice by the data"
        )
    if key in options:
        raise ConfigError(f"--cfg-options {key}={options[key]}: the data is named; leave it out")
    _named_scenes(scenes, options, key.removesuffix("index"))


def options_of_data(
    index: FrameIndex,
    config: Config,
    name: str | Path,
    options: Mapping[str, Any],
    scenes: str | Sequence[str] | None,
) -> dict[str, Any]:
    """Choose scenes and image size from the data, and print them.

    If the user names no scenes, and the config names none or some that the data do not have, the
    choice is all scenes that no detector is evaluated on. An image size that stretches the most
    common images by more than 10 % is replaced by one of about as many pixels.

    Args:
        index: the data.
        config: config of a pretrainer, with ``options``.
        name: its name, for errors.
        options: options that the user gave; the choice does not change their keys.
        scenes: names of splits or scenes that the user gave; None for none.

    Returns:
        Dotted keys of the config to values: the index, and the scenes and the image size if they
        differ from the config's.

    Raises:
        ConfigError: if options contradict the data or each other.
        DataError: if the data lack the scenes, or all scenes are for evaluation.
    """
    check_data_options(config, name, options, scenes)
    chosen: dict[str, Any] = dict(index_option(config, name, index, options))
    prefix = next(iter(chosen)).removesuffix("index")
    settings = _settings_at(config, prefix)
    users = _named_scenes(scenes, options, prefix)
    selection = settings.get("scenes") if users is None else users
    if users is None and selection is not None and not has_scenes(index, selection):
        print_log(f"scenes: {index.path} has no {selection}, which {name} names")
        selection = None
    if selection is None and f"{prefix}scenes" not in options:
        selection = pretraining_scenes(index)
    if selection != settings.get("scenes"):
        chosen[f"{prefix}scenes"] = selection
    if f"{prefix}image_size" not in options:
        size, described = _image_size(index, index.scene_rows(selection), settings, config, name)
        print_log(f"image size: {described}")
        if size != tuple(settings["image_size"]):
            chosen[f"{prefix}image_size"] = size
    return chosen


def index_of_run(config: Config, name: str | Path) -> Path:
    """Return the index of an earlier run's data.

    Args:
        config: config that the run wrote.
        name: its path.
    """
    prefix = index_key(config, name).removesuffix("index")
    return _index_path(name, _settings_at(config, prefix))


def options_to_go_on(
    source: DataSource,
    config: Config,
    name: str | Path,
    options: Mapping[str, Any],
    scenes: str | Sequence[str] | None,
) -> dict[str, Any]:
    """Return the options of a run that goes on: its own data, unless the user gives other data.

    Args:
        source: the data that the user named.
        config: config that the run wrote, with ``options``.
        name: its path.
        options: options that the user gave.
        scenes: names of splits or scenes that replace those of the run; None keeps them.

    Raises:
        ConfigError: if the run was on another folder, or options contradict each other.
        FileNotFoundError: if the run's index does not exist.
    """
    key = index_key(config, name)
    prefix = key.removesuffix("index")
    index = source.earlier_index(index_of_run(config, name))
    chosen = index_option(config, name, index, options)
    users = _named_scenes(scenes, options, prefix)
    return chosen if users is None else {**chosen, f"{prefix}scenes": users}


def _settings_at(config: Config, prefix: str) -> Any:
    """Return the settings of a data set.

    Args:
        config: the config.
        prefix: the data set's dotted key with a dot at its end.
    """
    settings: Any = config
    for part in prefix.rstrip(".").split("."):
        settings = settings[part]
    return settings


def _named_scenes(
    scenes: str | Sequence[str] | None, options: Mapping[str, Any], prefix: str
) -> list[str] | None:
    """Return the scenes that the user named; None for none.

    Raises:
        ConfigError: if an option names scenes as well.
    """
    if scenes is None:
        return None
    if f"{prefix}scenes" in options:
        raise ConfigError(f"--scenes and --cfg-options {prefix}scenes: give one")
    return [scenes] if isinstance(scenes, str) else list(scenes)


def _index_path(config: str | Path, settings: Mapping[str, Any]) -> Path:
    """Return the path of a run's index; if the run's folder was moved, beside its config."""
    path = Path(settings["index"])
    moved = Path(config).parent / path.name
    return moved if not path.exists() and moved.exists() else path


def _image_size(
    index: FrameIndex,
    scene_rows: Ints,
    settings: Mapping[str, Any],
    config: Config,
    name: str | Path,
) -> tuple[tuple[int, int], str]:
    """Return the height and width to resize images to, pixels, and a description for the log."""
    frames = index.frames
    used = np.isin(frames.scene, scene_rows)
    used &= np.isin(frames.camera, index.camera_numbers(settings.get("cameras")))
    if settings.get("frame_interval") is None:
        used &= frames_in_samples(index)
    sizes_F2 = image_shapes(index, np.flatnonzero(used))
    height, width = (int(side) for side in settings["image_size"])
    size = fitting_size(sizes_F2, (height, width), patch_size_of(config, name) or 1)
    if size is None or size == (height, width):
        return (height, width), f"{(height, width)} (height, width), as in the config"
    return size, (
        f"{size} (height, width), which has the proportions of the images, instead of "
        f"{(height, width)}"
    )
