"""MMDetection transforms that load a frame and its boxes, decoded no larger than needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from drivemim.clips import checked_image_size
from drivemim.data.index.images import read_image
from drivemim.registry import TRANSFORMS


@TRANSFORMS.register_module()
class LoadReducedImage:
    """Read an item of ``FrameDetection`` at a given size: image, boxes, labels and ignore flags.

    The image has exactly the pixels that pretraining reads at this size, see ``read_image``. The
    transform replaces MMDetection's ``LoadImageFromFile``, ``LoadAnnotations`` and ``Resize``
    together. The boxes in ``instances`` stay in pixels of the stored image. Metrics compare them
    with predictions, which MMDetection rescales to the stored image.

    Args:
        image_size: height and width, pixels.
        skip_ignored_only: for training: skip a frame whose objects are all ignored, and let the
            data set draw another. MMDetection's assigners exclude ignored objects from the
            background only if an image also has an object that is not ignored.
    """

    def __init__(self, *, image_size: tuple[int, int], skip_ignored_only: bool = False) -> None:
        self.image_size = checked_image_size(image_size)
        self.skip_ignored_only = skip_ignored_only

    def __call__(self, results: dict[str, Any]) -> dict[str, Any] | None:
        """Add the image, its sizes, and the boxes in its pixels; return None to skip the frame.

        Raises:
            ValueError: if the pipeline loaded an image or boxes before.
        """
        # Imported here because pretraining must not need MMDetection.
        from mmdet.structures.bbox import HorizontalBoxes

        _check_first("LoadReducedImage", results)
        instances = results["instances"]
        is_ignored = np.array([instance["ignore_flag"] for instance in instances], dtype=bool)
        if self.skip_ignored_only and instances and is_ignored.all():
            return None
        stored = (results["height"], results["width"])
        image = read_image(
            Path(results["img_path"]),
            token=results["frame_token"],
            stored=stored,
            size=self.image_size,
        )
        scale = (self.image_size[1] / stored[1], self.image_size[0] / stored[0])
        labels = np.array([instance["bbox_label"] for instance in instances], dtype=np.int64)
        boxes = np.array([instance["bbox"] for instance in instances], dtype=float)
        boxes_M4 = boxes.reshape(-1, 4) * np.array([*scale, *scale])
        results.update(
            img=image,
            img_shape=self.image_size,
            ori_shape=stored,
            scale_factor=scale,
            gt_bboxes=HorizontalBoxes(boxes_M4.astype(np.float32)),
            gt_bboxes_labels=labels,
            gt_ignore_flags=is_ignored,
        )
        return results

    def __repr__(self) -> str:
        return f"LoadReducedImage(image_size={self.image_size})"


@TRANSFORMS.register_module()
class LoadReducedInstances:
    """Read an item of MMDetection's ``CocoDataset`` at a given size: image, boxes and masks.

    The image has exactly the pixels that pretraining reads at this size, see ``read_image``. The
    transform replaces ``LoadImageFromFile``, ``LoadAnnotations`` and ``Resize``.

    Args:
        image_size: height and width, pixels.
        with_annotations: whether to load boxes, labels and masks; testing does not need them.
    """

    def __init__(self, *, image_size: tuple[int, int], with_annotations: bool = True) -> None:
        self.image_size = checked_image_size(image_size)
        self.with_annotations = with_annotations

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add the image and its sizes, and the boxes and masks in its pixels.

        Raises:
            ValueError: if the pipeline loaded an image or boxes before.
        """
        # Imported here because pretraining must not need MMDetection.
        from mmdet.datasets.transforms import LoadAnnotations

        _check_first("LoadReducedInstances", results)
        stored = (int(results["height"]), int(results["width"]))
        scale = (self.image_size[1] / stored[1], self.image_size[0] / stored[0])
        results["ori_shape"] = stored
        if self.with_annotations:
            results = LoadAnnotations(with_bbox=True, with_mask=True)(results)
            results["gt_bboxes"].rescale_(scale)
            results["gt_bboxes"].clip_(self.image_size)
            results["gt_masks"] = results["gt_masks"].resize(self.image_size)
        image = read_image(
            Path(results["img_path"]),
            token=str(results["img_id"]),
            stored=stored,
            size=self.image_size,
        )
        results.update(img=image, img_shape=self.image_size, scale_factor=scale)
        return results

    def __repr__(self) -> str:
        return (
            f"LoadReducedInstances(image_size={self.image_size}, "
            f"with_annotations={self.with_annotations})"
        )


def _check_first(name: str, results: dict[str, Any]) -> None:
    """Check that no transform before the one with this name loaded the image or boxes."""
    if "img" in results or "gt_bboxes" in results:
        raise ValueError(
            f"{name} loads image and boxes itself; take LoadImageFromFile, "
            "LoadAnnotations and Resize out of the pipeline"
        )
