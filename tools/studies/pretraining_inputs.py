"""A file with the inputs of a recipe's pretraining runs; if it changes, the runs are repeated."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pyarrow as pa
from mmengine.config import Config

from drivemim.config.nested import walk
from studies.label_efficiency.inputs import training_part, write_input

_WEIGHTS = ("load_from", "backbone_checkpoint", "checkpoint")
"""Config keys that name a file of weights."""


def pretraining_inputs(work_dir: Path, name: str) -> Path:
    """Return the path of the file with the inputs of a recipe's pretraining runs."""
    return work_dir / "inputs" / f"pretrain-{name}.json"


def write_pretraining_inputs(path: Path, config: Config, repository: Path) -> None:
    """Write the part of a config that affects training, and hashes of the files that it names.

    Args:
        path: file to write.
        config: config with the options of the run.
        repository: folder that the config's paths are relative to.
    """
    files = {}
    for key, value in walk(training_part(config), ""):
        file = repository / value if isinstance(value, (str, Path)) else None
        name = key.rpartition(".")[2]
        if file is None or name not in ("index", *_WEIGHTS) or not file.is_file():
            continue
        files[key.removeprefix(".")] = _index_digest(file) if name == "index" else _digest(file)
    write_input(path, {"config": training_part(config), "files": files})


def _digest(path: Path) -> str:
    """Hash a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _index_digest(path: Path) -> str:
    """Hash the columns of an index; building it again from the same files does not change them."""
    batch = pa.ipc.open_file(pa.memory_map(str(path))).get_batch(0)
    digest = hashlib.sha256()
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        digest.update(name.encode())
        for buffer in column.buffers():
            digest.update(b"" if buffer is None else buffer)
    return digest.hexdigest()
