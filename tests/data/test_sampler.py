import random
from itertools import islice

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from drivemim.data.clips.sampler import (
    ItemRequest,
    SeededDataset,
    SeededInfiniteSampler,
    as_request,
)


def _requests(count, length=7, skip=0, **arguments):
    sampler = SeededInfiniteSampler(range(length), seed=3, **arguments)
    sampler.skip(skip)
    return list(islice(sampler, count))


def test_an_epoch_requests_every_item_once_in_an_order_of_its_own():
    requests = _requests(21)
    epochs = [[request.position for request in requests[start : start + 7]] for start in (0, 7, 14)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_every_request_has_a_seed_of_its_own():
    seeds = [request.seed for request in _requests(1000)]
    assert len(set(seeds)) == 1000
    assert all(0 <= seed < 2**32 for seed in seeds)


def test_processes_split_the_requests_of_a_single_process():
    batch, processes = 2, 3
    alone = _requests(60, rank=0, world_size=1)
    ranks = [_requests(20, rank=rank, world_size=processes) for rank in range(processes)]
    for iteration in range(10):
        here = slice(iteration * batch, (iteration + 1) * batch)
        together = [request for rank in ranks for request in rank[here]]
        first = iteration * batch * processes
        assert sorted(together) == sorted(alone[first : first + batch * processes])


def test_skipped_requests_are_those_of_the_beginning():
    for rank in (0, 1):
        whole = _requests(40, rank=rank, world_size=2)
        assert _requests(15, skip=25, rank=rank, world_size=2) == whole[25:]


def test_skips_add_up_and_iterating_does_not_move_the_start():
    sampler = SeededInfiniteSampler(range(7), seed=3)
    first = list(islice(sampler, 5))
    assert list(islice(sampler, 5)) == first
    sampler.skip(2)
    sampler.skip(1)
    assert next(iter(sampler)) == first[3]
    with pytest.raises(ValueError, match="cannot skip -1 requests"):
        sampler.skip(-1)


def test_without_shuffling_items_come_in_order():
    positions = [request.position for request in _requests(9, shuffle=False)]
    assert positions == [0, 1, 2, 3, 4, 5, 6, 0, 1]


def test_another_seed_is_another_order():
    other = [request.position for request in islice(SeededInfiniteSampler(range(100), seed=4), 100)]
    assert other != [request.position for request in _requests(100, length=100)]


def test_lengths():
    assert len(SeededInfiniteSampler(range(7), seed=0)) == 7
    assert len(SeededInfiniteSampler(range(7), seed=0, rank=0, world_size=2)) == 4
    with pytest.raises(ValueError, match="data set is empty"):
        SeededInfiniteSampler([], seed=0)


def test_the_registry_builds_it():
    from drivemim.registry import DATA_SAMPLERS

    config = dict(type="drivemim.SeededInfiniteSampler", shuffle=False)
    sampler = DATA_SAMPLERS.build(config, default_args={"dataset": range(3), "seed": 1})
    assert next(iter(sampler)).position == 0


def test_a_plain_position_is_its_own_seed():
    assert as_request(ItemRequest(2, 77)) == (2, 77)
    assert as_request(np.int64(5)) == (5, 5)


class _Noise(Dataset):
    metainfo = {"classes": ("a",)}

    def __len__(self):
        return 5

    def __getitem__(self, item):
        return torch.tensor([item, random.random(), np.random.rand(), torch.rand(()).item()],
                            dtype=torch.float64)  # fmt: skip


def test_an_item_depends_on_its_request_alone():
    data = SeededDataset(dataset=_Noise())
    first = data[ItemRequest(2, 77)]
    data[ItemRequest(1, 5)]
    assert torch.equal(data[ItemRequest(2, 77)], first)
    assert not torch.equal(data[ItemRequest(2, 78)], first)
    other = data[ItemRequest(3, 77)]
    assert torch.equal(other[1:], first[1:])
    assert other[0] == 3


def test_a_plain_number_is_passed_on_unseeded():
    data = SeededDataset(dataset=_Noise())
    random.seed(1)
    expected = random.random()
    random.seed(1)
    assert data[4][1] == expected


def test_attributes_of_the_wrapped_data_set_are_available():
    data = SeededDataset(dataset=_Noise())
    assert len(data) == 5
    assert data.metainfo == {"classes": ("a",)}
    data.full_init()


def test_workers_give_the_same_items_as_the_process_itself():
    data = SeededDataset(dataset=_Noise())

    def batches(workers):
        sampler = SeededInfiniteSampler(data, seed=9)
        loader = DataLoader(data, batch_size=3, sampler=sampler, num_workers=workers)
        iterator = iter(loader)
        return torch.stack([next(iterator) for _ in range(4)])

    assert torch.equal(batches(0), batches(2))
