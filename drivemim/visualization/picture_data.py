"""Widths and camera names for pictures."""

from __future__ import annotations

from typing import Any

from torch.utils.data import ConcatDataset

from drivemim.clips import Clips
from drivemim.data import ClipDataset
from drivemim.errors import ConfigError

NARROWEST = 16
"""Smallest width of a camera's column in a picture, pixels."""


def check_width(width: int, clips: Clips) -> None:
    """Refuse a picture that is too narrow for its cameras.

    Raises:
        ConfigError: if it is; the message names the smallest width, in pixels.
    """
    cameras = clips.shape[2]
    if width < NARROWEST * cameras:
        raise ConfigError(
            f"--width {width} must be {NARROWEST * cameras} or more pixels for "
            f"{cameras} {'camera' if cameras == 1 else 'cameras'} side by side"
        )


def camera_names(dataset: Any, clips: Clips) -> list[str] | None:
    """Return the names of the clips' cameras, in order.

    Returns:
        None if they are not the same for all clips: if clips come from several data sets, or if
        each clip has one camera.
    """
    if isinstance(dataset, ConcatDataset) or not isinstance(dataset, ClipDataset):
        return None
    if dataset.single_camera:
        return None
    names = [dataset.index.cameras[int(camera)] for camera in dataset.rule.cameras]
    return names if len(names) == clips.shape[2] else None
