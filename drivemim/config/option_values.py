"""Parse and format the values of ``--cfg-options KEY=VALUE``."""

from __future__ import annotations

import argparse
from contextlib import suppress
from typing import Any

from drivemim.errors import ConfigError
from drivemim.option_words import read_literal

_PAIRS = {"(": ")", "[": "]", "{": "}"}
"""Closing bracket of each opening one."""


def parse_value(text: str) -> Any:
    """Parse the value of an option.

    ``1``, ``1e-3``, ``true`` and ``None`` are numbers and constants; ``[a,2]`` and ``a,2`` are
    lists, ``(1,2)`` is a tuple, as MMEngine reads them. ``{'type': 'TubeMask'}`` is a dict. Quotes
    make a string: ``'1'``, or a path with commas, ``'/my,dir/x.arrow'``. Any other text is a string
    as it is written, with the spaces inside it.

    Args:
        text: the value, without its key.

    Raises:
        ConfigError: for a text that begins with ``(`` or ``[`` if its brackets or quotes do not
            match.
    """
    text = text.strip()
    if text[:1] in ("'", '"') or (text[:1] == "{" and text[-1:] == "}"):
        try:
            literal = read_literal(text)
        except (ValueError, SyntaxError):
            literal = None
        if isinstance(literal, (str, dict)):
            return literal
    is_sequence = text[:1] in ("(", "[") and text[-1:] == _PAIRS[text[0]]
    inner = _parts(text[1:-1]) if is_sequence else None
    if inner is not None:
        values = [parse_value(part) for part in inner if part]
        return tuple(values) if text[0] == "(" else values
    parts = _parts(text)
    if parts is None and text[:1] in ("(", "["):
        raise ConfigError(f"{text}: its brackets or quotes do not match; quotes make it a string")
    if parts is None or len(parts) == 1:
        return _scalar(text)
    return [parse_value(part) for part in parts if part]


class ConfigOptions(argparse.Action):
    """Action for ``--cfg-options KEY=VALUE ...``, like MMEngine's."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Parse the values, and add them to those of an earlier ``--cfg-options``.

        Raises:
            ArgumentError: for a value that is not ``KEY=VALUE``.
        """
        options = dict(getattr(namespace, self.dest, None) or {})
        for value in values:
            key, equals, text = value.partition("=")
            if not equals:
                raise argparse.ArgumentError(self, f"{value!r} is not KEY=VALUE")
            try:
                options[key] = parse_value(text)
            except ConfigError as error:
                raise argparse.ArgumentError(self, f"{key}={error}") from error
        setattr(namespace, self.dest, options)


def format_option(key: str, value: Any) -> str:
    """Return the ``KEY=VALUE`` from which :func:`parse_value` gives a value.

    Raises:
        ConfigError: for a value that no text gives, such as an object.
    """
    texts = [repr(value)] if not isinstance(value, str) or "," in value else [value, repr(value)]
    for text in texts:
        try:
            if repr(parse_value(text)) == repr(value):  # 1 is not True, and a tuple not a list
                return f"{key}={text}"
        except ConfigError:
            continue
    raise ConfigError(
        f"options[{key!r}]={value!r} cannot be given as --cfg-options KEY=VALUE; set it in a config"
    )


def _scalar(text: str) -> Any:
    """Return a number, a constant, or the text itself."""
    for kind in (int, float) if "_" not in text else ():  # 2011_09_26 is a name
        with suppress(ValueError):
            return kind(text)
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    return None if text == "None" else text


def _parts(text: str) -> list[str] | None:
    """Split a text at commas outside brackets and quotes; None if these do not match."""
    parts: list[str] = []
    closing: list[str] = []
    start, quote, is_escaped = 0, "", False
    for place, char in enumerate(text):
        if quote:
            if char == quote and not is_escaped:
                quote = ""
            is_escaped = char == "\\" and not is_escaped
        elif char in "'\"" and text[start:place].rstrip()[-1:] in ("", *_PAIRS, ",", ":"):
            quote = char  # a quote elsewhere is an apostrophe
        elif char in _PAIRS:
            closing.append(_PAIRS[char])
        elif closing and char == closing[-1]:
            closing.pop()
        elif char in _PAIRS.values():
            return None
        elif char == "," and not closing:
            parts.append(text[start:place].strip())
            start = place + 1
    return None if closing or quote else [*parts, text[start:].strip()]
