"""Turn iterations and epochs that a config has as floats, such as 1e5, into integers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any

from mmengine.config import Config

from drivemim.errors import ConfigError

_LOOP = ("max_iters", "max_epochs", "val_interval", "val_begin")
# Settings of schedulers that must be whole, unless the scheduler is given in epochs and converted
# to iterations: half an epoch is valid then.
_SCHEDULER = ("begin", "end", "total_steps", "step_size", "milestones", "periods")
# A cosine may have a fractional period.
_ANY = ("T_max",)


def make_whole(config: Config) -> None:
    """Turn the numbers of iterations and epochs of loop and schedulers into ``int``, in place.

    The checks of the length of the training skip a length that is a float.

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
    """Yield key and config of every scheduler in ``param_scheduler``."""
    if isinstance(value, MutableMapping) and "type" in value:
        yield key, value
    elif isinstance(value, Mapping):
        for name, own in value.items():
            yield from _schedulers(own, f"{key}.{name}")
    elif isinstance(value, (list, tuple)):
        for place, each in enumerate(value):
            yield from _schedulers(each, f"{key}.{place}")


def _set_whole(settings: MutableMapping[str, Any], name: str, key: str, *, strict: bool) -> None:
    """Turn the floats of a setting, which may be a list, into integers.

    Args:
        settings: config of the loop or of a scheduler; nothing happens if it lacks the setting.
        name: name of the setting.
        key: its key in the config, for the error.
        strict: whether to refuse other values than whole numbers.
    """
    value = settings.get(name)
    if isinstance(value, (list, tuple)):
        settings[name] = type(value)(_whole(each, key, strict=strict) for each in value)
    elif value is not None:
        # An end of infinity is a scheduler without an end.
        endless = name == "end" and value == math.inf
        settings[name] = value if endless else _whole(value, key, strict=strict)


def _whole(value: Any, key: str, *, strict: bool) -> Any:
    """Return a whole float as an int; other values as they are, unless ``strict``."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if strict and not isinstance(value, int):
        raise ConfigError(f"{key}={value!r} must be a whole number")
    return value
