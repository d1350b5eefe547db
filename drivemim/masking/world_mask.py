"""World masks: one mask is drawn on the world around the clip and projected into every frame.

Letters: G masks of a clip, F frames that share one, K waves.
"""

import math
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import normalize

from drivemim.clips import Clips
from drivemim.geometry.backprojection import backproject_patches, valid_bounding_box
from drivemim.masking.strategy import MaskContext, MaskScores, MaskStrategy, check_numbers
from drivemim.registry import MASKS

_WAVES = 24
"""Number of plane waves in a field: enough for nearly normally distributed sums. Time and memory
are proportional to it."""
_PARALLAX_TOLERANCE = 2.5
"""Assumed error of the parallax of a patch with a guessed depth, in multiples of the parallax at
the wall."""
_TILT_BANDWIDTH = 0.5
"""Width of the bumps that tilt the field, radians; about half a camera's field of view."""
_RIDGE_LAMBDA = 0.01
"""Weight of the ridge penalty. Frames that look in the same direction have the same bump; without
the penalty, the heights of their bumps would not be unique."""
_TILT_ROUNDS = 3
"""Rounds of tilting; each reduces the differences between the frames' thresholds that the previous
round left. On a rig of six cameras, the mean deviation of the thresholds fell from 1.39 to 0.37,
0.25 and 0.23 in three rounds (standard deviation of a field: 3)."""
_SHARED_OVER = ("both", "time", "cameras")


@MASKS.register_module()
class WorldMask(MaskStrategy):
    """Hide the same part of the world at every time step and in every camera.

    A hidden region stays hidden where the car's motion moves it to and where a neighbouring camera
    sees it. Every patch looks at a world point: at the depth of its lidar points if it has any,
    else on flat ground or on a wall around the cameras. A smooth random field scores the patches.
    It depends only on the direction of the world point from the centre of the clip, which is the
    middle of the axis-aligned box around the cameras' positions.

    The field is a sum of plane waves in random directions: isotropic, without seams or poles. Two
    corrections keep the frames consistent:

    - The depth of most patches is a guess. A wrong depth shifts a patch along the camera's motion.
      So the field varies less in that direction, which makes spots longer there.
    - All frames hide equally many patches, those above the frame's own threshold on the field. If
      the thresholds differed, one frame would show what another hides. So a smooth function of
      direction, the same for all frames, is subtracted from the field until all thresholds are
      nearly equal.

    Moving objects do not stay where the mask assumes them to be; use
    ``ObjectMask(base=WorldMask)`` for them.

    Args:
        mask_ratio: fraction of every frame's patches that is hidden, in [0, 1].
        shared_over: "both" shares one mask between all frames; "time" only between the time steps
            of a camera; "cameras" only between the cameras of a time step.
        spot_size: width of a hidden or visible spot in patches, in [1, infinity). Narrower spots
            leak more, because the borders of spots do not coincide with those of patches.
        wall_distance: distance from the cameras to the wall at the end of the ground, metres, in
            (0, infinity).

    Example:
        >>> clips = Clips.from_images(images, intrinsics=intrinsics, poses=poses)
        >>> mask_BTNhw = WorldMask()(clips)

    Raises:
        ValueError: if an argument is outside its range.
    """

    reads: ClassVar[frozenset[str]] = frozenset({"lidar"})

    def __init__(
        self,
        *,
        mask_ratio: float = 0.75,
        shared_over: str = "both",
        spot_size: float = 6.0,
        wall_distance: float = 10.0,
    ) -> None:
        super().__init__(mask_ratio=mask_ratio)
        if shared_over not in _SHARED_OVER:
            raise ValueError(
                f"shared_over={shared_over!r} must be one of {', '.join(map(repr, _SHARED_OVER))}"
            )
        check_numbers(spot_size=spot_size, wall_distance=wall_distance)
        if not 1 <= spot_size < math.inf:
            raise ValueError(f"spot_size={spot_size} must be in [1, infinity)")
        if not 0 < wall_distance < math.inf:
            raise ValueError(f"wall_distance={wall_distance} must be in (0, infinity)")
        self.shared_over, self.spot_size, self.wall_distance = shared_over, spot_size, wall_distance

    def score(self, context: MaskContext) -> MaskScores:
        """Score the patches by the field in the directions of their world points."""
        context.clips.require("WorldMask", "intrinsics", "poses")
        # In half precision, frames would compute different directions for the same point.
        with torch.autocast(context.device.type, enabled=False):
            return MaskScores(scores_BTNhw=self._field(context))

    def _field(self, context: MaskContext) -> Tensor:
        """Return the values of the corrected field at the patches: (B, T, N, h, w)."""
        clips = context.clips
        points_BTNhw3 = backproject_patches(
            clips.intrinsics_BTN33,
            clips.camera_to_clip_BTN44,
            clips.valid_BTN,
            clips.points_BTNP3,
            context.grid,
            clips.image_size,
            self.wall_distance,
        )
        # From here on, a clip has G masks, each for F frames.
        positions_BGF3 = self._grouped(clips.camera_to_clip_BTN44[..., :3, 3])
        valid_BGF = self._grouped(clips.valid_BTN)
        center_BG3, _ = valid_bounding_box(positions_BGF3, valid_BGF)
        covariance_BG33 = _position_covariance(positions_BGF3, center_BG3, valid_BGF)
        directions_BGFL3 = normalize(
            self._grouped(points_BTNhw3.flatten(-3, -2)) - center_BG3[:, :, None, None], dim=-1
        )
        angle_B = self.spot_size * _patch_angle(clips, context.grid)
        # A point at the wall has a parallax of s / wall_distance radians for a camera s metres from
        # the centre. A guessed depth makes an error of _PARALLAX_TOLERANCE times this parallax. A
        # quarter of a wavelength is angle / 2, so in this unit the error is s times scale:
        scale_B = 2 * _PARALLAX_TOLERANCE / (self.wall_distance * angle_B)
        field_BGFL = _waves(
            directions_BGFL3,
            self._draws(context),
            angle_B,
            covariance_BG33 * scale_B.square()[:, None, None, None],
        )
        field_BGFL = _equalize_frames(field_BGFL, directions_BGFL3, valid_BGF, context.num_masked)
        return self._ungrouped(field_BGFL, context)

    def _grouped(self, values_BTN: Tensor) -> Tensor:
        """Group the frames that share a mask: (B, T, N, ...) to (B, G, F, ...)."""
        if self.shared_over == "both":
            return values_BTN.flatten(1, 2)[:, None]
        return values_BTN.transpose(1, 2) if self.shared_over == "time" else values_BTN

    def _ungrouped(self, field_BGFL: Tensor, context: MaskContext) -> Tensor:
        """Undo ``_grouped``: (B, G, F, L) to (B, T, N, h, w)."""
        if self.shared_over == "time":
            field_BGFL = field_BGFL.transpose(1, 2)
        return field_BGFL.reshape(*context.clips.shape, *context.grid)

    def _draws(self, context: MaskContext) -> Tensor:
        """Draw uniform numbers for the K waves of every mask: (B, G, K, 3)."""
        if self.shared_over == "time":
            return context.draw_per_camera(_WAVES, 3)[:, 0]
        masks = 1 if self.shared_over == "both" else context.clips.shape[1]
        return context.draw_per_clip(masks, _WAVES, 3)


def _patch_angle(clips: Clips, grid: tuple[int, int]) -> Tensor:
    """Return the viewing angle of a patch at the image centre, radians (B,).

    This is the median of a clip's frames; 1 for a clip without a valid frame.
    """
    (h, w), (height, width) = grid, clips.image_size
    focal_BTN = (clips.intrinsics_BTN33[..., 0, 0] * clips.intrinsics_BTN33[..., 1, 1]).abs().sqrt()
    angle_BTN = math.sqrt(width / w * height / h) / focal_BTN.clamp(min=1e-3)
    angle_BF = torch.where(clips.valid_BTN, angle_BTN, torch.nan).flatten(1)
    # A mean would depend on the order of the cameras in its last bit; a median does not.
    return angle_BF.nanmedian(dim=1).values.nan_to_num(nan=1.0)


def _position_covariance(positions_BGF3: Tensor, center_BG3: Tensor, valid_BGF: Tensor) -> Tensor:
    """Return the mean outer product of the valid frames' offsets from the centre.

    Returns:
        (B, G, 3, 3), square metres.
    """
    offset_BGF3 = (positions_BGF3 - center_BG3[:, :, None]).double() * valid_BGF[..., None]
    count_BG11 = valid_BGF.sum(dim=-1).clamp(min=1)[..., None, None]
    covariance_BG33 = offset_BGF3.transpose(-1, -2) @ offset_BGF3 / count_BG11
    return covariance_BG33.to(positions_BGF3.dtype)


def _waves(
    directions_BGFL3: Tensor, draws_BGK3: Tensor, angle_B: Tensor, shifts_BG33: Tensor
) -> Tensor:
    """Return a sum of random plane waves, all of the same wavelength, for each direction.

    Args:
        directions_BGFL3: float, unit vectors.
        draws_BGK3: float in [0, 1), two numbers for a wave's direction, one for its phase.
        angle_B: float, half the wavelength, radians.
        shifts_BG33: float, covariance of the directions' errors, in squared quarters of a
            wavelength. A wave is stretched by sqrt(1 + variance of the errors along it).

    Returns:
        field_BGFL: float.
    """
    up_BGK = 2 * draws_BGK3[..., 0] - 1
    around_BGK = 2 * math.pi * draws_BGK3[..., 1]
    horizontal_BGK = (1 - up_BGK.square()).sqrt()
    waves_BGK3 = (
        torch.stack(
            [horizontal_BGK * around_BGK.cos(), horizontal_BGK * around_BGK.sin(), up_BGK], dim=-1
        )
        * (math.pi / angle_B)[:, None, None, None]
    )
    # Waves are isotropic, so all square roots of the inverse of (1 + shifts) are equivalent.
    eye_33 = torch.eye(3, dtype=shifts_BG33.dtype, device=shifts_BG33.device)
    root_BG33 = torch.linalg.cholesky_ex(eye_33 + shifts_BG33).L
    waves_BG3K = torch.linalg.solve_triangular(
        root_BG33.transpose(-1, -2), waves_BGK3.transpose(-1, -2), upper=True
    )
    phases_BG1K = 2 * math.pi * draws_BGK3[:, :, None, :, 2]
    B, G, F, L, _ = directions_BGFL3.shape
    field_BGFLK: Tensor = directions_BGFL3.reshape(B, G, F * L, 3) @ waves_BG3K
    field_BGFLK = field_BGFLK.add_(phases_BG1K).cos_()
    return field_BGFLK.sum(dim=-1).reshape(B, G, F, L)


def _equalize_frames(
    field_BGFL: Tensor, directions_BGFL3: Tensor, valid_BGF: Tensor, num_masked: int
) -> Tensor:
    """Tilt the field so that all frames hide their budget at nearly the same threshold.

    A smooth function of direction is subtracted: a sum of bumps around the frames' viewing
    directions, with heights from ridge regression on the thresholds' deviations from their median.
    """
    B, G, F, L = field_BGFL.shape
    views_BGF3 = normalize(directions_BGFL3.mean(dim=-2), dim=-1)
    cosines_BGCF = directions_BGFL3.reshape(B, G, F * L, 3) @ views_BGF3.transpose(-1, -2)
    # Missing frames have no bump: the exponential of minus infinity is 0.
    top_BG1F = torch.where(valid_BGF, 1.0, torch.inf)[:, :, None]
    bumps_BGCF = cosines_BGCF.sub_(top_BG1F).div_(_TILT_BANDWIDTH**2).exp_()
    bump_means_BGFF = bumps_BGCF.reshape(B, G, F, L, F).mean(dim=-2).double() * valid_BGF[..., None]
    normal_BGFF = bump_means_BGFF.transpose(-1, -2) @ bump_means_BGFF
    normal_BGFF.diagonal(dim1=-2, dim2=-1).add_(_RIDGE_LAMBDA)
    for _ in range(_TILT_ROUNDS):
        threshold_BGF = field_BGFL.kthvalue(min(max(L - num_masked, 1), L), dim=-1).values
        threshold_BGF = torch.where(valid_BGF, threshold_BGF, torch.nan)
        median_BG1 = threshold_BGF.nanmedian(dim=-1, keepdim=True).values
        excess_BGF1 = (threshold_BGF - median_BG1).nan_to_num()[..., None].double()
        target_BGF1 = bump_means_BGFF.transpose(-1, -2) @ excess_BGF1
        heights_BGF1 = torch.linalg.solve_ex(normal_BGFF, target_BGF1).result.to(field_BGFL.dtype)
        field_BGFL = field_BGFL - (bumps_BGCF @ heights_BGF1).reshape(B, G, F, L)
    return field_BGFL
