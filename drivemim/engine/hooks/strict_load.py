"""Hook that refuses checkpoints of another model or with numbers that are not finite.

MMEngine would load the tensors that fit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper

from drivemim.checkpoint_kinds import check_finite, kind_of, unwrapped
from drivemim.engine.matching import describe_mismatch
from drivemim.errors import CheckpointError
from drivemim.registry import HOOKS


@HOOKS.register_module()
class StrictLoad(Hook):
    """Compare a checkpoint's names and shapes with the model's before they are loaded.

    Args:
        partial: accept a checkpoint that fits in part, such as a detector's with other classes. A
            checkpoint of which nothing fits is refused anyway.
    """

    priority = "VERY_HIGH"

    def __init__(self, partial: bool = False) -> None:
        self.partial = partial

    def after_load_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Compare the checkpoint with the model.

        Raises:
            CheckpointError: listing missing, unexpected and misshapen names, or tensors with
                numbers that are not finite.
        """
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        path = runner.cfg.get("load_from") or "the checkpoint"
        stored = checkpoint.get("state_dict", checkpoint) if isinstance(checkpoint, dict) else None
        if not isinstance(stored, Mapping):
            raise CheckpointError(f"{path} holds no weights. It is {kind_of(checkpoint)}")
        wanted = model.state_dict()
        offered = stored if stored.keys() == wanted.keys() else unwrapped(stored)
        if offered.keys() != stored.keys():
            checkpoint["state_dict"] = offered  # MMEngine looks for the model's own names
        mismatch = describe_mismatch(wanted, offered)
        fitting = [
            name for name, value in wanted.items()
            if name in offered and getattr(offered[name], "shape", None) == value.shape
        ]  # fmt: skip
        if self.partial and fitting:
            line = f"{len(fitting)} of the model's {len(wanted)} tensors are loaded"
            runner.logger.info(f"{line}; {mismatch}" if mismatch else line)
        elif mismatch:
            raise CheckpointError(
                f"{path} is of another model than the config's {type(model).__name__}: {mismatch}. "
                f"It is {kind_of(checkpoint)}"
            )
        check_finite(path, {name: offered[name] for name in fitting})
        check_finite(path, checkpoint.get("ema_state_dict") or {})
