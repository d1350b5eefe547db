"""Hook that refuses checkpoints of another model or with numbers that are not finite.

Without this hook, MMEngine would load the tensors that fit and leave the others as initialised.
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
    """Return a checkpoint's weights by the model's own names; refuse those of another model.

    Args:
        path: path of the file, for errors.
        checkpoint: its content.
        model: the model to load them into.
        partial: see :class:`StrictLoad`.

    Returns:
        The weights, and a line that counts the tensors which a partial checkpoint fills; the line
        is empty without ``partial``.

    Raises:
        CheckpointError: if the checkpoint has no weights; if names or shapes differ from the
            model's; or if a tensor is not finite, or has a dtype that cannot fill the model's.
    """
    stored = checkpoint.get("state_dict", checkpoint) if isinstance(checkpoint, dict) else None
    if not isinstance(stored, Mapping):
        raise CheckpointError(f"{path} holds no weights. It is {kind_of(checkpoint)}")
    expected = model.state_dict()
    without_wrapper = unwrapped(stored)
    is_renamed = stored.keys() != expected.keys() and without_wrapper.keys() != stored.keys()
    weights = without_wrapper if is_renamed else stored
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
            CheckpointError: if names or shapes differ from the model's; if a tensor is not finite,
                or has a dtype that cannot fill the model's; in a resumed run also if the
                optimizer's state is not finite.
        """
        model = bare_model(runner.model)
        path = runner.cfg.get("load_from") or "the checkpoint"
        expected = model.state_dict()
        weights, report = checked_weights(path, checkpoint, model, partial=self.partial)
        if weights.keys() != checkpoint.get("state_dict", checkpoint).keys():
            checkpoint["state_dict"] = weights  # MMEngine looks for the model's own names
        if report:
            runner.logger.info(report)
        self._check_ema_state(runner, path, checkpoint, expected, weights)
        if is_resumed(runner):
            check_optimizer(path, checkpoint.get("optimizer"))

    def _check_ema_state(
        self,
        runner: Any,
        path: Any,
        checkpoint: dict[str, Any],
        expected: Mapping[str, Any],
        weights: Mapping[str, Any],
    ) -> None:
        """Check ``ema_state_dict``, where ``EMAHook`` saves trained weights; remove an empty one.

        With an empty or partial one, ``EMAHook`` would continue with averages of the
        initial weights.

        Raises:
            CheckpointError: if it has no weights by name, or they do not fit the model.
        """
        ema_state = checkpoint.get("ema_state_dict")
        if ema_state is None:
            return
        if not isinstance(ema_state, Mapping):
            raise CheckpointError(
                f"{path} has an ema_state_dict that is a {type(ema_state).__name__}, not weights "
                "by name; take an earlier checkpoint"
            )
        check_weights(
            path, ema_state, {f"module.{name}": value for name, value in expected.items()}
        )
        if not ema_state:
            runner.logger.warning(
                f"{path} has an empty ema_state_dict: it counts as one without averaged weights"
            )
            del checkpoint["ema_state_dict"]
            return
        # EMAHook looks for the model's own names behind ``module.``.
        renamed = {
            f"module.{name}": value
            for name, value in trained_weights(path, ema_state, weights).items()
        }
        if not renamed.keys() <= ema_state.keys():
            others = {
                name: value for name, value in ema_state.items() if not name.startswith("module.")
            }
            checkpoint["ema_state_dict"] = {**others, **renamed}
