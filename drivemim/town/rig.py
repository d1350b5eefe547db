"""Six calibrated cameras and a lidar, mounted as on a nuScenes car."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from drivemim.array_types import Floats

LIDAR_CHANNEL = "LIDAR_TOP"
LIDAR_POSITION = (0.94, 0.0, 1.84)  # ego frame, metres
LIDAR_YAW = -90.0  # degrees

# yaw, pitch, roll in degrees (left, down, clockwise positive); position in metres from the rear
# axle on the ground; field of view in degrees; trigger time minus the lidar's in microseconds.
_MOUNTS = {
    "CAM_FRONT": (0.0, 0.3, 0.2, (1.70, 0.02, 1.51), 70.0, -35_500),
    "CAM_FRONT_RIGHT": (-55.0, 0.5, -0.3, (1.55, -0.49, 1.50), 70.0, -27_400),
    "CAM_BACK_RIGHT": (-110.0, -0.2, 0.1, (1.01, -0.48, 1.56), 70.0, -19_200),
    "CAM_BACK": (180.0, 0.6, 0.0, (0.03, 0.00, 1.57), 110.0, -10_300),
    "CAM_BACK_LEFT": (110.0, 0.1, -0.2, (1.04, 0.48, 1.56), 70.0, -1_900),
    "CAM_FRONT_LEFT": (55.0, 0.4, 0.3, (1.52, 0.49, 1.51), 70.0, -43_200),
}


@dataclass(frozen=True)
class Camera:
    """A camera fixed to the car.

    Attributes:
        channel: nuScenes' name of the camera.
        intrinsics_33: pinhole matrix, pixels; pixel i spans [i, i + 1].
        position_3: position in the ego frame, metres.
        rotation_33: rotation from camera axes (x right, y down, z forward) to the ego frame.
        image_size: height, width.
        trigger_offset: microseconds from the lidar's time to the camera's.
    """

    channel: str
    intrinsics_33: Floats
    position_3: Floats
    rotation_33: Floats
    image_size: tuple[int, int]
    trigger_offset: int

    @property
    def pixel_numbers_33(self) -> Floats:
        """Pinhole matrix for pixel positions whose integers are the centres of pixels.

        OpenCV's warps and array indices use this convention.
        """
        return np.array([[1.0, 0.0, -0.5], [0.0, 1.0, -0.5], [0.0, 0.0, 1.0]]) @ self.intrinsics_33

    def pose(self, ego_position_3: Floats, ego_yaw: float) -> tuple[Floats, Floats]:
        """Return position and camera-to-world rotation for an ego pose (metres, radians)."""
        ego_33 = yaw_matrix(ego_yaw)
        return ego_position_3 + ego_33 @ self.position_3, ego_33 @ self.rotation_33


def yaw_matrix(yaw: float) -> Floats:
    """Return the matrix of a rotation about the vertical axis, radians."""
    c, s = np.cos(yaw), np.sin(yaw)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def yaw_quaternion(yaw: float) -> list[float]:
    """Return the quaternion (w, x, y, z) of a rotation about the vertical axis, radians."""
    return [float(np.cos(yaw / 2)), 0.0, 0.0, float(np.sin(yaw / 2))]


def _camera_rotation(yaw: float, pitch: float, roll: float) -> Floats:
    """Return the rotation from camera axes to ego axes; angles in degrees."""
    p, r = np.radians([pitch, roll])
    looking_ahead = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
    pitched = np.array([[1, 0, 0], [0, np.cos(p), np.sin(p)], [0, -np.sin(p), np.cos(p)]])
    rolled = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    rotation: Floats = yaw_matrix(float(np.radians(yaw))) @ looking_ahead @ pitched @ rolled
    return rotation


def make_rig(image_size: tuple[int, int]) -> list[Camera]:
    """Return the six cameras, in nuScenes' clockwise order."""
    height, width = image_size
    rig = []
    for channel, (yaw, pitch, roll, position, field_of_view, offset) in _MOUNTS.items():
        focal = width / 2 / np.tan(np.radians(field_of_view / 2))
        intrinsics = np.array(
            [[focal, 0, width / 2], [0, focal, height * 0.52], [0, 0, 1]], np.float64
        )
        rotation = _camera_rotation(yaw, pitch, roll)
        rig.append(Camera(channel, intrinsics, np.array(position), rotation, image_size, offset))
    return rig
