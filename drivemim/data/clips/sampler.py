"""Requests of data: which item to load, and the seed of the item's random operations."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sized
from itertools import count
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.dist import get_dist_info, sync_random_seed
from numpy.typing import NDArray
from torch.utils.data import Dataset, Sampler

from drivemim.registry import DATA_SAMPLERS, DATASETS


class ItemRequest(NamedTuple):
    """One item to load.

    Attributes:
        position: position of the item in its data set.
        seed: seed of all random operations on the item, in [0, 2**32).
    """

    position: int
    seed: int


def as_request(item: ItemRequest | int) -> ItemRequest:
    """Return a request as it is, and a plain position as a request whose seed is the position."""
    if isinstance(item, ItemRequest):
        return item
    return ItemRequest(int(item), seed=int(item) % 2**32)


@DATA_SAMPLERS.register_module()
class SeededInfiniteSampler(Sampler[ItemRequest]):
    """Yield requests without end, numbered globally.

    Rank r of W processes yields the requests r, r + W, r + 2 W, ... Request number g depends only
    on the sampler's seed and on g. So in every iteration, W processes with batches of b see the
    same requests as one process with batches of W * b.

    For a data set of n items, requests 0 to n - 1 are the first epoch, the next n the second, and
    so on; an epoch requests each item once. The order of an epoch depends on ``seed`` and the
    epoch's number. The seed of a request depends on ``seed`` and the request's number.

    Args:
        dataset: the data set; only its length is used.
        shuffle: whether each epoch has its own random order; False for the order of the data set.
        seed: seed of orders and requests; None for a random one that all processes share.
        rank: rank of the process; None for that of this process.
        world_size: number of processes; None for that of this run.

    Raises:
        ValueError: if the data set is empty.
    """

    def __init__(
        self,
        dataset: Sized,
        shuffle: bool = True,
        seed: int | None = None,
        *,
        rank: int | None = None,
        world_size: int | None = None,
    ) -> None:
        self.length = len(dataset)
        if self.length == 0:
            raise ValueError("the data set is empty; check its scenes, cameras and filters")
        own_rank, own_world_size = get_dist_info()
        self.rank = own_rank if rank is None else rank
        self.world_size = own_world_size if world_size is None else world_size
        self.seed = int(sync_random_seed()) if seed is None else seed
        self.shuffle = shuffle
        self.first = 0

    def __len__(self) -> int:
        """Return the number of requests of this rank per epoch; iterating does not end there."""
        return -(-self.length // self.world_size)

    def __iter__(self) -> Iterator[ItemRequest]:
        epoch, order = -1, np.arange(self.length)
        for number_in_rank in count(self.first):
            number = number_in_rank * self.world_size + self.rank
            if self.shuffle and number // self.length != epoch:
                epoch = number // self.length
                order = self._order(epoch)
            yield ItemRequest(int(order[number % self.length]), self._seed(number))

    def skip(self, requests: int) -> None:
        """Start later, for a run that is resumed.

        Args:
            requests: number of this rank's requests to skip: iterations x batch size of the rank.

        Raises:
            ValueError: if the number is negative.
        """
        if requests < 0:
            raise ValueError(f"cannot skip {requests} requests")
        self.first += requests

    def set_epoch(self, epoch: int) -> None:
        """Do nothing: epochs follow from the requests' numbers."""

    def _order(self, epoch: int) -> NDArray[np.int64]:
        """Return the positions of all items in an epoch's random order."""
        order: NDArray[np.int64] = np.random.default_rng((self.seed, 0, epoch)).permutation(
            self.length
        )
        return order

    def _seed(self, number: int) -> int:
        """Return the seed of a request."""
        return int(np.random.SeedSequence((self.seed, 1, number)).generate_state(1)[0])


@DATASETS.register_module()
class SeededDataset(Dataset[Any]):
    """Seed Python, NumPy and PyTorch from the request, then load the item.

    For detection data: the transforms of MMDetection and Albumentations draw from the global
    generators and cannot use others. A ``ClipDataset`` takes requests itself and needs no wrapper.

    An item then depends only on its request's seed: not on the worker that loads it, not on the
    items loaded before, and not on whether the run was resumed. The states of the global generators
    are not restored after an item. Training does not depend on these states, because it seeds the
    generators at every iteration.

    Args:
        dataset: any data set, or the config of one. A plain position is passed on without seeding,
            so the wrapped data set can be inspected unchanged.
    """

    def __init__(self, *, dataset: Dataset[Any] | dict[str, Any]) -> None:
        self.dataset: Any = DATASETS.build(dataset) if isinstance(dataset, dict) else dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, item: ItemRequest | int) -> Any:
        if not isinstance(item, ItemRequest):
            return self.dataset[item]
        random.seed(item.seed)
        np.random.seed(item.seed)
        torch.manual_seed(item.seed)
        return self.dataset[item.position]

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
