"""Configs of clip data sets without augmentation, to measure and draw the data of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from drivemim.errors import ConfigError


def plain_dataset(
    dataset: dict[str, Any], scenes: str | Sequence[str] | None = None
) -> dict[str, Any]:
    """Return the config of a training data set without wrappers, augmentation and incomplete clips.

    Args:
        dataset: config of a ``ClipDataset``, of a wrapper with a ``dataset``, or of a concatenation
            of ``datasets``.
        scenes: scenes of all clip data sets; None for those of their configs.
    """
    if "datasets" in dataset:
        return {
            **dataset,
            "datasets": [plain_dataset(each, scenes) for each in dataset["datasets"]],
        }
    if "dataset" in dataset:
        return plain_dataset(dataset["dataset"], scenes)
    changes = {} if scenes is None else {"scenes": scenes}
    return {**dataset, "augment": None, "drop_incomplete": True, **changes}


def plain_data_of(config: Mapping[str, Any], path: Any) -> dict[str, Any]:
    """Return ``plain_dataset`` of a config's ``dataset``, or else of its training data.

    Args:
        config: config with a ``dataset``, or with a ``train_dataloader`` that has one.
        path: path of the config, for the error.

    Raises:
        ConfigError: if the config has neither.
    """
    loader = config if "dataset" in config else config.get("train_dataloader") or {}
    if "dataset" not in loader:
        raise ConfigError(
            f"{path} has neither a dataset nor a train_dataloader with one; add dataset"
        )
    return plain_dataset(loader["dataset"])
