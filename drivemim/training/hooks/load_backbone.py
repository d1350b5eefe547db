"""Hook that starts a detector or pretrainer from an export or another checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook

from drivemim.config.loading import is_pretrainer
from drivemim.registry import HOOKS
from drivemim.training.bare_model import bare_model
from drivemim.training.seen_evaluation import warn_of_seen_images
from drivemim.transfer.initial_weights import backbone_config, load_initial_weights


@HOOKS.register_module()
class LoadBackbone(Hook):
    """Load a backbone strictly before the first iteration.

    The features of an exported backbone are verified too; see ``load_weights``. A warning is logged
    if a detector is evaluated on images that the backbone's pretraining saw; see
    ``seen_evaluation``.

    Args:
        checkpoint: ``.safetensors`` file of ``drivemim export``, the ``.pth`` beside it,
            or a checkpoint of any origin whose backbone fits; also an address that MMEngine
            downloads.
        prefix: prefix of the backbone's tensors in a checkpoint.
        whole: whether a pretraining run's own checkpoint fills the whole pretrainer, with the
            decoder, instead of the encoder alone.
    """

    priority = "VERY_HIGH"

    def __init__(self, checkpoint: str | Path, prefix: str = "", whole: bool = False) -> None:
        self.checkpoint = str(checkpoint)
        self.prefix = prefix
        self.whole = whole

    def before_train(self, runner: Any) -> None:
        """Load the backbone, unless a resumed run's checkpoint holds it; warn of seen images."""
        if runner.iter == 0:
            self._load(runner)
        if is_main_process() and not is_pretrainer(runner.cfg.get("model") or {}):
            warn_of_seen_images(runner, self.checkpoint)

    def _load(self, runner: Any) -> None:
        report = load_initial_weights(
            bare_model(runner.model),
            self.checkpoint,
            architecture=backbone_config(runner.cfg.get("model", {})),
            prefix=self.prefix,
            whole=self.whole,
        )
        runner.logger.info(report)
