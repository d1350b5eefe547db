"""Hook that draws reconstructions during pretraining, for TensorBoard and other loggers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from torch import nn

from drivemim.config.loading import config_errors, is_pretrainer
from drivemim.errors import ConfigError, check_range
from drivemim.registry import DATASETS, HOOKS
from drivemim.visualization.picture_data import plain_dataset
from drivemim.visualization.reconstructions import reconstruction_panels

_PICTURES = 20


@HOOKS.register_module()
class DrawReconstructions(Hook):
    """Send pictures of original, mask, reconstruction and error to the run's loggers.

    The clips are evenly spread over the training data, without augmentation, and their masks are
    the same every time. The training itself does not change.

    Args:
        interval: iterations between pictures; None for 20 times in the run. The last iteration
            always has pictures.
        clips: number of clips.
        width: largest width of a picture, pixels.

    Raises:
        ConfigError: if an argument is out of range.
    """

    priority = "LOW"

    def __init__(self, *, interval: int | None = None, clips: int = 2, width: int = 960) -> None:
        check_range("DrawReconstructions: interval", 1 if interval is None else interval, 1)
        check_range("DrawReconstructions: clips", clips, 1)
        self.interval = interval
        self.clips = clips
        self.width = width
        self._dataset: Any = None

    def before_train(self, runner: Any) -> None:
        """Open the data.

        Raises:
            ConfigError: if the run is not a pretraining.
        """
        if not is_pretrainer(runner.cfg.model):
            raise ConfigError(
                f"DrawReconstructions: the model is a {runner.cfg.model.get('type')}, which "
                "reconstructs nothing; drivemim test --show-dir FOLDER draws detections"
            )
        if not is_main_process():
            return
        with config_errors():
            data = plain_dataset(runner.cfg.train_dataloader.dataset.to_dict())
            self._dataset = DATASETS.build(data)

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Draw, if it is time."""
        if self._dataset is None:
            return
        iteration = runner.iter + 1
        interval = self.interval or max(1, runner.max_iters // _PICTURES)
        if iteration % interval and iteration != runner.max_iters:
            return
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        with evaluation_mode(model):
            panels = reconstruction_panels(
                model, self._dataset, count=self.clips, width=self.width, seed=0
            )
            for number, (_, panel) in enumerate(panels):
                image_rgb = panel[..., ::-1].copy()
                runner.visualizer.add_image(f"reconstruction_{number}", image_rgb, step=iteration)


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode, and every part back into its own mode afterwards."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
