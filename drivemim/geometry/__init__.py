"""Functions on arrays for cameras, poses, rays and boxes."""

from drivemim.geometry.boxes import ProjectedBoxes, box_corners, project_boxes
from drivemim.geometry.camera_boxes import CameraBoxes, boxes_to_camera, boxes_to_global
from drivemim.geometry.poses import (
    invert_pose,
    matrix_to_quaternion,
    pose_from_vector,
    pose_matrix,
    quaternion_to_matrix,
    sensor_pose,
    slerp,
    transform_points,
)
from drivemim.geometry.rays import cell_rays
from drivemim.geometry.world import (
    cell_depths,
    cell_points,
    centre_and_reach,
    lift_points,
    project_points,
)

__all__ = [
    "CameraBoxes",
    "ProjectedBoxes",
    "box_corners",
    "boxes_to_camera",
    "boxes_to_global",
    "cell_depths",
    "cell_points",
    "cell_rays",
    "centre_and_reach",
    "invert_pose",
    "lift_points",
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
