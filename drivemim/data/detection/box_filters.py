"""Filters of the objects that a detector has to find."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from drivemim.data.boxes.ground_truth import FrameBoxes
from drivemim.errors import ConfigError, did_you_mean

_LARGEST = {"min_visibility": 4, "max_truncation": 1}
"""Largest value of the filters that have one; the others are in [0, infinity]."""


@dataclass(frozen=True, kw_only=True)
class BoxFilters:
    """Filters that select the objects to detect; all others are ignored, not background.

    An object passes a filter if the value that the filter tests (visibility, distance, points) is
    unknown.

    Attributes:
        min_visibility: nuScenes' level, 1 (0-40 % visible) to 4 (80-100 %); 0 for no filter.
        min_width: width of the 2-D box, pixels of the stored image.
        min_height: height of the 2-D box, pixels of the stored image.
        min_area: area of the 2-D box, square pixels of the stored image.
        max_truncation: largest fraction of the 3-D box's volume that is out of view.
        max_distance: metres from the ego vehicle.
        min_lidar_points: number of lidar points inside the 3-D box.
        min_points: number of lidar and radar points inside the 3-D box together.
    """

    min_visibility: int = 0
    min_width: float = 0.0
    min_height: float = 0.0
    min_area: float = 0.0
    max_truncation: float = 1.0
    max_distance: float = math.inf
    min_lidar_points: int = 0
    min_points: int = 0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            largest = _LARGEST.get(name, math.inf)
            if not isinstance(value, int | float) or not 0 <= value <= largest:
                raise ConfigError(f"filters: {name}={value!r} is not a number in [0, {largest}]")

    @classmethod
    def from_dict(cls, settings: Mapping[str, float]) -> BoxFilters:
        """Make the filters from a config's dict.

        Raises:
            ConfigError: if a key is not a filter, or a value is out of range.
        """
        known = [field.name for field in fields(cls)]
        for key in settings:
            if key not in known:
                raise ConfigError(
                    f"filters: {key!r} is none of {', '.join(known)}{did_you_mean(key, known)}"
                )
        return cls(**settings)  # type: ignore[arg-type]  # levels and counts are whole floats too

    def reasons(self, boxes: FrameBoxes) -> dict[str, NDArray[np.bool_]]:
        """Return a mask of the ignored objects (M,) for each filter, and one for crowds.

        Returns:
            Bool masks, True = ignored, by the filter's name and value or ``crowds``.
            ``FrameDetection.ignored`` joins them.
        """
        width, height = (boxes.boxes[:, 2:] - boxes.boxes[:, :2]).T
        lidar, radar = boxes.lidar_points, boxes.radar_points
        hidden = (boxes.visibility > 0) & (boxes.visibility < self.min_visibility)
        few = (lidar >= 0) & (radar >= 0) & (lidar + radar < self.min_points)
        masks = {
            "min_visibility": hidden,
            "min_width": width < self.min_width,
            "min_height": height < self.min_height,
            "min_area": width * height < self.min_area,
            "max_truncation": boxes.truncation > self.max_truncation,
            "max_distance": boxes.distance > self.max_distance,
            "min_lidar_points": (lidar >= 0) & (lidar < self.min_lidar_points),
            "min_points": few,
        }
        by_setting = {f"{name}={getattr(self, name):g}": mask for name, mask in masks.items()}
        return {"crowds": boxes.crowd, **by_setting}
