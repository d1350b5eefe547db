"""A data set wrapper that makes each item depend only on its draw's seed."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from drivemim.datasets.draws import Draw
from drivemim.registry import DATASETS


@DATASETS.register_module()
class SeededDataset(Dataset[Any]):
    """Seed Python, NumPy and PyTorch from the draw, then load the item.

    An item then depends only on its draw's seed: not on the worker that loads it, not on the items
    loaded before, and not on whether the run was resumed. The states of the generators are not
    restored after an item; a training process seeds its own at every iteration.

    Args:
        dataset: any data set, or the config of one. An index that is not a ``Draw`` is passed on
            without seeding, so the wrapped data set can be inspected unchanged.
    """

    def __init__(self, *, dataset: Dataset[Any] | dict[str, Any]) -> None:
        self.dataset: Any = DATASETS.build(dataset) if isinstance(dataset, dict) else dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, draw: Draw | int) -> Any:
        if not isinstance(draw, Draw):
            return self.dataset[draw]
        random.seed(draw.seed)
        np.random.seed(draw.seed)
        torch.manual_seed(draw.seed)
        return self.dataset[draw.index]

    @property
    def metainfo(self) -> dict[str, Any]:
        """Metainfo of the wrapped data set."""
        metainfo: dict[str, Any] = getattr(self.dataset, "metainfo", {})
        return metainfo

    def full_init(self) -> None:
        """Load the wrapped data set's annotations, if it loads them lazily (MMEngine's do)."""
        if hasattr(self.dataset, "full_init"):
            self.dataset.full_init()

    def get_data_info(self, index: int) -> dict[str, Any]:
        """Return the annotations of one item of a wrapped MMEngine data set."""
        info: dict[str, Any] = self.dataset.get_data_info(index)
        return info
