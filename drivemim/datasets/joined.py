"""Concatenation of data sets, to mix recordings of different rigs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch.utils.data import ConcatDataset

from drivemim.registry import DATASETS


@DATASETS.register_module()
class JoinedDataset(ConcatDataset[Any]):
    """PyTorch's ``ConcatDataset`` for configs; items must fit into one batch.

    Clips fit if they have the same number of steps, cameras and pixels: see ``one_camera`` of
    ``ClipDataset`` for mixing rigs.

    Args:
        datasets: configs of the data sets.
    """

    def __init__(self, *, datasets: Sequence[dict[str, Any]]) -> None:
        super().__init__([DATASETS.build(dataset) for dataset in datasets])

    @property
    def metainfo(self) -> dict[str, Any]:
        """Metainfo of the first data set."""
        metainfo: dict[str, Any] = self.datasets[0].metainfo  # type: ignore[attr-defined]  # ours
        return metainfo
