"""What one location of an image says about a 3-D object, as the numbers a network regresses.

Paper: FCOS3D, Wang et al. 2021, https://arxiv.org/abs/2104.10956. Two things are different. Depth
is predicted as the size of a cell: how many metres of the world one cell of the feature map covers
where the object is, depth * stride / focal length. An object of one size then has one code in every
camera and at every level of the pyramid, which share their weights. And yaw is predicted
relative to the line of sight, since that is what the object's looks depend on.

Letters: M rows, each a location and the object it is about.
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
"""Where each part stands in a code."""
CODE_SIZE = 10
_LIMIT = 10.0
"""Logarithms are cut here, so that what an untrained network says is finite."""


@dataclass(frozen=True, eq=False)
class Objects3D:
    """M objects as one camera has them.

    Attributes:
        centers_M3: metres, camera frame (x right, y down, z forward).
        sizes_M3: metres: width, length, height.
        yaws_M: radians about the levelled camera's y axis (down), right-handed; at 0 the object's
            length points along the levelled x (right).
        velocities_M2: metres a second along the levelled x and z; NaN where unknown.
    """

    centers_M3: Tensor
    sizes_M3: Tensor
    yaws_M: Tensor
    velocities_M2: Tensor

    def __getitem__(self, rows: Tensor) -> Objects3D:
        """The objects of these rows."""
        return Objects3D(
            self.centers_M3[rows], self.sizes_M3[rows], self.yaws_M[rows], self.velocities_M2[rows]
        )


@TASK_UTILS.register_module()
class Mono3DCoder:
    """Between objects and the ten numbers a location predicts for one, without loss.

    A code is: offset from the location to the projected centre, in strides (2); logarithm of the
    metres a cell covers at the object's depth, over ``metres_per_cell`` (1); logarithm of the size
    over its class's (3); sine and cosine of twice the observation angle, which is yaw minus the
    direction of the line of sight (2); velocity in metres a second (2). Twice the angle does not
    say which way the object points along its axis: the direction does, in {0, 1}.

    Args:
        class_sizes: width, length and height in metres that are usual for each class. They only
            say where a size's code is zero.
        metres_per_cell: what a cell usually covers; likewise for depth.
        direction_offset: radians, observation angle at which the direction changes. A quarter turn
            lies between those of traffic, seen lengthwise or from the side.

    Raises:
        ConfigError: if a size or ``metres_per_cell`` is not positive.
    """

    def __init__(
        self,
        *,
        class_sizes: Sequence[Sequence[float]],
        metres_per_cell: float = 0.5,
        direction_offset: float = math.pi / 4,
    ) -> None:
        if not class_sizes or any(len(size) != 3 or not min(size) > 0 for size in class_sizes):
            raise ConfigError(
                f"class_sizes={class_sizes} must be a width, length and height above 0 metres for "
                "each class"
            )
        if not metres_per_cell > 0:
            raise ConfigError(f"metres_per_cell={metres_per_cell} must be more than 0")
        self.class_sizes = tuple(tuple(float(each) for each in size) for size in class_sizes)
        self.metres_per_cell = metres_per_cell
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
        """Codes that decode to these objects.

        Args:
            objects: one a row, in front of the camera.
            labels_M: int64, class of each.
            points_M2: x and y of the location that is to find it, pixels of the network's input.
            strides_M: pixels from one location of its level to the next.
            camera_matrix_33: intrinsics for those pixels.

        Returns:
            codes (M, CODE_SIZE), NaN where a velocity is unknown, and directions (M,) 0.0 or 1.0.
        """
        centers_M3 = objects.centers_M3
        pixels_M2 = project(centers_M3, camera_matrix_33)
        metres_M = centers_M3[:, 2] * strides_M / focal_length(camera_matrix_33)
        observed_M = objects.yaws_M - _line_of_sight(centers_M3)
        angles_M2 = torch.stack([(2 * observed_M).sin(), (2 * observed_M).cos()], dim=1)
        # Asked of the decoded axis, so that rounding at the offset cannot turn an object round.
        turn_M = observed_M - self._axis(angles_M2)
        codes_M10 = torch.cat(
            [
                (pixels_M2 - points_M2) / strides_M[:, None],
                (metres_M / self.metres_per_cell).log()[:, None],
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
        """The objects that codes stand for; arguments as in :meth:`encode`.

        ``directions_M`` may also be bool, or probabilities.
        """
        depths_M = (
            codes_M10[:, CODE_PARTS["depth"]].clamp(-_LIMIT, _LIMIT).exp().squeeze(1)
            * self.metres_per_cell
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
        """Angle of the axis that a doubled angle stands for, within a half turn of the offset."""
        halves_M = torch.atan2(angles_M2[:, 0], angles_M2[:, 1]) / 2
        return torch.remainder(halves_M - self.direction_offset, math.pi) + self.direction_offset

    def _sizes(self, labels_M: Tensor, like: Tensor) -> Tensor:
        return like.new_tensor(self.class_sizes)[labels_M]


def project(points_M3: Tensor, camera_matrix_33: Tensor) -> Tensor:
    """Pixels (M, 2) of points in the camera's frame, which must be in front of it."""
    homogeneous_M3 = points_M3 @ camera_matrix_33.T
    return homogeneous_M3[:, :2] / homogeneous_M3[:, 2:]


def focal_length(camera_matrix_33: Tensor) -> Tensor:
    """Pixels; of the horizontal axis, which a mirrored image may point the other way."""
    return camera_matrix_33[0, 0].abs()


def _line_of_sight(centers_M3: Tensor) -> Tensor:
    """Rotation about y (down) that turns the optical axis towards each centre, radians."""
    return torch.atan2(centers_M3[:, 0], centers_M3[:, 2])


def _wrapped(angles_M: Tensor) -> Tensor:
    """The same angles in (-pi, pi]."""
    return math.pi - torch.remainder(math.pi - angles_M, 2 * math.pi)
