import random
from types import SimpleNamespace

import numpy as np
import torch

from drivemim.training.hooks import ReseedEveryIteration


def draws(seed, iteration, rank):
    runner = SimpleNamespace(seed=seed, iter=iteration, rank=rank)
    ReseedEveryIteration().before_train_iter(runner, 0)
    return random.random(), np.random.rand(), torch.rand(1).item()


def test_draws_depend_on_seed_iteration_and_rank_alone():
    first = draws(0, 7, 0)
    torch.rand(100), np.random.rand(3), random.random()
    assert draws(0, 7, 0) == first
    others = [draws(1, 7, 0), draws(0, 8, 0), draws(0, 7, 1)]
    for position in range(3):
        assert len({draw[position] for draw in [first, *others]}) == 4
