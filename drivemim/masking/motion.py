"""Motion masks: hide moving objects first.

Each frame is compared with its reference: the previous valid frame of the same camera, or the next
one if it is the camera's first.

Letters: H W points at which frames are compared, several per patch; R numbers of an image row;
V values of a frame.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, grid_sample, interpolate, pad

from drivemim.clips import Clips
from drivemim.geometry.backprojection import backproject_patches, project_points
from drivemim.masking.strategy import (
    MaskContext,
    MaskScores,
    MaskStrategy,
    build_base,
    check_fraction,
    check_numbers,
    fraction_of_budget,
    gumbel,
    minmax_normalize,
    tier_scores,
    topk_mask,
)
from drivemim.registry import MASKS

_FINE = 4
"""Points per side of a patch at which frames are compared."""
_NEAREST = 0.1
"""Smallest depth at which the reference camera sees a point, metres."""
_WALL_MULTIPLES = (0.5, 2.0, 100.0)
"""Distances of the walls that are tried, in multiples of ``wall_distance``; the last is practically
infinite."""
_NOISE = 0.02
"""Changes of brightness below this are noise; 1 is from black to white."""
_OUTSIDE = 1e4
"""Coordinate for ``grid_sample`` of points behind the reference camera: far outside the image."""


@MASKS.register_module()
class MotionMask(MaskStrategy):
    """Hide patches that changed by more than the camera's own motion explains.

    MGMAE (Huang et al., 2023) uses motion to find the informative patches. This class needs no
    optical flow: calibration and ego motion predict how the static world moves, and
    ``ego_compensated_change`` measures what moves on its own. Patches with lidar points take their
    depth from them; elsewhere, static surfaces are assumed to lie on flat ground or on an upright
    wall around the cameras. A fraction of the budget is drawn from the changed patches, with
    chances proportional to the change. ``base`` scores all other patches.

    Args:
        mask_ratio: fraction of every frame's patches that is hidden, in [0, 1].
        budget_fraction: fraction of a frame's hidden patches that is drawn from the changed ones,
            in [0, 1]. If a frame has too few changed patches, or the clip has one time step, other
            patches fill the budget.
        wall_distance: distance from the cameras to the assumed wall, where the ground ends, metres,
            in (0, infinity). Walls at half, twice and 100 times this distance are tried.
        base: strategy that scores all other patches, or its config; ``RandomMask`` by default.

    Example:
        >>> clips = Clips.from_images(images, intrinsics=intrinsics, poses=poses)
        >>> mask_BTNhw = MotionMask()(clips)

    Raises:
        ValueError: if an argument is outside its range.
    """

    reads: ClassVar[frozenset[str]] = frozenset({"lidar"})

    def __init__(
        self,
        *,
        mask_ratio: float = 0.75,
        budget_fraction: float = 0.5,
        wall_distance: float = 10.0,
        base: MaskStrategy | dict[str, Any] | None = None,
    ) -> None:
        super().__init__(mask_ratio=mask_ratio)
        check_fraction("budget_fraction", budget_fraction)
        check_numbers(wall_distance=wall_distance)
        if not 0 < wall_distance < float("inf"):
            raise ValueError(f"wall_distance={wall_distance} must be in (0, infinity)")
        self.budget_fraction, self.wall_distance = budget_fraction, wall_distance
        self.base = build_base(base)

    def score(self, context: MaskContext) -> MaskScores:
        """Score the changed patches that are drawn above all others, which ``base`` scores."""
        draws_BTNhw = context.draw_per_frame(*context.grid)
        base_scores = self.base.score(context)
        change_BTNhw = ego_compensated_change(
            context.clips, context.grid, self.wall_distance, caller="MotionMask"
        )
        log_weights_BTNhw = change_BTNhw.log() + gumbel(draws_BTNhw)
        quota = fraction_of_budget(self.budget_fraction, context, base_scores)
        drawn_BTNhw = topk_mask(log_weights_BTNhw, quota) & (change_BTNhw > 0)
        scores_BTNhw = tier_scores(drawn_BTNhw, minmax_normalize(base_scores.scores_BTNhw))
        return MaskScores(scores_BTNhw=scores_BTNhw, num_masked_BTN=base_scores.num_masked_BTN)


def ego_compensated_change(
    clips: Clips,
    grid: tuple[int, int],
    wall_distance: float = 10.0,
    *,
    caller: str = "ego_compensated_change",
) -> Tensor:
    """Measure how much every patch changed beyond what the camera's own motion explains.

    Every frame is compared with its reference: the same camera's previous valid frame, or the next
    one for the first frame. Poses and depth predict where the reference shows each point if it did
    not move. The depth of a patch is known only if it contains lidar points. Elsewhere, static
    surfaces are assumed to lie on flat ground or on an upright wall around the cameras, and several
    distances of the wall are tried. A point is unchanged if, for one of them, the reference has the
    same brightness at the predicted position or one compared point beside it. A point is also
    unchanged if it is predicted outside the reference. A moving object changes the patches that it
    has left and those that it covers now.

    Args:
        clips: clips with images, and lidar points if measured depth is to be used.
        grid: patches down and across (h, w).
        wall_distance: distance from the cameras to the wall, metres; see ``MotionMask``.
        caller: name of the caller, for the error.

    Returns:
        change_BTNhw: float32 in [0, 1]; 1 is from black to white. The median of each frame is
        subtracted, so the change is 0 for at least half of the patches. It is 0 for cameras with
        one valid frame.

    Raises:
        ConfigError: if the clips have several time steps and lack intrinsics or poses.
    """
    B, T, N = clips.shape
    if T == 1 or B == 0:
        return torch.zeros(B, T, N, *grid, device=clips.valid_BTN.device)
    clips.require(caller, "intrinsics", "poses")
    with torch.autocast(clips.valid_BTN.device.type, enabled=False):
        reference_BTN, compared_BTN = _reference_step(clips.valid_BTN)
        grey_FHW = _grey_points(clips, grid)
        # grid_sample returns 0 outside the reference, where no point may count as changed. So the
        # reference's darkest and brightest neighbours are given as their distances from black and
        # from white: 0 for both allows any brightness.
        darkest_FHW = -_local_maximum(-grey_FHW)
        white_minus_brightest_FHW = 1 - _local_maximum(grey_FHW)
        bounds_F2HW = torch.stack([darkest_FHW, white_minus_brightest_FHW], dim=1)
        bounds_F2HW = _gather_reference(bounds_F2HW, reference_BTN)
        change_FHW = torch.full_like(grey_FHW, torch.inf)
        for multiple in _WALL_MULTIPLES:
            distance = wall_distance * multiple
            positions_FHW2 = _reference_positions(clips, grid, distance, reference_BTN)
            seen_F2HW = grid_sample(bounds_F2HW, positions_FHW2, align_corners=False)
            darker_FHW = seen_F2HW[:, 0] - grey_FHW
            brighter_FHW = seen_F2HW[:, 1].sub_(1).add_(grey_FHW)
            change_FHW = torch.minimum(change_FHW, torch.maximum(darker_FHW, brighter_FHW))
        patches_Fhw = adaptive_avg_pool2d(change_FHW.sub_(_NOISE).clamp_(min=0), grid)
    median_F11 = patches_Fhw.flatten(1).median(dim=1).values[:, None, None]
    change_BTNhw = (patches_Fhw - median_F11).clamp(min=0).reshape(B, T, N, *grid)
    return change_BTNhw * compared_BTN[..., None, None]


def _reference_step(valid_BTN: Tensor) -> tuple[Tensor, Tensor]:
    """Return the time step of each frame's reference, and whether both frames are valid."""
    T = valid_BTN.shape[1]
    steps_T1 = torch.arange(T, device=valid_BTN.device)[:, None]
    none_B1N = torch.full_like(valid_BTN[:, :1], -1, dtype=torch.int64)
    # The last valid step up to each step, and the next from it on; -1 and T if there is none.
    last_BTN = torch.where(valid_BTN, steps_T1, -1).cummax(dim=1).values
    previous_BTN = torch.cat([none_B1N, last_BTN[:, :-1]], dim=1)
    next_BTN = torch.where(valid_BTN, steps_T1, T).flip(1).cummin(dim=1).values.flip(1)
    following_BTN = torch.cat([next_BTN[:, 1:], none_B1N + T + 1], dim=1)
    reference_BTN = torch.where(previous_BTN >= 0, previous_BTN, following_BTN)
    return reference_BTN.clamp(max=T - 1), valid_BTN & (reference_BTN < T)


def _grey_points(clips: Clips, grid: tuple[int, int]) -> Tensor:
    """Return the brightness at the points that are compared: float32 in [0, 1] (F, H, W)."""
    (h, w), (height, _) = grid, clips.image_size
    # Two rows per point are enough. Reading all rows would take more time than all the rest.
    skip = max(1, height // (2 * _FINE * h))
    rows_FHR = clips.images_BTNHWC.flatten(0, 2)[:, ::skip].flatten(2)
    return adaptive_avg_pool2d(rows_FHR.float(), (_FINE * h, _FINE * w)) / 255


def _local_maximum(values_FHW: Tensor) -> Tensor:
    """Return the maximum of each point and its eight neighbours.

    ``max_pool2d`` would return the same maxima, but is many times slower on a CPU.
    """
    padded_FHW = pad(values_FHW, (1, 1, 1, 1), mode="replicate")
    across_FHW = padded_FHW[..., 1:-1].maximum(padded_FHW[..., :-2]).maximum(padded_FHW[..., 2:])
    return across_FHW[:, 1:-1].maximum(across_FHW[:, :-2]).maximum(across_FHW[:, 2:])


def _gather_reference(values_F: Tensor, reference_BTN: Tensor) -> Tensor:
    """Return the values of each frame's reference, in the shape of ``values_F`` [F, ...]."""
    B, T, N = reference_BTN.shape
    values_BTNV = values_F.reshape(B, T, N, -1)
    step_BTNV = reference_BTN[..., None].expand_as(values_BTNV)
    return values_BTNV.gather(1, step_BTNV).reshape(values_F.shape)


def _reference_positions(
    clips: Clips, grid: tuple[int, int], wall_distance: float, reference_BTN: Tensor
) -> Tensor:
    """Return where the reference shows each point if it did not move.

    Returns:
        (F, H, W, 2), x and y in the coordinates of ``grid_sample``: the image spans [-1, 1].
    """
    (h, w), (height, width) = grid, clips.image_size
    points_BTNhw3 = backproject_patches(
        clips.intrinsics_BTN33,
        clips.camera_to_clip_BTN44,
        clips.valid_BTN,
        clips.points_BTNP3,
        grid,
        clips.image_size,
        wall_distance,
    )
    intrinsics_F33 = _gather_reference(clips.intrinsics_BTN33.flatten(0, 2), reference_BTN)
    poses_F44 = _gather_reference(clips.camera_to_clip_BTN44.flatten(0, 2), reference_BTN)
    pixels_FL2, depth_FL = project_points(
        points_BTNhw3.flatten(0, 2).flatten(1, 2), intrinsics_F33, poses_F44
    )
    pixels_Fhw2, depth_Fhw = pixels_FL2.reshape(-1, h, w, 2), depth_FL.reshape(-1, h, w)
    size_2 = pixels_Fhw2.new_tensor([width, height])
    # The points of a patch move by almost the same amount. So motion is computed for the centres of
    # patches and interpolated between them.
    moved_Fhw2 = 2 * pixels_Fhw2 / size_2 - 1 - _patch_centers(h, w, pixels_Fhw2)
    moved_Fhw2 = torch.where(depth_Fhw[..., None] > _NEAREST, moved_Fhw2, _OUTSIDE)
    moved_Fhw2 = moved_Fhw2.clamp(-_OUTSIDE, _OUTSIDE)
    H, W = _FINE * h, _FINE * w
    moved_F2HW = interpolate(moved_Fhw2.movedim(-1, 1).contiguous(), (H, W), mode="bilinear")
    return moved_F2HW.movedim(1, -1) + _patch_centers(H, W, pixels_Fhw2)


def _patch_centers(h: int, w: int, like: Tensor) -> Tensor:
    """Return patch centres in ``grid_sample``'s coordinates: (h, w, 2), x and y in [-1, 1]."""
    x_w = (torch.arange(w, device=like.device, dtype=like.dtype) * 2 + 1) / w - 1
    y_h = (torch.arange(h, device=like.device, dtype=like.dtype) * 2 + 1) / h - 1
    y_hw, x_hw = torch.meshgrid(y_h, x_w, indexing="ij")
    return torch.stack([x_hw, y_hw], dim=-1)
