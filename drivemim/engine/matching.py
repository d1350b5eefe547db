"""Comparing the weights a model wants with those a file offers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor

_SHOWN = 8


def describe_mismatch(wanted: Mapping[str, Tensor], offered: Mapping[str, Tensor]) -> str:
    """List what keeps ``offered`` from filling ``wanted`` exactly; empty if nothing does.

    Args:
        wanted: a module's state dict.
        offered: weights of a file, by name.
    """
    parts = []
    if missing := [name for name in wanted if name not in offered]:
        parts.append(f"missing {_listed(missing)}")
    if unexpected := [name for name in offered if name not in wanted]:
        parts.append(f"unexpected {_listed(unexpected)}")
    misshapen = [
        f"{name} {tuple(offered[name].shape)} for {tuple(wanted[name].shape)}"
        for name in wanted
        if name in offered and offered[name].shape != wanted[name].shape
    ]
    if misshapen:
        parts.append(f"misshapen {_listed(misshapen)}")
    return "; ".join(parts)


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    rest = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{len(names)} ({', '.join(names[:_SHOWN])}{rest})"
