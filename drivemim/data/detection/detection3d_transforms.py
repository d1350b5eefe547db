"""Transforms for 3-D detection, to use after ``LoadReducedImage``: load, mirror and pack boxes.

Each transform changes all data of an image together: pixels, 2-D boxes, the camera matrix, the
camera's pose, and the 3-D boxes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from drivemim.errors import ConfigError
from drivemim.geometry.camera_boxes import wrap_angles
from drivemim.registry import TRANSFORMS

META_KEYS = (
    "img_id", "img_path", "ori_shape", "img_shape", "scale_factor", "flip", "flip_direction",
    "frame_token", "sample_token", "camera", "camera_matrix", "camera_to_global",
)  # fmt: skip
"""Metadata of an image that heads and the official evaluation read."""

_COLUMNS = {
    "centers": ("center", np.float32, (3,)),
    "sizes": ("size", np.float32, (3,)),
    "yaws": ("yaw", np.float32, ()),
    "velocities": ("velocity", np.float32, (2,)),
    "attributes": ("attribute", np.int64, ()),
}
"""Columns of the 3-D boxes of an item: key in ``instances``, type, and shape of one row."""


@TRANSFORMS.register_module()
class LoadBoxes3D:
    """Collect the 3-D boxes of an item of ``FrameDetection3D``; use after ``LoadReducedImage``.

    Adds ``gt_centers`` (M, 3), ``gt_sizes`` (M, 3), ``gt_yaws`` (M,), ``gt_velocities`` (M, 2) and
    ``gt_attributes`` (M,), one row per row of ``gt_bboxes``. Scales ``camera_matrix`` from the
    stored image to the loaded one.
    """

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add the boxes.

        Raises:
            ConfigError: if no image was loaded before, or the item has no 3-D boxes.
        """
        if "scale_factor" not in results:
            raise ConfigError("LoadBoxes3D comes after drivemim.LoadReducedImage in the pipeline")
        if "camera_matrix" not in results:
            raise ConfigError(
                "LoadBoxes3D needs items with 3-D boxes; take drivemim.FrameDetection3D in place "
                "of drivemim.FrameDetection"
            )
        for name, (key, kind, shape) in _COLUMNS.items():
            values = np.array([instance[key] for instance in results["instances"]], dtype=kind)
            results[f"gt_{name}"] = values.reshape(-1, *shape)
        scale = np.diag([*results["scale_factor"], 1.0])
        results["camera_matrix"] = scale @ results["camera_matrix"]
        return results

    def __repr__(self) -> str:
        return "LoadBoxes3D()"


@TRANSFORMS.register_module()
class FlipFrame3D:
    """Mirror left and right: the image, its 2-D and 3-D boxes, and the camera.

    The result is the image of a mirrored world. Centres and velocities change the sign of x,
    headings are mirrored, the principal point in ``camera_matrix`` moves, and
    ``camera_to_global`` becomes a mirrored pose that leads back to the real world. Projecting a
    mirrored centre with the mirrored matrix gives the mirrored pixel.

    Args:
        prob: probability of mirroring, in [0, 1].
    """

    def __init__(self, *, prob: float = 0.5) -> None:
        if not 0 <= prob <= 1:
            raise ConfigError(f"prob={prob} must be in [0, 1]")
        self.prob = prob

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """Mirror the item or not, and record which in ``flip`` and ``flip_direction``."""
        # NumPy's own generator: SeededDataset seeds it for every item.
        results["flip"] = bool(np.random.random() < self.prob)
        results["flip_direction"] = "horizontal" if results["flip"] else None
        if not results["flip"]:
            return results
        width = results["img"].shape[1]
        results["img"] = np.ascontiguousarray(results["img"][:, ::-1])
        results["gt_bboxes"].flip_(results["img"].shape[:2], "horizontal")
        mirror = np.array([-1.0, 1.0, 1.0])
        results["gt_centers"] = results["gt_centers"] * mirror.astype(np.float32)
        results["gt_velocities"] = results["gt_velocities"] * np.array([-1, 1], np.float32)
        results["gt_yaws"] = wrap_angles(np.pi - results["gt_yaws"]).astype(np.float32)
        # The column u becomes width - u, and x becomes -x. So the focal length keeps its sign.
        mirror_pixels = np.array([[-1.0, 0.0, width], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
        results["camera_matrix"] = mirror_pixels @ results["camera_matrix"] @ np.diag(mirror)
        results["camera_to_global"] = results["camera_to_global"] @ np.diag([*mirror, 1.0])
        return results

    def __repr__(self) -> str:
        return f"FlipFrame3D(prob={self.prob})"


@TRANSFORMS.register_module()
class PackBoxes3D:
    """Turn an item into ``inputs`` and a ``DetDataSample``, the inputs of MMDetection's models.

    ``gt_instances`` has ``bboxes``, ``labels``, ``centers``, ``sizes``, ``yaws``, ``velocities``
    and ``attributes``; ``ignored_instances`` has the same fields for ignored objects.

    Args:
        meta_keys: other fields of the item to keep; fields that it does not have are left out.
    """

    def __init__(self, *, meta_keys: Sequence[str] = META_KEYS) -> None:
        self.meta_keys = tuple(meta_keys)

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """Pack one item."""
        # Imported here because pretraining must not need MMDetection.
        import torch
        from mmdet.structures import DetDataSample
        from mmengine.structures import InstanceData

        to_detect = np.flatnonzero(~results["gt_ignore_flags"])
        ignored = np.flatnonzero(results["gt_ignore_flags"])
        sample = DetDataSample()
        for name, rows in (("gt_instances", to_detect), ("ignored_instances", ignored)):
            instances = InstanceData(
                bboxes=results["gt_bboxes"][rows],
                labels=torch.from_numpy(results["gt_bboxes_labels"][rows]),
            )
            for column in _COLUMNS:
                instances[column] = torch.from_numpy(results[f"gt_{column}"][rows])
            setattr(sample, name, instances)
        sample.set_metainfo({key: results[key] for key in self.meta_keys if key in results})
        image = np.ascontiguousarray(results["img"].transpose(2, 0, 1))
        return {"inputs": torch.from_numpy(image), "data_samples": sample}

    def __repr__(self) -> str:
        return f"PackBoxes3D(meta_keys={self.meta_keys})"
