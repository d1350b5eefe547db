"""Writes into a pretraining's checkpoints what it was trained on and began with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook

from drivemim.engine.pretraining import KEY, continue_record, describe_pretraining
from drivemim.registry import HOOKS


@HOOKS.register_module()
class RecordPretraining(Hook):
    """Records the frames, boxes and weights of a pretraining when it begins.

    An export takes the record from the checkpoint: by then an index may hold other frames. See
    ``drivemim.engine.pretraining``.
    """

    priority = "VERY_HIGH"

    def __init__(self) -> None:
        self.resumed_meta: Mapping[str, Any] | None = None
        self.record: dict[str, Any] | None = None

    def after_load_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Remember what the checkpoint of a resumed run says."""
        if runner.cfg.get("resume"):
            self.resumed_meta = dict(checkpoint.get("meta") or {})

    def before_train(self, runner: Any) -> None:
        """Make the record."""
        if not is_main_process():
            return
        self.record = describe_pretraining(runner.cfg)
        if self.resumed_meta is not None:
            checkpoint = str(runner.cfg.get("load_from"))
            self.record = continue_record(self.record, self.resumed_meta, checkpoint)

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Add the record to a checkpoint."""
        if self.record is not None:
            checkpoint.setdefault("meta", {})[KEY] = self.record
