"""Read weights files: exported backbones, with their metadata, and other checkpoints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import safetensors

from drivemim.checkpoint_kinds import describe_file, describe_missing
from drivemim.compat import load_any, read_checkpoint
from drivemim.errors import CheckpointError

METADATA_KEY = "drivemim"
"""Key of an export's metadata."""


def read_weights(path: str | Path, *, tensors: bool = True) -> tuple[Any, dict[str, Any] | None]:
    """Read a weights file: its content, and the metadata if it is an exported backbone.

    Args:
        path: path of a file, or an address that MMEngine downloads, such as
            ``torchvision://resnet50``.
        tensors: whether the tensors are wanted. Without them, only the header of a ``.safetensors``
            file is read.

    Raises:
        FileNotFoundError: if there is no such file.
        CheckpointError: if it is damaged, or would run code.
    """
    if "://" in str(path):
        content = load_any(str(path))
        return content, _metadata_of(content, path)
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(describe_missing("weights file", path))
    if path.suffix == ".safetensors":
        if other := describe_file(path, wanted="safetensors"):
            raise CheckpointError(f"{path} {other}")
        try:
            with safetensors.safe_open(path, framework="pt") as file:
                encoded = (file.metadata() or {}).get(METADATA_KEY)
                names = file.keys() if tensors else ()
                state = {name: file.get_tensor(name) for name in names}
        except safetensors.SafetensorError as error:
            raise CheckpointError(
                f"{path} is damaged or not a safetensors file: {error}"
            ) from error
        try:
            metadata = json.loads(encoded) if encoded else None
        except ValueError as error:
            raise CheckpointError(
                f"{path} is damaged: its metadata is not JSON: {error}"
            ) from error
        return {"state_dict": state}, _checked(metadata, path)
    content = read_checkpoint(path)
    return content, _metadata_of(content, path)


def _metadata_of(content: Any, path: str | Path) -> dict[str, Any] | None:
    """Return the metadata of an export in ``torch.save``'s format; None for other files."""
    meta = content.get("meta") if isinstance(content, dict) else None
    return _checked(meta.get(METADATA_KEY) if isinstance(meta, dict) else None, path)


def _checked(metadata: Any, path: str | Path) -> dict[str, Any] | None:
    """Check the parts of the metadata that are written into configs or compared; return it.

    Raises:
        CheckpointError: if a part is missing or of another type.
    """
    if metadata is None:
        return None
    try:
        normalization = metadata["normalization"]
        numbers = [*normalization["mean"], *normalization["std"], *metadata["input_size"]]
        fine = all(isinstance(each, (int, float)) for each in numbers)
        fine &= isinstance(normalization["bgr_to_rgb"], bool)
        fine &= isinstance(normalization["mean"], list) and isinstance(normalization["std"], list)
        fine &= isinstance(metadata["architecture"]["type"], str) and len(numbers) > 2
        fine &= isinstance(metadata["fingerprint"], list)
    except (KeyError, TypeError):
        fine = False
    if not fine:
        raise CheckpointError(
            f"{path} has metadata that drivemim export does not write; export it again"
        )
    return dict(metadata)
