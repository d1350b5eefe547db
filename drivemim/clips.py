"""Clips: T time steps x N cameras of one scene, the unit that is loaded, augmented and masked.

Shape letters, used as suffixes here and everywhere: B batch, T time steps, N cameras, C channels,
H W pixels, h w cells, L = h*w cells, K visible cells, D feature channels, M boxes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

Tokens = tuple[tuple[tuple[str, ...], ...], ...]

CLASSES = ("pedestrian", "vehicle")
"""What a box's label stands for, by its position here."""

PADDING: dict[str, float | tuple[float, ...]] = {
    "boxes_BTNM4": 0.0,
    "labels_BTNM": -1,
    "tracks_BTNM": -1,
    "depths_BTNM": torch.inf,
    "points_BTNP3": (0.0, 0.0, torch.inf),
}
"""What fills up the lists that differ in length from frame to frame."""


@dataclass(frozen=True, kw_only=True)
class Clips:
    """A batch of clips; a dataset's item is a batch of one.

    Frames that are missing (a camera that dropped out, the end of a scene) have ``valid`` False,
    black images, no boxes, and the calibration of identity; every consumer must honour ``valid``.

    Attributes:
        images_BTNHWC: uint8, in OpenCV's BGR order, as MMDetection's own loaders give them.
        intrinsics_BTN33: float32, pixels of ``images``.
        camera_to_clip_BTN44: float32, metres: camera axes (x right, y down, z forward) to the
            clip's own frame, which is the ego pose of the clip's first valid frame.
        timestamps_BTN: int64, microseconds.
        valid_BTN: bool.
        boxes_BTNM4: float32, (x1, y1, x2, y2) pixels, clipped to the image. Padded with zeros.
        labels_BTNM: int64, position in ``CLASSES``; -1 for padding.
        tracks_BTNM: int64, one number an object, the same in every frame of the index; -1 padding.
        depths_BTNM: float32, metres to the box's centre along the camera's z axis; ``inf`` for
            padding and for boxes that have no depth.
        points_BTNP3: float32, lidar points that a frame sees: (x, y) pixels and depth along the
            camera's z axis, metres. Padded with depth ``inf``; P is 0 where none were asked for.
        seeds_B: int64, source of randomness of each clip: what a clip is given depends on its
            own seed, never on the batch or the process it landed in.
        tokens: frame tokens [B][T][N]; ``""`` where the frame is missing.
    """

    images_BTNHWC: Tensor
    intrinsics_BTN33: Tensor
    camera_to_clip_BTN44: Tensor
    timestamps_BTN: Tensor
    valid_BTN: Tensor
    boxes_BTNM4: Tensor
    labels_BTNM: Tensor
    tracks_BTNM: Tensor
    depths_BTNM: Tensor
    points_BTNP3: Tensor
    seeds_B: Tensor
    tokens: Tokens

    def __len__(self) -> int:
        return int(self.images_BTNHWC.shape[0])

    @property
    def shape(self) -> tuple[int, int, int]:
        """Clips in the batch, time steps, cameras."""
        B, T, N = self.valid_BTN.shape
        return B, T, N

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the images, pixels."""
        H, W = self.images_BTNHWC.shape[3:5]
        return int(H), int(W)

    def to(self, device: torch.device | str) -> Clips:
        """Copy every tensor to ``device``."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Clips:
        """Copy every tensor to page-locked memory (PyTorch's data loader calls this)."""
        return self._map(Tensor.pin_memory)

    def _map(self, function: Callable[[Tensor], Tensor]) -> Clips:
        tensors = {
            field.name: function(getattr(self, field.name))
            for field in fields(self)
            if field.name != "tokens"
        }
        return replace(self, **tensors)  # type: ignore[arg-type]  # tokens are left out

    @staticmethod
    def cat(batches: Sequence[Clips]) -> Clips:
        """Join batches of the same T, N and image size; lists are padded to the longest."""
        joined: dict[str, Tensor | Tokens] = {}
        for field in fields(Clips):
            parts = [getattr(batch, field.name) for batch in batches]
            if field.name == "tokens":
                joined[field.name] = tuple(clip for part in parts for clip in part)
                continue
            if field.name in PADDING:
                most = max(part.shape[3] for part in parts)
                parts = [_pad(part, most, PADDING[field.name]) for part in parts]
            joined[field.name] = torch.cat(parts)
        return Clips(**joined)  # type: ignore[arg-type]  # one dict for tensors and tokens


def _pad(values_BTNM: Tensor, length: int, value: float | tuple[float, ...]) -> Tensor:
    """Pad the list axis (the fourth) to ``length``."""
    B, T, N, M = values_BTNM.shape[:4]
    row = torch.tensor(value, dtype=values_BTNM.dtype, device=values_BTNM.device)
    rows = row.expand(B, T, N, length - M, *values_BTNM.shape[4:])
    return torch.cat([values_BTNM, rows], dim=3)
