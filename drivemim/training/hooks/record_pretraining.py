"""Hook that records a pretraining's data and initial weights in its checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.dist import get_world_size, is_main_process
from mmengine.hooks import Hook

from drivemim.compat import is_resumed
from drivemim.registry import HOOKS
from drivemim.transfer.pretraining_record import KEY, continue_record, describe_pretraining


@HOOKS.register_module()
class RecordPretraining(Hook):
    """Record the frames, boxes and initial weights of a pretraining when it begins.

    An export takes the record from the checkpoint, because the index may hold other frames by then.
    See ``drivemim.transfer.pretraining_record``.

    Attributes:
        resumed_meta: ``meta`` of the checkpoint that the run resumes from; None for a new run.
        record: the record; None before training, and in all processes but the main one.
    """

    priority = "VERY_HIGH"

    def __init__(self) -> None:
        self.resumed_meta: Mapping[str, Any] | None = None
        self.record: dict[str, Any] | None = None

    def after_load_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Keep the ``meta`` of the checkpoint that a run is resumed from."""
        if is_resumed(runner):
            self.resumed_meta = dict(checkpoint.get("meta") or {})

    def before_train(self, runner: Any) -> None:
        """Make the record; a resumed run continues the record of its checkpoint."""
        if not is_main_process():
            return
        self.record = describe_pretraining(runner.cfg, get_world_size())
        if self.resumed_meta is not None:
            checkpoint = str(runner.cfg.get("load_from"))
            self.record = continue_record(self.record, self.resumed_meta, checkpoint)

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Add the record to the checkpoint."""
        if self.record is not None:
            checkpoint.setdefault("meta", {})[KEY] = self.record
