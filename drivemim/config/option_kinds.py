"""Options of another kind than the value in the config, such as a text for a number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from drivemim.errors import ConfigError

# Keys that take values of several kinds: by name or by settings, a switch or a path, ...
_SEVERAL = frozenset({"boxes", "scenes", "loss_scale", "pretrained", "resume"})


def check_kinds(config: Any, options: Mapping[str, Any]) -> None:
    """Refuse an option whose value is of another kind than the one that it replaces.

    A number can be replaced by a list of numbers, and anything by None: many arguments take both.

    Args:
        config: the config, before the options are applied.
        options: dotted key to value.

    Raises:
        ConfigError: naming key, value and what the config has.
    """
    for key, value in options.items():
        if key.rpartition(".")[2] in _SEVERAL:
            continue
        before = _value({name: config[name] for name in config}, key.split("."))
        wanted = _wanted(before, value)
        if wanted is not None:
            raise ConfigError(
                f"--cfg-options {key}={value!r}: give {wanted}, as in the config: "
                f"{_shortened(before)}"
            )


def _value(config: Any, parts: Sequence[str]) -> Any:
    """Return the value at a dotted key; None if there is none."""
    for part in parts:
        if isinstance(config, Mapping):
            config = config.get(part)
        elif isinstance(config, (list, tuple)) and part.isdigit() and int(part) < len(config):
            config = config[int(part)]
        else:
            return None
    return config


def _wanted(before: Any, value: Any) -> str | None:
    """Return the kind that an option must have; None if it has it, or nothing is known."""
    if before is None or value is None:
        return None
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    is_plain = is_number or isinstance(value, (bool, str))
    if isinstance(before, Mapping):
        is_list = isinstance(value, (list, tuple))
        of_dicts = is_list and value and all(isinstance(each, Mapping) for each in value)
        return "a dict" if is_plain or (is_list and not of_dicts) else None
    if isinstance(before, bool):
        return "True or False" if isinstance(value, (str, Mapping)) else None
    if isinstance(before, (int, float)):
        is_other = isinstance(value, (bool, str, Mapping)) or value in ([], ())
        return "a number" if is_other else None
    if isinstance(before, str):
        return "a text, in quotes if it looks like a number" if is_number else None
    return None


def _shortened(value: Any) -> str:
    text = repr(dict(value) if isinstance(value, Mapping) else value)
    return text if len(text) <= 80 else f"{text[:77]}..."
