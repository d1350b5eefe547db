"""Checks, before a run begins, that model, data sets, masks and checkpoint agree on the classes."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from drivemim.config.class_options import NO_OBJECT_HEADS
from drivemim.config.option_values import format_option
from drivemim.errors import ConfigError
from drivemim.masking import MaskStrategy, ObjectMask
from drivemim.masking.object import check_budget_classes
from drivemim.training.agreement import datasets_in


def check_classes(model: nn.Module, dataset: Any, where: str) -> None:
    """Refuse a head whose number of classes differs from the data set's.

    Args:
        model: a detector; a model without heads passes.
        dataset: data set with ``metainfo``, possibly wrapped in others.
        where: key of the data set's loader, for messages.

    Raises:
        ConfigError: naming the head, both numbers and the classes.
    """
    heads = list(_heads(model))
    if not heads:
        return
    for each in datasets_in(dataset):
        classes = _classes(each, where)
        if classes is None:
            continue
        metainfo = each.metainfo
        # In panoptic data, the heads of boxes classify things only.
        counts = {len(classes), len(metainfo.get("thing_classes") or classes)}
        for name, count in heads:
            key = ".".join(filter(None, ("model", name, "num_classes")))
            if count not in counts:
                raise ConfigError(
                    f"{key}={count}, but {where} has the {len(classes)} classes "
                    f"{', '.join(classes)}; set {key}={len(classes)}"
                )


def check_proposals(model: Any, key: str = "model") -> None:
    """Refuse a region proposal network of several classes; MMDetection would reset it to one.

    Args:
        model: config of the model.
        key: key of that config, for messages.

    Raises:
        ConfigError: naming the number.
    """
    for name, value in model.items() if isinstance(model, Mapping) else ():
        if name == "rpn_head" and isinstance(value, Mapping):
            heads = {f"{key}.rpn_head": value}
            for number, stage in enumerate(value.get("stages") or ()):
                heads[f"{key}.rpn_head.stages.{number}"] = stage
            for where, head in heads.items():
                if head.get("num_classes", 1) != 1:
                    raise ConfigError(
                        f"{where}.num_classes={head['num_classes']}: a region proposal network "
                        "only separates objects from background; set it to 1"
                    )
        check_proposals(value, f"{key}.{name}")


def has_heads(model: nn.Module) -> bool:
    """Return whether a model has a head that classifies objects."""
    return next(_heads(model), None) is not None


def check_same_classes(first: Any, second: Any, where: tuple[str, str]) -> None:
    """Refuse data sets that number their classes differently.

    Args:
        first: a data set, or a list of class names.
        second: another one.
        where: names of the two, for messages.

    Raises:
        ConfigError: with both lists.
    """
    lists = [
        [tuple(each)] if isinstance(each, (list, tuple))
        else [found for inner in datasets_in(each) if (found := _classes(inner, name))]
        for each, name in zip((first, second), where, strict=True)
    ]  # fmt: skip
    for one in lists[0]:
        for other in lists[1]:
            if one != other:
                raise ConfigError(
                    f"{where[0]} has the classes {', '.join(one)}, but {where[1]} has "
                    f"{', '.join(other)}: a label would mean another class; give both the same, "
                    f"in the same order: {_option(one)}"
                )


def check_annotations(dataset: Any, where: str) -> None:
    """Refuse classes that a COCO file lacks or has in another order.

    MMDetection looks up the names in the file, drops missing ones, and numbers the others in the
    file's order. A label then means another class.

    Args:
        dataset: data set with ``cat_ids`` from an ``ann_file``.
        where: key of its loader.

    Raises:
        ConfigError: with the names in the file.
    """
    for each in datasets_in(dataset):
        path, ids = getattr(each, "ann_file", None), getattr(each, "cat_ids", None)
        if not path or ids is None or not os.path.isfile(path):
            continue
        content = json.loads(Path(path).read_text())
        names = {entry["id"]: entry["name"] for entry in content.get("categories", ())}
        found = tuple(names.get(number, "?") for number in ids)
        classes = _classes(each, where)
        if classes is not None and found != classes:
            known = tuple(names.values())
            order = ", ".join(f"'{name}'" for name in known)
            missing = [name for name in classes if name not in known]
            reason = (
                f"{path} has no {', '.join(missing)}" if missing
                else f"{path} has them in the order {', '.join(found)}"
            )  # fmt: skip
            raise ConfigError(
                f"{where} has the classes {', '.join(classes)}, but {reason}: labels would mean "
                f"other classes; set metainfo=dict(classes=...) to names of ({order}) in that order"
            )


def check_mask_classes(model: Any, dataset: Any) -> None:
    """Refuse an object mask with a budget for a class that the data set does not have.

    Args:
        model: a pretrainer; a model without ``masking`` passes.
        dataset: data set with ``metainfo``, possibly wrapped in others.

    Raises:
        ConfigError: naming the class and the nearest valid one.
    """
    strategies = list(_strategies_in(getattr(model, "masking", None)))
    for strategy in [each for each in strategies if isinstance(each, ObjectMask)]:
        for each in datasets_in(dataset):
            classes = (getattr(each, "metainfo", None) or {}).get("classes")
            if classes:
                check_budget_classes(strategy.budget_fraction, classes)


def _strategies_in(value: Any) -> Iterator[MaskStrategy]:
    """Yield a strategy and all strategies nested in its attributes."""
    if isinstance(value, MaskStrategy):
        yield value
        value = list(vars(value).values())
    if isinstance(value, (list, tuple)):
        for each in value:
            yield from _strategies_in(each)


def _option(classes: Sequence[str]) -> str:
    """Return the command-line option that sets the classes of a config."""
    return f'--cfg-options "{format_option("classes", list(classes))}"'


def _heads(model: nn.Module) -> Iterator[tuple[str, int]]:
    """Yield each module that classifies objects, except proposal networks, and its class count."""
    if any(hasattr(model, name) for name in ("language_model", "text_encoder")):
        return  # the classes are words, and num_classes is only their largest number
    # MMDetection's RPN, a detector of its own, calls its proposal head ``bbox_head``.
    is_proposer = any(base.__name__ == "RPN" for base in type(model).__mro__)
    for name, module in model.named_modules():
        count = getattr(module, "num_classes", None)
        if isinstance(count, bool) or not isinstance(count, int):
            continue
        if set(NO_OBJECT_HEADS) & set(name.split(".")) or getattr(module, "class_agnostic", False):
            continue
        is_proposals = any(base.__name__ == "RPNHead" for base in type(module).__mro__)
        if is_proposals or (is_proposer and name.split(".")[0] == "bbox_head"):
            continue
        yield name, count


def _classes(dataset: Any, where: str) -> tuple[str, ...] | None:
    """Return the names of a data set's classes; None if it has none.

    Args:
        dataset: a data set without wrappers.
        where: key of its loader, for the error.

    Raises:
        ConfigError: if the classes are one text instead of a list.
    """
    classes = (getattr(dataset, "metainfo", None) or {}).get("classes")
    if isinstance(classes, str):
        raise ConfigError(
            f"{where} has classes={classes!r}, a text whose letters would be the classes; write "
            f"({classes!r},)"
        )
    return tuple(classes) if isinstance(classes, (list, tuple)) else None
