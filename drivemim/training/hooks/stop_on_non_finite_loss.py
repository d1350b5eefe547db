"""Hook that stops a run when a loss is not finite, and names the frames of its batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from mmengine import dist
from mmengine.hooks import Hook
from mmengine.structures import BaseDataElement

from drivemim.clips import Clips
from drivemim.errors import NonFiniteLossError
from drivemim.registry import HOOKS


def frame_tokens(data_batch: Any) -> list[str]:
    """Return the tokens of a batch's frames, in order.

    Args:
        data_batch: output of a data loader: clips, or MMDetection's data samples, in any nesting of
            lists and dicts. The token of a data sample is its ``frame_token``, else its
            ``img_path``.
    """
    return [token for token in _tokens(data_batch) if token]


def _tokens(data: Any) -> Iterator[str]:
    if isinstance(data, Clips):
        yield from (token for clip in data.tokens for step in clip for token in step)
    elif isinstance(data, BaseDataElement):
        yield str(data.get("frame_token") or data.get("img_path") or "")
    elif isinstance(data, Mapping):
        for value in data.values():
            yield from _tokens(value)
    elif isinstance(data, (list, tuple)):
        for value in data:
            yield from _tokens(value)


@HOOKS.register_module()
class StopOnNonFiniteLoss(Hook):
    """Raise an error when the loss of any process is infinite or not a number.

    All processes stop at the same iteration, whichever of them has that loss. The hook runs before
    every hook that logs, averages or saves. No checkpoint can therefore hold the corrupted weights.
    """

    priority = 0  # MMEngine's HIGHEST: before all hooks that may save a checkpoint

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Check the iteration's loss.

        Raises:
            NonFiniteLossError: if it is not finite in some process; the message names iteration,
                losses and frame tokens.
        """
        outputs = {name: torch.as_tensor(value).detach() for name, value in (outputs or {}).items()}
        # Check all of them: the logged ``loss`` may be only a part of the training loss.
        losses = [value.float().sum() for name, value in outputs.items() if "loss" in name]
        total = torch.stack(losses).sum() if losses else torch.zeros(())
        is_non_finite = (~torch.isfinite(total)).to(torch.int32).reshape(1)
        is_here = bool(is_non_finite)
        dist.all_reduce(is_non_finite, op="max")
        if not bool(is_non_finite):
            return
        report_here = (
            f"{ {name: float(value) for name, value in outputs.items()} } for frames "
            f"{', '.join(frame_tokens(data_batch)) or '(this batch has no tokens)'}"
            if is_here
            else ""
        )
        reports = [report for report in dist.all_gather_object(report_here) if report]
        raise NonFiniteLossError(
            f"the loss is not finite at iteration {runner.iter + 1}: {'; '.join(reports)}. "
            "No checkpoint was saved after it; lower the learning rate, clip gradients, or look at "
            "those frames, then go on with --resume"
        )
