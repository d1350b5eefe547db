"""Hook for resuming after ``EMAHook`` was added to the config, or removed from it."""

from __future__ import annotations

import logging
from typing import Any

from mmengine.hooks import EMAHook, Hook
from mmengine.logging import print_log

from drivemim.compat import is_resumed
from drivemim.errors import CheckpointError
from drivemim.registry import HOOKS


@HOOKS.register_module()
class ResumeAverages(Hook):
    """Resume from the trained weights, with and without ``EMAHook``.

    ``EMAHook`` saves the averaged weights as ``state_dict`` and the trained ones as
    ``ema_state_dict``. A run that resumes without the hook would continue from the averages. With
    this hook, it continues from the trained weights, like a run that never had averages. A run
    that resumes with a new ``EMAHook`` starts its averages from the trained weights.
    """

    priority = "HIGH"  # before EMAHook, and after the checkpoint's names are compared

    def after_load_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Take the trained weights of a checkpoint with averages, if the run has none.

        Raises:
            CheckpointError: if the checkpoint lacks some of the trained weights.
        """
        if not is_resumed(runner):
            return
        has_ema_hook = any(isinstance(each, EMAHook) for each in runner.hooks)
        if has_ema_hook == ("ema_state_dict" in checkpoint):
            return
        path = runner.cfg.get("load_from") or "the checkpoint"
        if has_ema_hook:
            line = (
                f"{path} has no averaged weights: those of EMAHook start from its trained weights "
                f"at iteration {checkpoint['meta']['iter']}"
            )
        else:
            kept = checkpoint.pop("ema_state_dict")
            trained = {name[len("module.") :]: value for name, value in kept.items()
                       if name.startswith("module.")}  # fmt: skip
            if lacking := checkpoint["state_dict"].keys() - trained.keys():
                raise CheckpointError(
                    f"{path} lacks the trained weights of {len(lacking)} tensors, "
                    f"{min(lacking)} among them: its ema_state_dict has only a part; take "
                    "another checkpoint"
                )
            checkpoint["state_dict"] = trained
            line = (
                f"{path} has averaged weights of EMAHook, which the config does not have: the run "
                "continues from the trained weights, and the averages are dropped"
            )
        print_log(line, logger="current", level=logging.WARNING)
