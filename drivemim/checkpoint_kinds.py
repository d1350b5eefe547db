"""Checks of files that are given as checkpoints: of what kind they are, and whether intact."""

from __future__ import annotations

import hashlib
import json
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor

from drivemim.errors import CheckpointError, did_you_mean

Kind = Literal["export", "detector", "pretraining", "other", "nothing"]  # described in ``_KINDS``
_HEAD = 512
"""Number of leading bytes that identify a file's kind."""
_ZIP, _GZIP, _ARROW = b"PK\x03\x04", b"\x1f\x8b", b"ARROW1"
_MAX_HEADER = 100 * 2**20
"""Largest size of a safetensors header by its format, bytes."""
# Prefixes that parallel training, compilation and training frameworks add to every name.
_WRAPPERS = ("module.", "_orig_mod.", "model.")
_SHOWN = 5
"""Most names of tensors in one list of a message; the number of the others follows."""
# Files that people write. Messages must not suggest to delete them.
_TEXTS = (".py", ".json", ".yaml", ".yml", ".toml", ".md", ".txt", ".csv", ".log", ".cfg", ".ini")
_FLOATS = frozenset({torch.float16, torch.bfloat16, torch.float32, torch.float64})
"""Types whose values fill a model as they are; quantised ones would need a scale."""
_EXPORT = "drivemim"
"""Metadata key under which an exported backbone stores its origin."""
_KINDS: dict[Kind, str] = {
    "export": (
        "an exported backbone; a detector takes it as backbone_checkpoint=FILE and has to be "
        "trained from it first, before it can be tested"
    ),
    "detector": (
        "a detector's checkpoint; drivemim test evaluates it, load_from=FILE starts a detector "
        "from it and backbone_checkpoint=FILE starts a detector from its backbone"
    ),
    "pretraining": (
        "a pretraining run's checkpoint; export its backbone with drivemim export, and "
        "give a detector that with backbone_checkpoint=FILE"
    ),
    "other": (
        "weights of another model; a detector starts from a backbone's with "
        "backbone_checkpoint=FILE"
    ),
    "nothing": "not a checkpoint: it has no weights",
}
_Value = TypeVar("_Value")


def describe_missing(what: str, path: str | Path) -> str:
    """Return the message for a path without a file; it suggests a similar name in the folder.

    Args:
        what: what the file should be, for example ``checkpoint``.
        path: the path.
    """
    path = Path(path)
    if path.is_dir():
        return f"there is no {what} at {path}, which is a folder; name a file in it"
    kinds = {path.suffix, ".pth", ".safetensors"}
    beside = path.parent.iterdir() if path.parent.is_dir() else ()
    names = [neighbour.name for neighbour in beside if neighbour.suffix in kinds]
    export = "; write it with drivemim export" if path.suffix == ".safetensors" else ""
    return f"there is no {what} at {path}{did_you_mean(path.name, names) or export}"


def describe_file(path: str | Path, *, wanted: str) -> str | None:
    """Describe what a file is, for a message (``is empty; ...``); None if it may be as wanted.

    Args:
        path: path of the file.
        wanted: ``torch`` (written by ``torch.save``) or ``safetensors``.
    """
    path = Path(path)
    size = path.stat().st_size
    with path.open("rb") as stream:
        head = stream.read(_HEAD)
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if path.suffix in _TEXTS:
        kind = "a config" if path.suffix == ".py" else f"a {path.suffix} file"
        return f"is {kind}, not a checkpoint; two arguments may be swapped"
    again = "delete it, and download or copy it again"
    if size == 0:
        return f"is empty; {again}"
    if start.startswith(b"version https://git-lfs"):
        return "is a git-lfs pointer, not the file itself; run `git lfs pull` in its repository"
    if start.startswith((b"<!doctype html", b"<html")):
        return f"is an HTML page, not a checkpoint: the download failed; {again}"
    if start.startswith(b"<?xml"):
        return f"is an XML page, not a checkpoint: the download failed; {again}"
    if head.startswith(_ARROW):
        return "is an index of a data set, not a checkpoint; two arguments may be swapped"
    if head.startswith(_GZIP):
        return "is compressed with gzip; unpack it with gunzip or tar first"
    if head.startswith(_ZIP):
        if not zipfile.is_zipfile(path):
            return f"is cut short: its {size} bytes are the beginning of a larger file; {again}"
        return "is a file of torch.save; name it .pth" if wanted == "safetensors" else None
    length = int.from_bytes(head[:8], "little")
    if head[8:9] == b"{" and 2 <= length <= _MAX_HEADER:
        if (whole := _safetensors_size(path, length)) is None or size < whole:
            of = "" if whole is None else f" of {whole}"
            return f"is cut short: it has {size} bytes{of}; {again}"
        if wanted == "torch" and is_export(path):
            return f"is {_KINDS['export']}; a training checkpoint is expected here"
        if wanted == "torch":
            return "is a safetensors file; a file of torch.save (.pth) is expected here"
        return None
    if _is_text(head):
        line = head.decode(errors="replace").strip().partition("\n")[0][:60]
        return (
            f"is a text that begins with {line!r}, not a checkpoint: give the checkpoint's path, "
            "or repeat the download if this is what it left"
        )
    return None


def _safetensors_size(path: Path, length: int) -> int | None:
    """Return a safetensors file's expected size in bytes; None if its header is incomplete."""
    with path.open("rb") as stream:
        stream.seek(8)
        header = stream.read(length)
    try:
        entries = json.loads(header)
        ends = [each["data_offsets"][1] for name, each in entries.items() if name != "__metadata__"]
        return 8 + length + max(ends, default=0)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        return None


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode()
    except UnicodeDecodeError as error:
        text = head[: error.start].decode()
        if len(head) - error.start > 3:  # more bytes than one character cut off at the end
            return False
    return all(character.isprintable() or character in "\r\n\t" for character in text)


def is_export(path: str | Path) -> bool:
    """Return whether a file is a complete ``.safetensors`` export of a backbone."""
    path = Path(path)
    if path.suffix != ".safetensors" or not path.is_file():
        return False
    if describe_file(path, wanted="safetensors") is not None:
        return False
    with path.open("rb") as stream:
        header = stream.read(int.from_bytes(stream.read(8), "little"))
    try:
        return _EXPORT in json.loads(header).get("__metadata__", {})
    except (ValueError, AttributeError, TypeError):
        return False


def classify(content: Any) -> Kind:
    """Return what a loaded checkpoint is, based on the names of its tensors."""
    meta = content.get("meta") if isinstance(content, Mapping) else None
    if isinstance(meta, Mapping) and meta.get(_EXPORT) is not None:
        return "export"
    weights = _weights(content)
    parts = {name.partition(".")[0] for name in unwrapped(weights)}
    if "backbone" in parts:
        return "detector"
    if "encoder" in parts:
        return "pretraining"
    return "other" if weights else "nothing"


def _weights(content: Any) -> dict[str, Tensor]:
    """Return tensors by name: of ``state_dict``, the top level or else the first entry with any."""
    if not isinstance(content, Mapping):
        return {}
    for state in (content.get("state_dict"), content, *content.values()):
        tensors = {
            name: value
            for name, value in (state.items() if isinstance(state, Mapping) else ())
            if isinstance(name, str) and isinstance(value, Tensor)
        }
        if tensors:
            return tensors
    return {}


def kind_of(content: Any) -> str:
    """Describe a loaded checkpoint, and name the tool or setting that accepts it."""
    return _KINDS[classify(content)]


def unwrapped(state: Mapping[str, _Value]) -> dict[str, _Value]:
    """Return the weights without the prefixes of parallel training and compilation.

    ``module.``, ``_orig_mod.`` and ``model.`` are removed if every name begins with them.
    Compiling a submodule puts ``_orig_mod.`` inside a name; this is removed as well.
    """
    plain = {name.replace("._orig_mod.", "."): value for name, value in state.items()}
    while plain and (prefix := _common_prefix(plain)) is not None:
        plain = {name.removeprefix(prefix): value for name, value in plain.items()}
    return plain


def _common_prefix(names: Iterable[str]) -> str | None:
    """Return the prefix of ``_WRAPPERS`` with which all names begin, if there is one."""
    return next((each for each in _WRAPPERS if all(n.startswith(each) for n in names)), None)


def trained_weights(
    path: Any, ema_state: Mapping[str, Any], averaged: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the trained weights of a checkpoint of MMEngine's ``EMAHook``, by the model's names.

    When a checkpoint is saved, the hook moves the averaged weights into ``state_dict`` and the
    trained ones into ``ema_state_dict``, with ``module.`` before their names. If it has only some
    of the weights, only these were moved: averaged and trained weights would be mixed.

    Args:
        path: path of the file, for the error.
        ema_state: the ``ema_state_dict``.
        averaged: the ``state_dict`` of the same file, by the model's names.

    Raises:
        CheckpointError: if the two do not have the same names; the message lists those that only
            one of them has.
    """
    renamed = unwrapped(
        {name: value for name, value in ema_state.items() if str(name).startswith("module.")}
    )
    missing = [name for name in averaged if name not in renamed]
    unknown = [name for name in renamed if name not in averaged]
    if missing or unknown:
        parts = [
            *([f"lacks {_listed(missing)} of its state_dict"] if missing else []),
            *([f"has {_listed(unknown)} that its state_dict lacks"] if unknown else []),
        ]
        raise CheckpointError(
            f"{path} has an ema_state_dict that, among its names that begin with module., "
            f"{' and '.join(parts)}, so that averaged and trained weights would be mixed; take "
            "another checkpoint, or save the wanted weights as state_dict, without ema_state_dict"
        )
    return renamed


def describe_mismatch(expected: Mapping[str, Tensor], weights: Mapping[str, Any]) -> str:
    """List the differences that keep ``weights`` from filling ``expected``; empty for none.

    The list is for the end of a message, after the cause and the fix.

    Args:
        expected: a module's state dict.
        weights: weights of a file, by name; only tensors have their shape compared.

    Returns:
        Number and first names of the tensors that are missing, unexpected and misshapen. If there
        are more, a temporary file has all names, and the text has its path.
    """
    missing = [name for name in expected if name not in weights]
    unexpected = [name for name in weights if name not in expected]
    misshapen = [
        f"{name} {tuple(weights[name].shape)} for {tuple(expected[name].shape)}"
        for name in expected
        # Values that are not tensors are left to ``check_weights``, which names them.
        if isinstance(weights.get(name), Tensor) and weights[name].shape != expected[name].shape
    ]
    kinds = {"missing": missing, "unexpected": unexpected, "misshapen": misshapen}
    parts = [f"{kind} {_listed(names)}" for kind, names in kinds.items() if names]
    if any(names[_SHOWN:] for names in kinds.values()):
        parts += _in_file([f"{kind} {name}" for kind, names in kinds.items() for name in names])
    return "; ".join(parts)


def check_weights(path: Any, weights: Mapping[str, Any], expected: Mapping[str, Tensor]) -> None:
    """Refuse weights that cannot fill the model's tensors, or are NaN or infinite.

    A float tensor of the model needs dense floats that are not quantised; ``load_state_dict`` would
    convert integers and complex numbers without a warning.

    Args:
        path: path of the file, for the error.
        weights: weights by name.
        expected: the model's state dict. A value whose name is not in it need not be a tensor.

    Raises:
        CheckpointError: if a value has a wrong type, or is NaN or infinite; the message names the
            tensors, and the wrong types.
    """
    wrong = [
        f"{name}: {kind}"
        for name, value in weights.items()
        if (kind := _wrong_type(value, expected.get(name)))
    ]
    if wrong:
        raise CheckpointError(
            f"{path} holds values that cannot fill a model in {_listed(wrong)}; save the weights "
            "as dense tensors of float32, float16 or bfloat16, or take another checkpoint"
        )
    check_finite(path, weights)


def check_finite(path: Any, weights: Mapping[str, Any]) -> None:
    """Refuse weights that are NaN or infinite.

    Args:
        path: path of the file, for the error.
        weights: weights by name; values that are not tensors are not checked.

    Raises:
        CheckpointError: if a tensor is not finite; the message names the tensors.
    """
    if broken := _not_finite(weights.items()):
        raise CheckpointError(
            f"{path} holds numbers that are NaN or infinite in {_listed(broken)}; take an earlier "
            "checkpoint"
        )


def check_optimizer(path: Any, state: Any) -> None:
    """Refuse an optimizer's state with NaN or infinity, which one step would spread to the weights.

    Args:
        path: path of the file, for the error.
        state: state dict of an optimizer wrapper, or of several by name.

    Raises:
        CheckpointError: if a tensor is not finite; the message names the tensors.
    """
    if broken := _not_finite(_tensors(state, "optimizer")):
        raise CheckpointError(
            f"{path} has an optimizer whose state is NaN or infinite in {_listed(broken)}: its "
            "first step would destroy the weights. Resume from an earlier checkpoint, with "
            "--resume CHECKPOINT and another --work-dir, or start a new run from the weights with "
            "load_from=CHECKPOINT"
        )


def _wrong_type(value: Any, target: Tensor | None) -> str:
    """Return the type of a value that cannot fill a tensor of a model; empty if it can."""
    if not isinstance(value, Tensor):
        return "" if target is None else type(value).__name__
    dtype = str(value.dtype).removeprefix("torch.")
    if value.layout is not torch.strided or value.is_nested or value.is_meta:
        where = "nested" if value.is_nested else str(value.layout).removeprefix("torch.")
        return f"{dtype}, {'without values (meta)' if value.is_meta else where}"
    needs_float = target is not None and target.is_floating_point()
    is_exact = not (value.is_floating_point() or value.is_complex() or value.is_quantized)
    return "" if value.dtype in _FLOATS or (is_exact and not needs_float) else dtype


def _tensors(value: Any, name: str) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors in nested containers, with their dotted names."""
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield from _tensors(each, f"{name}.{key}")
    elif isinstance(value, (list, tuple)):
        for position, each in enumerate(value):
            yield from _tensors(each, f"{name}.{position}")


def _not_finite(named: Iterable[tuple[str, Any]]) -> list[str]:
    return [name for name, value in named if isinstance(value, Tensor) and not _is_finite(value)]


def _is_finite(value: Tensor) -> bool:
    if not (value.is_floating_point() or value.is_complex()) or value.is_meta:
        return True
    dense = value if value.layout is torch.strided else value.to_dense()
    if dense.is_floating_point() and dense.dtype not in _FLOATS:
        dense = dense.float()  # torch has no isfinite for every 8-bit type
    return bool(dense.isfinite().all())


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if names[_SHOWN:] else ""
    return f"{len(names)} ({', '.join(names[:_SHOWN])}{more})"


def _in_file(lines: Sequence[str]) -> list[str]:
    """Write lines into a temporary file, the same for equal lines.

    Returns:
        One text with the file's path; an empty list if it cannot be written.
    """
    content = "\n".join([*lines, ""]).encode(errors="backslashreplace")
    digest = hashlib.sha256(content).hexdigest()[:8]
    path = Path(tempfile.gettempdir()) / f"drivemim-tensors-{digest}.txt"
    try:
        if path.is_symlink() or not path.exists() or path.read_bytes() != content:
            with path.open("xb") as file:  # not through a link of another user
                file.write(content)
    except OSError:
        return []
    return [f"all names are in {path}"]
