"""The pretraining data set: clips of frames from a ``FrameIndex``.

Letters: P lidar points of a frame.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from drivemim.array_types import Floats, Ints
from drivemim.clips import Clips, checked_image_size
from drivemim.data.boxes.box_sources import ImageBoxes, build_box_source, pad_boxes
from drivemim.data.class_lists import class_names
from drivemim.data.clips.augmentation import AugmentationDraw, AugmentSettings, CameraAugmentation
from drivemim.data.clips.clip_coverage import ClipSet, check_steps
from drivemim.data.clips.clip_rule import ClipRule
from drivemim.data.clips.lidar import frame_points, has_lidar
from drivemim.data.clips.sampler import ItemRequest, as_request
from drivemim.data.clips.unreadable import UnreadableFrames
from drivemim.data.index.frame_index import FrameIndex
from drivemim.data.index.images import read_image
from drivemim.errors import ConfigError, DataError, check_range
from drivemim.registry import DATASETS, FUNCTIONS


@FUNCTIONS.register_module()
def collate_clips(items: Sequence[Clips]) -> Clips:
    """Join clips into a batch."""
    return Clips.cat(items)


@DATASETS.register_module()
class ClipDataset(Dataset[Clips]):
    """Clips of T time steps x N cameras; an item is a batch of one clip.

    A clip begins at a sample (a nuScenes keyframe, any frame of a folder) and goes forward in time.
    Missing frames (the camera dropped out, or the scene has ended) have ``valid`` False.

    Args:
        index: file that ``drivemim index`` wrote.
        image_size: height and width of the images, pixels. If their aspect ratio differs from that
            of the files, images and intrinsics are stretched.
        num_frames: T.
        frame_interval: seconds between a camera's frames, which uses sweeps too; None for
            consecutive keyframes.
        cameras: a name, or names in the order of N; None for all.
        scenes: scene names, a split name, or None for all; see ``FrameIndex.scene_rows``.
        single_camera: whether each clip has a single camera (N = 1), so that data of different rigs
            can be mixed.
        drop_incomplete: whether to leave out clips that begin too close to their scene's end.
        augment: settings of ``AugmentSettings``; None for no augmentation. ``focus`` needs
            ``boxes`` that are known before the images are loaded: not ``MotionBoxes``.
        boxes: source of the boxes: ``AnnotatedBoxes``, ``PseudoLabelBoxes`` (a detector's results),
            ``MotionBoxes`` (no labels at all), by name or as a config with arguments; None for no
            boxes.
        min_box_size: boxes narrower or lower than this are left out, pixels of the loaded image.
        lidar_points: maximum number of lidar points per frame; 0 for none. See ``frame_points``.
        class_map: class by category, or None for no class; only categories whose class differs from
            ``drivemim.data.class_lists.category_classes``.
        classes: names of the objects' classes, or ``nuscenes`` for the ten of its detection task;
            pedestrian and vehicle by default.
        version: data set version that the index must hold, if given.
        data_root: where the data lies, if it moved since the index was built.
        max_unreadable: number of images that may be unreadable. Each is logged, and is a missing
            frame; a clip without any other frame is replaced by the next clip. Every loading
            process counts its own unreadable images. With 0, the first one is an error.

    Raises:
        FileNotFoundError: if the index does not exist; on loading, if an image or a lidar scan does
            not exist.
        ValueError: if an argument is invalid; a camera, scene or category is unknown; the index is
            old or of another version; there is no clip; no clip has a frame at some time step (the
            message gives the interval of the data's frames); or ``lidar_points`` is set but the
            data has no lidar scans. On loading, if a file is broken.
    """

    def __init__(
        self,
        *,
        index: str | os.PathLike[str],
        image_size: tuple[int, int],
        num_frames: int = 1,
        frame_interval: float | None = None,
        cameras: str | Sequence[str] | None = None,
        scenes: str | Sequence[str] | None = None,
        single_camera: bool = False,
        drop_incomplete: bool = False,
        augment: Mapping[str, Any] | None = None,
        boxes: str | Mapping[str, Any] | None = "AnnotatedBoxes",
        min_box_size: float = 1.0,
        lidar_points: int = 0,
        class_map: Mapping[str, str | None] | None = None,
        classes: str | Sequence[str] | None = None,
        version: str | None = None,
        data_root: str | os.PathLike[str] | None = None,
        max_unreadable: int = 0,
    ) -> None:
        self.index = FrameIndex.open(Path(index), version=version, data_root=data_root)
        self.image_size = checked_image_size(image_size)
        self.single_camera = single_camera
        self._unreadable = UnreadableFrames(max_unreadable)
        check_range("min_box_size", min_box_size, 0)
        self.min_box_size = min_box_size
        if lidar_points < 0:
            raise ConfigError(f"lidar_points={lidar_points} must be in [0, infinity)")
        self.lidar_points = lidar_points
        self.classes = class_names(classes)
        self.boxes = build_box_source(boxes, self.index, class_map, self.classes)
        self.rule = ClipRule(
            self.index, self.index.camera_numbers(cameras), num_frames, frame_interval
        )
        settings = None if augment is None else AugmentSettings.parse(augment)
        self._augmentation = CameraAugmentation(settings)
        scene_rows = self.index.scene_rows(scenes)
        in_scenes = np.isin(self.index.samples.scene, scene_rows)
        self._are_annotated = bool(self.index.samples.box_count[in_scenes].any())
        self._has_focus = settings is not None and settings.focus > 0
        if self._has_focus:
            self._check_focus(boxes)
        all_starts = self._list_clips(scene_rows, drop_incomplete=False)
        if len(all_starts) == 0:
            raise ConfigError(
                f"{self.index.path} has no clip of scenes={scenes}, cameras={cameras}: no sample "
                "of these scenes has an image of these cameras"
            )
        check_steps(ClipSet(rule=self.rule, clip_starts=all_starts, single_camera=single_camera))
        self.clip_starts = (
            self._list_clips(scene_rows, drop_incomplete=True) if drop_incomplete else all_starts
        )
        if lidar_points > 0 and not has_lidar(self.index, all_starts[:, 0]):
            raise ConfigError(
                f"lidar_points={lidar_points}, but no sample of scenes={scenes} in "
                f"{self.index.path} has a LIDAR_TOP scan; set lidar_points=0"
            )

    @property
    def metainfo(self) -> dict[str, Any]:
        """Class names, for MMEngine's tools."""
        return {"classes": self.classes}

    @property
    def has_boxes(self) -> bool:
        """Whether frames may have boxes: the source finds some itself, or there are annotations."""
        if self.boxes is None:
            return False
        return self.boxes.origin != "annotations" or self._are_annotated

    @property
    def clips(self) -> ClipSet:
        """The clips as a ``ClipSet``: which frames they have, without loading any."""
        return ClipSet(
            rule=self.rule,
            clip_starts=self.clip_starts,
            single_camera=self.single_camera,
        )

    def __len__(self) -> int:
        return len(self.clip_starts)

    def __getitem__(self, item: ItemRequest | int) -> Clips:
        """Load a clip; its random operations depend only on the seed of the request.

        Args:
            item: a request of ``SeededInfiniteSampler``, or a position, which is then the seed too.
        """
        request = as_request(item)
        seed = int(np.random.RandomState(request.seed).randint(2**31))
        clips = self.load(self.rows(request.position), seed)
        for step in range(1, len(self)):
            if clips.valid_BTN.any():
                break
            clips = self.load(self.rows((request.position + step) % len(self)), seed)
        return clips

    def rows(self, item: int) -> Ints:
        """Return the frames (T, N) of an item as rows of the index; -1 for missing frames."""
        sample, camera = self.clip_starts[item]
        rows_TN: Ints = self.rule.rows(np.array([sample]))[0]
        return rows_TN[:, camera : camera + 1] if self.single_camera else rows_TN

    def load(self, rows_TN: Ints, seed: int) -> Clips:
        """Load the clip of given frames.

        Args:
            rows_TN: rows of the index; -1 for missing frames.
            seed: seed of the augmentation, and the clip's ``seeds_B``.
        """
        images_TNHWC, matrices_TN33, rows_TN = self._read(rows_TN, seed)
        valid_TN = rows_TN >= 0
        rows_V = rows_TN[valid_TN]
        intrinsics_TN33, camera_to_clip_TN44 = self._calibrate(rows_TN, matrices_TN33)
        timestamps_TN = np.zeros(rows_TN.shape, np.int64)
        timestamps_TN[valid_TN] = self.index.frames.timestamp[rows_V]
        image_boxes = ImageBoxes.empty()
        if self.boxes is not None:
            image_boxes = self.boxes.boxes_for_frames(rows_V)
        boxes = pad_boxes(image_boxes, valid_TN, matrices_TN33, self.image_size, self.min_box_size)
        token = self.index.frames.token
        clips = Clips(
            images_BTNHWC=torch.from_numpy(images_TNHWC)[None],
            intrinsics_BTN33=torch.from_numpy(intrinsics_TN33.astype(np.float32))[None],
            camera_to_clip_BTN44=torch.from_numpy(camera_to_clip_TN44.astype(np.float32))[None],
            timestamps_BTN=torch.from_numpy(timestamps_TN)[None],
            valid_BTN=torch.from_numpy(valid_TN)[None],
            points_BTNP3=self._points(rows_TN, matrices_TN33, seed),
            seeds_B=torch.tensor([seed]),
            tokens=(
                tuple(tuple(token[row] if row >= 0 else "" for row in step) for step in rows_TN),
            ),
            unknown=frozenset(),
            classes=self.classes,
            **{name: torch.from_numpy(values)[None] for name, values in boxes.items()},
        )
        return clips if self.boxes is None else self.boxes.add_boxes(clips, rows_TN)

    def _list_clips(self, scenes: Ints, drop_incomplete: bool) -> Ints:
        """Return the clips of some scenes.

        Args:
            scenes: rows of ``index.scenes``.
            drop_incomplete: whether to leave out clips without a frame at the last time step.

        Returns:
            ``ClipSet.clip_starts``, (A, 2).
        """
        samples = np.flatnonzero(np.isin(self.index.samples.scene, scenes))
        if drop_incomplete:
            last = samples + self.rule.num_frames - 1
            if self.rule.frame_interval is None:
                scene = self.index.samples.scene
                inside = np.minimum(last, len(scene) - 1)
                samples = samples[(last < len(scene)) & (scene[inside] == scene[samples])]
            else:
                # In chunks, which limits the memory for a whole data set.
                has_last = [(self.rule.rows(samples[at : at + 1024])[:, -1] >= 0).any(axis=1)
                            for at in range(0, len(samples), 1024)]  # fmt: skip
                samples = samples[np.concatenate(has_last)] if has_last else samples
        has_frame = self.index.samples.keyframes[samples][:, self.rule.cameras] >= 0
        if self.single_camera:
            start, camera = np.nonzero(has_frame)
            return np.stack([samples[start], camera], axis=1)
        samples = samples[has_frame.any(axis=1)]
        return np.stack([samples, np.zeros_like(samples)], axis=1)

    def _read(self, rows_TN: Ints, seed: int) -> tuple[NDArray[np.uint8], Floats, Ints]:
        """Read the images of a clip.

        Returns:
            The images, the matrices from stored to loaded pixels, and ``rows_TN`` without the
            frames that were skipped.
        """
        T, N = rows_TN.shape
        rows_TN = rows_TN.copy()
        images = np.zeros((T, N, *self.image_size, 3), np.uint8)
        matrices = np.tile(np.eye(3), (T, N, 1, 1))
        # Each camera has its own draw, which depends only on the clip's seed.
        seeds = np.random.SeedSequence(seed).generate_state(N)
        for camera in range(N):
            present = np.flatnonzero(rows_TN[:, camera] >= 0)
            if len(present) == 0:
                continue
            draw = self._augmentation.draw(
                int(seeds[camera]),
                self._centers(rows_TN[present, camera]) if self._has_focus else None,
            )
            for step in present:
                row = int(rows_TN[step, camera])
                try:
                    image, matrix = self._read_frame(row, draw)
                except (DataError, OSError) as error:
                    self._unreadable.skip(row, error)
                    rows_TN[step, camera] = -1
                else:
                    images[step, camera], matrices[step, camera] = image, matrix
            present = np.flatnonzero(rows_TN[:, camera] >= 0)
            if len(present):
                finished = self._augmentation.finish(images[present, camera], draw)
                images[present, camera] = finished
        return images, matrices, rows_TN

    def _check_focus(self, boxes: Any) -> None:
        """Refuse crops around objects without boxes that are known before the images are loaded."""
        if self.boxes is None or self.boxes.origin == "images":
            raise ConfigError(
                "augment: focus needs boxes that are known before the images are loaded; set boxes "
                f"to AnnotatedBoxes or PseudoLabelBoxes, not {boxes}"
            )
        if not self.has_boxes:
            raise ConfigError(
                f"augment: focus places crops around objects, but the scenes of {self.index.path} "
                "have no annotated boxes; build the index with annotations (for frames: --coco), "
                "set boxes to PseudoLabelBoxes, or leave focus out"
            )

    def _centers(self, rows_F: Ints) -> Floats:
        """Return the centres (y, x) of the objects in frames, as fractions of height and width."""
        assert self.boxes is not None
        image_boxes, frames = self.boxes.boxes_for_frames(rows_F), self.index.frames
        rows_M = rows_F[image_boxes.frame]
        sizes_M2 = np.stack([frames.height[rows_M], frames.width[rows_M]], axis=1)
        x1, y1, x2, y2 = np.asarray(image_boxes.boxes, float).T
        centers_M2: Floats = np.stack([y1 + y2, x1 + x2], axis=1) / 2 / sizes_M2
        return centers_M2

    def _read_frame(self, row: int, draw: AugmentationDraw) -> tuple[NDArray[np.uint8], Floats]:
        """Return the drawn crop of a frame, and the matrix from stored to loaded pixels."""
        frames = self.index.frames
        stored = (int(frames.height[row]), int(frames.width[row]))
        crop = draw.crop(stored, self.image_size)
        image = read_image(
            self.index.image_path(row),
            token=frames.token[row],
            stored=stored,
            size=self.image_size,
            crop=crop,
        )
        return image, draw.matrix(crop, self.image_size)

    def _calibrate(self, rows_TN: Ints, matrices_TN33: Floats) -> tuple[Floats, Floats]:
        """Return the intrinsics and the poses of a clip's frames.

        Returns:
            Intrinsics for the loaded pixels, (T, N, 3, 3); and camera poses, (T, N, 4, 4), relative
            to the ego vehicle at the first valid frame. Missing frames have identity matrices.
        """
        valid_TN = rows_TN >= 0
        rows_V = rows_TN[valid_TN]
        frames = self.index.frames
        intrinsics = np.tile(np.eye(3), (*rows_TN.shape, 1, 1))
        camera_to_clip = np.tile(np.eye(4), (*rows_TN.shape, 1, 1))
        if len(rows_V):
            intrinsics[valid_TN] = matrices_TN33[valid_TN] @ frames.intrinsics[rows_V]
            camera_to_clip[valid_TN] = self.index.camera_to_clip(rows_V)
        return intrinsics, camera_to_clip

    def _points(self, rows_TN: Ints, matrices_TN33: Floats, seed: int) -> torch.Tensor:
        """Return the lidar points in the loaded pixels, (1, T, N, P, 3)."""
        valid_TN = rows_TN >= 0
        if self.lidar_points == 0 or not valid_TN.any():
            return torch.zeros(1, *rows_TN.shape, 0, 3)
        points_VP3 = frame_points(
            self.index,
            rows_TN[valid_TN],
            matrices_TN33[valid_TN],
            self.image_size,
            max_points=self.lidar_points,
            seed=seed,
        )
        points = np.zeros((*rows_TN.shape, *points_VP3.shape[1:]), np.float32)
        points[..., 2] = np.inf
        points[valid_TN] = points_VP3
        return torch.from_numpy(points)[None]
