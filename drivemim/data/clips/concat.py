"""A concatenation of clip data sets, to mix recordings of different rigs."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from torch.utils import data

from drivemim.data.clips.sampler import ItemRequest, as_request
from drivemim.registry import DATASETS


@DATASETS.register_module()
class ConcatDataset(data.ConcatDataset[Any]):
    """Concatenate data sets of clips.

    All clips must have the same number of frames, cameras and pixels, so that they fit into one
    batch. To mix rigs with different cameras, set ``single_camera`` of ``ClipDataset``.

    Unlike MMEngine's class of this name, this one passes the seed of an ``ItemRequest`` on, and
    takes data sets that are not MMEngine's.

    Args:
        datasets: configs of the data sets.
    """

    def __init__(self, *, datasets: Sequence[dict[str, Any]]) -> None:
        super().__init__([DATASETS.build(dataset) for dataset in datasets])

    def __getitem__(self, item: ItemRequest | int) -> Any:
        position, seed = as_request(item)
        if not -len(self) <= position < len(self):
            raise IndexError(f"item {position} of {len(self)}")
        position %= len(self)
        number = bisect_right(self.cumulative_sizes, position)
        start = self.cumulative_sizes[number - 1] if number else 0
        return self.datasets[number][ItemRequest(position - start, seed)]

    @property
    def metainfo(self) -> dict[str, Any]:
        """Metainfo of the first data set."""
        metainfo: dict[str, Any] = self.datasets[0].metainfo  # type: ignore[attr-defined]  # ours
        return metainfo
