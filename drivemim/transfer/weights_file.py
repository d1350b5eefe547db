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
"""Key under which a file holds the metadata of an export."""


def read_weights(path: str | Path, *, tensors: bool = True) -> tuple[Any, dict[str, Any] | None]:
    """Read a weights file.

    Args:
        path: path of a file, or an address that MMEngine downloads, such as
            ``torchvision://resnet50``.
        tensors: whether the tensors are wanted. Without them, only the header of a ``.safetensors``
            file is read.

    Returns:
        The file's content (that of a ``.safetensors`` file as ``state_dict``), and the metadata,
        None if the file is not an exported backbone.

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
        if problem := describe_file(path, wanted="safetensors"):
            raise CheckpointError(f"{path} {problem}")
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
    """Return metadata after a check of the parts that are written into configs or compared.

    Raises:
        CheckpointError: if a part is missing or of another type.
    """
    if metadata is None:
        return None
    try:
        normalization = metadata["normalization"]
        numbers = [*normalization["mean"], *normalization["std"], *metadata["input_size"]]
        is_sound = all(isinstance(each, (int, float)) for each in numbers)
        is_sound &= isinstance(normalization["bgr_to_rgb"], bool)
        is_sound &= all(isinstance(normalization[key], list) for key in ("mean", "std"))
        is_sound &= isinstance(metadata["architecture"]["type"], str) and len(numbers) > 2
        is_sound &= isinstance(metadata["fingerprint"], list)
    except (KeyError, TypeError):
        is_sound = False
    if not is_sound:
        raise CheckpointError(
            f"{path} has metadata that drivemim export does not write; export it again"
        )
    return dict(metadata)
