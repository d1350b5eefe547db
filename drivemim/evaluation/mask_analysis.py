"""Analysis of mask strategies on the same clips: leakage, and how objects are masked.

Letters: S masks of a clip.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from torch import Tensor

from drivemim.clips import Clips, patch_grid
from drivemim.config.building import patch_size_of
from drivemim.config.loading import config_errors, dicts_in, read_config
from drivemim.config.nested import short_type
from drivemim.data import ClipDataset
from drivemim.data.boxes.track_poses import clip_track_boxes
from drivemim.data.clips.depth_maps import has_depth, read_depth
from drivemim.data.clips.lidar import has_lidar
from drivemim.data.clips.plain_clips import plain_data_of
from drivemim.errors import MAX_SEED, ConfigError, DataError, check_range
from drivemim.evaluation.mask_statistics import (
    MaskCounts,
    ObjectPatches,
    band_names,
    mask_counts,
    mask_summary,
    object_patches,
)
from drivemim.masking import MaskStrategy, num_masked_patches
from drivemim.masking.from_config import strategies_from_config
from drivemim.masking.leakage import (
    Correspondences,
    Leakage,
    find_correspondences,
    leakage,
)
from drivemim.registry import DATASETS, MASKS

PATCH_SIZE = 16
"""Side of a patch without an encoder, pixels."""
DEPTHS = ("auto", "maps", "lidar")
"""Sources of depth, see ``analyze_masks``."""
DEPTH_HINT = "it needs the depth maps of drivemim town --depth, or data with lidar"
_DEFAULTS = {"image_size": (224, 400), "num_frames": 3}
"""Arguments of the data set that a config without training data lacks."""
_SHAPE = ("image_size", "num_frames", "frame_interval")
"""Arguments of a data set that all parts of mixed data must have the same."""
_ALL_POINTS = 1_000_000
"""More lidar points than any frame has: a limit that keeps all of them."""


@dataclass(frozen=True, kw_only=True)
class _Subject:
    """A clip, with everything that is the same for all masks of it."""

    clips: Clips
    correspondences: Correspondences
    objects: ObjectPatches
    teacher_map_BTNhw: Tensor | None


def analyze_masks(
    config: str | Path,
    *,
    patch_size: int | None = None,
    dataset: Mapping[str, Any] | None = None,
    only: Sequence[str] | None = None,
    ratio: float | None = None,
    count: int = 8,
    draws: int = 4,
    depth: str = "auto",
    contrast_teacher: bool = False,
    seed: int = 0,
) -> dict[str, Any]:
    """Measure leakage and the masking of objects for each strategy, on the same clips.

    Args:
        config: config with ``strategies`` (configs by name) and ``dataset`` (of a ``ClipDataset``),
            or of a pretraining run, whose strategy and training data are used.
        patch_size: side of a patch, pixels; None for that of the config's encoder, or else 16.
        dataset: arguments that replace the config's. A config without data has clips of 3 frames of
            224x400 pixels.
        only: names of the strategies to measure; None for all.
        ratio: mask ratio of all strategies; None for their own.
        count: largest number of clips, spread over the data.
        draws: masks per strategy and clip.
        depth: source of depth: ``maps`` beside a generated town's images, ``lidar``, or ``auto``
            for maps if there are any, else lidar. With ``auto`` and neither, leakage is None.
        contrast_teacher: give strategies with a teacher the contrast of the images as the teacher's
            map; without this, they are left out.
        seed: seed of the masks.

    Returns:
        The settings, with the number of ``clips``, the ``depth`` used and the mask ``ratios``;
        ``strategies``, a summary of each by name (see ``mask_summary``, with the fractions that
        leak); and ``left_out``, the names of strategies that need a teacher.

    Raises:
        ConfigError: for a wrong argument, or if the config lacks a strategy or data set.
        DataError: if the data lacks the requested source of depth.
        FileNotFoundError: if a file is missing.
    """
    _check_numbers(count, draws, seed)
    cfg = read_config(config)
    configs = strategies_from_config(cfg.to_dict(), config, only)
    with_teacher = [name for name, each in configs.items() if needs_teacher(each)]
    left_out = [] if contrast_teacher else with_teacher
    strategies = _build(configs, left_out, ratio)
    settings = _settings(cfg, dataset)
    with config_errors():
        data: ClipDataset = DATASETS.build({"type": "ClipDataset", **settings})
    if patch_size is None:
        patch_size = patch_size_of(cfg, config) or PATCH_SIZE
    grid = patch_grid(data.image_size, patch_size)
    source = _depth_source(depth, data)
    lidar_data = None if source == "maps" else _with_all_points(data, settings)
    items = np.unique(np.linspace(0, len(data) - 1, count).round().astype(int)).tolist()
    subjects = (_subject(data, lidar_data, item, grid, contrast_teacher) for item in items)
    return {
        "clips": len(items),
        "draws": draws,
        "grid": list(grid),
        "depth": source,
        "ratios": sorted({each.mask_ratio for each in strategies.values()}),
        "dataset": {**settings, "lidar_points": data.lidar_points},
        "strategies": _measure(strategies, subjects, grid, draws, seed),
        "left_out": left_out,
    }


def _check_numbers(count: int, draws: int, seed: int) -> None:
    for name, value in (("--clips", count), ("--draws", draws)):
        check_range(name, value, 1)
    check_range("--seed", seed, 0, MAX_SEED)


def _with_all_points(data: ClipDataset, settings: Mapping[str, Any]) -> ClipDataset:
    """Return the data with all lidar points, to measure leakage; masks get fewer points."""
    points = _ALL_POINTS if has_lidar(data.index) else 0
    return ClipDataset(**{**settings, "lidar_points": points})


def _build(
    configs: Mapping[str, Mapping[str, Any]], left_out: Sequence[str], ratio: float | None
) -> dict[str, MaskStrategy]:
    """Build the strategies that are not left out; ``ratio`` replaces their mask ratios.

    Raises:
        ConfigError: if all are left out, or one cannot be built.
    """
    measured = {name: each for name, each in configs.items() if name not in left_out}
    if not measured:
        raise ConfigError(f"{', '.join(left_out)}: needs a teacher; give --contrast-teacher")
    changes = {} if ratio is None else {"mask_ratio": ratio}
    with config_errors():
        return {name: MASKS.build({**each, **changes}) for name, each in measured.items()}


def _measure(
    strategies: Mapping[str, MaskStrategy],
    subjects: Iterable[_Subject],
    grid: tuple[int, int],
    draws: int,
    seed: int,
) -> dict[str, dict[str, Any]]:
    """Summarise each strategy over all clips."""
    leaks: dict[str, list[Leakage]] = {name: [] for name in strategies}
    counts: dict[str, list[MaskCounts]] = {name: [] for name in strategies}
    frames = points = 0
    for subject in subjects:
        frames = subject.clips.valid_BTN.numel()
        points += len(subject.correspondences.own_P)
        for name, strategy in strategies.items():
            mask_STNhw = _masks(strategy, subject, grid, draws, seed)
            leaks[name].append(leakage(mask_STNhw, subject.correspondences))
            counts[name].append(mask_counts(mask_STNhw, subject.objects))
    return {
        name: {
            **_leakage_summary(reduce(add, leaks[name]) if points else None),
            **mask_summary(
                MaskCounts.join(counts[name]), num_masked_patches(strategy.mask_ratio, grid), frames
            ),
        }
        for name, strategy in strategies.items()
    }


def needs_teacher(config: Any) -> bool:
    """Return whether a strategy's config contains a ``GuidedMask``."""
    return any(short_type(each) == "GuidedMask" for each in dicts_in(config))


def analysis_table(results: Mapping[str, Any]) -> str:
    """Format the results of ``analyze_masks`` as a Markdown table, one row per strategy."""
    bands = band_names()
    rows = results["strategies"]
    classes = next(iter(rows.values()))["class_balance"]
    header = [
        "strategy", "leaks, %", "only through time, %", "only through cameras, %",
        "leaking patches, %", "hidden part of an object, %", "completely hidden objects",
        f"fewest visible patches at {' / '.join(bands)}",
        *classes, "deviation from the budget",
    ]  # fmt: skip
    lines = ["| " + " | ".join(header) + " |", "|---" * len(header) + "|"]
    for name, row in rows.items():
        least_visible = [row["least_visible"][band] for band in bands]
        cells = [
            name,
            *(_percent(row[key]) for key in ("leakage", "time", "cameras", "patches")),
            _percent(row["objects_hidden"]),
            f"{row['wiped_out']} of {row['large_objects']}",
            " / ".join("-" if value is None else str(value) for value in least_visible),
            *("-" if value is None else f"{value:.2f}" for value in row["class_balance"].values()),
            _deviation(row),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _settings(cfg: Config, replaced: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the arguments of the data set: the config's, without augmentation.

    Of several data sets, those arguments are taken that are the same in all.

    Args:
        cfg: the config.
        replaced: arguments that replace the config's.

    Raises:
        ConfigError: if neither the config nor ``replaced`` names one index, or several data sets
            have different clips.
    """
    has_data = {"dataset", "train_dataloader"} & cfg.keys()
    data = plain_data_of(cfg.to_dict(), cfg.filename) if has_data else {}
    parts, replaced = data.pop("datasets", [data]), dict(replaced or {})
    for key in _SHAPE:
        if key not in replaced and any(part.get(key) != parts[0].get(key) for part in parts):
            flag = f"--{key.replace('_', '-')}"
            raise ConfigError(f"{cfg.filename} has data sets with different {key}; give {flag}")
    shared = {
        key: value
        for key, value in parts[0].items()
        if all(part.get(key) == value for part in parts)
    }
    settings = {**_DEFAULTS, **shared, "augment": None, "drop_incomplete": True, **replaced}
    if "index" not in (replaced if parts[1:] else settings):
        lack = f"has {len(parts)} data sets" if parts[1:] else "has no dataset"
        raise ConfigError(f"{cfg.filename} {lack}; give an index (--index)")
    settings.pop("type", None)
    return settings


def _depth_source(depth: str, data: ClipDataset) -> str | None:
    """Return the source of depth: ``maps``, ``lidar`` or None for none.

    Raises:
        ConfigError: for another word than those of ``DEPTHS``.
        DataError: if the data lacks the source that was asked for.
    """
    if depth not in DEPTHS:
        raise ConfigError(f"depth={depth!r} must be one of {', '.join(DEPTHS)}")
    has = {"maps": has_depth(data.index), "lidar": has_lidar(data.index, data.clip_starts[:, 0])}
    if depth == "auto":
        return next((source for source, has_source in has.items() if has_source), None)
    if not has[depth]:
        raise DataError(
            f"--depth {depth}: the clips of {data.index.path} have no "
            f"{'depth maps' if depth == 'maps' else 'lidar'} to measure leakage with; {DEPTH_HINT}"
        )
    return depth


def _subject(
    data: ClipDataset,
    lidar_data: ClipDataset | None,
    item: int,
    grid: tuple[int, int],
    contrast_teacher: bool,
) -> _Subject:
    """Load a clip and find its correspondences and objects.

    Args:
        data: data set of the clip.
        lidar_data: the same with all lidar points; None to use depth maps.
        item: number of the clip.
        grid: rows and columns of patches.
        contrast_teacher: whether strategies get a teacher's map.
    """
    rows_TN = data.rows(item)
    clips = data.load(rows_TN, seed=item)
    track_boxes = clip_track_boxes(data.index, rows_TN)
    if lidar_data is None:
        depth = torch.from_numpy(read_depth(data.index, rows_TN))
        correspondences = find_correspondences(
            clips, grid, depth_TNHW=depth, track_boxes=track_boxes
        )
    else:
        correspondences = find_correspondences(
            lidar_data.load(rows_TN, seed=item), grid, track_boxes=track_boxes
        )
    return _Subject(
        clips=clips,
        correspondences=correspondences,
        objects=object_patches(clips, grid),
        teacher_map_BTNhw=local_contrast(clips, grid) if contrast_teacher else None,
    )


def _masks(
    strategy: MaskStrategy, subject: _Subject, grid: tuple[int, int], draws: int, seed: int
) -> Tensor:
    """Draw masks of one clip: bool (draws, T, N, h, w)."""
    clip = int(subject.clips.seeds_B[0])
    # A separate random stream for each seed, draw (of up to 1,000) and clip (of up to 100,000).
    return torch.cat(
        [
            strategy(
                subject.clips,
                grid,
                [torch.Generator().manual_seed((seed * 1_000 + draw) * 100_000 + clip)],
                subject.teacher_map_BTNhw,
            )
            for draw in range(draws)
        ]
    )


def _leakage_summary(total: Leakage | None) -> dict[str, float | None]:
    """Return the fractions that leak; all None if there is no depth."""
    if total is None:
        return dict.fromkeys(("leakage", "time", "cameras", "patches"))
    whole = Leakage(**{name: getattr(total, name).sum() for name in vars(total)})
    return {
        "leakage": float(whole.fraction),
        "time": float(whole.fraction_time),
        "cameras": float(whole.fraction_cameras),
        "patches": float(whole.fraction_patches),
    }


def _percent(fraction: float | None) -> str:
    return "-" if fraction is None else f"{100 * fraction:.1f}"


def _deviation(row: Mapping[str, Any]) -> str:
    """Format how many patches more or fewer than the budget frames, and whole clips, hide."""
    low, high = row["frame_budget"]
    frames = "0" if low == high == 0 else f"{low:+d} to {high:+d} per frame"
    low, high = row["clip_budget"]
    return frames if low == high == 0 else f"{frames}, {low:+d} to {high:+d} per clip"


def local_contrast(clips: Clips, grid: tuple[int, int]) -> Tensor:
    """Compute the standard deviation of each patch's grey levels: float (B, T, N, h, w).

    Where mask strategies are compared, it takes the place of the map of a trained teacher.
    """
    (h, w), (H, W) = grid, clips.image_size
    grey_BTNHW = clips.images_BTNHWC.float().mean(dim=-1)
    rows, columns = H // h, W // w
    whole = grey_BTNHW[..., : rows * h, : columns * w]
    deviation: Tensor = whole.reshape(*clips.shape, h, rows, w, columns).std(dim=(4, 6))
    return deviation
