"""Refuse options of another kind than the value in the config, such as a string for a number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from drivemim.errors import ConfigError

# Arguments that accept several kinds, such as ``loss_scale`` ('dynamic' or a number).
_ANY_KIND = frozenset({"boxes", "scenes", "loss_scale", "pretrained", "resume"})
_PLURALS = {
    "a number": "numbers",
    "a string": "strings",
    "a dict": "dicts",
    "True or False": "True or False",
}


def check_kinds(config: Any, options: Mapping[str, Any]) -> None:
    """Refuse an option whose value is of another kind than the value that it replaces.

    Kinds are numbers, strings, dicts, and True or False (also written as 1 or 0). Many arguments
    take several kinds. A number, string or dict can therefore be replaced by a list of its kind, a
    list by a single value of the kind of its elements, a string by a dict, and anything by None.

    Args:
        config: the config, before the options are applied.
        options: dotted key to value.

    Raises:
        ConfigError: naming key, value and what the config has.
    """
    for key, value in options.items():
        if key.rpartition(".")[2] in _ANY_KIND:
            continue
        # MMEngine's ``Config`` is not a ``Mapping``.
        before = _value({name: config[name] for name in config}, key.split("."))
        expected = _expected_kind(before, value)
        if expected is not None:
            raise ConfigError(
                f"--cfg-options {key}={value!r}: give {expected}, as in the config: "
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


def _expected_kind(before: Any, value: Any) -> str | None:
    """Return the kind that an option should have; None if it has that, or the kind is unknown."""
    if before is None or value is None:
        return None
    kinds, known = _kinds(value), _kinds(before)
    is_list = isinstance(value, (list, tuple))
    if isinstance(before, (list, tuple)):
        # True and False can also be written as 1 and 0.
        if not known or kinds <= known or (known == {"True or False"} and _are_switches(value)):
            return None
        return f"a list of {_PLURALS[known.pop()]}" if len(known) == 1 else "a list"
    if isinstance(before, bool):
        return None if not is_list and _are_switches(value) else "True or False"
    if isinstance(before, Mapping):
        return None if kinds <= {"a dict"} and value not in ([], ()) else "a dict"
    if isinstance(before, (int, float)):
        return None if kinds == {"a number"} else "a number"
    if isinstance(before, str):
        # Many arguments take a name or a dict.
        is_string = kinds <= {"a string", "a dict"}
        return None if is_string else "a string, in quotes if it looks like a number"
    return None


def _kinds(value: Any) -> set[str]:
    """Return the kinds of a value, or of the values in nested lists; None has no kind."""
    if isinstance(value, (list, tuple)):
        return set().union(*map(_kinds, value))
    if isinstance(value, bool):
        return {"True or False"}
    for kind, types in (("a number", (int, float)), ("a string", str), ("a dict", Mapping)):
        if isinstance(value, types):
            return {kind}
    return set()


def _are_switches(value: Any) -> bool:
    """Return whether a value, or every value in a list, is True, False, 1 or 0."""
    values = value if isinstance(value, (list, tuple)) else (value,)
    return all(isinstance(each, (int, float)) and each in (0, 1) for each in values)


def _shortened(value: Any) -> str:
    """Return a value as a text of at most 80 characters."""
    text = repr(dict(value) if isinstance(value, Mapping) else value)
    return text if len(text) <= 80 else f"{text[:77]}..."
