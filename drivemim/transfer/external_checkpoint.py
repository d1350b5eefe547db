"""Extract backbone weights from files that DriveMIM did not write."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from drivemim.errors import CheckpointError

_CONTAINERS = ("state_dict", "model", "model_state_dict", "teacher", "student", "model_ema",
               "ema_state_dict", "state_dict_ema")  # fmt: skip
# Prefixes that parallel training, compilation, classifiers, teachers and students, detectors,
# masked autoencoders and MoCo v3 add to names. In a file with several models, the first prefix of
# this list is the backbone's: the teacher is the averaged model, which its authors publish, and
# MoCo's authors publish the base encoder.
_PREFIXES = ("module.", "_orig_mod.", "model.", "teacher.", "student.", "backbone.", "encoder.",
             "base_encoder.")  # fmt: skip
_CLASSIFIERS = ("fc.", "head.", "classifier.", "head_dist.", "fc_norm.", "pre_logits.")
_NUMBER = re.compile(r"\.\d+(?=\.)")


@dataclass(frozen=True)
class ExternalWeights:
    """A backbone's weights from another project's file.

    Attributes:
        weights: weights under the backbone's own names.
        names: name in the file by the backbone's own name.
        left_out: names in the file that are not part of the backbone.
        container: key of the file that holds the weights; empty if they are at its top.
    """

    weights: dict[str, Tensor]
    names: dict[str, str]
    left_out: tuple[str, ...]
    container: str

    def renamed(self, new_names: Mapping[str, str]) -> ExternalWeights:
        """Return the same weights under other names.

        Args:
            new_names: new name by present name; weights without a new name are left out.
        """
        dropped = tuple(self.names[name] for name in self.weights if name not in new_names)
        return ExternalWeights(
            {new: self.weights[name] for name, new in new_names.items()},
            {new: self.names[name] for name, new in new_names.items()},
            (*self.left_out, *dropped),
            self.container,
        )


def extract_backbone(content: Any, path: str | Path, prefix: str = "") -> ExternalWeights:
    """Extract a backbone's weights from a checkpoint of any origin.

    The checkpoint has a state dict, alone or under a key that training scripts use (``state_dict``,
    ``model``, ``teacher``, ``model_ema``, ...). Its names may begin with any of the usual prefixes.
    If only some names begin with a prefix (``backbone.``, ``teacher.``), the others are not part of
    the backbone. A classifier's layers (``fc.``, ``head.``, ...) are left out.

    Args:
        content: content of the file.
        path: path of the file, for messages.
        prefix: prefix of the names to take, if known.

    Raises:
        CheckpointError: if the file has no weights whose names begin with ``prefix``, or is the
            checkpoint of a pretraining run of DriveMIM.
    """
    state, container = _state_of(content)
    names = {name.removeprefix(prefix): name for name in state if name.startswith(prefix)}
    if not names:
        raise CheckpointError(
            f"{path} holds no weights that are understood: a state dict is looked for at its top, "
            f"and under {', '.join(_CONTAINERS)}"
            + (f", with names that begin with {prefix!r}" if prefix else "")
        )
    while (usual := _usual_prefix(names)) is not None:
        if usual == "encoder." and _is_pretrainer(names):
            raise CheckpointError(
                f"{path} is of a pretraining run; export its backbone with "
                "drivemim export, which also keeps the normalisation"
            )
        names = {name.removeprefix(usual): old for name, old in names.items()
                 if name.startswith(usual)}  # fmt: skip
    names = {name: old for name, old in names.items() if not name.startswith(_CLASSIFIERS)}
    used = set(names.values())
    return ExternalWeights(
        {name: state[old] for name, old in names.items()},
        names,
        tuple(name for name in state if name not in used),
        container,
    )


def add_batch_counts(
    weights: dict[str, Tensor], expected: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Add batch normalisation's counters of batches if a file lacks all of them.

    Files from before PyTorch 0.4.1 do. The counters are not learned, and a layer reads its counter
    only if its ``momentum`` is None.

    Args:
        weights: weights of a file.
        expected: the state dict to fill; the counters are taken from it.
    """
    counts = {
        name: value for name, value in expected.items() if name.endswith("num_batches_tracked")
    }
    return weights if counts.keys() & weights.keys() else {**weights, **counts}


def describe_names(names: Mapping[str, str]) -> str:
    """Describe how names of a file became the backbone's.

    Args:
        names: name in the file by the backbone's own name.

    Returns:
        Empty if the names are equal; ``PREFIX* -> *`` if the file's have a prefix; else a table
        with a line per kind of name.
    """
    prefixes = {old.removesuffix(new) if old.endswith(new) else None for new, old in names.items()}
    if len(prefixes) == 1 and (prefix := prefixes.pop()) is not None:
        return f"{prefix}* -> *" if prefix else ""
    counts: dict[tuple[str, str], int] = {}
    for new, old in names.items():
        row = (_shown(old), _shown(new))
        counts[row] = counts.get(row, 0) + 1
    width = max(len(old) for old, _ in counts)
    lines = (f"\n  {old:<{width}} -> {new} ({n})" for (old, new), n in counts.items())
    return "".join(lines) + "\n"


def _shown(name: str) -> str:
    """Return a name without its block number, and without weight or bias."""
    return _NUMBER.sub(".*", name, count=1).rpartition(".")[0] or name


def _is_pretrainer(names: Mapping[str, str]) -> bool:
    """Return whether there is a decoder of DriveMIM, not that of SimMIM, which is ``decoder.0``."""
    return any(name.startswith("decoder.") and name[8:10] != "0." for name in names)


def _usual_prefix(names: Mapping[str, str]) -> str | None:
    """Return the first of ``_PREFIXES`` with which a name begins; None if there is none."""
    return next((each for each in _PREFIXES if any(n.startswith(each) for n in names)), None)


def _state_of(content: Any) -> tuple[dict[str, Tensor], str]:
    """Return the first mapping of names to tensors, and the key that holds it."""
    if not isinstance(content, Mapping):
        return {}, ""
    for key in (*_CONTAINERS, ""):
        candidate = content.get(key) if key else content
        if (
            isinstance(candidate, Mapping)
            and candidate
            and all(isinstance(name, str) for name in candidate)
            and all(isinstance(value, Tensor) for value in candidate.values())
        ):
            return dict(candidate), key
    return {}, ""
