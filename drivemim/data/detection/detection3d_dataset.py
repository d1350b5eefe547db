"""The data set of frames with 3-D boxes, for monocular detectors of nuScenes' ten classes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivemim.compat import chosen_indices
from drivemim.data.boxes.ground_truth import FrameBoxes
from drivemim.data.class_lists import class_names
from drivemim.data.classes import (
    ATTRIBUTES,
    CLASS_ATTRIBUTES,
    CLASS_RANGES,
    DETECTION_CLASSES,
    NUSCENES_DETECTION,
    NUSCENES_EXTRA,
)
from drivemim.data.detection.detection_dataset import FrameDetection
from drivemim.errors import ConfigError, DataError, did_you_mean
from drivemim.geometry import boxes_to_camera
from drivemim.registry import DATASETS

_PALETTE = [
    (255, 158, 0), (255, 99, 71), (255, 127, 80), (255, 140, 0), (233, 150, 70),
    (0, 0, 230), (255, 61, 99), (220, 20, 60), (47, 79, 79), (112, 128, 144),
]  # fmt: skip
"""Colours (red, green, blue) of ``DETECTION_CLASSES``."""


@DATASETS.register_module()
class FrameDetection3D(FrameDetection):
    """Keyframes of an index as images with 3-D boxes of some or all ``DETECTION_CLASSES``.

    Sweeps are excluded: their boxes are interpolated, and the official evaluation does not use
    them.

    Each item has the fields of ``FrameDetection``, and ``sample_token``; ``camera_matrix`` (3 x 3,
    pixels of the stored image); ``camera_to_global`` (4 x 4, through the frame's own ego pose,
    not the lidar's). Each of its ``instances`` also has ``center`` (metres, camera frame),
    ``size`` (metres: width, length, height), ``yaw`` and ``velocity`` (radians and metres per
    second in the levelled camera frame, see ``drivemim.geometry.camera_boxes``; an unknown velocity
    is NaN), and ``attribute`` (position in ``ATTRIBUTES``; -1 for none, and for an attribute that
    objects of the class cannot have).

    An object whose centre is behind the camera is always ignored: it has no valid depth, and
    another camera usually sees it.

    ``metainfo['nuscenes']`` tells the official evaluation which frames are in the data set:
    ``index``, ``data_root``, ``scenes`` (names) and ``whole`` (False if ``indices`` or
    ``label_fraction`` left frames out).

    Args:
        index: file that ``drivemim index`` wrote.
        filters: settings of ``BoxFilters``.
        pipeline: transforms; see ``drivemim.data.detection.detection3d_transforms``.
        within_class_range: ignore objects beyond the range of their class (``CLASS_RANGES``), which
            the official evaluation leaves out, too.
        min_depth: metres in front of the camera; objects whose centre is nearer are ignored.
        class_map: one of ``classes`` by category, or None for no class; only categories whose class
            differs from nuScenes' own.
        classes: some of ``DETECTION_CLASSES``, in the order of the labels; all by default. No other
            names are allowed, because they have neither a range nor attributes.
        settings: the other arguments of ``FrameDetection``.

    Raises:
        ValueError: if the selection has no frame, a name in it is unknown, a frame has no
            measured calibration, or the index has boxes that are not 3-D (nuImages).
    """

    METAINFO: dict[str, Any] = {"classes": DETECTION_CLASSES, "palette": _PALETTE}

    def __init__(
        self,
        *,
        index: str | os.PathLike[str],
        filters: Mapping[str, float],
        pipeline: Sequence[Any] = (),
        within_class_range: bool = True,
        min_depth: float = 0.1,
        class_map: Mapping[str, str | None] | None = None,
        classes: str | Sequence[str] | None = None,
        **settings: Any,
    ) -> None:
        if not settings.pop("keyframes_only", True):
            raise ConfigError(
                "FrameDetection3D has keyframes only: sweeps have no annotations of their own; "
                "leave keyframes_only out of the config"
            )
        self.within_class_range = within_class_range
        self.min_depth = min_depth
        for name in class_names(classes or DETECTION_CLASSES):
            if name not in DETECTION_CLASSES:
                raise ConfigError(
                    f"classes: {name!r} is none of nuScenes' detection task, which 3-D detectors "
                    f"are for: {', '.join(DETECTION_CLASSES)}"
                    f"{did_you_mean(name, DETECTION_CLASSES)}"
                )
        super().__init__(
            index=index,
            filters=filters,
            pipeline=pipeline,
            class_map=class_map,
            classes=classes,
            **settings,
        )

    @classmethod
    def default_class_map(cls, classes: Sequence[str]) -> Mapping[str, str | None]:
        """Return the class of each category in nuScenes' detection task, None for no class."""
        official = {**NUSCENES_DETECTION, **NUSCENES_EXTRA}
        return {category: name if name in classes else None for category, name in official.items()}

    def full_init(self) -> None:
        """Open the index, choose the frames, and record the selection in ``metainfo``."""
        if self._fully_initialized:
            return
        super().full_init()
        frames, scenes = self.index.frames, self.index.scenes
        self._metainfo["nuscenes"] = {
            "index": str(self.index.path),
            "data_root": str(self.index.data_root),
            "scenes": [scenes.name[row] for row in np.unique(frames.scene[self.rows])],
            "whole": chosen_indices(self) is None and self.label_fraction == 1,
        }

    def check_frames(self) -> None:
        """Check that all frames have measured calibration, and all boxes of the index are 3-D.

        Raises:
            DataError: if a frame or a box does not.
        """
        frames, boxes = self.index.frames, self.index.boxes
        uncalibrated = self.rows[~frames.calibrated[self.rows]]
        if len(uncalibrated):
            raise DataError(
                f"frame {frames.token[uncalibrated[0]]} of {self.index.path} has no measured "
                "calibration; 3-D detection needs an index of nuScenes' tables"
            )
        only_2d = np.flatnonzero(np.isnan(boxes.center[:, 0]))
        if len(only_2d):
            raise DataError(
                f"box {boxes.token[only_2d[0]]} of {self.index.path} is drawn in its image and has "
                "no place in space; 3-D detection needs an index of nuScenes' tables"
            )

    def get_subset_(self, indices: int | Sequence[int]) -> None:
        """Keep the first n frames (the last |n| if negative), or the frames at these positions."""
        super().get_subset_(indices)
        self._metainfo = {
            **self._metainfo,
            "nuscenes": {**self._metainfo["nuscenes"], "whole": False},
        }

    def get_data_info(self, idx: int) -> dict[str, Any]:
        """Return the pipeline's input for one frame; see the class."""
        info = super().get_data_info(idx)
        row = info["img_id"]
        frames = self.index.frames
        info["sample_token"] = self.index.samples.token[frames.sample[row]]
        info["camera_matrix"] = np.array(frames.intrinsics[row])
        info["camera_to_global"] = self.index.camera_to_global(row)
        return info

    def _instances(self, row: int) -> list[dict[str, Any]]:
        """Return the ``instances`` of a frame; see the class."""
        objects = self._boxes(np.array([row]))
        instances = self._describe(objects)
        boxes = self.index.boxes
        camera_boxes = boxes_to_camera(
            objects.center,
            boxes.size[objects.box],
            objects.rotation,
            boxes.velocity[objects.box],
            self.index.camera_to_global(row),
        )
        attributes = self._attributes(objects)
        for number, instance in enumerate(instances):
            instance["center"] = camera_boxes.centers_M3[number].tolist()
            instance["size"] = camera_boxes.sizes_M3[number].tolist()
            instance["yaw"] = float(camera_boxes.yaws_M[number])
            instance["velocity"] = camera_boxes.velocities_M2[number].tolist()
            instance["attribute"] = attributes[number]
        return instances

    def reasons(self, boxes: FrameBoxes) -> dict[str, NDArray[np.bool_]]:
        """Return ``FrameDetection``'s masks (M,), and those for minimum depth and class range."""
        reasons = {
            **super().reasons(boxes),
            f"min_depth={self.min_depth:g}": boxes.depth < self.min_depth,
        }
        if self.within_class_range:
            ranges = np.array([CLASS_RANGES[name] for name in self.classes])
            reasons["within_class_range"] = boxes.distance >= ranges[boxes.label]
        return reasons

    def _attributes(self, boxes: FrameBoxes) -> list[int]:
        """Return the position in ``ATTRIBUTES`` of each object's attribute, -1 for none."""
        positions = []
        for label, attribute in zip(
            boxes.label, self.index.boxes.attribute[boxes.box], strict=True
        ):
            name = self.index.attributes[attribute] if attribute >= 0 else ""
            allowed = CLASS_ATTRIBUTES[self.classes[label]]
            positions.append(ATTRIBUTES.index(name) if name in allowed else -1)
        return positions
