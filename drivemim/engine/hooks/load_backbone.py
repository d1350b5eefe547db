"""Starts a detector from an exported backbone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper

from drivemim.engine.transfer import load_backbone
from drivemim.registry import HOOKS


@HOOKS.register_module()
class LoadBackbone(Hook):
    """Loads an exported backbone strictly into ``model.backbone`` before the first iteration.

    Args:
        checkpoint: ``.safetensors`` file of ``tools/export_backbone.py``, or the ``.pth`` beside.
    """

    priority = "VERY_HIGH"

    def __init__(self, checkpoint: str | Path) -> None:
        self.checkpoint = Path(checkpoint)

    def before_train(self, runner: Any) -> None:
        """Load, unless the run is a resumed one, whose checkpoint holds the backbone already."""
        if runner.iter > 0:
            return
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        architecture = runner.cfg.get("model", {}).get("backbone")
        report = load_backbone(model, self.checkpoint, architecture=architecture)
        runner.logger.info(report)
