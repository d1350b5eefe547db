"""Hook that draws a detector's results during testing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dist import get_dist_info
from mmengine.hooks import Hook

from drivemim.clips import CLASSES
from drivemim.data.index.images import read_image
from drivemim.errors import ConfigError
from drivemim.registry import HOOKS
from drivemim.visualization.detections import draw_detections
from drivemim.visualization.panels import save_image


@HOOKS.register_module()
class DrawDetections(Hook):
    """Draw detections and annotated objects of test images, evenly spaced over the data set.

    Two detectors that are tested on the same data draw the same images under the same file names.

    Args:
        folder: folder for ``NUMBER_CAMERA.jpg``; the number is the image's index in the data set.
        count: number of images; all of them if there are fewer.
        min_score: detections with a lower score are left out. None draws, in each image, as many of
            the highest-scoring detections as the image has annotated objects that are not ignored.
            This compares detectors whose scores mean different things, such as early and late in
            training.

    Raises:
        ConfigError: if ``count`` is not positive or ``min_score`` is outside [0, 1].
    """

    def __init__(self, *, folder: str, count: int = 50, min_score: float | None = None) -> None:
        if count < 1 or not 0 <= (min_score or 0) <= 1:
            raise ConfigError(
                f"DrawDetections: count={count} must be at least 1, min_score={min_score} in [0, 1]"
            )
        self.folder = Path(folder)
        self.count = count
        self.min_score = min_score
        self._chosen: set[int] = set()
        # Names to write beside scores; None for pedestrian and vehicle, which have a colour each.
        self._classes: tuple[str, ...] | None = None

    def before_test(self, runner: Any) -> None:
        """Choose the images."""
        length = len(runner.test_dataloader.dataset)
        numbers = np.linspace(0, length - 1, min(self.count, length))
        self._chosen = {round(float(number)) for number in numbers}
        dataset = runner.test_dataloader.dataset
        classes = tuple((getattr(dataset, "metainfo", None) or {}).get("classes") or CLASSES)
        self._classes = None if classes == CLASSES else classes

    def after_test_iter(
        self,
        runner: Any,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Sequence[Any] | None = None,
    ) -> None:
        """Draw the chosen images of the batch."""
        rank, processes = get_dist_info()
        batch_size = runner.test_dataloader.batch_size
        for row, sample in enumerate(outputs or ()):
            # The sampler assigns the images to the processes in turn.
            number = (batch_idx * batch_size + row) * processes + rank
            if number in self._chosen:
                self._draw(number, sample)

    def _draw(self, number: int, sample: Any) -> None:
        """Draw detections and annotated objects of one image, and write the picture.

        Args:
            number: the image's index in the data set.
            sample: the image's ``DetDataSample``.
        """
        image = read_image(
            Path(sample.img_path), token=sample.frame_token, stored=tuple(sample.ori_shape[:2])
        )
        predicted = sample.pred_instances
        truth = sample.instances
        if self.min_score is None:
            count = sum(not instance["ignore_flag"] for instance in truth)
            predicted = predicted[predicted.scores.argsort(descending=True)[:count]].cpu()
        else:
            predicted = predicted[predicted.scores >= self.min_score].cpu()
        picture = draw_detections(
            image,
            predicted.bboxes.numpy(),
            predicted.labels.numpy(),
            predicted.scores.numpy(),
            np.array([instance["bbox"] for instance in truth], float).reshape(-1, 4),
            np.array([instance["ignore_flag"] for instance in truth], bool),
            self._classes,
        )
        save_image(self.folder / f"{number:06d}_{sample.camera}.jpg", picture)
