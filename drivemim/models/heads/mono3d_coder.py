"""Encoding of a 3-D object as the numbers that a network regresses at one location.

Paper: FCOS3D, Wang et al. 2021, https://arxiv.org/abs/2104.10956, with two differences.

1. Depth is predicted as the number of metres that one stride of the feature map covers at the
   object: depth * stride / focal length. All cameras and pyramid levels share the head's weights;
   an object that covers a given number of strides has the same code in each of them.
2. Yaw is predicted relative to the line of sight, because the object's appearance depends on that
   angle.

Letters: M rows, each a pair of a location and an object.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from drivemim.errors import ConfigError
from drivemim.registry import TASK_UTILS

CODE_PARTS = {
    "offset": slice(0, 2),
    "depth": slice(2, 3),
    "size": slice(3, 6),
    "angle": slice(6, 8),
    "velocity": slice(8, 10),
}
"""Slice of each part in a code."""
CODE_SIZE = 10
"""Numbers in a code."""
_LIMIT = 10.0
"""Decoded logarithms are clamped to this absolute value, so that an untrained network's outputs
decode to finite values as well."""


@dataclass(frozen=True, eq=False)
class Objects3D:
    """M objects in the frame of one camera.

    Attributes:
        centers_M3: metres, camera frame (x right, y down, z forward).
        sizes_M3: metres: width, length, height.
        yaws_M: radians about the levelled camera's y axis (down), right-handed; at 0 the object's
            length points along the levelled x (right).
        velocities_M2: metres per second along the levelled x and z; NaN if unknown.
    """

    centers_M3: Tensor
    sizes_M3: Tensor
    yaws_M: Tensor
    velocities_M2: Tensor

    def __getitem__(self, rows: Tensor) -> Objects3D:
        """Select the objects of these rows."""
        return Objects3D(
            self.centers_M3[rows], self.sizes_M3[rows], self.yaws_M[rows], self.velocities_M2[rows]
        )


@TASK_UTILS.register_module()
class Mono3DCoder:
    """Convert between objects and the ten numbers predicted at a location; nothing gets lost.

    The parts of a code are:

    - offset from the location to the projected centre, in strides (2);
    - logarithm of the metres per stride at the object's depth, over ``metres_per_stride`` (1);
    - logarithm of the size over that of its class (3);
    - sine and cosine of twice the observation angle, which is yaw minus the direction of the line
      of sight (2);
    - velocity in metres per second (2).

    Twice the angle is the same for an object and for one that faces the opposite way. Which of the
    two it is, the direction, 0 or 1, is predicted separately.

    Args:
        class_sizes: typical width, length and height of each class in metres. An object of this
            size has a size code of 0.
        metres_per_stride: typical number of metres that one stride covers. An object at which one
            stride covers as many has a depth code of 0.
        direction_offset: radians, observation angle at which the direction changes. The default,
            pi/4, is between the usual angles of traffic, seen lengthwise or from the side.

    Raises:
        ConfigError: if there is no class, a class has not three sizes, or a size or
            ``metres_per_stride`` is not positive.
    """

    def __init__(
        self,
        *,
        class_sizes: Sequence[Sequence[float]],
        metres_per_stride: float = 0.5,
        direction_offset: float = math.pi / 4,
    ) -> None:
        if not class_sizes or any(len(size) != 3 or not min(size) > 0 for size in class_sizes):
            raise ConfigError(
                f"class_sizes={class_sizes} must be a width, length and height above 0 metres for "
                "each class"
            )
        if not metres_per_stride > 0:
            raise ConfigError(f"metres_per_stride={metres_per_stride} must be more than 0")
        self.class_sizes = tuple(tuple(float(each) for each in size) for size in class_sizes)
        self.metres_per_stride = metres_per_stride
        self.direction_offset = direction_offset

    def encode(
        self,
        objects: Objects3D,
        *,
        labels_M: Tensor,
        points_M2: Tensor,
        strides_M: Tensor,
        camera_matrix_33: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Encode objects at locations.

        Args:
            objects: one per row, in front of the camera.
            labels_M: int64, class of each.
            points_M2: x and y of the location assigned to it, pixels of the network's input.
            strides_M: pixels between neighbouring locations of its level.
            camera_matrix_33: intrinsics for those pixels.

        Returns:
            codes (M, CODE_SIZE), NaN for unknown velocities, and directions (M,) 0.0 or 1.0.
        """
        centers_M3 = objects.centers_M3
        pixels_M2 = project(centers_M3, camera_matrix_33)
        metres_M = centers_M3[:, 2] * strides_M / focal_length(camera_matrix_33)
        observed_M = objects.yaws_M - _line_of_sight(centers_M3)
        angles_M2 = torch.stack([(2 * observed_M).sin(), (2 * observed_M).cos()], dim=1)
        # The direction is relative to the axis that ``decode`` will compute. Otherwise rounding
        # near ``direction_offset`` could turn an object by pi.
        turn_M = observed_M - self._axis(angles_M2)
        codes_M10 = torch.cat(
            [
                (pixels_M2 - points_M2) / strides_M[:, None],
                (metres_M / self.metres_per_stride).log()[:, None],
                (objects.sizes_M3 / self._sizes(labels_M, centers_M3)).log(),
                angles_M2,
                objects.velocities_M2,
            ],
            dim=1,
        )
        return codes_M10, (turn_M.cos() < 0).to(codes_M10.dtype)

    def decode(
        self,
        codes_M10: Tensor,
        directions_M: Tensor,
        *,
        labels_M: Tensor,
        points_M2: Tensor,
        strides_M: Tensor,
        camera_matrix_33: Tensor,
    ) -> Objects3D:
        """Decode codes to objects; for the arguments see :meth:`encode`.

        ``directions_M`` may also be bool, or probabilities.
        """
        depths_M = (
            codes_M10[:, CODE_PARTS["depth"]].clamp(-_LIMIT, _LIMIT).exp().squeeze(1)
            * self.metres_per_stride
            * focal_length(camera_matrix_33)
            / strides_M
        )
        pixels_M2 = points_M2 + codes_M10[:, CODE_PARTS["offset"]] * strides_M[:, None]
        pixels_M3 = torch.cat([pixels_M2, torch.ones_like(pixels_M2[:, :1])], dim=1)
        rays_M3 = pixels_M3 @ torch.linalg.inv(camera_matrix_33).T
        centers_M3 = rays_M3 * depths_M[:, None]
        logarithms_M3 = codes_M10[:, CODE_PARTS["size"]].clamp(-_LIMIT, _LIMIT)
        turned_M = (directions_M > 0.5).to(codes_M10.dtype)
        observed_M = self._axis(codes_M10[:, CODE_PARTS["angle"]]) + math.pi * turned_M
        return Objects3D(
            centers_M3=centers_M3,
            sizes_M3=logarithms_M3.exp() * self._sizes(labels_M, centers_M3),
            yaws_M=_wrapped(observed_M + _line_of_sight(centers_M3)),
            velocities_M2=codes_M10[:, CODE_PARTS["velocity"]],
        )

    def _axis(self, angles_M2: Tensor) -> Tensor:
        """Return the angle whose double is given, in [offset, offset + pi), in radians.

        Args:
            angles_M2: sine and cosine of twice the observation angle.
        """
        halves_M = torch.atan2(angles_M2[:, 0], angles_M2[:, 1]) / 2
        return torch.remainder(halves_M - self.direction_offset, math.pi) + self.direction_offset

    def _sizes(self, labels_M: Tensor, like: Tensor) -> Tensor:
        return like.new_tensor(self.class_sizes)[labels_M]


def project(points_M3: Tensor, camera_matrix_33: Tensor) -> Tensor:
    """Project points in the camera's frame, in front of it, to pixels (M, 2)."""
    homogeneous_M3 = points_M3 @ camera_matrix_33.T
    return homogeneous_M3[:, :2] / homogeneous_M3[:, 2:]


def focal_length(camera_matrix_33: Tensor) -> Tensor:
    """Return the horizontal focal length in pixels; positive even for a mirrored image."""
    return camera_matrix_33[0, 0].abs()


def _line_of_sight(centers_M3: Tensor) -> Tensor:
    """Return the rotation about y (down) from the optical axis to each centre, radians."""
    return torch.atan2(centers_M3[:, 0], centers_M3[:, 2])


def _wrapped(angles_M: Tensor) -> Tensor:
    """Wrap angles to (-pi, pi]."""
    return math.pi - torch.remainder(math.pi - angles_M, 2 * math.pi)
