"""Auxiliary target: scale and height above the ground of small squares, measured by lidar.

Depth as a pretraining target of detectors: DD3D (https://arxiv.org/abs/2108.06417), ViDAR
(https://arxiv.org/abs/2312.17655). Lidar is read in pretraining only; the detector needs none.

Letters: P lidar points, S squares, Q values of a square.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from torch import Tensor

from drivemim.clips import Clips
from drivemim.errors import ConfigError
from drivemim.geometry.backprojection import unproject_points
from drivemim.models.patches import PatchMask
from drivemim.models.targets.reconstruction_target import Target, global_mean
from drivemim.registry import MODELS


@MODELS.register_module()
class LidarTarget(Target):
    """Target and loss: what lidar measured in each ``size`` x ``size`` square of a patch.

    The nearest return of a square gives two numbers:

    - scale: logarithm of the patches per metre at its depth, ``log(f / (depth * patch_size))`` with
      the focal length f in pixels. Unlike depth, it changes with a crop in the way the image does.
    - height above the plane z = 0 of the clip frame, metres, clipped to [0, ``max_height``].

    Squares without a return are ignored.

    Args:
        size: pixels along the side of a square; must divide the encoder's ``mask_patch_size``.
        max_height: metres.
        patches: ``all`` patches, or only the ``hidden`` ones.
        weight: factor of the loss.
        placebo: take the values from another clip of the batch, as the control of a study: they
            are as frequent and as large, but do not belong to the image.

    Attributes:
        name, reads: see ``Target``.

    Raises:
        ConfigError: if an argument is out of range.
    """

    name = "lidar"
    reads: ClassVar[frozenset[str]] = frozenset({"lidar"})

    def __init__(
        self,
        *,
        size: int = 4,
        max_height: float = 3.0,
        patches: Literal["all", "hidden"] = "all",
        weight: float = 1.0,
        placebo: bool = False,
    ) -> None:
        super().__init__(weight=weight)
        if size < 1 or not max_height > 0:
            raise ConfigError(
                f"LidarTarget: size={size} must be at least 1, and max_height={max_height} positive"
            )
        if patches not in ("all", "hidden"):
            raise ConfigError(f"LidarTarget: patches={patches!r} must be 'all' or 'hidden'")
        self.size = size
        self.max_height = max_height
        self.patches = patches
        self.placebo = placebo

    def channels(self, mask_patch_size: int) -> int:
        """Return the number of values to predict per patch: two per square.

        Raises:
            ConfigError: if ``size`` does not divide the patch.
        """
        if mask_patch_size % self.size:
            raise ConfigError(
                f"LidarTarget: size={self.size} must divide mask_patch_size={mask_patch_size}"
            )
        return 2 * (mask_patch_size // self.size) ** 2

    @torch.no_grad()
    def forward(self, clips: Clips, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Compute the targets of all patches.

        Args:
            clips: clips with lidar points; X is B * T * N.
            grid: rows and columns of patches (h, w).

        Returns:
            values_XLSQ: float (X, L, S, 2), scale and height of the S squares of a patch in
                row-major order; 0 where nothing was measured.
            known_XLS: bool, whether a square of a valid frame has a return.

        Raises:
            ConfigError: if the clips have no intrinsics or poses, or if ``placebo`` is set and the
                batch has a single clip.
        """
        clips.require("LidarTarget", "intrinsics", "poses")
        if self.placebo and len(clips) < 2:
            raise ConfigError(
                "LidarTarget: placebo=True takes the values of another clip, but a process has a "
                "batch of one; set train_dataloader.batch_size=2 or more"
            )
        (h, w), side = grid, clips.image_size[0] // grid[0] // self.size
        rows, columns = h * side, w * side
        # The squares of an image are numbered in row-major order. Autocast is off, because in half
        # precision heights would be off by up to 0.3 m.
        with torch.autocast(clips.images_BTNHWC.device.type, enabled=False):
            square_XP, scale_XP, height_XP = self._returns(clips, (rows, columns))
        scale_XP = scale_XP - math.log(side * self.size)
        empty_XS = scale_XP.new_full((len(scale_XP), rows * columns + 1), -torch.inf)
        scale_XS = empty_XS.scatter_reduce(1, square_XP, scale_XP, "amax")
        # Of several equally near returns, the highest one is used.
        is_nearest_XP = scale_XP == scale_XS.gather(1, square_XP)
        height_XP = height_XP.masked_fill(~is_nearest_XP, -torch.inf)
        height_XS = empty_XS.scatter_reduce(1, square_XP, height_XP, "amax")
        values_XSQ = torch.stack([scale_XS, height_XS], dim=-1)[:, :-1]
        known_XS = scale_XS[:, :-1].isfinite() & clips.valid_BTN.flatten()[:, None]
        values_XSQ = values_XSQ.masked_fill(~known_XS[..., None], 0.0)
        values_XLSQ = _by_patch(values_XSQ, grid, side)
        known_XLS = _by_patch(known_XS[..., None], grid, side)[..., 0]
        if self.placebo:
            frames_per_clip = len(known_XS) // len(clips)
            values_XLSQ = values_XLSQ.roll(frames_per_clip, 0)
            known_XLS = known_XLS.roll(frames_per_clip, 0)
            known_XLS = known_XLS & clips.valid_BTN.flatten()[:, None, None]
        return values_XLSQ, known_XLS

    def auxiliary_loss(
        self, predictions_XLP: Tensor, images_BTNCHW: Tensor, clips: Clips, mask: PatchMask
    ) -> Tensor:
        """Compute the mean squared error of the squares with a return, see ``Target``.

        Returns:
            Scalar; zero with zero gradients if no square has a return.
        """
        values_XLSQ, known_XLS = self(clips, mask.grid)
        if self.patches == "hidden":
            known_XLS = known_XLS & mask.mask_Xhw.flatten(1)[..., None]
        predictions_XLSQ = predictions_XLP.float().reshape(values_XLSQ.shape)
        errors_XLS = (predictions_XLSQ - values_XLSQ).square().mean(dim=-1)
        weights_XLS = known_XLS.to(errors_XLS.dtype)
        return self.weight * global_mean(errors_XLS, weights_XLS)

    def _returns(self, clips: Clips, squares: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
        """Return the square, log of pixels per metre, and height of every lidar return.

        Args:
            clips: clips with lidar points.
            squares: rows and columns of squares in an image.

        Returns:
            Int64 and two floats (X, P). Padding, and returns outside the image, have the square
            after the last one.
        """
        points_XP3 = clips.points_BTNP3.flatten(0, 2).float()
        intrinsics_X33 = clips.intrinsics_BTN33.flatten(0, 2).float()
        poses_X44 = clips.camera_to_clip_BTN44.flatten(0, 2).float()
        (rows, columns), (height, width) = squares, clips.image_size
        column_XP = (points_XP3[..., 0] * (columns / width)).floor()
        row_XP = (points_XP3[..., 1] * (rows / height)).floor()
        is_inside_XP = (column_XP >= 0) & (column_XP < columns) & (row_XP >= 0) & (row_XP < rows)
        is_return_XP = points_XP3[..., 2].isfinite() & is_inside_XP
        square_XP = torch.where(is_return_XP, row_XP * columns + column_XP, rows * columns)
        points_XP3 = torch.where(is_return_XP[..., None], points_XP3, 1.0)
        scale_XP = (_focal_length(intrinsics_X33)[:, None] / points_XP3[..., 2]).log()
        height_XP = unproject_points(points_XP3, intrinsics_X33, poses_X44)[..., 2]
        return square_XP.long(), scale_XP, height_XP.clamp(0, self.max_height)


def _focal_length(intrinsics_X33: Tensor) -> Tensor:
    """Return the geometric mean of the focal lengths of both axes, pixels: (X,)."""
    focal_X: Tensor = (intrinsics_X33[:, 0, 0] * intrinsics_X33[:, 1, 1]).abs().sqrt()
    return focal_X


def _by_patch(values_XSQ: Tensor, grid: tuple[int, int], side: int) -> Tensor:
    """Group squares by patch: (X, h * side * w * side, Q) to (X, L, side * side, Q)."""
    (h, w), (X, _, Q) = grid, values_XSQ.shape
    parts = values_XSQ.reshape(X, h, side, w, side, Q).permute(0, 1, 3, 2, 4, 5)
    return parts.reshape(X, h * w, side * side, Q)
