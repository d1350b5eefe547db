"""Compare two backbones' configs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from torch import nn

from drivemim.config.loading import defaults_of
from drivemim.config.nested import short_type

# Keys that may differ between pretraining and detection without changing the network.
_FREE_KEYS = {"type", "init_cfg", "pretrained", "norm_eval", "frozen_stages", "with_cp",
              "drop_path_rate", "attention_init", "window_size", "global_blocks",
              "_scope_"}  # fmt: skip


def describe_differences(
    exported: Mapping[str, Any], configured: Mapping[str, Any], backbone: nn.Module | None = None
) -> str:
    """List the keys that differ between two backbone configs.

    The text is empty if no key differs or ``configured`` is empty.

    Args:
        exported: config of the pretrained backbone.
        configured: config of the detector's backbone.
        backbone: the detector's backbone, built; it gives defaults of keys that a config leaves
            out.
    """
    if not configured:
        return ""
    types = [short_type(config) for config in (exported, configured)]
    if types[0] != types[1]:
        return f"type is {types[0]}, here {types[1]}"
    defaults = {} if backbone is None else defaults_of(type(backbone))
    lines = []
    for key in sorted({*exported, *configured} - _FREE_KEYS):
        exported_value, value = (
            _comparable(key, config.get(key, defaults.get(key, "default")))
            for config in (exported, configured)
        )
        if json.dumps(value, default=str) != json.dumps(exported_value, default=str):
            lines.append(f"{key} is {exported_value}, here {value}")
    return "; ".join(lines)


def _comparable(key: str, value: Any) -> Any:
    """Return a value; of a ``norm_cfg``, only what changes the layer's parameters or output."""
    if key == "norm_cfg" and isinstance(value, Mapping):
        settings = {
            name: each for name, each in value.items() if name not in ("requires_grad", "_scope_")
        }
        return {**settings, "type": str(value.get("type")).removeprefix("Sync")}
    return value
