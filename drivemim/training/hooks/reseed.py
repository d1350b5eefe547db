"""Hook that makes the random numbers of an iteration depend only on its number."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from mmengine.hooks import Hook

from drivemim.registry import HOOKS

_EPOCH = 1
"""Fourth number of an epoch's seed; the seed of an iteration has three numbers."""


def seed_everything(*entropy: int) -> None:
    """Seed Python, NumPy and PyTorch (every device) from one or more non-negative integers."""
    state = np.random.SeedSequence(entropy).generate_state(4)
    random.seed(int(state[0]))
    np.random.seed(int(state[1]))
    torch.manual_seed(int(state[2]) << 32 | int(state[3]))


@HOOKS.register_module()
class ReseedEveryIteration(Hook):
    """Seed this process from (seed, iteration, rank) before every training iteration and epoch.

    A resumed run then draws the same random numbers as an uninterrupted one, whatever was
    evaluated, logged or skipped in between. A loop of epochs loads the first batch of an epoch
    before that batch's iteration begins; therefore the hook also seeds before every epoch.
    """

    priority = "VERY_LOW"

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Seed after all other hooks, so that none of them draws in between."""
        seed_everything(int(runner.seed), int(runner.iter), int(runner.rank))

    def before_train_epoch(self, runner: Any) -> None:
        """Seed for the first batch of the epoch, with other numbers than for its iteration."""
        seed_everything(int(runner.seed), int(runner.iter), int(runner.rank), _EPOCH)
