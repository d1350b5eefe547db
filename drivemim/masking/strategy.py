"""Base class of mask strategies, and the functions that they share.

A strategy scores the patches of each frame; those with the highest scores are hidden. So the number
of hidden patches is exact for every strategy, and one strategy can score what another leaves
undecided. The number of hidden patches of a frame is also called its budget.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from numbers import Real
from typing import Any, ClassVar

import torch
from torch import Tensor

from drivemim.clips import Clips, patch_grid
from drivemim.errors import ConfigError
from drivemim.registry import MASKS

Generators = torch.Generator | Sequence[torch.Generator]

READABLE = ("boxes", "tracks", "lidar")
"""Data that a clip can have besides images and calibration."""


@dataclass(frozen=True, kw_only=True)
class MaskContext:
    """The input of a strategy, and its source of randomness.

    Random draws are assigned to a camera by its calibration, not by its index, so the mask does not
    depend on the order of the cameras.

    Attributes:
        clips: clips to mask.
        grid: patches down and across (h, w).
        mask_ratio: fraction of the patches that is hidden, from the outermost strategy.
        generators: one for the batch, or one per clip.
        teacher_map_BTNhw: float, the teacher's map for guided strategies (a loss or an attention);
            None without a teacher.
    """

    clips: Clips
    grid: tuple[int, int]
    mask_ratio: float
    generators: Generators
    teacher_map_BTNhw: Tensor | None = None

    @property
    def device(self) -> torch.device:
        """Device of the clips and of the mask."""
        return self.clips.valid_BTN.device

    @property
    def num_masked(self) -> int:
        """Number of patches hidden per frame."""
        return num_masked_patches(self.mask_ratio, self.grid)

    def draw_per_frame(self, *extra: int) -> Tensor:
        """Draw uniform float32 numbers in [0, 1): (B, T, N, *extra)."""
        drawn = uniform((*self.clips.shape, *extra), self.generators, self.device)
        return self._by_camera(drawn)

    def draw_per_camera(self, *extra: int) -> Tensor:
        """Draw uniform float32 numbers in [0, 1), shared by all time steps: (B, 1, N, *extra)."""
        B, _, N = self.clips.shape
        return self._by_camera(uniform((B, 1, N, *extra), self.generators, self.device))

    def draw_per_clip(self, *extra: int) -> Tensor:
        """Draw uniform float32 numbers in [0, 1): (B, *extra)."""
        return uniform((len(self.clips), *extra), self.generators, self.device)

    @cached_property
    def camera_rank(self) -> Tensor:
        """Rank of each camera in an order that depends only on calibration: int64 (B, N)."""
        return _camera_rank(self.clips)

    def _by_camera(self, drawn_BTN: Tensor) -> Tensor:
        if self.clips.shape[2] == 1:
            return drawn_BTN
        rank = self.camera_rank[(slice(None), None, slice(None), *[None] * (drawn_BTN.ndim - 3))]
        return drawn_BTN.gather(2, rank.expand_as(drawn_BTN))


@dataclass(frozen=True, kw_only=True)
class MaskScores:
    """A strategy's result for a batch of clips.

    Attributes:
        scores_BTNhw: float32; the patches with the highest scores of a frame are hidden first.
        num_masked_BTN: int64, number of patches to hide in each frame. The sum over a clip is
            ``MaskContext.num_masked`` times its number of frames. None for
            ``MaskContext.num_masked`` in every frame.
    """

    scores_BTNhw: Tensor
    num_masked_BTN: Tensor | None = None


class MaskStrategy(ABC):
    """Base class of strategies that choose the patches to hide in every frame.

    Args:
        mask_ratio: fraction of every frame's patches that is hidden, in [0, 1]. May be changed
            later.

    Attributes:
        reads: members of ``READABLE`` that the class itself uses, without the strategies inside it.
            An exported backbone records them. By default, a class is assumed to use all.

    Raises:
        ValueError: if ``mask_ratio`` is outside [0, 1].
    """

    reads: ClassVar[frozenset[str]] = frozenset(READABLE)

    def __init__(self, *, mask_ratio: float = 0.75) -> None:
        check_fraction("mask_ratio", mask_ratio)
        self.mask_ratio = mask_ratio

    def __call__(
        self,
        clips: Clips,
        grid: tuple[int, int] | None = None,
        generators: Generators | None = None,
        teacher_map_BTNhw: Tensor | None = None,
        *,
        patch_size: int = 16,
    ) -> Tensor:
        """Mask a batch of clips.

        Args:
            clips: clips to mask.
            grid: patches down and across (h, w); None for square patches of ``patch_size``.
            generators: source of randomness; the same state gives the same mask. With one
                generator per clip, a clip's mask does not depend on the rest of the batch. None
                for the clips' own seeds.
            teacher_map_BTNhw: float, for guided strategies: patches with higher values are hidden
                first.
            patch_size: side of a patch, pixels; used without ``grid`` only.

        Raises:
            ConfigError: if ``clips`` are not ``Clips`` (see ``Clips.from_images``) or lack data
                that the strategy needs, or the image size is not a multiple of ``patch_size``.

        Returns:
            mask_BTNhw: bool on the clips' device, True = hidden. Every frame, valid or not, has
                exactly ``num_masked_patches(self.mask_ratio, grid)`` hidden patches. A strategy may
                hide more in some frames than in others; the total of each clip is then the same.
        """
        if not isinstance(clips, Clips):
            raise ConfigError(
                f"{type(self).__name__} masks Clips, not {type(clips).__name__}; make them from "
                "images with Clips.from_images(images)"
            )
        context = MaskContext(
            clips=clips,
            grid=patch_grid(clips.image_size, patch_size) if grid is None else grid,
            mask_ratio=self.mask_ratio,
            generators=clip_generators(clips) if generators is None else generators,
            teacher_map_BTNhw=teacher_map_BTNhw,
        )
        mask_scores = self.score(context)
        per_frame = mask_scores.num_masked_BTN
        num_masked = context.num_masked if per_frame is None else per_frame
        return topk_mask(mask_scores.scores_BTNhw, num_masked)

    @abstractmethod
    def score(self, context: MaskContext) -> MaskScores:
        """Score the patches of each frame; also return budgets if they differ between frames."""


def build_mask(strategy: MaskStrategy | Mapping[str, Any], name: str = "strategy") -> MaskStrategy:
    """Build a strategy from its config, or return it unchanged if it is one already.

    Args:
        strategy: the strategy, or its config.
        name: name of the argument, for the error.

    Raises:
        ConfigError: if it is neither.
    """
    if isinstance(strategy, MaskStrategy):
        return strategy
    if not isinstance(strategy, Mapping):
        kind = strategy.__name__ if isinstance(strategy, type) else strategy
        kind = kind if isinstance(kind, str) else "RandomMask"
        raise ConfigError(
            f"{name}={strategy!r} must be a mask strategy or its config: {name}={kind}() or "
            f"{name}=dict(type={kind!r})"
        )
    built: MaskStrategy = MASKS.build(dict(strategy))
    return built


def build_base(strategy: MaskStrategy | Mapping[str, Any] | None) -> MaskStrategy:
    """Build the strategy that scores what another leaves undecided: ``RandomMask`` for None."""
    return build_mask({"type": "RandomMask"} if strategy is None else strategy, "base")


def num_masked_patches(mask_ratio: float, grid: tuple[int, int]) -> int:
    """Return the number of patches of a frame that are hidden."""
    h, w = grid
    return round(mask_ratio * h * w)


def topk_mask(scores_BTNhw: Tensor, num_masked: int | Tensor) -> Tensor:
    """Mask the patches of each frame that have the highest scores.

    Args:
        scores_BTNhw: float.
        num_masked: number of patches to hide, the same in every frame, or int64 num_masked_BTN.
    """
    scores_BTNL = scores_BTNhw.flatten(-2)
    mask_BTNL = torch.zeros(scores_BTNL.shape, dtype=torch.bool, device=scores_BTNL.device)
    if isinstance(num_masked, int):
        chosen_BTNK = scores_BTNL.topk(num_masked, dim=-1, sorted=False).indices
        return mask_BTNL.scatter_(-1, chosen_BTNK, True).reshape(scores_BTNhw.shape)
    order_BTNL = scores_BTNL.argsort(dim=-1, descending=True)
    places = torch.arange(order_BTNL.shape[-1], device=scores_BTNL.device)
    top_BTNL = places < num_masked[..., None]
    return mask_BTNL.scatter_(-1, order_BTNL, top_BTNL).reshape(scores_BTNhw.shape)


def uniform(shape: tuple[int, ...], generators: Generators, device: torch.device | str) -> Tensor:
    """Draw uniform float32 numbers in [0, 1), from one generator or from one per clip.

    Args:
        shape: shape of the result; the first axis is the batch of clips.
        generators: one for the batch, or one per clip.
        device: device of the result; numbers are drawn on the device of the generators.

    Raises:
        ValueError: if there is neither one generator nor one per clip.
    """
    if isinstance(generators, torch.Generator):
        drawn = torch.rand(shape, generator=generators, device=generators.device)
        return drawn.to(device)
    if len(generators) != shape[0]:
        raise ValueError(
            f"{len(generators)} generators for {shape[0]} clips; give a single one or one per clip"
        )
    if not generators:
        return torch.zeros(shape, device=device)
    each = [torch.rand(shape[1:], generator=one, device=one.device) for one in generators]
    return torch.stack(each).to(device)


def clip_generators(clips: Clips) -> list[torch.Generator]:
    """Create one generator per clip, seeded with the clip's own seed."""
    return [torch.Generator().manual_seed(seed) for seed in clips.seeds_B.tolist()]


def fraction_of_budget(
    fraction: float, context: MaskContext, mask_scores: MaskScores
) -> int | Tensor:
    """Return a fraction of each frame's budget in patches: one number, or int64 (B, T, N).

    Args:
        fraction: in [0, 1].
        context: gives the budget if it is the same in all frames.
        mask_scores: gives the budgets if they differ between frames.
    """
    if mask_scores.num_masked_BTN is None:
        return round(fraction * context.num_masked)
    return (fraction * mask_scores.num_masked_BTN).round().long()


def gumbel(draws: Tensor) -> Tensor:
    """Turn uniform draws into Gumbel noise.

    The highest values of log(weight) + noise are a draw without replacement, with chances
    proportional to the weights.
    """
    # Smaller than any draw above 0, so that a draw of 0 has a logarithm too.
    return -(-draws.clamp(min=2.0**-25).log()).log()


def minmax_normalize(scores_BTNhw: Tensor) -> Tensor:
    """Scale the scores of each frame to [0, 1], keeping their order."""
    low, high = scores_BTNhw.amin((-2, -1), keepdim=True), scores_BTNhw.amax((-2, -1), keepdim=True)
    return (scores_BTNhw - low) / (high - low).clamp(min=1e-12)


def tier_scores(tiers: Tensor | int, order_BTNhw: Tensor) -> Tensor:
    """Score patches so that all of a tier are hidden before the first of the next lower tier.

    Args:
        tiers: whole number of each patch, or of all.
        order_BTNhw: float in [0, 1]; within a tier, higher values are hidden first.
    """
    # Below 1, so that no patch reaches the tier above.
    return tiers + 0.999 * order_BTNhw


def check_numbers(**values: float) -> None:
    """Raise ``ValueError`` for the first value that is not a number, such as a text."""
    for name, value in values.items():
        if not isinstance(value, Real):
            raise ValueError(f"{name}={value!r} must be a number, not {type(value).__name__}")


def check_fraction(name: str, value: float) -> None:
    """Raise ``ValueError`` unless ``value`` is a number in [0, 1]."""
    check_numbers(**{name: value})
    if not 0 <= value <= 1:
        raise ValueError(f"{name}={value} must be in [0, 1]")


def check_count(name: str, value: int, minimum: int = 1) -> None:
    """Raise ``ValueError`` unless ``value`` is a whole number, ``minimum`` or more."""
    if not (isinstance(value, int) and value >= minimum):
        raise ValueError(f"{name}={value!r} must be a whole number in [{minimum}, infinity)")


def _camera_rank(clips: Clips) -> Tensor:
    """Score the cameras of each clip by a weighted sum of their calibration; missing ones last."""
    numbers_BTNC = torch.cat(
        [
            clips.camera_to_clip_BTN44[..., :3, :].flatten(-2),
            clips.intrinsics_BTN33[..., :2, :].flatten(-2) / 1000,
        ],
        dim=-1,
    ).double()
    # Any fixed weights work if different calibrations get different scores.
    weights_C = torch.arange(1, numbers_BTNC.shape[-1] + 1, device=numbers_BTNC.device).sqrt()
    key_BTN = (numbers_BTNC * weights_C).sum(dim=-1)
    valid_BTN = clips.valid_BTN
    first_B1N = valid_BTN.byte().argmax(dim=1, keepdim=True)
    key_BN = key_BTN.gather(1, first_B1N)[:, 0]
    key_BN = torch.where(valid_BTN.any(dim=1), key_BN, torch.inf)
    return key_BN.argsort(dim=-1, stable=True).argsort(dim=-1)
