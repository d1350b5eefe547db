"""Statistics of a backbone's features of one fixed image.

Two models with equal statistics have the same weights, and normalise images in the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

_SAMPLES = 64
"""Number of values of each map that are recorded."""


def fixed_image(size: tuple[int, int]) -> Tensor:
    """Generate an image by formula, with edges at many scales and three different channels.

    Args:
        size: height and width, pixels.

    Returns:
        uint8 (H, W, 3), BGR as OpenCV reads images.
    """
    rows_H1 = torch.arange(size[0])[:, None]
    columns_1W = torch.arange(size[1])[None, :]
    channels = [
        columns_1W * (c + 2) + rows_H1 * (5 - c) + rows_H1 * columns_1W * (c + 1) // 16 + 40 * c
        for c in range(3)
    ]
    return (torch.stack(channels, dim=-1) % 256).to(torch.uint8)


def level_numbers(backbone: nn.Module, maps: Sequence[Tensor]) -> list[int]:
    """Return the stage or block of each map: the backbone's ``out_indices``, else 0, 1, 2, ...

    By these numbers, models that return different levels are compared at the levels of both.
    """
    numbers = getattr(backbone, "out_indices", None)
    return (
        list(numbers) if numbers is not None and len(numbers) == len(maps) else [*range(len(maps))]
    )


def describe_features(maps: Sequence[Tensor], levels: Sequence[int]) -> list[dict[str, Any]]:
    """Compute small statistics of each map.

    Args:
        maps: features (1, C, h, w) of :func:`fixed_image`.
        levels: from :func:`level_numbers`.

    Returns:
        For each map its level, shape, root mean square, means per channel, and some values.
    """
    return [
        {
            "level": level,
            "shape": list(features.shape[1:]),
            "rms": float(features.float().square().mean().sqrt()),
            "means": features.float().mean(dim=(0, 2, 3)).tolist(),
            "values": _samples(features).tolist(),
        }
        for level, features in zip(levels, maps, strict=True)
    ]


def compare_features(
    recorded: Sequence[dict[str, Any]],
    maps: Sequence[Tensor],
    levels: Sequence[int],
    tolerance: float,
) -> list[str]:
    """Compare features with recorded ones.

    Args:
        recorded: from :func:`describe_features`.
        maps: features of the same image.
        levels: levels of ``maps``.
        tolerance: largest difference allowed, as a fraction of the map's root mean square.

    Returns:
        The differences, one line per level; empty if there are none.
    """
    by_level = {entry["level"]: entry for entry in recorded}
    shared = [level for level in levels if level in by_level]
    if not shared:
        return [f"the model returns the levels {list(levels)}, the export has {list(by_level)}"]
    lines = []
    for level, features in zip(levels, maps, strict=True):
        if level not in by_level:
            continue
        entry = by_level[level]
        if list(features.shape[1:]) != entry["shape"]:
            lines.append(
                f"level {level} has shape {tuple(features.shape[1:])}, not {tuple(entry['shape'])}"
            )
            continue
        means = features.float().mean(dim=(0, 2, 3))
        computed = torch.cat([means, _samples(features)])
        expected = torch.tensor([*entry["means"], *entry["values"]])
        difference = float((computed - expected).abs().max()) / max(entry["rms"], 1e-12)
        if not difference <= tolerance:
            lines.append(f"level {level} differs by {difference:.2g} of its root mean square")
    return lines


def _samples(features_1Chw: Tensor) -> Tensor:
    """Return values of a map at ``_SAMPLES`` evenly spaced positions of its flat array."""
    flat = features_1Chw.float().flatten()
    return flat[torch.linspace(0, len(flat) - 1, _SAMPLES, dtype=torch.float64).long()]
