"""Frames with 3-D boxes, as a monocular detector of nuScenes' ten classes takes them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivemim.datasets.classes import (
    ATTRIBUTES,
    CLASS_ATTRIBUTES,
    CLASS_RANGES,
    DETECTION_CLASSES,
    NUSCENES_DETECTION,
    NUSCENES_EXTRA,
)
from drivemim.datasets.detection import FrameDetection
from drivemim.datasets.ground_truth import FrameBoxes
from drivemim.errors import ConfigError, DataError
from drivemim.geometry import boxes_to_camera
from drivemim.registry import DATASETS

_RANGES = np.array([CLASS_RANGES[name] for name in DETECTION_CLASSES])
_PALETTE = [
    (255, 158, 0), (255, 99, 71), (255, 127, 80), (255, 140, 0), (233, 150, 70),
    (0, 0, 230), (255, 61, 99), (220, 20, 60), (47, 79, 79), (112, 128, 144),
]  # fmt: skip


@DATASETS.register_module()
class FrameDetection3D(FrameDetection):
    """Keyframes of an index as images with 3-D boxes of ``DETECTION_CLASSES``.

    Only keyframes: their boxes were annotated, those of sweeps are interpolated and the official
    evaluation does not ask for them.

    Each item has what ``FrameDetection`` gives, and ``sample_token``; ``camera_matrix`` (3 x 3,
    pixels of the stored image); ``camera_to_global`` (4 x 4, through the frame's own ego pose,
    not the lidar's). Every one of its ``instances`` also has ``center`` (metres, camera frame),
    ``size`` (metres: width, length, height), ``yaw`` and ``velocity`` (radians and metres a second
    in the levelled camera frame, see ``drivemim.geometry.camera_boxes``; NaN unknown), and
    ``attribute`` (position in ``ATTRIBUTES``; -1 for none, or for one its class cannot have).

    An object whose centre is behind the camera is ignored, whatever the filters say: no depth
    describes it, and another camera looks at it.

    ``metainfo['nuscenes']`` tells the official evaluation what was chosen: ``index``,
    ``data_root``, ``scenes`` (names) and ``whole`` (False where ``indices`` or ``label_share`` left
    frames out).

    Args:
        index: file that ``tools/create_index.py`` wrote.
        filters: settings of ``BoxFilters``.
        pipeline: transforms; see ``drivemim.datasets.detection3d_transforms``.
        within_class_range: ignore objects beyond the range in which the official evaluation
            counts their class (``CLASS_RANGES``).
        min_depth: metres in front of the camera below which a centre counts as behind it.
        class_map: category to one of ``DETECTION_CLASSES`` or None, where it differs from
            nuScenes' own.
        settings: the rest of ``FrameDetection``'s arguments.

    Raises:
        ValueError: if the selection has no frame, a name in it is unknown, a frame has no
            measured calibration, or the index has boxes that are not 3-D (nuImages).
    """

    METAINFO: dict[str, Any] = {"classes": DETECTION_CLASSES, "palette": _PALETTE}

    DEFAULT_CLASS_MAP = {**NUSCENES_DETECTION, **NUSCENES_EXTRA}

    _metainfo: dict[str, Any]

    def __init__(
        self,
        *,
        index: str | os.PathLike[str],
        filters: Mapping[str, float],
        pipeline: Sequence[Any] = (),
        within_class_range: bool = True,
        min_depth: float = 0.1,
        class_map: Mapping[str, str | None] | None = None,
        **settings: Any,
    ) -> None:
        if not settings.pop("keyframes_only", True):
            raise ConfigError(
                "FrameDetection3D has keyframes only: sweeps have no annotations of their own; "
                "leave keyframes_only out of the config"
            )
        self.within_class_range = within_class_range
        self.min_depth = min_depth
        super().__init__(
            index=index,
            filters=filters,
            pipeline=pipeline,
            class_map=class_map,
            **settings,
        )

    def full_init(self) -> None:
        """Open the index, choose the frames, and say in ``metainfo`` what was chosen."""
        if self._fully_initialized:
            return
        super().full_init()
        frames, scenes = self.index.frames, self.index.scenes
        self._metainfo["nuscenes"] = {
            "index": str(self.index.path),
            "data_root": str(self.index.data_root),
            "scenes": [scenes.name[row] for row in np.unique(frames.scene[self.rows])],
            "whole": self._indices is None and self.label_share == 1,
        }

    def check_frames(self) -> None:
        """Refuse frames without measured calibration, and boxes without a place in space."""
        frames, boxes = self.index.frames, self.index.boxes
        loose = self.rows[~frames.calibrated[self.rows]]
        if len(loose):
            raise DataError(
                f"frame {frames.token[loose[0]]} of {self.index.path} has no measured calibration; "
                "3-D detection needs an index of nuScenes' tables"
            )
        flat = np.flatnonzero(np.isnan(boxes.center[:, 0]))
        if len(flat):
            raise DataError(
                f"box {boxes.token[flat[0]]} of {self.index.path} is drawn in its image and has no "
                "place in space; 3-D detection needs an index of nuScenes' tables"
            )

    def get_subset_(self, indices: int | Sequence[int]) -> None:
        """Keep the first (or, negative, the last) so many frames, or these."""
        super().get_subset_(indices)
        self._metainfo = {
            **self._metainfo,
            "nuscenes": {**self._metainfo["nuscenes"], "whole": False},
        }

    def get_data_info(self, idx: int) -> dict[str, Any]:
        """What the pipeline is given for one frame; see the class."""
        info = super().get_data_info(idx)
        row = info["img_id"]
        frames = self.index.frames
        info["sample_token"] = self.index.samples.token[frames.sample[row]]
        info["camera_matrix"] = np.array(frames.intrinsics[row])
        info["camera_to_global"] = self.index.camera_to_global(row)
        return info

    def _instances(self, row: int) -> list[dict[str, Any]]:
        found = self._boxes(row)
        instances = self._describe(found)
        boxes = self.index.boxes
        seen = boxes_to_camera(
            boxes.center[found.box],
            boxes.size[found.box],
            boxes.rotation[found.box],
            boxes.velocity[found.box],
            self.index.camera_to_global(row),
        )
        attributes = self._attributes(found)
        for number, instance in enumerate(instances):
            instance["center"] = seen.centers_M3[number].tolist()
            instance["size"] = seen.sizes_M3[number].tolist()
            instance["yaw"] = float(seen.yaws_M[number])
            instance["velocity"] = seen.velocities_M2[number].tolist()
            instance["attribute"] = attributes[number]
        return instances

    def reasons(self, found: FrameBoxes) -> dict[str, NDArray[np.bool_]]:
        """As ``FrameDetection``'s, and what is behind the camera or beyond its class's range."""
        reasons = {
            **super().reasons(found),
            f"min_depth={self.min_depth:g}": found.depth < self.min_depth,
        }
        if self.within_class_range:
            reasons["within_class_range"] = found.distance >= _RANGES[found.label]
        return reasons

    def _attributes(self, found: FrameBoxes) -> list[int]:
        """Positions in ``ATTRIBUTES`` of what the index numbers its own way."""
        numbers = []
        for label, own in zip(found.label, self.index.boxes.attribute[found.box], strict=True):
            name = self.index.attributes[own] if own >= 0 else ""
            allowed = CLASS_ATTRIBUTES[DETECTION_CLASSES[label]]
            numbers.append(ATTRIBUTES.index(name) if name in allowed else -1)
        return numbers
