"""Leakage: the fraction of a mask's hidden content that is visible elsewhere in the clip.

The content of a frame is represented by points of known depth. Each point is transformed to the
clip frame with its camera's pose, moved along with the object it lies on, and projected into every
other frame of the clip. It counts as seen if it lies inside the image and agrees with the depth
there. This is done once per clip (``find_correspondences``). For each mask, ``leakage`` then only
checks which of the seen points are in visible patches.

Letters: P points of a clip, E patches of other frames that show them, R squares of a raster,
r c rows and columns of points, S masks.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

from drivemim.clips import Clips
from drivemim.geometry.backprojection import project_points, unproject_points

FAR = 1000.0
"""Metres; the depth test does not distinguish larger depths. The sky has depth ``inf``."""
_SKY = 1e5
"""Depth at which points of the sky are placed, metres. Ego motion of 10 m shifts them by 0.0001
radians: about a tenth of a pixel in nuScenes' images."""
_RELATIVE_TOLERANCE, _ABSOLUTE_TOLERANCE = 0.03, 0.3
"""Two depths agree if they differ by at most this fraction plus this many metres."""
_NEAREST = 0.1
"""Smallest visible depth, metres."""
_BOX_MARGIN = 0.1
"""Metres by which a point may lie outside a box and still belong to the object."""
_GROUND_MARGIN = 0.1
"""Metres above a box's bottom; points below are of the ground and do not move with the object."""
_FINE = 4
"""Squares per side of a patch, in the raster that stores lidar depths."""


@dataclass(frozen=True, kw_only=True)
class TrackBoxes:
    """The boxes of a clip's K tracks at the time of each frame.

    Attributes:
        box_to_clip_TNK44: float32, metres: from the box's axes (x along its length, y along its
            width, z along its height; origin at its centre) to the clip frame.
        size_TNK3: float32, metres along x, y and z.
        present_TNK: bool, whether the track has a box at that time.
    """

    box_to_clip_TNK44: Tensor
    size_TNK3: Tensor
    present_TNK: Tensor


@dataclass(frozen=True, kw_only=True)
class Correspondences:
    """The P points of a clip, and E patches of other frames that show these points.

    Patches are numbered through all frames of the clip: frame * h * w + row * w + column.

    Attributes:
        own_P: int64, patch that contains the point.
        middle_P: bool, whether the point is the nearest to the centre of its patch.
        point_E: int64, position among the P points.
        patch_E: int64, patch of another frame that shows the point.
        same_time_E: bool, whether that frame is of another camera at the same time step.
        shape: (T, N, h, w).
    """

    own_P: Tensor
    middle_P: Tensor
    point_E: Tensor
    patch_E: Tensor
    same_time_E: Tensor
    shape: tuple[int, int, int, int]


@dataclass(frozen=True, kw_only=True)
class Leakage:
    """Counts of one or S masks, int64 (S,). Counts of several clips can be added.

    Attributes:
        hidden: number of hidden points.
        leaked: number of hidden points that a visible patch of another frame shows.
        leaked_time: number of leaked points that only frames of other time steps show.
        leaked_cameras: number of leaked points that only other cameras show, at the same time step.
        hidden_patches: number of hidden patches that contain a point.
        leaked_patches: number of hidden patches whose point nearest to the centre leaks.
    """

    hidden: Tensor
    leaked: Tensor
    leaked_time: Tensor
    leaked_cameras: Tensor
    hidden_patches: Tensor
    leaked_patches: Tensor

    def __add__(self, other: Leakage) -> Leakage:
        names = [field.name for field in fields(self)]
        return Leakage(**{name: getattr(self, name) + getattr(other, name) for name in names})

    @property
    def fraction(self) -> Tensor:
        """Fraction of the hidden points that leak, in [0, 1]; 0 if nothing is hidden."""
        return self.leaked / self.hidden.clamp(min=1)

    @property
    def fraction_time(self) -> Tensor:
        """Fraction of the hidden points that leak only through other time steps."""
        return self.leaked_time / self.hidden.clamp(min=1)

    @property
    def fraction_cameras(self) -> Tensor:
        """Fraction of the hidden points that leak only through other cameras."""
        return self.leaked_cameras / self.hidden.clamp(min=1)

    @property
    def fraction_patches(self) -> Tensor:
        """Fraction of the hidden patches whose point nearest to the centre leaks."""
        return self.leaked_patches / self.hidden_patches.clamp(min=1)


def leakage(mask_STNhw: Tensor, correspondences: Correspondences) -> Leakage:
    """Count the points that a mask hides but another frame of the clip shows.

    Args:
        mask_STNhw: bool, True = hidden; S masks of the same clip, or a single one (T, N, h, w).
        correspondences: correspondences of that clip, on the same device.

    Raises:
        ValueError: if the shapes of mask and correspondences differ.
    """
    if tuple(mask_STNhw.shape[-4:]) != correspondences.shape:
        raise ValueError(
            f"mask is {tuple(mask_STNhw.shape)} but the correspondences are of "
            f"{correspondences.shape} (T, N, h, w)"
        )
    mask_SF = mask_STNhw.flatten(-4)
    hidden_SP = mask_SF[..., correspondences.own_P]
    shown_SE = ~mask_SF[..., correspondences.patch_E]
    at_once_SP = _any_visible(shown_SE & correspondences.same_time_E, correspondences)
    in_time_SP = _any_visible(shown_SE & ~correspondences.same_time_E, correspondences)
    leaked_SP = hidden_SP & (at_once_SP | in_time_SP)
    return Leakage(
        hidden=hidden_SP.sum(-1),
        leaked=leaked_SP.sum(-1),
        leaked_time=(leaked_SP & ~at_once_SP).sum(-1),
        leaked_cameras=(leaked_SP & ~in_time_SP).sum(-1),
        hidden_patches=(hidden_SP & correspondences.middle_P).sum(-1),
        leaked_patches=(leaked_SP & correspondences.middle_P).sum(-1),
    )


def find_correspondences(
    clips: Clips,
    grid: tuple[int, int],
    *,
    depth_TNHW: Tensor | None = None,
    track_boxes: TrackBoxes | None = None,
    per_side: int = 5,
) -> Correspondences:
    """Find the other frames of a clip that show each of its points.

    With depth maps, a frame's points are the centres of ``per_side`` x ``per_side`` parts of each
    patch, including the sky. The depth of a projected point is compared with the 3 x 3 pixels of
    the depth map around it. Without depth maps, the points are the clip's lidar points. Each patch
    is divided into 4 x 4 squares, and the depth of a projected point is compared with the other
    frame's lidar points in the 3 x 3 squares around it. If these squares contain no lidar point,
    the projected point is taken as visible.

    Points in a box move with the box. If the box is not known at the other time, its points are
    assumed not to move.

    Args:
        clips: one clip.
        grid: patches down and across (h, w).
        depth_TNHW: float, metres along each camera's z axis, covering each whole image at any
            resolution; ``inf`` for the sky. None uses the clip's lidar points.
        track_boxes: boxes of the clip's tracks; None if nothing moves.
        per_side: points per side of a patch. If odd, one is the patch's centre.

    Raises:
        ValueError: if there is more than one clip, or ``per_side`` is below 1.
    """
    if len(clips) != 1:
        raise ValueError(f"{len(clips)} clips; correspondences are found in one clip at a time")
    if per_side < 1:
        raise ValueError(f"per_side={per_side} must be 1 or more")
    clips.require("The measure of leakage", "intrinsics", "poses")
    T, N = clips.shape[1:]
    valid_F = clips.valid_BTN.reshape(T * N)
    points_FP3, ranges = _points(clips, grid, depth_TNHW, per_side)
    known_FP = valid_F[:, None] & (points_FP3[..., 2] <= _SKY)
    patches_FP, known_FP = _patches(points_FP3[..., :2], known_FP, grid, clips.image_size)
    F = len(points_FP3)
    world_FP3 = unproject_points(
        torch.nan_to_num(points_FP3, posinf=_SKY),
        clips.intrinsics_BTN33.reshape(F, 3, 3),
        clips.camera_to_clip_BTN44.reshape(F, 4, 4),
    )
    owner_FP, motion_FFK44 = _motion(world_FP3, track_boxes)
    seen_FPF = torch.full((*patches_FP.shape, T * N), -1, device=patches_FP.device)
    for frame in range(T * N):
        moved_FP3 = _move(world_FP3, owner_FP, motion_FFK44[frame])
        seen_FPF[..., frame] = _patches_that_show(clips, frame, moved_FP3, ranges, grid)
    frames_F = torch.arange(T * N, device=patches_FP.device)
    seen_FPF[~known_FP] = -1
    seen_FPF[..., ~valid_F] = -1
    seen_FPF[frames_F, :, frames_F] = -1
    return _pack(points_FP3, patches_FP, known_FP, seen_FPF, (T, N, *grid), clips.image_size)


def _any_visible(shown_SE: Tensor, pairs: Correspondences) -> Tensor:
    """Return whether any correspondence of each point is in a visible patch: bool (S, P)."""
    count_SP = shown_SE.new_zeros((*shown_SE.shape[:-1], len(pairs.own_P)), dtype=torch.int32)
    return count_SP.index_add_(-1, pairs.point_E, shown_SE.int()) > 0


def _points(
    clips: Clips, grid: tuple[int, int], depth_TNHW: Tensor | None, per_side: int
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Return each frame's points, and the depths that projected points are compared with.

    Returns:
        points_FP3: (x, y) pixels and depth, metres.
        ranges: nearest and farthest depth in the 3 x 3 neighbourhood of each pixel of the depth
            maps, or of each square of the lidar raster; metres.
    """
    F = clips.shape[1] * clips.shape[2]
    if depth_TNHW is None:
        points_FP3 = clips.points_BTNP3.reshape(F, -1, 3)
        raster = (grid[0] * _FINE, grid[1] * _FINE)
        return points_FP3, _lidar_range(points_FP3, raster, clips.image_size)
    depth_FHW = depth_TNHW.reshape(F, *depth_TNHW.shape[2:]).float()
    points_FP3 = _grid_points(depth_FHW, grid, clips.image_size, per_side)
    points_FP3[..., 2].clamp_(max=_SKY)
    return points_FP3, _pool(depth_FHW.clamp(max=FAR), depth_FHW.clamp(max=FAR))


def _grid_points(
    depth_FHW: Tensor, grid: tuple[int, int], image_size: tuple[int, int], per_side: int
) -> Tensor:
    """Return the centres of equal parts of every patch, with the depth of their pixel."""
    (h, w), (height, width) = grid, image_size
    rows, columns = h * per_side, w * per_side
    y = (torch.arange(rows, device=depth_FHW.device) + 0.5) / rows
    x = (torch.arange(columns, device=depth_FHW.device) + 0.5) / columns
    down, across = (y * depth_FHW.shape[1]).long(), (x * depth_FHW.shape[2]).long()
    depth_Frc = depth_FHW[:, down][:, :, across]
    y_rc, x_rc = torch.meshgrid(y * height, x * width, indexing="ij")
    points = [x_rc.expand_as(depth_Frc), y_rc.expand_as(depth_Frc), depth_Frc]
    return torch.stack(points, dim=-1).flatten(1, 2)


def _lidar_range(
    points_FP3: Tensor, raster: tuple[int, int], image_size: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Return the nearest and the farthest depth in the 3 x 3 squares around each raster square.

    They are 0 and ``inf`` where these squares contain no point: any depth agrees there.
    """
    F = len(points_FP3)
    known_FP = torch.isfinite(points_FP3[..., 2])
    patches_FP, known_FP = _patches(points_FP3[..., :2], known_FP, raster, image_size)
    size = raster[0] * raster[1]
    # Unknown points go into an extra square, which is cut off.
    squares_FP = torch.where(known_FP, patches_FP, size)
    depth_FP = points_FP3[..., 2].clamp(max=FAR)
    near_FR = depth_FP.new_full((F, size + 1), torch.inf)
    near_FR = near_FR.scatter_reduce_(1, squares_FP, depth_FP, "amin")[:, :size]
    far_FR = depth_FP.new_full((F, size + 1), -torch.inf)
    far_FR = far_FR.scatter_reduce_(1, squares_FP, depth_FP, "amax")[:, :size]
    near_FR, far_FR = _pool(near_FR.reshape(F, *raster), far_FR.reshape(F, *raster))
    empty_FR = near_FR > far_FR
    return near_FR.masked_fill(empty_FR, 0.0), far_FR.masked_fill(empty_FR, torch.inf)


def _pool(near_FHW: Tensor, far_FHW: Tensor) -> tuple[Tensor, Tensor]:
    """Return the minimum and the maximum of every 3 x 3 neighbourhood."""
    return -max_pool2d(-near_FHW, 3, 1, 1), max_pool2d(far_FHW, 3, 1, 1)


def _patches(
    pixels_FP2: Tensor, known_FP: Tensor, grid: tuple[int, int], image_size: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Return the patch of each pixel position (-1 outside the image), and whether it has one."""
    (h, w), (height, width) = grid, image_size
    x_FP, y_FP = pixels_FP2.unbind(-1)
    inside_FP = known_FP & (x_FP >= 0) & (x_FP < width) & (y_FP >= 0) & (y_FP < height)
    column_FP = (x_FP.nan_to_num().clamp(0, width) * (w / width)).long().clamp(max=w - 1)
    row_FP = (y_FP.nan_to_num().clamp(0, height) * (h / height)).long().clamp(max=h - 1)
    return torch.where(inside_FP, row_FP * w + column_FP, -1), inside_FP


def _motion(world_FP3: Tensor, track_boxes: TrackBoxes | None) -> tuple[Tensor, Tensor]:
    """Assign each point to the track that it moves with, and compute the motion of all tracks.

    Returns:
        owner_FP: int64, 0 for the world, else 1 + track.
        motion_FFK44: float32, [to, from, owner]: transform of an owner's points, in the clip frame,
            from the time of one frame to that of another; the identity if unknown.
    """
    F, P = world_FP3.shape[:2]
    device = world_FP3.device
    still_FF144 = torch.eye(4, device=device).expand(F, F, 1, 4, 4)
    owner_FP = torch.zeros(F, P, dtype=torch.int64, device=device)
    if track_boxes is None:
        return owner_FP, still_FF144
    present_FK = track_boxes.present_TNK.flatten(0, 1)
    pose_FK44 = track_boxes.box_to_clip_TNK44.flatten(0, 1)
    half_FK3 = track_boxes.size_TNK3.flatten(0, 1) / 2
    inverse_FK44 = torch.linalg.inv_ex(pose_FK44).inverse
    for track in range(present_FK.shape[1]):
        local_FP3 = _transform(inverse_FK44[:, track], world_FP3)
        half_F13 = half_FK3[:, track, None]
        inside_FP = (local_FP3.abs() <= half_F13 + _BOX_MARGIN).all(dim=-1)
        # The ground below an object does not move with the object.
        inside_FP &= local_FP3[..., 2] >= _GROUND_MARGIN - half_F13[..., 2]
        owner_FP = torch.where(inside_FP & present_FK[:, track, None], track + 1, owner_FP)
    both_FFK = present_FK[:, None] & present_FK[None]
    moved_FFK44 = pose_FK44[:, None] @ inverse_FK44[None]
    moved_FFK44 = torch.where(both_FFK[..., None, None], moved_FFK44, still_FF144)
    return owner_FP, torch.cat([still_FF144, moved_FFK44], dim=2)


def _transform(pose_F44: Tensor, points_FP3: Tensor) -> Tensor:
    """Transform the points of each frame by the frame's pose matrix."""
    return points_FP3 @ pose_F44[..., :3, :3].transpose(-1, -2) + pose_F44[..., None, :3, 3]


def _move(world_FP3: Tensor, owner_FP: Tensor, motion_FK44: Tensor) -> Tensor:
    """Move the points of every frame with their owners to the time of another frame."""
    frames_F1 = torch.arange(len(world_FP3), device=owner_FP.device)[:, None]
    moved_FP44 = motion_FK44[frames_F1, owner_FP]
    return (moved_FP44[..., :3, :3] @ world_FP3[..., None])[..., 0] + moved_FP44[..., :3, 3]


def _patches_that_show(
    clips: Clips,
    frame: int,
    world_FP3: Tensor,
    ranges: tuple[Tensor, Tensor],
    grid: tuple[int, int],
) -> Tensor:
    """Find the patch of one frame that shows each point of all frames: int64 (F, P), -1: none."""
    F = len(world_FP3)
    pose_44 = clips.camera_to_clip_BTN44.reshape(F, 4, 4)[frame]
    intrinsics_33 = clips.intrinsics_BTN33.reshape(F, 3, 3)[frame]
    pixels_FP2, depth_FP = project_points(world_FP3, intrinsics_33, pose_44)
    front_FP = depth_FP > _NEAREST
    near_HW, far_HW = ranges[0][frame], ranges[1][frame]
    size = (int(near_HW.shape[0]), int(near_HW.shape[1]))
    cell_FP, _ = _patches(pixels_FP2, front_FP, size, clips.image_size)
    near_FP = near_HW.flatten()[cell_FP.clamp(min=0)]
    far_FP = far_HW.flatten()[cell_FP.clamp(min=0)]
    depth_FP = depth_FP.clamp(max=FAR)
    agrees_FP = depth_FP >= near_FP * (1 - _RELATIVE_TOLERANCE) - _ABSOLUTE_TOLERANCE
    agrees_FP &= depth_FP <= far_FP * (1 + _RELATIVE_TOLERANCE) + _ABSOLUTE_TOLERANCE
    return _patches(pixels_FP2, front_FP & agrees_FP, grid, clips.image_size)[0]


def _pack(
    points_FP3: Tensor,
    patches_FP: Tensor,
    known_FP: Tensor,
    seen_FPF: Tensor,
    shape: tuple[int, int, int, int],
    image_size: tuple[int, int],
) -> Correspondences:
    """Build ``Correspondences`` of the known points.

    ``seen_FPF`` holds the patch of each frame (last axis) that shows each point, -1 for none.
    """
    _, N, h, w = shape
    frame_P, slot_P = known_FP.nonzero().unbind(-1)
    patch_P = patches_FP[frame_P, slot_P]
    own_P = frame_P * (h * w) + patch_P
    position_P2 = points_FP3[frame_P, slot_P, :2] / points_FP3.new_tensor(
        [image_size[1] / w, image_size[0] / h]
    )
    column_P, row_P = patch_P % w, patch_P // w
    middle_P2 = torch.stack([column_P, row_P], dim=-1) + 0.5
    squared_distance_P = (position_P2 - middle_P2).square().sum(dim=-1)
    # Sort the points by patch and then by distance from its centre; mark the first of each patch.
    by_distance_P = squared_distance_P.argsort(stable=True)
    order_P = by_distance_P[own_P[by_distance_P].argsort(stable=True)]
    first_P = torch.ones_like(own_P, dtype=torch.bool)
    first_P[1:] = own_P[order_P][1:] != own_P[order_P][:-1]
    seen_PF = seen_FPF[frame_P, slot_P]
    point_E, frame_E = (seen_PF >= 0).nonzero().unbind(-1)
    return Correspondences(
        own_P=own_P,
        middle_P=torch.zeros_like(first_P).scatter_(0, order_P, first_P),
        point_E=point_E,
        patch_E=frame_E * (h * w) + seen_PF[point_E, frame_E],
        same_time_E=frame_E // N == frame_P[point_E] // N,
        shape=shape,
    )
