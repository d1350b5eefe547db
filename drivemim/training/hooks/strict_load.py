"""Hook that refuses checkpoints of another model or with numbers that are not finite.

MMEngine would load the tensors that fit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.hooks import Hook
from torch import nn

from drivemim.checkpoint_kinds import (
    check_optimizer,
    check_weights,
    classify,
    describe_mismatch,
    kind_of,
    trained_weights,
    unwrapped,
)
from drivemim.compat import is_resumed
from drivemim.errors import CheckpointError
from drivemim.registry import HOOKS
from drivemim.training.bare_model import bare_model


def checked_weights(
    path: Any, checkpoint: Any, model: nn.Module, *, partial: bool = False
) -> tuple[Mapping[str, Any], str]:
    """Return a checkpoint's weights by the model's own names, if they are this model's.

    Args:
        path: path of the file, for errors.
        checkpoint: its content.
        model: the model to load them into.
        partial: see :class:`StrictLoad`.

    Returns:
        The weights, and a line on the tensors that a partial checkpoint fills; empty without
        ``partial``.

    Raises:
        CheckpointError: listing missing, unexpected and misshapen names, or tensors whose dtype
            cannot fill the model's or that are not finite.
    """
    stored = checkpoint.get("state_dict", checkpoint) if isinstance(checkpoint, dict) else None
    if not isinstance(stored, Mapping):
        raise CheckpointError(f"{path} holds no weights. It is {kind_of(checkpoint)}")
    expected = model.state_dict()
    plain = unwrapped(stored)
    is_renamed = stored.keys() != expected.keys() and plain.keys() != stored.keys()
    weights = plain if is_renamed else stored
    mismatch = describe_mismatch(expected, weights)
    fitting = [
        name for name, value in expected.items()
        if name in weights and getattr(weights[name], "shape", value.shape) == value.shape
    ]  # fmt: skip
    report = ""
    if partial and fitting:
        report = f"{len(fitting)} of the model's {len(expected)} tensors are loaded"
        report += f"; {mismatch}" if mismatch else ""
    elif mismatch and classify(checkpoint) == "export":
        raise CheckpointError(
            f"{path} is not a checkpoint of the config's {type(model).__name__}. It is "
            f"{kind_of(checkpoint)}"
        )
    elif mismatch:
        raise CheckpointError(
            f"{path} is of another model than the config's {type(model).__name__}. It is "
            f"{kind_of(checkpoint)}. Tensors: {mismatch}"
        )
    check_weights(path, {name: weights[name] for name in fitting}, expected)
    return weights, report


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
            CheckpointError: listing missing, unexpected and misshapen names, or tensors whose dtype
                cannot fill the model's or that are not finite, also in the optimizer's state if
                the run is resumed.
        """
        model = bare_model(runner.model)
        path = runner.cfg.get("load_from") or "the checkpoint"
        expected = model.state_dict()
        weights, report = checked_weights(path, checkpoint, model, partial=self.partial)
        if weights.keys() != checkpoint.get("state_dict", checkpoint).keys():
            checkpoint["state_dict"] = weights  # MMEngine looks for the model's own names
        if report:
            runner.logger.info(report)
        self._check_averages(runner, path, checkpoint, expected, weights)
        if is_resumed(runner):
            check_optimizer(path, checkpoint.get("optimizer"))

    def _check_averages(
        self,
        runner: Any,
        path: Any,
        checkpoint: dict[str, Any],
        expected: Mapping[str, Any],
        weights: Mapping[str, Any],
    ) -> None:
        """Check the second set of weights that ``EMAHook`` keeps, and remove an empty one.

        An empty or partial one would make ``EMAHook`` continue with averages of the initial
        weights.
        """
        averages = checkpoint.get("ema_state_dict")
        if averages is None:
            return
        if not isinstance(averages, Mapping):
            raise CheckpointError(
                f"{path} has an ema_state_dict that is a {type(averages).__name__}, not weights by "
                "name; take an earlier checkpoint"
            )
        check_weights(path, averages, {f"module.{name}": value for name, value in expected.items()})
        if not averages:
            runner.logger.warning(
                f"{path} has an empty ema_state_dict: it counts as one without averaged weights"
            )
            del checkpoint["ema_state_dict"]
            return
        # The hook exchanges the weights by the model's own names.
        named = {f"module.{name}": value
                 for name, value in trained_weights(path, averages, weights).items()}  # fmt: skip
        if not named.keys() <= averages.keys():
            others = {
                name: value for name, value in averages.items() if not name.startswith("module.")
            }
            checkpoint["ema_state_dict"] = {**others, **named}
