"""Batches of clips, the unit that is loaded, augmented and masked.

A clip is T time steps x N cameras of one scene.

Shape letters, used as suffixes here and everywhere: B batch, T time steps, N cameras, C channels,
H W pixels, h w patches, L = h*w patches, K visible patches, D feature channels, M boxes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

Tokens = tuple[tuple[tuple[str, ...], ...], ...]

CLASSES = ("pedestrian", "vehicle")
"""Class names. A box's label is a position in this tuple."""

PADDING: dict[str, float | tuple[float, ...]] = {
    "boxes_BTNM4": 0.0,
    "labels_BTNM": -1,
    "tracks_BTNM": -1,
    "depths_BTNM": torch.inf,
    "points_BTNP3": (0.0, 0.0, torch.inf),
}
"""Padding values of the lists whose length differs between frames."""


@dataclass(frozen=True, kw_only=True)
class Clips:
    """A batch of clips; a dataset's item is a batch of one.

    Missing frames (a camera that dropped out, the end of a scene) have ``valid`` False, black
    images, no boxes and identity calibration. Every consumer must respect ``valid``.

    Attributes:
        images_BTNHWC: uint8, in BGR order, like the images of MMDetection's own loaders.
        intrinsics_BTN33: float32, pixels of ``images``.
        camera_to_clip_BTN44: float32, metres: from camera axes (x right, y down, z forward) to
            the clip frame, which is the ego pose of the clip's first valid frame.
        timestamps_BTN: int64, microseconds.
        valid_BTN: bool.
        boxes_BTNM4: float32, (x1, y1, x2, y2) pixels, clipped to the image. Padded with zeros.
        labels_BTNM: int64, position in ``CLASSES``; -1 for padding.
        tracks_BTNM: int64, one number per object, the same in every frame of the index; -1 padding.
        depths_BTNM: float32, metres to the box's centre along the camera's z axis; ``inf`` for
            padding and for boxes that have no depth.
        points_BTNP3: float32, lidar points in the frame: (x, y) pixels and depth along the camera's
            z axis, metres. Padded with depth ``inf``; P is 0 if no lidar was requested.
        seeds_B: int64, source of randomness of each clip. Its random draws depend on its own seed
            only, never on its batch or process.
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
        """Numbers of clips, time steps and cameras: (B, T, N)."""
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
        """Concatenate batches of the same T, N and image size; pad lists to the longest."""
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
