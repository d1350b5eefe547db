"""Walk through nested dicts and lists of a config; return the class name of a dict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def walk(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    """Yield every value in nested dicts and lists with its dotted key, outer ones first."""
    yield key, value
    pairs: Any = value.items() if isinstance(value, Mapping) else ()
    if isinstance(value, (list, tuple)):
        pairs = enumerate(value)
    for part, inner in pairs:
        yield from walk(inner, f"{key}.{part}")


def short_type(config: Mapping[str, Any]) -> str:
    """Return the class name in a dict's ``type``, without its scope; "None" without a ``type``."""
    kind = config.get("type")
    return kind.__name__ if isinstance(kind, type) else str(kind).rpartition(".")[2]
