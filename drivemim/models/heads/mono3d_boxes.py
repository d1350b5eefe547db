"""Image boxes of decoded 3-D objects, and their suppression in the bird's-eye view.

Letters: M objects of one camera.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from mmcv.ops import batched_nms
from mmengine.structures import InstanceData
from numpy.typing import NDArray
from torch import Tensor

from drivemim.geometry import (
    CameraBoxes,
    box_corners,
    boxes_to_global,
    invert_pose,
    project_boxes,
    transform_points,
)


def nms_bev(objects: InstanceData, nms: Mapping[str, Any] | None) -> InstanceData:
    """Suppress objects that overlap a better one of their class in the bird's-eye view.

    Args:
        objects: objects with ``scores``, ``labels``, ``centers``, ``sizes`` and ``yaws``.
        nms: config of one of MMCV's NMS operators for rotated boxes; None to keep all objects.

    Returns:
        The remaining objects, best first; with ``nms`` None, ``objects`` unchanged.
    """
    if nms is None or len(objects) == 0:
        return objects
    # In the plane of x (right) and z (forward) an object points along (cos yaw, -sin yaw).
    outlines_M5 = torch.cat(
        [objects.centers[:, [0, 2]], objects.sizes[:, [1, 0]], -objects.yaws[:, None]], dim=1
    )
    _, kept = batched_nms(outlines_M5, objects.scores, objects.labels, dict(nms))
    return objects[kept]


def image_boxes(
    objects: InstanceData,
    camera_matrix_33: Tensor,
    camera_to_global_44: Tensor,
    image_size: tuple[int, int],
) -> Tensor:
    """Project objects to 2-D boxes, cut at the image border and in front of the camera.

    Args:
        objects: objects with ``centers``, ``sizes``, ``yaws`` and ``velocities``.
        camera_matrix_33: intrinsics.
        camera_to_global_44: the camera's pose, which defines its pitch and roll.
        image_size: height and width of the image, pixels of ``camera_matrix_33``.

    Returns:
        (M, 4) x1 y1 x2 y2 in those pixels, zeros for objects outside the image.
    """
    boxes = CameraBoxes(
        centers_M3=_array(objects.centers),
        sizes_M3=_array(objects.sizes),
        yaws_M=_array(objects.yaws),
        velocities_M2=_array(objects.velocities),
    )
    pose_44 = _array(camera_to_global_44)
    centers_M3, sizes_M3, rotations_M4, _ = boxes_to_global(boxes, pose_44)
    corners_M83 = box_corners(centers_M3, sizes_M3, rotations_M4)
    seen = project_boxes(
        transform_points(invert_pose(pose_44), corners_M83),
        _array(camera_matrix_33),
        image_size,
    )
    return torch.as_tensor(seen.boxes_M4).to(objects.centers)


def _array(values: Tensor) -> NDArray[np.float64]:
    return np.asarray(values.detach().double().cpu().numpy(), np.float64)
