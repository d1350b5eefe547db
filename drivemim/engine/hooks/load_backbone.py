"""Starts a detector from an exported backbone, or from another checkpoint's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper

from drivemim.engine.transfer import load_any_backbone
from drivemim.registry import HOOKS


@HOOKS.register_module()
class LoadBackbone(Hook):
    """Loads a backbone strictly into ``model.backbone`` before the first iteration.

    Of an exported backbone the features are verified too; see ``load_any_backbone``.

    Args:
        checkpoint: ``.safetensors`` file of ``tools/export_backbone.py``, the ``.pth`` beside it,
            or a checkpoint of any origin whose names and shapes are the backbone's.
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
        report = load_any_backbone(model, self.checkpoint, architecture=architecture)
        runner.logger.info(report)
