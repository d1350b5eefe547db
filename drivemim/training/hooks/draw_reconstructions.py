"""Hook that draws reconstructions during pretraining, for TensorBoard and other loggers."""

from __future__ import annotations

from typing import Any

from drivemim.config.loading import config_errors
from drivemim.data import ItemRequest
from drivemim.data.clips.plain_clips import plain_dataset
from drivemim.errors import check_whole_number
from drivemim.registry import DATASETS, HOOKS
from drivemim.training.hooks.inspection import InspectionHook
from drivemim.visualization.picture_data import check_width
from drivemim.visualization.reconstructions import reconstruction_panels


@HOOKS.register_module()
class DrawReconstructions(InspectionHook):
    """Send pictures of original, mask, reconstruction and error to the run's loggers.

    The clips are evenly spread over the training data, without augmentation, and their masks are
    the same every time. The training itself does not change.

    Args:
        interval: pictures are drawn every ``interval`` iterations, and after the last one; None
            for 20 times in the run.
        clips: number of clips.
        width: largest width of a picture, pixels.

    Raises:
        ConfigError: if an argument is out of range.
    """

    def __init__(self, *, interval: int | None = None, clips: int = 2, width: int = 960) -> None:
        super().__init__(interval)
        check_whole_number("DrawReconstructions: clips", clips)
        check_whole_number("DrawReconstructions: width", width)
        self.clips = clips
        self.width = width
        self._dataset: Any = None

    def open(self, runner: Any) -> None:
        """Open the training data, without augmentation.

        Raises:
            ConfigError: if ``width`` is too small for the cameras.
        """
        with config_errors():
            data = plain_dataset(runner.cfg.train_dataloader.dataset.to_dict())
            self._dataset = DATASETS.build(data)
        check_width(self.width, self._dataset[ItemRequest(0, seed=0)])

    def inspect(self, runner: Any, model: Any, iteration: int) -> None:
        """Draw the clips."""
        panels = reconstruction_panels(
            model, self._dataset, count=self.clips, width=self.width, seed=0
        )
        for number, (_, panel) in enumerate(panels):
            image_rgb = panel[..., ::-1].copy()
            runner.visualizer.add_image(f"reconstruction_{number}", image_rgb, step=iteration)
