"""Clip data sets and camera names for pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch.utils.data import ConcatDataset

from drivemim.clips import Clips
from drivemim.data import ClipDataset


def plain_dataset(
    dataset: dict[str, Any], scenes: str | Sequence[str] | None = None
) -> dict[str, Any]:
    """Unwrap a training data set's config: only its clip data sets, unaugmented, complete clips."""
    if "datasets" in dataset:
        return {
            **dataset,
            "datasets": [plain_dataset(part, scenes) for part in dataset["datasets"]],
        }
    if "dataset" in dataset:
        return plain_dataset(dataset["dataset"], scenes)
    chosen = {} if scenes is None else {"scenes": scenes}
    return {**dataset, "augment": None, "drop_incomplete": True, **chosen}


def camera_names(dataset: Any, clips: Clips) -> list[str] | None:
    """Return the cameras' names; None if clips of several data sets or of one camera are mixed."""
    if isinstance(dataset, ConcatDataset) or not isinstance(dataset, ClipDataset):
        return None
    if dataset.single_camera:
        return None
    names = [dataset.index.cameras[int(camera)] for camera in dataset.windows.cameras]
    return names if len(names) == clips.shape[2] else None
