"""Backbone weights out of files that DriveMIM did not write."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from drivemim.errors import CheckpointError

_CONTAINERS = ("state_dict", "model", "model_state_dict")
_PARTS = {"backbone", "encoder", "decoder"}
_CLASSIFIERS = ("fc.", "head.", "classifier.")


def foreign_backbone(content: Any, path: str | Path) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Pick a backbone's weights out of a checkpoint of any origin.

    Understood are a state dict, alone or under ``state_dict`` or ``model``, with the prefix that
    parallel training adds (``module.``). Where names begin with ``backbone.``, as in a detector's
    or classifier's checkpoint, those are the backbone; else all are, but for a classifier's
    (``fc.``, ``head.``, ``classifier.``).

    Args:
        content: of the file, read.
        path: of the file, for messages.

    Returns:
        Weights under the backbone's own names, and those that are left out under the file's.

    Raises:
        CheckpointError: if there are no weights in it, or it is of a pretraining run of DriveMIM.
    """
    state = _state_of(content)
    if not state:
        raise CheckpointError(
            f"{path} holds no weights that are understood: a state dict is looked for at its top, "
            f"and under {', '.join(_CONTAINERS)}"
        )
    if all(name.startswith("module.") for name in state):
        state = {name.removeprefix("module."): value for name, value in state.items()}
    # A detector like DETR has an encoder and a decoder too, and a backbone before them.
    if {name.partition(".")[0] for name in state} & _PARTS == _PARTS - {"backbone"}:
        raise CheckpointError(
            f"{path} is of a pretraining run; export its backbone with tools/export_backbone.py, "
            "which also keeps the normalisation"
        )
    if any(name.startswith("backbone.") for name in state):
        chosen = {name for name in state if name.startswith("backbone.")}
    else:
        chosen = {name for name in state if not name.startswith(_CLASSIFIERS)}
    weights = {name.removeprefix("backbone."): state[name] for name in state if name in chosen}
    return weights, {name: value for name, value in state.items() if name not in chosen}


def add_batch_counts(weights: dict[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Add batch normalisation's counters where a file older than PyTorch 0.4.1 lacks them all.

    Nothing reads them unless ``momentum`` is None, and they are no learned weights.

    Args:
        weights: of a file.
        wanted: the state dict that is to be filled.
    """
    counts = {name: value for name, value in wanted.items() if name.endswith("num_batches_tracked")}
    return weights if counts.keys() & weights.keys() else {**weights, **counts}


def _state_of(content: Any) -> dict[str, Tensor]:
    """The first mapping of names to tensors."""
    if not isinstance(content, Mapping):
        return {}
    for candidate in (*(content.get(name) for name in _CONTAINERS), content):
        if (
            isinstance(candidate, Mapping)
            and candidate
            and all(isinstance(value, Tensor) for value in candidate.values())
        ):
            return dict(candidate)
    return {}
