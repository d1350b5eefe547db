"""Set the classes of a config in one place: ``classes`` and ``class_map`` at its top level.

This module writes both into every data set that reads an index, and the number of classes into
every head of the model. One option is therefore enough: ``--cfg-options classes=nuscenes``.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.config import Config

from drivemim.config.nested import walk
from drivemim.data.class_lists import class_names
from drivemim.data.classes import DETECTION_CLASSES
from drivemim.errors import ConfigError

KEYS = ("classes", "class_map")
"""Top-level keys of a config that this module reads."""
NO_OBJECT_HEADS = ("backbone", "semantic_head", "language_model", "text_encoder", "rpn_head")
"""Parts of a detector whose ``num_classes`` does not count the classes of its objects.

It counts those of a classifier's data, of semantic segmentation, of texts, or only "object".
"""
_DATA = ("train_dataloader", "val_dataloader", "test_dataloader", "dataset")
"""Sections of a config with data sets."""
_ROWS = ("class_sizes", "class_attributes")
"""Settings of a 3-D head with one row per class."""


def split_options(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Separate ``classes``, ``class_map`` and ``class_map.CATEGORY`` from the other options.

    Args:
        options: dotted key to value, as ``--cfg-options`` gives them. Categories may have dots.

    Returns:
        The options for ``KEYS``, and the other options. Categories are collected in one
        ``class_map``.
    """
    own: dict[str, Any] = {}
    others = {}
    for key, value in options.items():
        name, _, category = str(key).partition(".")
        if name == "class_map" and category:
            own["class_map"] = {**own.get("class_map", {}), category: value}
        elif name == "class_map" and isinstance(value, Mapping):
            own["class_map"] = {**own.get("class_map", {}), **value}
        elif key in KEYS:
            is_text = key == "classes" and isinstance(value, str)
            own[key] = _parse_names(value) if is_text else value
        else:
            others[key] = value
    return own, others


def _parse_names(text: str) -> str | list[str]:
    """Parse a text given as ``classes``: ``car,traffic light`` or ``nuscenes``.

    Args:
        text: a preset; or names separated by commas, in brackets and quotes or not.
    """
    inside = text.strip()
    is_list = inside[:1] in ("[", "(") and inside[-1:] in ("]", ")")
    if not is_list and "," not in inside:
        return inside
    names = inside[1:-1] if is_list else inside
    parts = [part.strip().strip("'\"").strip() for part in names.split(",")]
    return parts[:-1] if parts[-1] == "" else parts


def reads_classes(config: Mapping[str, Any]) -> bool:
    """Return whether a config has a data set that reads an index, and so takes ``classes``."""
    return any("index" in part for _, part in _data_sets(config))


def apply_classes(config: Config, chosen: Mapping[str, Any], *, option: bool = False) -> None:
    """Write the classes into the data sets and heads of a config, in place.

    Args:
        config: config with loaders, or with ``dataset``.
        chosen: ``classes`` and ``class_map``, if they were chosen.
        option: whether the command line chose them, and not the config's file. Options replace the
            classes of the data sets, and apply to data sets that read a COCO file, too. It is an
            error if no data set reads them. In a config's file, ``classes`` may also be a variable
            of MMDetection's, which nothing has to read.

    Raises:
        ConfigError: if the names are invalid, if no data set reads an option, or if a 3-D head has
            no settings for a class.
    """
    if not chosen:
        return
    index_sets = [part for _, part in _data_sets(config) if "index" in part]
    coco_sets = [part for _, part in _data_sets(config) if "index" not in part] if option else []
    unread = [key for key in chosen if not index_sets and (key == "class_map" or not coco_sets)]
    if option and unread:
        raise ConfigError(
            f"--cfg-options {unread[0]}: no data set of {config.filename} reads it; data sets of "
            "an index do"
        )
    if not index_sets and not coco_sets:
        return
    for part in index_sets:
        if chosen.get("class_map"):
            maps = (part.get("class_map") or {}, chosen["class_map"])
            first, last = maps if option else reversed(maps)
            part["class_map"] = {**first, **last}
    if chosen.get("classes") is None:
        return
    names = class_names(chosen["classes"])
    before = next((part.get("classes") for part in index_sets), None)
    for part in index_sets:
        if option or part.get("classes") is None:
            part["classes"] = names
    for part in coco_sets:
        part["metainfo"] = {"classes": names}
    model = config.get("model")
    if isinstance(model, Mapping):
        for key, head in _heads(model):
            _resize(head, key, names, before)


def written_settings(config: Config) -> dict[str, Any]:
    """Return what the ``classes`` and ``class_map`` of a config's file change elsewhere in it.

    Args:
        config: config as MMEngine reads it.

    Returns:
        Dotted keys to values; a list that changes is one value.
    """
    applied = copy.deepcopy(config)
    apply_classes(applied, {key: config[key] for key in KEYS if key in config})
    return dict(_changes(config.to_dict(), applied.to_dict(), ""))


def _changes(before: Any, after: Any, key: str) -> Iterator[tuple[str, Any]]:
    """Yield key and new value of every difference between two nested dicts."""
    # A class map is one value: its categories have dots, which would be levels of a dotted key.
    if isinstance(before, Mapping) and not key.endswith("class_map"):
        for name, value in after.items():
            yield from _changes(before.get(name), value, f"{key}.{name}".lstrip("."))
    elif before != after:
        yield key, after


def _resize(head: Any, key: str, names: tuple[str, ...], before: Any) -> None:
    """Set a head's number of classes, and reorder its settings that have one row per class.

    Args:
        head: config of the head, changed in place.
        key: its key in the config.
        names: new classes.
        before: previous classes, or the name of a preset; None for DriveMIM's own.

    Raises:
        ConfigError: if a setting has no row for a new class.
    """
    head["num_classes"] = len(names)
    known = DETECTION_CLASSES if before is None else class_names(before)
    for row_key, part in walk(head, key):
        for setting in _ROWS:
            rows = part.get(setting) if isinstance(part, Mapping) else None
            if isinstance(rows, (list, tuple)) and len(rows) == len(known):
                for name in names:
                    if name not in known:
                        raise ConfigError(
                            f"classes: {row_key}.{setting} has no row for {name!r}, only for "
                            f"{', '.join(known)}"
                        )
                part[setting] = [rows[known.index(name)] for name in names]


def _data_sets(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield key and config of every data set that reads an index or a COCO file."""
    for root in _DATA:
        for key, part in walk(config.get(root), root):
            if isinstance(part, Mapping) and ("index" in part or "ann_file" in part):
                yield key, part


def _heads(model: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield key and config of every head that classifies objects."""
    for key, part in walk(model, "model"):
        if not isinstance(part, Mapping) or not isinstance(part.get("num_classes"), int):
            continue
        if not set(NO_OBJECT_HEADS) & set(key.split(".")) and not part.get("class_agnostic"):
            yield key, part
