"""Functions on arrays for cameras, poses, rays and boxes."""

from drivemim.geometry.backprojection import (
    backproject_patches,
    patch_depths,
    project_points,
    unproject_points,
    valid_bounding_box,
)
from drivemim.geometry.boxes import ProjectedBoxes, box_corners, project_boxes
from drivemim.geometry.camera_boxes import CameraBoxes, boxes_to_camera, boxes_to_global
from drivemim.geometry.poses import (
    interpolate_poses,
    invert_pose,
    matrix_to_quaternion,
    pose_from_vector,
    pose_matrix,
    quaternion_to_matrix,
    sensor_pose,
    slerp,
    transform_points,
)
from drivemim.geometry.rays import patch_rays

__all__ = [
    "CameraBoxes",
    "ProjectedBoxes",
    "box_corners",
    "boxes_to_camera",
    "boxes_to_global",
    "patch_depths",
    "backproject_patches",
    "patch_rays",
    "valid_bounding_box",
    "interpolate_poses",
    "invert_pose",
    "unproject_points",
    "matrix_to_quaternion",
    "pose_from_vector",
    "pose_matrix",
    "project_boxes",
    "project_points",
    "quaternion_to_matrix",
    "sensor_pose",
    "slerp",
    "transform_points",
]
