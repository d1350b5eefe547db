import random

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from drivemim.datasets.draws import Draw, DrawSampler
from drivemim.datasets.seeded import SeededDataset


class _Noise(Dataset):
    metainfo = {"classes": ("a",)}

    def __len__(self):
        return 5

    def __getitem__(self, item):
        return torch.tensor([item, random.random(), np.random.rand(), torch.rand(()).item()],
                            dtype=torch.float64)  # fmt: skip


def test_an_item_depends_on_its_draw_alone():
    data = SeededDataset(dataset=_Noise())
    first = data[Draw(2, 77)]
    data[Draw(1, 5)]
    assert torch.equal(data[Draw(2, 77)], first)
    assert not torch.equal(data[Draw(2, 78)], first)
    other = data[Draw(3, 77)]
    assert torch.equal(other[1:], first[1:])
    assert other[0] == 3


def test_a_plain_number_is_passed_on_unseeded():
    data = SeededDataset(dataset=_Noise())
    random.seed(1)
    expected = random.random()
    random.seed(1)
    assert data[4][1] == expected


def test_the_wrapped_data_set_speaks_through_it():
    data = SeededDataset(dataset=_Noise())
    assert len(data) == 5
    assert data.metainfo == {"classes": ("a",)}
    data.full_init()


def test_workers_give_what_the_process_itself_gives():
    data = SeededDataset(dataset=_Noise())

    def batches(workers):
        sampler = DrawSampler(data, seed=9)
        loader = DataLoader(data, batch_size=3, sampler=sampler, num_workers=workers)
        iterator = iter(loader)
        return torch.stack([next(iterator) for _ in range(4)])

    assert torch.equal(batches(0), batches(2))
