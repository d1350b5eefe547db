"""Pictures of the masks of each strategy on a clip, with landmarks.

A landmark is a world point that is marked by the same number in every frame that sees it. It shows
whether a mask hides the same place in several frames.

Letters: P world points.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from drivemim.array_types import Bools, Floats, Image
from drivemim.clips import Clips, patch_grid
from drivemim.config.building import patch_size_of
from drivemim.config.loading import config_errors, read_config
from drivemim.data import ClipDataset, ItemRequest
from drivemim.data.clips.plain_clips import plain_data_of
from drivemim.errors import MAX_SEED, DataError, check_range
from drivemim.evaluation.mask_analysis import PATCH_SIZE, local_contrast
from drivemim.files import ensure_folder
from drivemim.geometry import project_points, unproject_points
from drivemim.masking import build_mask, clip_generators
from drivemim.masking.from_config import strategies_from_config
from drivemim.registry import DATASETS
from drivemim.visualization.panels import (
    draw_frame_boxes,
    frame_table,
    overlay_mask,
    save_image,
    track_color,
)
from drivemim.visualization.picture_data import camera_names, check_width

NEAREST = 2.0
"""Metres in front of the camera; nearer landmarks are not drawn."""
_APART = 8.0
"""Smallest distance between landmarks, metres."""


def draw_masks(
    config: str | Path,
    out: str | Path,
    *,
    item: int = 0,
    options: Mapping[str, Any] | None = None,
    only: Sequence[str] | None = None,
    ratio: float | None = None,
    marks: int = 8,
    width: int = 1800,
    patch_size: int | None = None,
    seed: int = 0,
) -> list[Path]:
    """Draw one clip with the mask of each strategy of a config.

    Args:
        config: config with ``strategies`` (configs by name) and ``dataset``, or a pretraining
            config, whose strategy and training data are used.
        out: folder for ``NAME.jpg``.
        item: position of the clip in the data set.
        options: overrides of the config, by dotted key.
        only: names of the strategies to draw; None for all.
        ratio: mask ratio; None for the config's own.
        marks: number of landmarks to draw.
        width: maximum width of a picture, pixels.
        patch_size: side of a patch, pixels; None for that of the config's encoder, or else 16.
        seed: random seed of the masks.

    Returns:
        The written files.

    Raises:
        ConfigError: if the config lacks strategies, or a number is out of range.
        DataError: if there is no such clip.
        NotADirectoryError: if ``out`` is a file.
    """
    for name, value in (("--clip", item), ("--marks", marks)):
        check_range(name, value, 0)
    check_range("--seed", seed, 0, MAX_SEED)
    ensure_folder(out)
    cfg = read_config(config, options)
    changes = {} if ratio is None else {"mask_ratio": ratio}
    configs = strategies_from_config(cfg.to_dict(), config, only)
    data = plain_data_of(cfg.to_dict(), config)
    with config_errors():
        strategies = {name: build_mask({**each, **changes}) for name, each in configs.items()}
        dataset: ClipDataset = DATASETS.build(data)
    clips = _clip(dataset, item, seed)
    check_width(width, clips)
    if patch_size is None:
        patch_size = patch_size_of(cfg, config) or PATCH_SIZE
    grid = patch_grid(clips.image_size, patch_size)
    landmarks_P3 = choose_landmarks(clips, marks)
    cameras = camera_names(dataset, clips)
    tile_width = min(clips.image_size[1], width // clips.shape[2])
    written = []
    for name, strategy in strategies.items():
        mask_BTNhw = strategy(clips, grid, clip_generators(clips), local_contrast(clips, grid))
        path = Path(out) / f"{name}.jpg"
        panel = mask_panel(clips, mask_BTNhw, landmarks_P3, cameras=cameras, tile_width=tile_width)
        save_image(path, panel, quality=75)
        written.append(path)
    return written


def _clip(dataset: ClipDataset, item: int, seed: int) -> Clips:
    if item >= len(dataset):
        raise DataError(f"--clip {item} must be in [0, {len(dataset) - 1}]: there are no more")
    return dataset[ItemRequest(item, seed)]


def mask_panel(
    clips: Clips,
    mask_BTNhw: Tensor,
    landmarks_P3: Tensor,
    *,
    cameras: Sequence[str] | None = None,
    tile_width: int = 300,
) -> Image:
    """Draw the first clip of a batch: a row per time, a column per camera, hidden patches tinted.

    Boxes have the colour of their class, and a small square in the colour of their track. A
    landmark has the same number and colour in every frame. It is also drawn where something
    occludes it.

    Args:
        clips: on the CPU.
        mask_BTNhw: bool, True = hidden.
        landmarks_P3: points in the clip's frame, metres.
        cameras: names of the columns.
        tile_width: width of a frame in the panel, pixels.
    """
    mask_TNhw: Bools = mask_BTNhw[0].cpu().numpy()
    H, W = clips.image_size
    size = (tile_width, round(tile_width * H / W))

    def draw(t: int, n: int) -> Image:
        tinted = overlay_mask(clips.images_BTNHWC[0, t, n].numpy(), mask_TNhw[t, n])
        tile = np.asarray(cv2.resize(tinted, size, interpolation=cv2.INTER_AREA), np.uint8)
        tile = draw_frame_boxes(tile, clips, (0, t, n))
        pixels_P2, seen_P = _project(clips, t, n, landmarks_P3)
        for number in np.flatnonzero(seen_P):
            _mark(tile, pixels_P2[number] * np.divide(size, (W, H)), int(number))
        return tile

    return frame_table(clips, draw, cameras=cameras, tile_width=tile_width)


def choose_landmarks(clips: Clips, count: int) -> Tensor:
    """Choose world points that many frames of the first clip see, at least 8 m from each other.

    They are lidar points if the clip has any, otherwise points on the ground plane: every 3 m, up
    to 30 m in front of and behind the vehicle and 9 m beside it. If too few are far enough from
    each other, points are repeated.

    Returns:
        (P, 3) in the clip's frame, metres.
    """
    clips.require("The choice of world points", "intrinsics", "poses")
    candidates_P3 = _lidar_points(clips)
    if len(candidates_P3) == 0:
        along, across = torch.arange(-30.0, 31, 3).double(), torch.arange(-9.0, 10, 3).double()
        candidates_P3 = torch.cartesian_prod(along, across, torch.zeros(1).double())
    num_frames_P = np.zeros(len(candidates_P3))
    for t, n in np.argwhere(clips.valid_BTN[0].numpy()):
        num_frames_P += _project(clips, int(t), int(n), candidates_P3)[1]
    chosen: list[int] = []
    distance_P = np.full(len(candidates_P3), np.inf)
    for _ in range(min(count, len(candidates_P3))):
        best = int(np.argmax(np.where(distance_P > _APART, num_frames_P, -1.0)))
        chosen.append(best)
        from_best_P = (candidates_P3 - candidates_P3[best]).norm(dim=1).numpy()
        distance_P = np.minimum(distance_P, from_best_P)
    return candidates_P3[chosen]


def _lidar_points(clips: Clips) -> Tensor:
    """Return the lidar points of all frames of the first clip, (P, 3) in the clip's frame."""
    points_TNP3 = clips.points_BTNP3[0].double()
    is_point_TNP = points_TNP3[..., 2].isfinite() & clips.valid_BTN[0][..., None]
    world_TNP3 = unproject_points(
        points_TNP3.nan_to_num(posinf=0.0),
        clips.intrinsics_BTN33[0].double(),
        clips.camera_to_clip_BTN44[0].double(),
    )
    return world_TNP3[is_point_TNP]


def _project(clips: Clips, t: int, n: int, points_P3: Tensor) -> tuple[Floats, Bools]:
    """Project points of the clip's frame into an image.

    Returns:
        pixels (P, 2), and bool (P,), whether a point is inside the image and beyond ``NEAREST``.
    """
    pixels_P2, depth_P = project_points(
        points_P3,
        clips.intrinsics_BTN33[0, t, n].double(),
        clips.camera_to_clip_BTN44[0, t, n].double(),
    )
    H, W = clips.image_size
    inside_P = ((pixels_P2 >= 0) & (pixels_P2 < torch.tensor([W, H]))).all(dim=1)
    return pixels_P2.numpy(), (inside_P & (depth_P > NEAREST)).numpy()


def _mark(tile: Image, pixel_2: Floats, number: int) -> None:
    """Draw a landmark, a disc with its number (from 1), into a tile."""
    # Pixel i spans [i, i + 1], but OpenCV counts from the centre of pixel 0. ``shift=4`` means that
    # its coordinates are in 16ths of a pixel.
    center = [round(16 * (float(value) - 0.5)) for value in pixel_2]
    for radius, color in ((7, (255, 255, 255)), (6, track_color(number * 7 + 1))):
        cv2.circle(tile, center, 16 * radius, color, -1, cv2.LINE_AA, shift=4)
    where = (int(pixel_2[0]) - 4, int(pixel_2[1]) + 4)
    cv2.putText(tile, str(number + 1), where, cv2.FONT_HERSHEY_SIMPLEX, 0.35, (0, 0, 0), 1)
