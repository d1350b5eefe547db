"""Read the config inside a checkpoint as plain values, without running code.

A config can run code in two ways: as Python, and through its ``type`` keys, because MMEngine
imports names that no registry knows (``type='os.system'``). A file from elsewhere can do neither.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from drivemim.config.loading import dicts_in
from drivemim.errors import CheckpointError
from drivemim.registry import MASKS, MODELS, current_name, registered_class
from drivemim.trust import is_trusted, trust_hint

# Modules whose classes may be parts of a pretrainer. Classes of other modules, such as whole
# detectors, may read files when they are built.
_PARTS = ("drivemim.", "mmdet.models.backbones.", "mmdet.models.necks.", "mmdet.models.layers.",
          "mmcv.cnn.", "mmengine.model.", "mmengine.utils.dl_utils.", "torch.nn.")  # fmt: skip


def embedded_config(text: Any, checkpoint: str | Path) -> Config:
    """Read the config that a training run left in its checkpoint.

    Args:
        text: ``meta['cfg']``.
        checkpoint: path of the checkpoint.

    Raises:
        CheckpointError: if the text is more than values, or its model names a class that is not a
            known part of a pretrainer. A file that the user trusts is not checked.
    """
    if is_trusted(checkpoint):
        return Config.fromstring(str(text), file_format=".py")
    try:
        values = _values(ast.parse(text))
    except (SyntaxError, ValueError, TypeError, RecursionError) as error:
        raise CheckpointError(
            f"{checkpoint}: the config inside is more than values ({error}), so it is not run. "
            f"{_fix(checkpoint)}"
        ) from error
    config = Config(values)
    for part in dicts_in(values.get("model")):
        _check_type(part, checkpoint)
    return config


def _fix(checkpoint: str | Path) -> str:
    """Return the end of an error's message: what the user can do."""
    return f"Give the run's own config with --config. {trust_hint(checkpoint)}"


def _check_type(part: Mapping[str, Any], checkpoint: str | Path) -> None:
    """Refuse a dict whose ``type`` is not the name of a registered part of a pretrainer.

    Raises:
        CheckpointError: naming the type.
    """
    name = part.get("type")
    if name is None:
        return
    known = None
    if isinstance(name, str):
        known = registered_class(MODELS, name) or registered_class(MASKS, current_name(name))
    # Classes in DriveMIM's own registries come from code that the user runs.
    own = known is not None and known in (
        *MODELS.module_dict.values(),
        *MASKS.module_dict.values(),
    )
    if known is None or not (own or f"{known.__module__}.".startswith(_PARTS)):
        raise CheckpointError(
            f"{checkpoint}: the config inside has type={name!r}, which is not a registered "
            f"part of a pretrainer; modules that it names are not imported. {_fix(checkpoint)}"
        )


def _values(tree: ast.Module) -> dict[str, Any]:
    """Parse assignments of plain values.

    Raises:
        ValueError: naming a line that is something else.
    """
    values = {}
    for line in tree.body:
        if not (isinstance(line, ast.Assign) and len(line.targets) == 1
                and isinstance(line.targets[0], ast.Name)):  # fmt: skip
            raise ValueError(f"line {line.lineno}: {ast.unparse(line).partition(chr(10))[0][:60]}")
        values[line.targets[0].id] = _value(line.value)
    return values


def _value(node: ast.expr) -> Any:
    """Parse a literal, or a ``dict(key=value)`` of literals.

    Raises:
        ValueError: naming the line if it has anything else.
    """
    if isinstance(node, ast.Dict):
        pairs = {}
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:  # ``**``, whose value may be a call
                raise ValueError(f"line {node.lineno}: {ast.unparse(node)[:60]}")
            pairs[_value(key)] = _value(value)
        return pairs
    if isinstance(node, (ast.List, ast.Tuple, ast.Set)):
        kind = {ast.List: list, ast.Tuple: tuple, ast.Set: set}[type(node)]
        return kind(_value(each) for each in node.elts)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict":
        words = {word.arg: word.value for word in node.keywords}
        # MMEngine writes dict({...}) where keys are not names.
        first = node.args[0] if len(node.args) == 1 else ast.Dict(keys=[], values=[])
        if None not in words and isinstance(first, ast.Dict) and len(node.args) < 2:
            return {**_value(first), **{name: _value(value) for name, value in words.items()}}
    try:
        return ast.literal_eval(node)
    except ValueError as error:
        raise ValueError(f"line {node.lineno}: {ast.unparse(node)[:60]}") from error
