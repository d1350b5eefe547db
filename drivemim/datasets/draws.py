"""An endless stateless sampler: draw number g depends only on the seed and on g."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from itertools import count
from typing import NamedTuple

import numpy as np
from mmengine.dist import get_dist_info, sync_random_seed
from numpy.typing import NDArray
from torch.utils.data import Sampler

from drivemim.registry import DATA_SAMPLERS


class Draw(NamedTuple):
    """One item to load.

    Attributes:
        index: position of the item in its data set.
        seed: seed of all its random operations, in [0, 2**32).
    """

    index: int  # type: ignore[assignment]  # hides tuple.index, which no one needs here
    seed: int


@DATA_SAMPLERS.register_module()
class DrawSampler(Sampler[Draw]):
    """Endless draws, numbered globally: rank r of W takes draws r, r + W, r + 2 W, ...

    So in every iteration, W processes with batches of b see the same draws as one process with
    batches of W * b. Draws 0 to n - 1 are one epoch of a data set of n items; each item is drawn
    once. The order of an epoch depends on ``seed`` and the epoch's number, the seed of a draw on
    ``seed`` and the draw's number.

    Args:
        dataset: the data set; only its length is used.
        shuffle: whether each epoch has its own order.
        seed: None for a random seed that all processes share.
        rank: None for the rank of this process.
        world_size: None for the number of processes.
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
        here, processes = get_dist_info()
        self.rank = here if rank is None else rank
        self.world_size = processes if world_size is None else world_size
        self.seed = int(sync_random_seed()) if seed is None else seed
        self.shuffle = shuffle
        self.first = 0

    def __len__(self) -> int:
        """Return the number of draws of this rank per epoch; iterating does not end there."""
        return -(-self.length // self.world_size)

    def __iter__(self) -> Iterator[Draw]:
        epoch, order = -1, np.arange(self.length)
        for own in count(self.first):
            number = own * self.world_size + self.rank
            if self.shuffle and number // self.length != epoch:
                epoch = number // self.length
                order = self._order(epoch)
            yield Draw(int(order[number % self.length]), self._seed(number))

    def skip(self, draws: int) -> None:
        """Start iteration ``draws`` later; count those of this rank: iterations x batch size."""
        if draws < 0:
            raise ValueError(f"cannot skip {draws} draws")
        self.first += draws

    def set_epoch(self, epoch: int) -> None:
        """Do nothing: epochs follow from the draws' numbers."""

    def _order(self, epoch: int) -> NDArray[np.int64]:
        order: NDArray[np.int64] = np.random.default_rng((self.seed, 0, epoch)).permutation(
            self.length
        )
        return order

    def _seed(self, number: int) -> int:
        return int(np.random.SeedSequence((self.seed, 1, number)).generate_state(1)[0])
