"""Hook that averages the logged losses over all processes."""

from __future__ import annotations

from typing import Any

import torch
from mmengine import dist
from mmengine.hooks import Hook

from drivemim.registry import HOOKS


@HOOKS.register_module()
class AverageLosses(Hook):
    """Replace every logged loss by its mean over all processes, before anything logs it."""

    # after StopOnNonFiniteLoss (0), before MMEngine's hooks, which log the losses (from 10 on)
    priority = 5

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Average ``outputs`` in place."""
        if not outputs or dist.get_world_size() == 1:
            return
        names = sorted(outputs)
        device = torch.as_tensor(outputs[names[0]]).device
        own = [float(torch.as_tensor(outputs[name]).detach()) for name in names]
        means = torch.tensor(own, device=device)
        dist.all_reduce(means, op="mean")
        outputs.update(zip(names, means, strict=True))
