"""Hook that lets moving averages of the encoder follow the updates of its weights."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook

from drivemim.training.bare_model import bare_model


class AverageAfterUpdates(Hook):
    """Tell a pretrainer whether the optimizer has changed the weights in an iteration.

    With accumulated gradients, it changes them only in every n-th iteration. A moving average that
    is updated in each iteration would follow n times as fast.
    """

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Set ``weights_changed`` of the pretrainer for its next training step."""
        bare_model(runner.model).weights_changed = runner.optim_wrapper.should_update()
