"""Statistics of masks: how much of each object and class is hidden, and how much stays visible.

Letters: S masks of a clip, O objects of all its frames, A objects of all masks (S * O),
C classes and none, J frames or clips of all masks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from drivemim.clips import CLASSES, REST, Clips
from drivemim.masking.box_cover import patch_owners

SMALLEST = 4
"""Fewest patches of a large object. A mask should not hide a large object completely."""
BANDS = (0.0, 20.0, 40.0)
"""Lower edges of the distance bands, metres; the last band is open."""


@dataclass(frozen=True, kw_only=True)
class ObjectPatches:
    """The O objects of all frames of a clip, and the patches they own.

    Attributes:
        owner_F: int64, object of each of the clip's patches (frames, rows, columns); -1 for none.
        valid_F: bool, whether the patch belongs to a valid frame.
        patches_O: int64, number of patches of each object, at least 1.
        labels_O: int64, class of each object.
        distances_O: float32, metres along the camera's z axis, ``inf`` where unknown.
        classes: class names.
    """

    owner_F: Tensor
    valid_F: Tensor
    patches_O: Tensor
    labels_O: Tensor
    distances_O: Tensor
    classes: tuple[str, ...] = CLASSES


@dataclass(frozen=True, kw_only=True)
class MaskCounts:
    """Counts of what S masks hide of a clip's objects and classes; counts of clips can be joined.

    Attributes:
        patches_A: int64, patches of each object, repeated for each mask (A = objects * masks).
        hidden_A: int64, hidden patches of each object.
        labels_A: int64, classes.
        distances_A: float32, metres.
        class_patches_C: int64 (1, classes + 1), patches of each class and of no object, times S.
        class_hidden_C: int64 (1, classes + 1), hidden patches of the same.
        frame_budgets_J: int64, hidden patches of each frame.
        clip_budgets_J: int64, hidden patches of each clip.
        classes: class names.
    """

    patches_A: Tensor
    hidden_A: Tensor
    labels_A: Tensor
    distances_A: Tensor
    class_patches_C: Tensor
    class_hidden_C: Tensor
    frame_budgets_J: Tensor
    clip_budgets_J: Tensor
    classes: tuple[str, ...] = CLASSES

    @staticmethod
    def join(parts: Sequence[MaskCounts]) -> MaskCounts:
        """Join the counts of several clips of the same classes."""
        names = [field.name for field in fields(MaskCounts) if field.name != "classes"]
        return MaskCounts(
            **{name: torch.cat([getattr(part, name) for part in parts]) for name in names},
            classes=parts[0].classes,
        )


def object_patches(clips: Clips, grid: tuple[int, int]) -> ObjectPatches:
    """Find the patches of every object of a clip; a track counts as a new object in each frame.

    Raises:
        ValueError: if there is more than one clip.
        ConfigError: if the clip has no boxes or labels.
    """
    if len(clips) != 1:
        raise ValueError(f"{len(clips)} clips; objects are counted in one clip at a time")
    clips.require("The count of objects", "boxes", "labels")
    present_BTNM = (clips.labels_BTNM >= 0) & clips.valid_BTN[..., None]
    owners_BTNhw = patch_owners(
        clips.boxes_BTNM4, clips.depths_BTNM, present_BTNM, grid, clips.image_size
    )
    frames, M = clips.valid_BTN.numel(), clips.labels_BTNM.shape[-1]
    owners_FL = owners_BTNhw.reshape(frames, -1)
    number_FL = owners_FL + M * torch.arange(frames, device=owners_FL.device)[:, None]
    number_FL = torch.where(owners_FL >= 0, number_FL, -1)
    patches_M = number_FL[number_FL >= 0].bincount(minlength=frames * M)
    # Boxes that own no patch are left out, and the others are numbered anew.
    boxes_O = patches_M.nonzero()[:, 0]
    # The last entry is for patches without an owner, whose number is -1.
    object_of_box = torch.full((frames * M + 1,), -1, device=owners_FL.device)
    object_of_box[boxes_O] = torch.arange(len(boxes_O), device=owners_FL.device)
    return ObjectPatches(
        owner_F=object_of_box[number_FL].flatten(),
        valid_F=clips.valid_BTN.reshape(frames, 1).expand_as(owners_FL).flatten(),
        patches_O=patches_M[boxes_O],
        labels_O=clips.labels_BTNM.flatten()[boxes_O],
        distances_O=clips.depths_BTNM.flatten()[boxes_O],
        classes=clips.classes,
    )


def mask_counts(mask_STNhw: Tensor, objects: ObjectPatches) -> MaskCounts:
    """Count what S masks of a clip hide of its objects and classes.

    Args:
        mask_STNhw: bool, True = hidden.
        objects: objects of that clip.
    """
    S = len(mask_STNhw)
    mask_SF = mask_STNhw.flatten(1)
    owned_F = objects.owner_F >= 0
    O = len(objects.patches_O)  # noqa: E741  # a shape letter
    hidden_SO = torch.zeros(S, O, dtype=torch.int64, device=mask_SF.device)
    hidden_SO.index_add_(1, objects.owner_F[owned_F], mask_SF[:, owned_F].long())
    C = len(objects.classes)
    label_F = torch.full_like(objects.owner_F, C)
    label_F[owned_F] = objects.labels_O[objects.owner_F[owned_F]]
    of_class_CF = torch.arange(C + 1, device=label_F.device)[:, None] == label_F
    of_class_CF &= objects.valid_F
    return MaskCounts(
        patches_A=objects.patches_O.repeat(S),
        hidden_A=hidden_SO.flatten(),
        labels_A=objects.labels_O.repeat(S),
        distances_A=objects.distances_O.repeat(S),
        class_patches_C=S * of_class_CF.sum(dim=1)[None],
        class_hidden_C=torch.stack([(of_class & mask_SF).sum() for of_class in of_class_CF])[None],
        frame_budgets_J=mask_STNhw.flatten(-2).sum(dim=-1).flatten(),
        clip_budgets_J=mask_SF.sum(dim=-1),
        classes=objects.classes,
    )


def mask_summary(counts: MaskCounts, budget: int, frames: int) -> dict[str, Any]:
    """Compute the statistics of a strategy's masks.

    Args:
        counts: counts of all masks of a strategy.
        budget: number of patches that every frame should hide.
        frames: frames per clip, T * N.

    Returns:
        ``objects`` (number of objects, times masks), ``objects_hidden`` (hidden fraction of an
        object's patches, averaged over objects; None without objects), ``large_objects`` (number of
        objects with at least ``SMALLEST`` patches),
        ``wiped_out`` (number of large objects that are hidden completely), ``least_visible``
        (smallest number of visible patches of a large object, by distance band; None if there is
        none), ``class_balance`` (fraction of hidden patches of a class, divided by its fraction of
        all patches; None if undefined), ``frame_budget`` (minimum and maximum of the hidden patches
        per frame, minus the budget) and ``clip_budget`` (the same per clip).
    """
    patches_A, hidden_A = counts.patches_A, counts.hidden_A
    large_A = patches_A >= SMALLEST
    visible_A = patches_A - hidden_A
    edges = torch.tensor(BANDS[1:], device=patches_A.device)
    band_A = torch.bucketize(counts.distances_A, edges, right=True)
    least_visible: dict[str, int | None] = {}
    for band, name in enumerate(band_names()):
        visible = visible_A[large_A & (band_A == band) & counts.distances_A.isfinite()]
        least_visible[name] = int(visible.min()) if len(visible) else None
    all_C, hidden_C = counts.class_patches_C.sum(dim=0), counts.class_hidden_C.sum(dim=0)
    overall = (hidden_C.sum() / all_C.sum().clamp(min=1)).item()
    balance: dict[str, float | None] = {
        name: (hidden / patches / overall) if patches and overall else None
        for name, patches, hidden in zip(
            (*counts.classes, REST), all_C.tolist(), hidden_C.tolist(), strict=True
        )
    }
    return {
        "objects": len(patches_A),
        "objects_hidden": float((hidden_A / patches_A).mean()) if len(patches_A) else None,
        "large_objects": int(large_A.sum()),
        "wiped_out": int((large_A & (visible_A == 0)).sum()),
        "least_visible": least_visible,
        "class_balance": balance,
        "frame_budget": _range(counts.frame_budgets_J - budget),
        "clip_budget": _range(counts.clip_budgets_J - budget * frames),
    }


def band_names() -> list[str]:
    """Return the names of the distance bands."""
    inner = [f"{low:g}-{high:g} m" for low, high in zip(BANDS, BANDS[1:], strict=False)]
    return [*inner, f"{BANDS[-1]:g}+ m"]


def _range(values: Tensor) -> tuple[int, int]:
    return (int(values.min()), int(values.max())) if len(values) else (0, 0)
