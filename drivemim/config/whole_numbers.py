"""Whole numbers of a config: iterations and epochs that are written as floats, such as 1e5."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any

from mmengine.config import Config

from drivemim.errors import ConfigError

_LOOP = ("max_iters", "max_epochs", "val_interval", "val_begin")
_SCHEDULER = ("begin", "end", "total_steps", "step_size", "milestones", "periods")
# A cosine may have any period, and one that is given in epochs and acts every iteration any place.
_ANY = ("T_max",)


def make_whole(config: Config) -> None:
    """Turn the numbers of iterations and epochs of loop and schedulers into ``int``, in place.

    Where a float is left, comparisons with the length of the training would not be made.

    Args:
        config: config with ``train_cfg`` and ``param_scheduler``; it may lack them.

    Raises:
        ConfigError: for a value that is not a whole number, naming its key.
    """
    loop = config.get("train_cfg")
    if isinstance(loop, MutableMapping):
        for name in _LOOP:
            _set_whole(loop, name, f"train_cfg.{name}", strict=True)
    for key, scheduler in _schedulers(config.get("param_scheduler"), "param_scheduler"):
        is_converted = bool(scheduler.get("convert_to_iter_based"))
        for name in (*_SCHEDULER, *_ANY):
            strict = name in _SCHEDULER and not is_converted
            _set_whole(scheduler, name, f"{key}.{name}", strict=strict)


def _schedulers(value: Any, key: str) -> Iterator[tuple[str, MutableMapping[str, Any]]]:
    if isinstance(value, MutableMapping) and "type" in value:
        yield key, value
    elif isinstance(value, Mapping):
        for name, own in value.items():
            yield from _schedulers(own, f"{key}.{name}")
    elif isinstance(value, (list, tuple)):
        for place, each in enumerate(value):
            yield from _schedulers(each, f"{key}.{place}")


def _set_whole(settings: MutableMapping[str, Any], name: str, key: str, *, strict: bool) -> None:
    value = settings.get(name)
    if isinstance(value, (list, tuple)):
        settings[name] = type(value)(_whole(each, key, strict=strict) for each in value)
    elif value is not None:
        # MMEngine's schedulers have no end at infinity.
        endless = name == "end" and value == math.inf
        settings[name] = value if endless else _whole(value, key, strict=strict)


def _whole(value: Any, key: str, *, strict: bool) -> Any:
    """Return a whole float as an int; other values as they are, unless ``strict``."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if strict and not isinstance(value, int):
        raise ConfigError(f"{key}={value!r} must be a whole number")
    return value
