"""Batches of clips, the unit that is loaded, augmented and masked.

A clip is T time steps x N cameras of one scene.

Shape letters, used as suffixes here and everywhere: B batch, T time steps, N cameras, C channels,
H W pixels, h w patches, L = h*w patches, K visible patches, J hidden patches, D feature channels,
M boxes, F frames, V valid frames, X any leading axes. Modules that use other letters explain them
in a line "Letters:", like this one.
Letters: P lidar points of a frame.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from numbers import Integral
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from drivemim.errors import ConfigError

Tokens = tuple[tuple[tuple[str, ...], ...], ...]
"""Frame tokens of a batch: [B][T][N]."""

CLASSES = ("pedestrian", "vehicle")
"""Default class names. The config of a data set can name others."""
REST = "rest"
"""Stands for a class name where patches without an object are counted as a class of their own."""

PADDING: dict[str, float | tuple[float, ...]] = {
    "boxes_BTNM4": 0.0,
    "labels_BTNM": -1,
    "tracks_BTNM": -1,
    "depths_BTNM": torch.inf,
    "points_BTNP3": (0.0, 0.0, torch.inf),
}
"""Padding values of the fields that have a list per frame, whose length differs between frames."""

OPTIONAL = {
    "intrinsics": "(..., 3, 3), pixels",
    "poses": "(..., 4, 4), camera to vehicle or clip, metres",
    "timestamps": "(...), microseconds",
    "boxes": "(..., M, 4), x1, y1, x2, y2 in pixels",
    "labels": "(..., M), positions in classes=, -1 for padding",
}
"""Arguments of ``Clips.from_images`` that masks and decoders can need, and their shapes."""

_NOT_TENSORS = ("tokens", "unknown", "classes")
"""Fields of ``Clips`` that are not tensors."""


@dataclass(frozen=True, kw_only=True)
class Clips:
    """A batch of clips; a data set's item is a batch of one.

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
        labels_BTNM: int64, position in ``classes``; -1 for padding.
        tracks_BTNM: int64, one number per object, the same in every frame of the index; -1 padding.
        depths_BTNM: float32, metres to the box's centre along the camera's z axis; ``inf`` for
            padding and for boxes that have no depth.
        points_BTNP3: float32, lidar points in the frame: (x, y) pixels and depth along the camera's
            z axis, metres. Padded with depth ``inf``; P is 0 if no lidar was requested.
        seeds_B: int64, source of randomness of each clip. The random draws for a clip depend on its
            own seed only, never on its batch or process.
        tokens: frame tokens [B][T][N]; ``""`` where the frame is missing.
        unknown: keys of ``OPTIONAL`` without a known value; their tensors hold placeholders. See
            ``require``.
        classes: names of the objects' classes.
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
    unknown: frozenset[str] = frozenset()
    classes: tuple[str, ...] = CLASSES

    @classmethod
    def from_images(
        cls,
        images: Tensor | ArrayLike,
        *,
        rgb: bool = False,
        intrinsics: Tensor | ArrayLike | None = None,
        poses: Tensor | ArrayLike | None = None,
        timestamps: Tensor | ArrayLike | None = None,
        boxes: Tensor | ArrayLike | None = None,
        labels: Tensor | ArrayLike | None = None,
        tracks: Tensor | ArrayLike | None = None,
        depths: Tensor | ArrayLike | None = None,
        points: Tensor | ArrayLike | None = None,
        classes: Sequence[str] = CLASSES,
        seed: int = 0,
    ) -> Clips:
        """Make clips from images and, where they are known, their calibration, times and objects.

        All other arrays have the leading axes of ``images``, or axes that broadcast to them: one
        (3, 3) matrix is the intrinsics of all images. Masks and decoders that need an argument
        that was not given raise an error that names it.

        Args:
            images: uint8, or float in [0, 1]: (B, T, N, H, W, 3); (B, N, H, W, 3), clips of one
                time step; or (B, H, W, 3), clips of one image.
            rgb: whether the channels are red, green, blue; by default they are blue, green, red,
                as in ``images_BTNHWC``.
            intrinsics: (..., 3, 3), pixels.
            poses: (..., 4, 4), metres, from camera axes (x right, y down, z forward) to the clip
                frame, which has z up and the ground at 0: ``camera_to_clip_BTN44``.
            timestamps: (...), microseconds. Not needed for clips of one time step.
            boxes: (..., M, 4), (x1, y1, x2, y2) pixels; they are clipped to the image. Boxes of
                zeros, or of label -1, are padding; all others need an area.
            labels: (..., M), positions in ``classes``, -1 for padding.
            tracks: (..., M), one number per object; by default, every box is its own object.
            depths: (..., M), metres; by default, where boxes overlap, the smaller one is taken to
                be nearer.
            points: (..., P, 3), lidar points: (x, y) pixels and depth, metres.
            classes: names of the objects' classes.
            seed: seed of the first clip; each clip's seed is one more than that of the one before.

        Raises:
            ConfigError: if the images have another shape, type or range, an argument does not fit
                the images, a box has no area, or a label is not a position in ``classes``.
        """
        arguments = {"intrinsics": intrinsics, "poses": poses, "timestamps": timestamps}
        arguments |= {"boxes": boxes, "labels": labels, "tracks": tracks, "depths": depths}
        values = _fields_of(images, {**arguments, "points": points}, rgb=rgb, seed=seed)
        largest = int(values["labels_BTNM"].max()) if values["labels_BTNM"].numel() else -1
        if largest >= len(classes):
            raise ConfigError(
                f"labels: {largest} is not a position in the {len(classes)} classes "
                f"{', '.join(classes)}; give the names of all: classes=(...)"
            )
        return cls(**values, classes=tuple(classes))

    def require(self, caller: str, *names: str) -> None:
        """Refuse clips that lack what a mask or a decoder needs.

        Args:
            caller: name of the mask or decoder, for the message.
            names: keys of ``OPTIONAL``.

        Raises:
            ConfigError: if a value is unknown; the message names it and its argument of
                ``from_images``.
        """
        lacking = [name for name in names if name in self.unknown]
        if lacking:
            fix = " and ".join(f"{name}= of shape {OPTIONAL[name]}" for name in lacking)
            raise ConfigError(
                f"{caller} needs the {' and '.join(lacking)} of the images, which the clips lack; "
                f"give Clips.from_images {fix}"
            )

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
            if field.name not in _NOT_TENSORS
        }
        return replace(self, **tensors)  # type: ignore[arg-type]  # tensors only

    @staticmethod
    def cat(batches: Sequence[Clips]) -> Clips:
        """Concatenate batches of the same T, N and image size; pad lists to the longest.

        Raises:
            ConfigError: if their classes differ, so that a label would mean two classes.
        """
        joined: dict[str, Tensor | Tokens | frozenset[str] | tuple[str, ...]] = {}
        for field in fields(Clips):
            parts = [getattr(batch, field.name) for batch in batches]
            if field.name == "tokens":
                joined[field.name] = tuple(clip for part in parts for clip in part)
                continue
            if field.name == "classes":
                joined[field.name] = _same_classes(parts)
                continue
            if field.name == "unknown":
                joined[field.name] = frozenset().union(*parts)
                continue
            if field.name in PADDING:
                longest = max(part.shape[3] for part in parts)
                parts = [_pad(part, longest, PADDING[field.name]) for part in parts]
            joined[field.name] = torch.cat(parts)
        return Clips(**joined)  # type: ignore[arg-type]  # one dict for all fields


def _same_classes(lists: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """Return the class names that all batches have; raise ``ConfigError`` if they differ."""
    for names in lists:
        if names != lists[0]:
            raise ConfigError(
                f"clips of the classes {', '.join(lists[0])} and of {', '.join(names)} cannot be "
                "in one batch; give their data sets the same classes, in the same order"
            )
    return lists[0]


def checked_image_size(image_size: Any) -> tuple[int, int]:
    """Return height and width of images in pixels.

    Raises:
        ConfigError: if the value is not a pair of positive integers.
    """
    is_pair = isinstance(image_size, (list, tuple)) and len(image_size) == 2
    if not is_pair or not all(isinstance(side, Integral) and int(side) > 0 for side in image_size):
        square = isinstance(image_size, int) and image_size > 0
        example = (image_size, image_size) if square else (224, 320)
        raise ConfigError(
            f"image_size={image_size!r} must be height and width in pixels, such as {example}"
        )
    return int(image_size[0]), int(image_size[1])


def patch_grid(image_size: tuple[int, int], patch_size: int) -> tuple[int, int]:
    """Return the rows and columns of patches in an image.

    Args:
        image_size: height and width, pixels.
        patch_size: side of a patch, pixels.

    Raises:
        ConfigError: if ``patch_size`` is not positive, or either side is zero or not a multiple of
            it.
    """
    if patch_size < 1:
        raise ConfigError(f"patch size {patch_size} must be 1 or more pixels")
    height, width = image_size
    if height < 1 or width < 1:
        raise ConfigError(f"image size {height}x{width} (height x width) has no pixels")
    if height % patch_size or width % patch_size:
        raise ConfigError(
            f"image size {height}x{width} (height x width) is not a multiple of the patch "
            f"size {patch_size}; resize or pad to "
            f"{-(-height // patch_size) * patch_size}x{-(-width // patch_size) * patch_size}"
        )
    return height // patch_size, width // patch_size


def _pad(values_BTNM: Tensor, length: int, value: float | tuple[float, ...]) -> Tensor:
    """Pad the list axis (the fourth) to ``length``."""
    B, T, N, M = values_BTNM.shape[:4]
    row = torch.tensor(value, dtype=values_BTNM.dtype, device=values_BTNM.device)
    rows = row.expand(B, T, N, length - M, *values_BTNM.shape[4:])
    return torch.cat([values_BTNM, rows], dim=3)


def _fields_of(
    images: Tensor | ArrayLike, arguments: Mapping[str, Any], *, rgb: bool, seed: int
) -> dict[str, Any]:
    """Return the fields of ``Clips`` from the arguments of ``from_images``."""
    stored = _to_uint8(images)
    stored = stored.flip(-1) if rgb else stored
    lead, (H, W) = tuple(stored.shape[:-3]), stored.shape[-3:-1]
    B, T, N = {1: (*lead, 1, 1), 2: (lead[0], 1, lead[-1]), 3: lead}[len(lead)]
    shape, device = (B, T, N), stored.device

    def fill(name: str, tail: tuple[int, ...], dtype: torch.dtype, default: Any) -> Tensor:
        """Return an argument's values, or the default, for every frame: (B, T, N, *tail)."""
        value = default if arguments[name] is None else arguments[name]
        values = torch.as_tensor(value, dtype=dtype, device=device)
        try:
            values = values.broadcast_to((*lead, *tail))
        except RuntimeError:
            raise ConfigError(
                f"{name} of shape {tuple(values.shape)} must have the shape {(*lead, *tail)}, or "
                "one that broadcasts to it"
            ) from None
        return values.reshape(*shape, *tail).clone()

    M, P = _length("boxes", arguments["boxes"], 4), _length("points", arguments["points"], 3)
    boxes_BTNM4 = fill("boxes", (M, 4), torch.float32, 0.0)
    # Boxes without labels get class 0, because the label -1 would make them padding.
    labels_BTNM = fill("labels", (M,), torch.int64, 0)
    _check_boxes(boxes_BTNM4, labels_BTNM)
    boxes_BTNM4 = boxes_BTNM4.clamp(min=0).minimum(boxes_BTNM4.new_tensor([W, H, W, H]))
    empty_BTNM = (boxes_BTNM4[..., 2:] <= boxes_BTNM4[..., :2]).any(dim=-1)
    labels_BTNM = labels_BTNM.masked_fill(empty_BTNM, -1)
    not_needed = {"timestamps"} if T == 1 else set()
    return {
        "images_BTNHWC": stored.reshape(*shape, H, W, 3),
        "intrinsics_BTN33": fill("intrinsics", (3, 3), torch.float32, torch.eye(3)),
        "camera_to_clip_BTN44": fill("poses", (4, 4), torch.float32, torch.eye(4)),
        "timestamps_BTN": fill("timestamps", (), torch.int64, 0),
        "valid_BTN": torch.ones(shape, dtype=torch.bool, device=device),
        "boxes_BTNM4": boxes_BTNM4,
        "labels_BTNM": labels_BTNM,
        "tracks_BTNM": fill("tracks", (M,), torch.int64, -1),
        "depths_BTNM": fill("depths", (M,), torch.float32, torch.inf),
        "points_BTNP3": fill("points", (P, 3), torch.float32, 0.0),
        "seeds_B": seed + torch.arange(B, device=device),
        "tokens": tuple(
            tuple(tuple(f"{b}-{t}-{n}" for n in range(N)) for t in range(T)) for b in range(B)
        ),
        "unknown": frozenset(name for name in OPTIONAL if arguments[name] is None) - not_needed,
    }


def _check_boxes(boxes_BTNM4: Tensor, labels_BTNM: Tensor) -> None:
    """Raise ``ConfigError`` if a box that is not padding has no area.

    Such a box is wrong, or its numbers are not x1, y1, x2, y2.
    """
    has_area_BTNM = (boxes_BTNM4[..., 2:] > boxes_BTNM4[..., :2]).all(dim=-1)
    is_padding_BTNM = (labels_BTNM < 0) | (boxes_BTNM4 == 0).all(dim=-1)
    wrong = boxes_BTNM4[~(has_area_BTNM | is_padding_BTNM)]
    if len(wrong):
        raise ConfigError(
            f"boxes: {wrong[0].tolist()} has no area; give x1, y1, x2, y2 in pixels, with x1 < x2 "
            "and y1 < y2 (not x, y, width, height), and zeros or the label -1 for padding"
        )


def _length(name: str, value: Tensor | ArrayLike | None, width: int) -> int:
    """Return the number of boxes or points per frame; 0 if ``value`` is None.

    Args:
        name: name of the argument, for the error.
        value: (..., M or P, width).
        width: numbers of a box or point.
    """
    if value is None:
        return 0
    shape = tuple(torch.as_tensor(value).shape)
    if len(shape) < 2 or shape[-1] != width:
        raise ConfigError(f"{name} of shape {shape} must have {width} numbers in a row")
    return shape[-2]


def _to_uint8(images: Tensor | ArrayLike) -> Tensor:
    """Check images and convert them to uint8; the shape stays that of ``from_images``."""
    tensor = (
        images if isinstance(images, Tensor) else torch.from_numpy(np.ascontiguousarray(images))
    )
    shape = tuple(tensor.shape)
    if not 4 <= tensor.ndim <= 6 or shape[-1] != 3:
        channels = "; move the channels to the end" if tensor.ndim > 3 and 3 in shape[-3:-1] else ""
        raise ConfigError(
            f"images of shape {shape} must be (B, T, N, H, W, 3), (B, N, H, W, 3) or (B, H, W, 3)"
            + channels
        )
    if tensor.dtype == torch.uint8:
        return tensor
    if not tensor.is_floating_point():
        raise ConfigError(f"images of type {tensor.dtype} must be uint8, or float in [0, 1]")
    low, high = (float(limit) for limit in tensor.aminmax()) if tensor.numel() else (0.0, 0.0)
    if not (low >= 0 and high <= 1):  # NaN fails too
        raise ConfigError(
            f"float images must be in [0, 1], not [{low:g}, {high:g}]; convert images of other "
            "ranges to uint8"
        )
    return (tensor * 255).round().to(torch.uint8)
