"""The data set of frames with 2-D boxes for MMDetection."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset
from numpy.typing import NDArray

from drivemim.array_types import Ints
from drivemim.clips import CLASSES
from drivemim.compat import chosen_indices
from drivemim.data.boxes.ground_truth import FrameBoxes, frame_boxes
from drivemim.data.class_lists import check_categories, class_names, class_palette
from drivemim.data.classes import VISIBILITY_LEVELS
from drivemim.data.detection.box_filters import BoxFilters
from drivemim.data.detection.label_fractions import label_subset
from drivemim.data.index.frame_index import FrameIndex
from drivemim.errors import DataError
from drivemim.registry import DATASETS

_CHUNK = 256
"""Number of frames per chunk in the search for an object; nearly always the first chunk has one."""


@DATASETS.register_module()
class FrameDetection(BaseDataset):
    """The frames of an index as images with boxes, for MMDetection.

    Follows the protocol of MMDetection's ``BaseDetDataset`` without importing it. Boxes are
    projected when an item is loaded, so a process stores only one number per frame.

    Each item given to the pipeline has ``img_path``, ``img_id`` (row in the index),
    ``frame_token``, ``camera``, ``scene``, ``condition`` (``day`` or ``night``, optionally followed
    by ``rain``; empty if the source does not say), ``height``, ``width`` and ``instances``: dicts
    of ``bbox`` (x1, y1, x2, y2; pixels of the stored image), ``bbox_label``, ``ignore_flag``,
    ``distance`` (metres, NaN = unknown), ``visibility`` (1 to 4, 0 = unknown), ``moving`` (1, 0,
    -1 = unknown), ``truncation`` (fraction out of view), ``crowd`` and ``track``.

    Args:
        index: file that ``drivemim index`` wrote.
        filters: settings of ``BoxFilters``.
        pipeline: transforms, from MMDetection or DriveMIM.
        data_root: where the data lies now, if it moved since the index was built.
        version: data set version that the index must have, or None for any.
        scenes: names of splits or scenes, see ``select_scenes``; None for all.
        cameras: a name or names, None for all.
        keyframes_only: leave out sweeps, whose boxes are interpolated.
        class_map: class by category, or None for no class; only categories whose class differs from
            ``drivemim.data.class_lists.category_classes``.
        classes: names of the classes, in the order of the labels, or ``nuscenes`` for the ten of
            its detection task; pedestrian and vehicle by default.
        label_fraction: fraction of the selected samples to keep, taken scene by scene; see
            ``drivemim.data.detection.label_fractions``.
        label_seed: seed of the draw of the scenes, and of the part of the last one.
        indices: a number n keeps the first n frames (the last |n| if negative); a sequence keeps
            these positions.
        test_mode: like in MMEngine: a failing pipeline is an error instead of another image.
        lazy_init: open the index at the first use.

    Raises:
        ValueError: if the selection has no frame, a name in it is unknown, a split has no
            annotation, a visibility filter is set and the index has unknown visibility levels, or
            (unless ``test_mode``) a class has no category or the filters leave no object in any
            frame.
    """

    METAINFO: dict[str, Any] = {"classes": CLASSES, "palette": [(220, 60, 60), (60, 120, 220)]}
    """The default classes and their colours (red, green, blue)."""

    index: FrameIndex
    rows: Ints
    _metainfo: dict[str, Any]
    _fully_initialized: bool

    def __init__(
        self,
        *,
        index: str | os.PathLike[str],
        filters: Mapping[str, float],
        pipeline: Sequence[Any] = (),
        data_root: str | os.PathLike[str] | None = None,
        version: str | None = None,
        scenes: str | Sequence[str] | None = None,
        cameras: str | Sequence[str] | None = None,
        keyframes_only: bool = True,
        class_map: Mapping[str, str | None] | None = None,
        classes: str | Sequence[str] | None = None,
        label_fraction: float = 1.0,
        label_seed: int = 0,
        indices: int | Sequence[int] | None = None,
        test_mode: bool = False,
        lazy_init: bool = False,
    ) -> None:
        self.index_path = index
        self.index_root = data_root
        self.version = version
        self.filters = BoxFilters.from_dict(filters)
        self.scenes = scenes
        self.cameras = cameras
        self.keyframes_only = keyframes_only
        self.own_class_map = class_map
        names = tuple(self.METAINFO["classes"]) if classes is None else class_names(classes)
        self.class_map = {**self.default_class_map(names), **(class_map or {})}
        self.label_fraction = label_fraction
        self.label_seed = label_seed
        super().__init__(
            metainfo={} if names == self.METAINFO["classes"] else self._own_metainfo(names),
            pipeline=list(pipeline),
            indices=indices,
            serialize_data=False,
            test_mode=test_mode,
            lazy_init=lazy_init,
        )

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the labels."""
        # The property ``metainfo`` would copy all metadata.
        return tuple(self._metainfo["classes"])

    @classmethod
    def default_class_map(cls, classes: Sequence[str]) -> Mapping[str, str | None]:
        """Return the class map without ``class_map``: only what ``category_classes`` lacks."""
        del classes
        return {}

    @classmethod
    def _own_metainfo(cls, classes: Sequence[str]) -> dict[str, Any]:
        """Return metainfo with the names and colours of classes that are not the default ones."""
        return {"classes": tuple(classes), "palette": class_palette(classes, cls.METAINFO)}

    def full_init(self) -> None:
        """Open the index and choose the frames."""
        if self._fully_initialized:
            return
        self.index = FrameIndex.open(
            self.index_path, version=self.version, data_root=self.index_root
        )
        self._check_levels()
        check_categories(
            self.index.categories,
            self.classes,
            self.own_class_map,
            where=str(self.index.path),
            all_classes=not self.test_mode,
        )
        rows = self._select()
        indices = chosen_indices(self)
        if indices is not None:
            rows = _subset(rows, indices)
        rows = rows[
            self.label_subset_mask(rows, fraction=self.label_fraction, seed=self.label_seed)
        ]
        if len(rows) == 0:
            raise DataError(
                f"{self.index_path} has no frame of scenes={self.scenes}, cameras={self.cameras}, "
                f"keyframes_only={self.keyframes_only}, indices={indices}"
            )
        self.rows = rows
        self._check_annotated()
        self.check_frames()
        if not self.test_mode:
            self._check_objects()
        self._fully_initialized = True

    def check_frames(self) -> None:
        """Check that the frames have all data of the items; does nothing in this class."""

    @property
    def has_boxes(self) -> bool:
        """Whether any sample of the chosen scenes has a box, of whatever category."""
        scenes = np.unique(self.index.frames.scene[self.rows])
        samples = self.index.samples
        return bool(samples.box_count[np.isin(samples.scene, scenes)].any())

    def _check_annotated(self) -> None:
        """Check that at least one image has a box in each split that comes from a COCO file.

        Otherwise, all images of the split would count as images without objects, and all detections
        in them as false.

        Raises:
            DataError: if a split has no box.
        """
        if self.index.info.source != "frames":
            return
        scenes, samples = self.index.scenes, self.index.samples
        annotated = np.bincount(samples.scene, samples.box_count, minlength=len(scenes)) > 0
        boxed = {scenes.split[scene] for scene in np.flatnonzero(annotated)}
        chosen = {scenes.split[scene] for scene in np.unique(self.index.frames.scene[self.rows])}
        # Folders without a COCO file have no split.
        if empty := sorted(chosen - boxed - {""}):
            raise DataError(
                f"{self.index_path}: {empty[0]} has no annotated image, so that every object in it "
                f"would count as background; build the index with a COCO file of {empty[0]} that "
                "has annotations"
            )

    def _check_objects(self) -> None:
        """Check that the frames have an object to detect; stop at the first one found.

        Raises:
            DataError: if there is none; says how many objects each filter leaves out.
        """
        total, counts = 0, dict.fromkeys(self.reasons(self._boxes(self.rows[:0])), 0)
        for start in range(0, len(self.rows), _CHUNK):
            boxes = self._boxes(self.rows[start : start + _CHUNK])
            reasons = self.reasons(boxes)
            if len(boxes.label) and not np.logical_or.reduce(list(reasons.values())).all():
                return
            total += len(boxes.label)
            for name, mask in reasons.items():
                counts[name] += int(mask.sum())
        classes = ", ".join(self.classes)
        if total == 0:
            raise DataError(
                f"{self.index_path}: none of the {len(self.rows)} frames has an object of the "
                f"classes {classes}, so that there is nothing to learn; look at scenes, class_map "
                "and the annotations that the index was built from"
            )
        causes = ", ".join(f"{name} {count}" for name, count in counts.items() if count)
        raise DataError(
            f"{self.index_path}: the filters leave no object in any of {len(self.rows)} frames. Of "
            f"{total} objects they leave out: {causes} (an object can be in several); loosen them"
        )

    def label_subset_mask(self, rows: Ints, *, fraction: float, seed: int) -> NDArray[np.bool_]:
        """Return (F,) True for the frames of ``rows`` in a label subset; see ``label_subset``."""
        frames = self.index.frames
        return label_subset(
            frames.scene[rows],
            frames.sample[rows],
            frames.timestamp[rows],
            fraction=fraction,
            seed=seed,
        )

    def _check_levels(self) -> None:
        """Check that the index has no unknown visibility levels if there is a visibility filter.

        Raises:
            DataError: if it has; names them and the fix.
        """
        visibility = self.index.boxes.visibility
        if self.filters.min_visibility > 0 and (visibility < 0).any():
            levels = self.index.levels
            count = np.bincount(-visibility[visibility < 0], minlength=len(levels) + 1)[1:]
            unknown = ", ".join(
                f"{name!r} ({boxes} boxes)"
                for name, boxes in zip(levels, count, strict=True)
                if boxes
            )
            raise DataError(
                f"filters: min_visibility={self.filters.min_visibility}, but visibility.json of "
                f"{self.index.path} has levels that are none of "
                f"{', '.join(VISIBILITY_LEVELS)}: {unknown}; give them these names and build "
                "the index again, or leave min_visibility out"
            )

    def _select(self) -> Ints:
        """Return the rows of the frames of the scenes and cameras, before any subset is taken."""
        frames = self.index.frames
        scenes = self.index.scene_rows(self.scenes)
        chosen = np.isin(frames.scene, scenes)
        chosen &= np.isin(frames.camera, self.index.camera_numbers(self.cameras))
        if self.keyframes_only:
            chosen &= frames.keyframe
        return np.flatnonzero(chosen)

    def __len__(self) -> int:
        self.full_init()
        return len(self.rows)

    def get_data_info(self, idx: int) -> dict[str, Any]:
        """Return the pipeline's input for one frame; see the class."""
        self.full_init()
        row = int(self.rows[idx])
        frames = self.index.frames
        scene = int(frames.scene[row])
        return {
            "img_path": str(self.index.image_path(row)),
            "img_id": row,
            "frame_token": frames.token[row],
            "camera": self.index.cameras[frames.camera[row]],
            "scene": self.index.scenes.name[scene],
            "condition": self._condition(scene),
            "height": int(frames.height[row]),
            "width": int(frames.width[row]),
            "instances": self._instances(row),
            "sample_idx": idx % len(self.rows),
        }

    def _condition(self, scene: int) -> str:
        """Return the ``condition`` of a scene's frames; see the class."""
        scenes = self.index.scenes
        if not scenes.described[scene]:
            return ""
        light = "night" if scenes.night[scene] else "day"
        return f"{light} rain" if scenes.rain[scene] else light

    def _boxes(self, rows: Ints) -> FrameBoxes:
        """Return the boxes of frames that have a class."""
        return frame_boxes(self.index, rows, class_map=self.class_map, classes=self.classes)

    def _instances(self, row: int) -> list[dict[str, Any]]:
        """Return the ``instances`` of a frame; see the class."""
        return self._describe(self._boxes(np.array([row])))

    def ignored(self, boxes: FrameBoxes) -> NDArray[np.bool_]:
        """Return (M,) True for the objects that a detector does not have to find."""
        ignored: NDArray[np.bool_] = np.logical_or.reduce(list(self.reasons(boxes).values()))
        return ignored

    def reasons(self, boxes: FrameBoxes) -> dict[str, NDArray[np.bool_]]:
        """Return one mask (M,) per reason to ignore objects, by the reason's name."""
        return self.filters.reasons(boxes)

    def _describe(self, boxes: FrameBoxes) -> list[dict[str, Any]]:
        """Return boxes as ``instances``."""
        ignored = self.ignored(boxes)
        return [
            {
                "bbox": boxes.boxes[number].tolist(),
                "bbox_label": int(boxes.label[number]),
                "ignore_flag": int(ignored[number]),
                "distance": float(boxes.distance[number]),
                "visibility": int(boxes.visibility[number]),
                "moving": int(boxes.moving[number]),
                "truncation": float(boxes.truncation[number]),
                "crowd": int(boxes.crowd[number]),
                "track": int(boxes.track[number]),
            }
            for number in range(len(boxes.label))
        ]

    def get_cat_ids(self, idx: int) -> list[int]:
        """Return the labels in one frame, for MMDetection's ``ClassBalancedDataset``."""
        return [each["bbox_label"] for each in self.get_data_info(idx)["instances"]]

    def prepare_data(self, idx: int) -> Any:
        """Run the pipeline on one frame.

        Raises:
            FileNotFoundError: if the frame's image does not exist.
        """
        info = self.get_data_info(idx)
        if not os.path.isfile(info["img_path"]):
            raise FileNotFoundError(
                f"no image at {info['img_path']} (frame {info['frame_token']} of "
                f"{self.index.path}); set data_root in the config to where the images are"
            )
        return self.pipeline(info)

    def get_subset_(self, indices: int | Sequence[int]) -> None:
        """Keep the first n frames (the last |n| if negative), or the frames at these positions."""
        self.full_init()
        self.rows = _subset(self.rows, indices)

    def get_subset(self, indices: int | Sequence[int]) -> FrameDetection:
        """Apply ``get_subset_`` to a copy."""
        self.full_init()
        copied: FrameDetection = object.__new__(type(self))
        copied.__dict__.update(self.__dict__)
        copied.get_subset_(indices)
        return copied


def _subset(rows: Ints, indices: int | Sequence[int]) -> Ints:
    """Return the first n rows (the last |n| if negative), or the rows at some positions."""
    if isinstance(indices, int):
        return rows[:indices] if indices >= 0 else rows[indices:]
    return rows[np.asarray(indices, dtype=np.int64)]
