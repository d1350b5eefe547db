"""Configs of clip data sets without augmentation, to measure and draw what a run is trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from drivemim.errors import ConfigError


def plain_dataset(
    dataset: dict[str, Any], scenes: str | Sequence[str] | None = None
) -> dict[str, Any]:
    """Unwrap a training data set's config: only its clip data sets, unaugmented, complete clips."""
    if "datasets" in dataset:
        return {
            **dataset,
            "datasets": [plain_dataset(part, scenes) for part in dataset["datasets"]],
        }
    if "dataset" in dataset:
        return plain_dataset(dataset["dataset"], scenes)
    chosen = {} if scenes is None else {"scenes": scenes}
    return {**dataset, "augment": None, "drop_incomplete": True, **chosen}


def plain_data_of(config: Mapping[str, Any], path: Any) -> dict[str, Any]:
    """Return ``plain_dataset`` of a config's ``dataset``, or else of its training data.

    Args:
        config: the config.
        path: its path, for the error.

    Raises:
        ConfigError: if it has neither.
    """
    loader = config if "dataset" in config else config.get("train_dataloader") or {}
    if "dataset" not in loader:
        raise ConfigError(
            f"{path} has neither a dataset nor a train_dataloader with one; add dataset"
        )
    return plain_dataset(loader["dataset"])
