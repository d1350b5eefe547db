"""Cameras, poses, rays and boxes: arrays in, arrays out."""

from drivemim.geometry.boxes import ProjectedBoxes, box_corners, project_boxes
from drivemim.geometry.poses import (
    invert_pose,
    matrix_to_quaternion,
    pose_matrix,
    quaternion_to_matrix,
    slerp,
    transform_points,
)
from drivemim.geometry.rays import cell_rays

__all__ = [
    "ProjectedBoxes",
    "box_corners",
    "cell_rays",
    "invert_pose",
    "matrix_to_quaternion",
    "pose_matrix",
    "project_boxes",
    "quaternion_to_matrix",
    "slerp",
    "transform_points",
]
