"""What a pretraining run takes from its data, if a config does not say it: index, scenes, size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.logging import print_log

from drivemim.array_types import Ints
from drivemim.config.building import build_model
from drivemim.config.nested import walk
from drivemim.data.index.frame_index import FrameIndex, describe_missing_index
from drivemim.data.index.image_shapes import fitting_size, image_shapes
from drivemim.data.index.index_building import IndexKind, build_index
from drivemim.errors import ConfigError, DataError

INDEX = "index.arrow"
"""Name of the index in the folder of a run that indexes its data itself."""
_JUDGED = ("val", "test", "mini_val")
"""Splits that detectors are evaluated on, of the index itself or nuScenes' official ones."""
_TRAINED = ("train", "mini_train")


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

    def open(self, work_dir: Path, *, rebuild: bool) -> FrameIndex:
        """Open the index, or index the folder.

        Args:
            work_dir: folder of the run; the index of a folder is ``index.arrow`` in it.
            rebuild: whether to index the folder although that file exists.

        Raises:
            DataError: if the folder has tables of several versions.
            OSError: if an image, a table or a folder cannot be read.
            ValueError: if a file is broken or contradicts another.
        """
        if self.path.is_file():
            return FrameIndex.open(self.path)
        out = work_dir / INDEX
        if out.exists() and not rebuild:
            index = FrameIndex.open(out)
            print_log(f"index: {out}, of the earlier run")
            return index
        kind, version = self._kind()
        work_dir.mkdir(parents=True, exist_ok=True)
        index = build_index(kind, self.path, version=version, out=out)
        scenes = len(index.scenes)
        print_log(
            f"index: {len(index.frames)} images of {scenes} scene{'s'[: scenes > 1]}, "
            f"{len(index.boxes)} boxes ({kind}{f' {version}' if version else ''}): {out}"
        )
        return index

    def _kind(self) -> tuple[IndexKind, str | None]:
        """Return what ``build_index`` needs to know about the folder."""
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
        rig = [*self.path.glob("calibration.json"), *self.path.glob("*/calibration.json")]
        return ("rig" if rig else "frames"), None


def index_key(config: Config, name: str | Path) -> str:
    """Return the dotted key of the training data's index.

    Args:
        config: config of a pretrainer.
        name: its name, for the error.

    Raises:
        ConfigError: if there is not exactly one.
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
        options: other options of the run.

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


def options_of_data(
    index: FrameIndex,
    config: Config,
    name: str | Path,
    options: Mapping[str, Any],
    scenes: Sequence[str] | None,
) -> dict[str, Any]:
    """Choose scenes and image size by the data, and print them.

    Without ``scenes``, a config that takes all scenes gets those that no detector is judged on.
    An image size that stretches the most common images by more than 10 % is replaced by one of
    about as many pixels.

    Args:
        index: the data.
        config: config of a pretrainer, with ``options``.
        name: its name, for errors.
        options: options that the user gave, which stay.
        scenes: names of splits or scenes.

    Returns:
        The index and what was chosen, as dotted keys of the config.

    Raises:
        ConfigError: if ``scenes`` and an option contradict each other.
        DataError: if there are no such scenes.
    """
    chosen: dict[str, Any] = dict(index_option(config, name, index, options))
    data = next(iter(chosen)).removesuffix("index")
    settings = config
    for part in data.rstrip(".").split("."):
        settings = settings[part]
    if scenes is not None and f"{data}scenes" in options:
        raise ConfigError(f"--scenes and --cfg-options {data}scenes: give one")
    wanted = settings.get("scenes") if scenes is None else list(scenes)
    if wanted is None and f"{data}scenes" not in options:
        wanted = _not_judged(index)
    if wanted != settings.get("scenes"):
        chosen[f"{data}scenes"] = wanted
    if f"{data}image_size" not in options:
        size, described = _image_size(index, index.scene_rows(wanted), settings, config, name)
        print_log(f"image size: {described}")
        if size != tuple(settings["image_size"]):
            chosen[f"{data}image_size"] = size
    return chosen


def _not_judged(index: FrameIndex) -> list[str] | None:
    """Return names of the scenes to pretrain on; None for all."""
    every = np.arange(len(index.scenes))
    judged = [name for name in _JUDGED if len(_rows(index, name))]
    kept = np.setdiff1d(every, np.concatenate([every[:0], *(_rows(index, n) for n in judged)]))
    if not judged or not len(kept):
        return None
    print_log(
        f"scenes: {len(kept)} of {len(every)}, without those of {judged[0]}, which detectors are "
        "evaluated on; --scenes takes others"
    )
    same = [name for name in _TRAINED if np.array_equal(_rows(index, name), kept)]
    names = [f"{index.scenes.split[row]}:{index.scenes.name[row]}" for row in kept.tolist()]
    return same[:1] or names


def _rows(index: FrameIndex, split: str) -> Ints:
    """Return the rows of a split's scenes; none if the index has no such split."""
    try:
        return index.scene_rows(split)
    except DataError:
        return np.zeros(0, np.int64)


def _image_size(
    index: FrameIndex,
    scene_rows: Ints,
    settings: Mapping[str, Any],
    config: Config,
    name: str | Path,
) -> tuple[tuple[int, int], str]:
    """Return the height and width to resize images to, and a description."""
    sizes_F2 = image_shapes(index, np.flatnonzero(np.isin(index.frames.scene, scene_rows)))
    height, width = (int(side) for side in settings["image_size"])
    with torch.device("meta"):
        encoder = build_model(config, name).encoder
    patch_size = int(getattr(encoder, "mask_patch_size", 1))
    size = fitting_size(sizes_F2, (height, width), patch_size)
    if size is None or size == (height, width):
        return (height, width), f"{(height, width)} (height, width), as in the config"
    return size, (
        f"{size} (height, width), which has the proportions of the images, instead of "
        f"{(height, width)}"
    )
