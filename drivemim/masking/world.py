"""World masks: one mask is drawn on the world around the clip and read from every frame."""

import math
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import normalize

from drivemim.clips import Clips
from drivemim.geometry.world import cell_points, centre_and_reach
from drivemim.masking.base import MaskContext, MaskStrategy, Ranking
from drivemim.registry import MASKS

_WAVES = 24
_SWAY = 2.5
"""How many times its typical parallax a guessed depth may be wrong by, in the stretch of spots."""
_ROOM = 0.5
"""Radians over which the field is tilted alike; about half of what a camera sees."""
_RIDGE = 0.01
_ROUNDS = 3
_ACROSS = ("both", "time", "cameras")


@MASKS.register_module()
class WorldMask(MaskStrategy):
    """Hide the same part of the world at every time and in every camera.

    What is hidden now stays hidden where the car's motion moves it to, and where the neighbouring
    camera sees it. Every cell gets the point of the world that it looks at: its lidar points' if
    it has any, else a point on flat ground or on a wall around the cameras. A smooth random
    field, which depends on nothing but the direction in which the point lies from the middle of
    the clip, ranks the cells.

    The field is a sum of plane waves of random directions: isotropic, without seams or poles. Two
    things keep the frames in agreement where a plain field would not. The depth of most cells is a
    guess, and a wrong one shifts a cell along the way that the camera moved; so the field
    varies less along that way, which makes spots longer there. And all frames hide equally many
    cells, so a frame that the field would hide in large part has to show what others hide; so the
    field is tilted, smoothly and alike for all frames, until every frame meets its budget at
    nearly the same level.

    Moving objects do not stay where the mask takes them to be; ``ObjectMask(rest=WorldMask)``
    sees to them.

    Args:
        ratio: share of every frame's cells that is hidden, in [0, 1].
        across: "both"; "time" for one mask a camera, which follows its motion only; "cameras" for
            one mask a time, which follows from camera to camera only.
        blob: width of a hidden or visible spot, cells, in [1, infinity). Narrower spots leak more,
            because cells are shown whole and spots do not end where cells do.
        far: distance from the cameras to the wall that ends the ground, metres, in
            (0, infinity).

    Raises:
        ValueError: if an argument is outside its range.
    """

    reads: ClassVar[frozenset[str]] = frozenset({"lidar"})

    def __init__(
        self,
        *,
        ratio: float = 0.75,
        across: str = "both",
        blob: float = 6.0,
        far: float = 10.0,
    ) -> None:
        super().__init__(ratio=ratio)
        if across not in _ACROSS:
            raise ValueError(f"across={across!r} must be one of {', '.join(map(repr, _ACROSS))}")
        if not 1 <= blob < math.inf:
            raise ValueError(f"blob={blob} must be in [1, infinity)")
        if not 0 < far < math.inf:
            raise ValueError(f"far={far} must be in (0, infinity)")
        self.across, self.blob, self.far = across, blob, far

    def rank(self, context: MaskContext) -> Ranking:
        """Rank the cells by the field in the direction of the points that they look at."""
        # In half precision, the frames would not agree on where a point is.
        with torch.autocast(context.device.type, enabled=False):
            return Ranking(scores_BTNhw=self._field(context))

    def _field(self, context: MaskContext) -> Tensor:
        clips = context.clips
        points_BTNhw3 = cell_points(
            clips.intrinsics_BTN33,
            clips.camera_to_clip_BTN44,
            clips.valid_BTN,
            clips.points_BTNP3,
            context.grid,
            clips.image_size,
            self.far,
        )
        # From here on, a clip has G masks, each of them read from F frames.
        positions_BGF3 = self._grouped(clips.camera_to_clip_BTN44[..., :3, 3])
        valid_BGF = self._grouped(clips.valid_BTN)
        centre_BG3, _ = centre_and_reach(positions_BGF3, valid_BGF)
        spread_BG33 = _spread(positions_BGF3, centre_BG3, valid_BGF)
        directions_BGFL3 = normalize(
            self._grouped(points_BTNhw3.flatten(-3, -2)) - centre_BG3[:, :, None, None], dim=-1
        )
        angle_B = self.blob * _cell_angle(clips, context.grid)
        field_BGFL = _waves(
            directions_BGFL3,
            self._draws(context),
            angle_B,
            spread_BG33 * (2 * _SWAY / (self.far * angle_B)).square()[:, None, None, None],
        )
        field_BGFL = _levelled(field_BGFL, directions_BGFL3, valid_BGF, context.budget)
        return self._ungrouped(field_BGFL, context)

    def _grouped(self, values_BTN: Tensor) -> Tensor:
        """Sort frames by the mask they are read from: (B, T, N, ...) to (B, G, F, ...)."""
        if self.across == "both":
            return values_BTN.flatten(1, 2)[:, None]
        return values_BTN.transpose(1, 2) if self.across == "time" else values_BTN

    def _ungrouped(self, field_BGFL: Tensor, context: MaskContext) -> Tensor:
        if self.across == "time":
            field_BGFL = field_BGFL.transpose(1, 2)
        return field_BGFL.reshape(*context.clips.shape, *context.grid)

    def _draws(self, context: MaskContext) -> Tensor:
        """Uniform numbers for the waves of every mask: (B, G, K, 3)."""
        if self.across == "time":
            return context.per_camera(_WAVES, 3)[:, 0]
        masks = 1 if self.across == "both" else context.clips.shape[1]
        return context.per_clip(masks, _WAVES, 3)


def _cell_angle(clips: Clips, grid: tuple[int, int]) -> Tensor:
    """Angle under which a cell in the middle of the clip's usual camera is seen, radians (B,)."""
    (h, w), (height, width) = grid, clips.image_size
    focal_BTN = (clips.intrinsics_BTN33[..., 0, 0] * clips.intrinsics_BTN33[..., 1, 1]).abs().sqrt()
    angle_BTN = math.sqrt(width / w * height / h) / focal_BTN.clamp(min=1e-3)
    angle_BF = torch.where(clips.valid_BTN, angle_BTN, torch.nan).flatten(1)
    # A median, unlike a mean, does not depend on the order of the cameras in its last bit.
    return angle_BF.nanmedian(dim=1).values.nan_to_num(nan=1.0)


def _spread(positions_BGF3: Tensor, centre_BG3: Tensor, valid_BGF: Tensor) -> Tensor:
    """Mean outer product of the valid cameras' offsets from the centre: metres squared, BG33."""
    offset_BGF3 = (positions_BGF3 - centre_BG3[:, :, None]).double() * valid_BGF[..., None]
    count_BG11 = valid_BGF.sum(dim=-1).clamp(min=1)[..., None, None]
    spread_BG33 = offset_BGF3.transpose(-1, -2) @ offset_BGF3 / count_BG11
    return spread_BG33.to(positions_BGF3.dtype)


def _waves(
    directions_BGFL3: Tensor, draws_BGK3: Tensor, angle_B: Tensor, shifts_BG33: Tensor
) -> Tensor:
    """Sum of plane waves of one length, read at directions.

    Args:
        directions_BGFL3: float, unit vectors.
        draws_BGK3: float in [0, 1), two numbers for the wave's direction, one for its phase.
        angle_B: float, half the length of the waves, radians.
        shifts_BG33: float, positive semi-definite: in which directions, and how far in relation
            to the waves, the place of what is seen is uncertain.

    Returns:
        field_BGFL: float.
    """
    up_BGK = 2 * draws_BGK3[..., 0] - 1
    around_BGK = 2 * math.pi * draws_BGK3[..., 1]
    level_BGK = (1 - up_BGK.square()).sqrt()
    waves_BGK3 = (
        torch.stack([level_BGK * around_BGK.cos(), level_BGK * around_BGK.sin(), up_BGK], dim=-1)
        * (math.pi / angle_B)[:, None, None, None]
    )
    # Waves are isotropic, so any square root of the inverse of (1 + shifts) stretches them alike.
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


def _levelled(
    field_BGFL: Tensor, directions_BGFL3: Tensor, valid_BGF: Tensor, budget: int
) -> Tensor:
    """Tilt the field so that every frame meets its budget at nearly the same level.

    What is subtracted is smooth in the direction, a sum of bumps around the directions in which
    the frames look; least squares choose their heights.
    """
    B, G, F, L = field_BGFL.shape
    views_BGF3 = normalize(directions_BGFL3.mean(dim=-2), dim=-1)
    cosines_BGCF = directions_BGFL3.reshape(B, G, F * L, 3) @ views_BGF3.transpose(-1, -2)
    # Missing frames have no bump: the exponential of minus infinity.
    top_BG1F = torch.where(valid_BGF, 1.0, torch.inf)[:, :, None]
    bumps_BGCF = cosines_BGCF.sub_(top_BG1F).div_(_ROOM**2).exp_()
    felt_BGFF = bumps_BGCF.reshape(B, G, F, L, F).mean(dim=-2).double() * valid_BGF[..., None]
    normal_BGFF = felt_BGFF.transpose(-1, -2) @ felt_BGFF
    normal_BGFF.diagonal(dim1=-2, dim2=-1).add_(_RIDGE)
    for _ in range(_ROUNDS):
        level_BGF = field_BGFL.kthvalue(min(max(L - budget, 1), L), dim=-1).values
        level_BGF = torch.where(valid_BGF, level_BGF, torch.nan)
        usual_BG1 = level_BGF.nanmedian(dim=-1, keepdim=True).values
        excess_BGF1 = (level_BGF - usual_BG1).nan_to_num()[..., None].double()
        wanted_BGF1 = felt_BGFF.transpose(-1, -2) @ excess_BGF1
        heights_BGF1 = torch.linalg.solve_ex(normal_BGFF, wanted_BGF1).result.to(field_BGFL.dtype)
        field_BGFL = field_BGFL - (bumps_BGCF @ heights_BGF1).reshape(B, G, F, L)
    return field_BGFL
